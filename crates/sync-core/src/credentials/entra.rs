//! Entra tokens through `azure_identity`, behind our own cache.
//!
//! `azure_identity` caches too, but holds one lock for all scopes, fails a call whose refresh failed
//! although the old token is still valid, and by default retries for over a minute.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId,
};
use opentelemetry::KeyValue;
use service_bus::{BearerToken, BoxError, TokenProvider};
use time::OffsetDateTime;
use tracing::{Instrument as _, Span};

use super::cache::{Cache, Fetched};
use super::{Secret, TokenSource};
use crate::failure::{Failure, Stage};
use crate::metrics::metrics;
use crate::trace;

/// Scope of Service Bus.
pub(super) const BUS: &str = "https://servicebus.azure.net/.default";
/// One token may take this long to fetch.
const DEADLINE: Duration = Duration::from_secs(10);
/// A token with less than this left is not handed out.
const SPARE: Duration = Duration::from_secs(60);

/// Which identity signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// The app's managed identity; the id names a user-assigned one.
    ManagedIdentity {
        /// Client id of the user-assigned identity.
        client_id: Option<String>,
    },
    /// The developer signed in with `az` or `azd`.
    Developer,
}

/// Tokens of one identity.
pub struct EntraTokens {
    kind: CredentialKind,
    cache: Cache<(Secret, OffsetDateTime)>,
}

impl fmt::Debug for EntraTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntraTokens(..)")
    }
}

/// Short: the message is retried anyway, and the host kills whoever takes too long.
pub(super) fn retry_options() -> RetryOptions {
    RetryOptions::exponential(ExponentialRetryOptions {
        max_retries: 2,
        initial_delay: azure_core::time::Duration::milliseconds(200),
        max_total_elapsed: azure_core::time::Duration::seconds(8),
        ..ExponentialRetryOptions::default()
    })
}

impl EntraTokens {
    /// Tokens of `kind`.
    ///
    /// # Errors
    /// When the environment offers no such identity.
    pub fn new(kind: &CredentialKind) -> azure_core::Result<Self> {
        // Made only to find out now whether the environment offers it.
        credential(kind)?;
        Ok(Self {
            kind: kind.clone(),
            cache: Cache::new(),
        })
    }

    async fn get(&self, scope: &str) -> Result<(Secret, OffsetDateTime), Failure> {
        let (kind, asked) = (self.kind.clone(), scope.to_owned());
        self.cache
            .get(scope, move || async move {
                // A fresh one each time: the SDK's own cache would answer with the very token that was
                // refused, or that is due for a refresh, until five minutes before it expires.
                let credential = credential(&kind)
                    .map_err(|e| no_token(&asked, &format!("failed ({})", e.kind())))?;
                let span = match kind {
                    // Not its address: that is of this instance alone.
                    CredentialKind::ManagedIdentity { .. } => {
                        let peer = "managed identity";
                        trace::call(peer, "GET token", "GET", peer)
                    }
                    CredentialKind::Developer => token_call("developer"),
                };
                let token = match ask(&span, credential.as_ref(), &asked).await {
                    Some(Ok(token)) => token,
                    // The error's text may hold parts of the answer; its kind says enough.
                    Some(Err(e)) => {
                        return Err(no_token(&asked, &format!("failed ({})", e.kind())));
                    }
                    None => return Err(no_token(&asked, "did not answer in time")),
                };
                Ok(fetched(token))
            })
            .await
    }
}

/// The dependency that a call for a token to Entra ID at `host` is.
pub(super) fn token_call(host: &str) -> Span {
    trace::call("Entra", "POST token", "POST", host)
}

/// Makes one call for a token, told on `span`; `None` when no answer comes in time.
pub(super) async fn ask(
    span: &Span,
    credential: &dyn TokenCredential,
    scope: &str,
) -> Option<azure_core::Result<AccessToken>> {
    let scopes = [scope];
    let call = credential.get_token(&scopes, None).instrument(span.clone());
    let answer = tokio::time::timeout(DEADLINE, call).await.ok();
    match &answer {
        Some(Ok(_)) => trace::answered(span, 200, true),
        Some(Err(error)) => match inner(error).http_status() {
            Some(status) => trace::answered(span, u16::from(status), false),
            None => trace::ended(span, Err("no token")),
        },
        None => trace::ended(span, Err("no answer in time")),
    }
    metrics().fetched.add(1, &[KeyValue::new("kind", "token")]);
    answer
}

/// What a credential's error wraps, which knows of the answer.
pub(super) fn inner(error: &azure_core::Error) -> &azure_core::Error {
    error.downcast_ref::<azure_core::Error>().unwrap_or(error)
}

/// A token with the times it serves.
pub(super) fn fetched(token: AccessToken) -> Fetched<(Secret, OffsetDateTime)> {
    let left = (token.expires_on - OffsetDateTime::now_utc())
        .try_into()
        .unwrap_or(Duration::ZERO);
    Fetched {
        value: (Secret::new(token.token.secret()), token.expires_on),
        fresh_for: left.mul_f64(0.75),
        valid_for: left.saturating_sub(SPARE),
    }
}

fn credential(kind: &CredentialKind) -> azure_core::Result<Arc<dyn TokenCredential>> {
    Ok(match kind {
        CredentialKind::ManagedIdentity { client_id } => {
            ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                client_options: ClientOptions {
                    retry: retry_options(),
                    ..ClientOptions::default()
                },
            }))?
        }
        CredentialKind::Developer => DeveloperToolsCredential::new(None)?,
    })
}

fn no_token(scope: &str, problem: &str) -> Failure {
    Failure::transient(
        Stage::Credentials,
        "NoToken",
        format!(
            "Getting a token for {scope} {problem}. Check the app's identity if this persists."
        ),
    )
}

#[async_trait]
impl TokenSource for EntraTokens {
    async fn token(&self, scope: &str) -> Result<Secret, Failure> {
        Ok(self.get(scope).await?.0)
    }

    fn forget(&self, scope: &str) {
        self.cache.forget(scope, |_| true);
    }

    fn label(&self) -> String {
        match &self.kind {
            CredentialKind::ManagedIdentity {
                client_id: Some(client_id),
            } => client_id.clone(),
            CredentialKind::ManagedIdentity { client_id: None } => "app".to_owned(),
            CredentialKind::Developer => "developer".to_owned(),
        }
    }
}

/// The same tokens as clients of the Azure SDK want them.
#[derive(Debug)]
pub(super) struct SdkTokens(pub(super) Arc<EntraTokens>);

#[async_trait]
impl TokenCredential for SdkTokens {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let one = |scopes: &[&str]| match scopes {
            [scope] => Ok((*scope).to_owned()),
            _ => Err(azure_core::Error::with_message(
                ErrorKind::Credential,
                "one scope at a time",
            )),
        };
        let failed = |failure| azure_core::Error::new(ErrorKind::Credential, failure);
        let (token, expires_on) = self.0.get(&one(scopes)?).await.map_err(failed)?;
        Ok(AccessToken::new(token.secret().to_owned(), expires_on))
    }
}

/// The same tokens as the Service Bus client wants them.
#[derive(Debug)]
pub struct BusTokens(pub Arc<EntraTokens>);

#[async_trait]
impl TokenProvider for BusTokens {
    async fn token(&self) -> Result<BearerToken, BoxError> {
        let (token, expires_at) = self.0.get(BUS).await?;
        Ok(BearerToken {
            token: token.secret().to_owned(),
            expires_at,
        })
    }
}
