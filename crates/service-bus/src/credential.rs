//! Who the client is to the broker.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

/// Any error, as a [`TokenProvider`] may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the client proves its right to an entity with.
#[derive(Clone)]
pub enum Credential {
    /// A shared access key, from which the client signs short-lived tokens.
    Sas {
        /// Name of the shared access policy.
        key_name: String,
        /// The key, used as it is written (its base64 is not decoded).
        key: String,
    },
    /// Entra tokens.
    Token(Arc<dyn TokenProvider>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Sas { key_name, .. } => f
                .debug_struct("Sas")
                .field("key_name", key_name)
                .finish_non_exhaustive(),
            Credential::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// A source of Entra tokens.
#[async_trait]
pub trait TokenProvider: Send + Sync {
    /// An Entra token for the scope `https://servicebus.azure.net/.default`.
    ///
    /// Called for each entity and again ahead of each expiry, so it should cache.
    ///
    /// # Errors
    /// Whatever kept the token from being had. The client treats it as transient and tries again
    /// within the call's deadline.
    async fn token(&self) -> Result<BearerToken, BoxError>;
}

/// An Entra access token.
#[derive(Clone)]
pub struct BearerToken {
    /// The JWT.
    pub token: String,
    /// When it stops being accepted.
    pub expires_at: OffsetDateTime,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
