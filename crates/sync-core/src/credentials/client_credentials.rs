//! Access tokens from any token endpoint: the client-credentials grant of OAuth 2.0 (RFC 6749, 4.4), its
//! client secret in Key Vault.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use opentelemetry::KeyValue;
use serde::Deserialize;
use tracing::Instrument as _;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::cache::{Cache, Fetched};
use super::{Secret, SecretSource};
use crate::config::OAuth2;
use crate::failure::{Failure, Stage};
use crate::metrics::metrics;
use crate::trace;

/// One token may take this long to fetch.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a token serves whose endpoint does not say for how long.
const UNTOLD: u64 = 300;
/// No token answer is longer.
const LONGEST: usize = 64 * 1024;
/// The cache holds one token.
const KEY: &str = "token";

/// Tokens of one client.
pub(crate) struct ClientCredentials {
    inner: Arc<Inner>,
    cache: Cache<Secret>,
}

struct Inner {
    settings: OAuth2,
    http: reqwest::Client,
    secrets: Arc<dyn SecretSource>,
    secret_name: String,
    /// The client secret that the endpoint took last.
    used: Mutex<Option<Secret>>,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCredentials(..)")
    }
}

impl ClientCredentials {
    /// Tokens for the client that `settings` name. Nothing is fetched yet.
    pub(crate) fn new(
        settings: OAuth2,
        http: reqwest::Client,
        secrets: Arc<dyn SecretSource>,
        secret_name: String,
    ) -> Self {
        let inner = Inner {
            settings,
            http,
            secrets,
            secret_name,
            used: Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
            cache: Cache::new(),
        }
    }

    /// A token that is valid now, as far as its lifetime tells.
    pub(crate) async fn token(&self) -> Result<Secret, Failure> {
        let inner = Arc::clone(&self.inner);
        self.cache
            .get(KEY, move || async move { inner.fetch().await })
            .await
    }

    /// `stale` was refused: do not serve it again.
    pub(crate) fn forget(&self, stale: &Secret) {
        self.cache.forget(KEY, |held| held == stale);
    }

    /// Reads the client secret anew; whether it is another one than tokens were got with.
    pub(crate) async fn renew_secret(&self) -> Result<bool, Failure> {
        let inner = &self.inner;
        let used = inner.used().clone();
        let Some(used) = used else { return Ok(true) };
        inner.secrets.forget(&inner.secret_name, &used);
        Ok(inner.secrets.secret(&inner.secret_name).await? != used)
    }
}

/// Why there is no token.
enum Refusal {
    /// The secret is not (any longer) this client's.
    Secret(Failure),
    Other(Failure),
}

#[derive(Deserialize)]
struct Granted {
    access_token: Zeroizing<String>,
    token_type: String,
    expires_in: Option<u64>,
}

impl Inner {
    fn used(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Fetched<Secret>, Failure> {
        let name = &self.secret_name;
        let secret = self.secrets.secret(name).await?;
        let refused = match self.exchange(&secret).await {
            Ok(token) => return Ok(token),
            Err(Refusal::Other(failure)) => return Err(failure),
            Err(Refusal::Secret(failure)) => failure,
        };
        // It may have been rotated since it was read: once more, with what the vault holds now.
        self.secrets.forget(name, &secret);
        let newer = self.secrets.secret(name).await?;
        if newer == secret {
            return Err(refused);
        }
        match self.exchange(&newer).await {
            Ok(token) => Ok(token),
            Err(Refusal::Secret(failure) | Refusal::Other(failure)) => Err(failure),
        }
    }

    async fn exchange(&self, secret: &Secret) -> Result<Fetched<Secret>, Refusal> {
        let host = self.settings.token_url.host_str().unwrap_or_default();
        let span = trace::call("token endpoint", "POST token", "POST", host);
        let token = self.ask(secret).instrument(span.clone()).await;
        match &token {
            Ok(_) => trace::answered(&span, 200, true),
            Err(Refusal::Secret(failure) | Refusal::Other(failure)) => match failure.status {
                Some(status) => trace::answered(&span, status, false),
                None => trace::ended(&span, Err(failure.code)),
            },
        }
        metrics().fetched.add(1, &[KeyValue::new("kind", "token")]);
        token
    }

    async fn ask(&self, secret: &Secret) -> Result<Fetched<Secret>, Refusal> {
        let settings = &self.settings;
        let request = self.http.post(settings.token_url.clone());
        let mut request = request
            .timeout(DEADLINE)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if settings.secret_in_header {
            request = request.header(AUTHORIZATION, basic(&settings.client_id, secret));
        }
        let request = request.body(form(settings, secret));
        let lost = |e: reqwest::Error| {
            let problem = if e.is_timeout() {
                "did not answer in time"
            } else if e.is_connect() {
                "cannot be reached"
            } else {
                "broke the connection off"
            };
            Refusal::Other(self.failed("NoToken", problem))
        };
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let mut body = Zeroizing::new(Vec::with_capacity(LONGEST));
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LONGEST {
                let problem = "answered more than a token endpoint has to say";
                return Err(Refusal::Other(self.failed("NoToken", problem)));
            }
            body.extend_from_slice(&chunk);
        }
        if status != 200 {
            return Err(self.refused(status, &body));
        }
        let granted: Option<Granted> = serde_json::from_slice(&body).ok();
        let granted = granted.filter(|granted| granted.token_type.eq_ignore_ascii_case("bearer"));
        let Some(granted) = granted else {
            let problem = "answered without a bearer token";
            return Err(Refusal::Other(self.failed("NoToken", problem)));
        };
        *self.used() = Some(secret.clone());
        Ok(fetched(&granted))
    }

