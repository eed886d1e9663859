//! Secrets from Azure Key Vault, cached: its client caches nothing, and each read is billed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::ClientOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};

use opentelemetry::KeyValue;
use tracing::Instrument as _;

use super::cache::{Cache, Fetched};
use super::entra::{EntraTokens, SdkTokens, retry_options};
use super::{Secret, SecretSource, TokenSource};
use crate::failure::{Failure, Stage};
use crate::metrics::metrics;
use crate::trace;

/// Scope of every vault.
pub(super) const SCOPE: &str = "https://vault.azure.net/.default";
/// One secret may take this long to read.
const DEADLINE: Duration = Duration::from_secs(10);

/// One vault.
pub struct KeyVault {
    client: Arc<SecretClient>,
    tokens: Arc<EntraTokens>,
    cache: Cache<Secret>,
    fresh_for: Duration,
    /// For telemetry.
    host: String,
}

impl KeyVault {
    /// The vault at `url`, e.g. `https://contoso-sync.vault.azure.net`. A secret is read again in the
    /// background after `fresh_for`. `verify_challenge` may only be off for a vault whose host is not in
    /// the domain that its own challenge names, such as a stand-in.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(
        url: &str,
        tokens: Arc<EntraTokens>,
        verify_challenge: bool,
        fresh_for: Duration,
    ) -> azure_core::Result<Self> {
        let options = SecretClientOptions {
            client_options: ClientOptions {
                retry: retry_options(),
                ..ClientOptions::default()
            },
            verify_challenge_resource: Some(verify_challenge),
            ..SecretClientOptions::default()
        };
        let credential = Arc::new(SdkTokens(Arc::clone(&tokens)));
        let client = Arc::new(SecretClient::new(url, credential, Some(options))?);
        Ok(Self {
            client,
            tokens,
            cache: Cache::new(),
            fresh_for,
            host: url::Url::parse(url)
                .ok()
                .and_then(|url| Some(url.host_str()?.to_owned()))
                .unwrap_or_default(),
        })
    }
}

#[async_trait]
impl SecretSource for KeyVault {
    async fn secret(&self, name: &str) -> Result<Secret, Failure> {
        let (client, name_, fresh_for) =
            (Arc::clone(&self.client), name.to_owned(), self.fresh_for);
        let tokens = Arc::clone(&self.tokens);
        let host = self.host.clone();
        self.cache
            .get(name, move || async move {
                let read = async {
                    let response = client.get_secret(&name_, None).await?;
                    response.into_model()
                };
                let span = trace::call("Key Vault", "GET secrets", "GET", &host);
                let read = tokio::time::timeout(DEADLINE, read)
                    .instrument(span.clone())
                    .await;
                match &read {
                    Ok(Ok(_)) => trace::answered(&span, 200, true),
                    Ok(Err(e)) => {
                        let status = e.http_status().map_or(0, u16::from);
                        trace::answered(&span, status, false);
                    }
                    Err(_) => trace::ended(&span, Err("no answer in time")),
                }
                metrics().fetched.add(1, &[KeyValue::new("kind", "secret")]);
                match read {
                    Ok(Ok(secret)) => match secret.value {
                        Some(value) => Ok(Fetched {
                            value: Secret::new(value),
                            fresh_for,
                            // A vault that is down for hours must not stop deliveries whose secret
                            // still works; a refused secret is forgotten at once.
                            valid_for: fresh_for.saturating_mul(48),
                        }),
                        None => Err(missing(&name_)),
                    },
                    Ok(Err(e)) => {
                        let status = e.http_status();
                        if status.is_some_and(|status| status == 401) {
                            // Revoked before its time: the next read is made with a new one.
                            tokens.forget(SCOPE);
                        }
                        Err(refused(&name_, e.kind()))
                    }
                    Err(_) => Err(unreachable(&name_, "did not answer in time")),
                }
            })
            .await
    }

    fn forget(&self, name: &str, stale: &Secret) {
        self.cache.forget(name, |held| held == stale);
    }
}

fn refused(name: &str, kind: &ErrorKind) -> Failure {
    match kind {
        ErrorKind::HttpResponse { status, .. } if *status == 404 => missing(name),
        ErrorKind::HttpResponse { status, .. } if *status == 401 || *status == 403 => {
            let text = format!(
                "Key Vault refused to give secret {name:?} ({}). Give the app's identity the role Key Vault Secrets User.",
                u16::from(*status)
            );
            Failure::config(Stage::Credentials, "SecretRefused", text)
                .with_status(u16::from(*status))
        }
        other => unreachable(name, &format!("failed ({other})")),
    }
}

fn missing(name: &str) -> Failure {
    let text = format!(
        "Key Vault has no secret {name:?}. Create it, or repair the setting that names it."
    );
    Failure::config(Stage::Credentials, "SecretMissing", text)
}

fn unreachable(name: &str, problem: &str) -> Failure {
    let text = format!("Reading secret {name:?} from Key Vault {problem}.");
    Failure::transient(Stage::Credentials, "VaultUnreachable", text)
}
