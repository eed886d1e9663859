//! Tokens and secrets, fetched when first needed and at most once per lifetime, however many wait.

mod application;
mod assertion;
mod cache;
mod certificate;
mod client_credentials;
mod entra;
mod vault;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use application::{Application, ApplicationTokens, Proof};
pub(crate) use certificate::tls_identity;
pub(crate) use client_credentials::ClientCredentials;
pub use entra::{BusTokens, CredentialKind, EntraTokens};
pub use vault::KeyVault;

use crate::failure::Failure;

/// Scope of the tokens for Service Bus.
pub const SERVICE_BUS_SCOPE: &str = entra::BUS;
/// Scope of the tokens for every vault.
pub const VAULT_SCOPE: &str = vault::SCOPE;

/// A token or secret. Never printed, and wiped from memory when the last clone is dropped. The copies
/// that HTTP clients make of what they send are out of reach.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(value.into())))
    }

    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Gives Entra tokens by scope, e.g. `https://contoso.crm4.dynamics.com/.default`.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is valid now.
    async fn token(&self, scope: &str) -> Result<Secret, Failure>;

    /// The token of this scope was refused: do not serve it again.
    fn forget(&self, scope: &str);

    /// Whose tokens these are, for logs and metrics: a client id, or `app` for the app's own identity.
    fn label(&self) -> String {
        "app".to_owned()
    }
}

/// Gives secrets by name.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The current value.
    async fn secret(&self, name: &str) -> Result<Secret, Failure>;

    /// `stale` was refused: do not serve it again. Does nothing if a newer value is cached by now, so
    /// that a rotation costs one fetch however many calls were refused.
    fn forget(&self, name: &str, stale: &Secret);
}

#[cfg(test)]
mod tests {
    use zeroize::{ZeroizeOnDrop, Zeroizing};

    use super::*;

    fn wiped<T: ZeroizeOnDrop>(_: &T) {}

    #[test]
    fn a_secret_is_wiped_with_its_last_clone_and_never_printed() {
        let secret = Secret::new("s3cret");
        let held: &Zeroizing<String> = &secret.0;
        wiped(held);
        assert_eq!(
            format!("{secret:?} {:?}", (&secret, 1)),
            "Secret(..) (Secret(..), 1)"
        );
    }
}