    fn failed(&self, code: &'static str, problem: &str) -> Failure {
        let host = self.settings.token_url.host_str().unwrap_or_default();
        let text = format!(
            "The token endpoint at {host} {problem} when client {} asked for a token.",
            self.settings.client_id
        );
        Failure::transient(Stage::Credentials, code, text)
    }

    /// By status and error code (RFC 6749, 5.2); the description may hold more than a log should.
    fn refused(&self, status: u16, body: &[u8]) -> Refusal {
        if status == 408 || status == 429 || status >= 500 {
            let failure = self.failed("NoToken", &format!("answered {status}"));
            return Refusal::Other(failure.with_status(status));
        }
        #[derive(Deserialize)]
        struct Error {
            error: String,
        }
        let error: Option<Error> = serde_json::from_slice(body).ok();
        let error = error.map(|e| e.error).filter(|error| is_code(error));
        let error = error.unwrap_or_else(|| "no error code".into());
        let client = &self.settings.client_id;
        let refusal =
            |code, text| Failure::config(Stage::Credentials, code, text).with_status(status);
        if status == 401 || error == "invalid_client" {
            let text = format!(
                "The token endpoint refused the client secret of {client} ({status}, {error}). Put a valid one into Key Vault secret {:?}.",
                self.secret_name
            );
            return Refusal::Secret(refusal("ClientSecretRefused", text));
        }
        let text = format!(
            "The token endpoint gave client {client} no token ({status}, {error}). Check target.auth in the sync file: tokenUrl, clientId, scope, audience, clientAuthentication."
        );
        Refusal::Other(refusal("ClientRefused", text))
    }
}

fn is_code(error: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !error.is_empty() && error.len() <= 64 && error.chars().all(plain)
}

/// A token with the times it serves.
fn fetched(granted: &Granted) -> Fetched<Secret> {
    let lifetime = Duration::from_secs(granted.expires_in.unwrap_or(UNTOLD));
    // Of short tokens a part is spared, so that they serve at all.
    let spare = Duration::from_secs(60).min(lifetime / 4);
    Fetched {
        value: Secret::new(granted.access_token.as_str()),
        fresh_for: lifetime.mul_f64(0.75).min(lifetime - spare),
        valid_for: lifetime - spare,
    }
}

fn form(settings: &OAuth2, secret: &Secret) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !settings.secret_in_header {
        form.append_pair("client_id", &settings.client_id);
        form.append_pair("client_secret", secret.secret());
    }
    if let Some(scope) = &settings.scope {
        form.append_pair("scope", scope);
    }
    if let Some(audience) = &settings.audience {
        form.append_pair("audience", audience);
    }
    form.finish()
}

/// RFC 6749, 2.3.1: both parts are form-encoded first.
fn basic(client_id: &str, secret: &Secret) -> String {
    let encoded =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let both = Zeroizing::new(format!(
        "{}:{}",
        encoded(client_id),
        encoded(secret.secret())
    ));
    format!("Basic {}", STANDARD.encode(both.as_bytes()))
}
