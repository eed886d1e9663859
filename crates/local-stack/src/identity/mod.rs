//! App Service managed identity: the endpoint behind `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
//!
//! Contract: Azure App Service, "How to use managed identities", REST endpoint, api-version
//! 2019-08-01. Tokens are [`TokenKey`] tokens, which the other stand-ins of a stack can check.

mod endpoint;
mod token;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

pub use token::{Claims, TokenKey, TokenRejected};

use crate::serve::{Bound, Server, StartError};

/// How the endpoint behaves.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// Port on loopback; 0 lets the system choose.
    pub port: u16,
    /// The secret that callers must send as `x-identity-header`.
    pub header: String,
    /// Signs the tokens.
    pub key: TokenKey,
    /// How long a token is valid. App Service gives about 24 hours.
    pub lifetime: Duration,
    /// Client id of the system-assigned identity.
    pub client_id: Uuid,
    /// Client ids of user-assigned identities; a `client_id` not listed is answered 400. Empty
    /// accepts any.
    pub user_assigned: Vec<Uuid>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            port: 0,
            header: Uuid::new_v4().simple().to_string(),
            key: TokenKey::random(),
            lifetime: Duration::from_secs(24 * 60 * 60),
            client_id: Uuid::new_v4(),
            user_assigned: Vec::new(),
        }
    }
}

/// One call of the endpoint, answered or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// When.
    pub at: OffsetDateTime,
    /// The resource asked for.
    pub resource: Option<String>,
    /// The user-assigned identity asked for.
    pub client_id: Option<String>,
    /// The HTTP status answered.
    pub status: u16,
}

/// The running endpoint; dropping it stops it.
#[derive(Debug)]
pub struct Identity {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    config: IdentityConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    lifetime: Duration,
    fail_with: Option<u16>,
    requests: Vec<TokenRequest>,
}

impl State {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    /// Starts the endpoint.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start(config: IdentityConfig) -> Result<Self, StartError> {
        let bound = Bound::take("identity", config.port).await?;
        let state = Arc::new(State {
            inner: Mutex::new(Inner {
                lifetime: config.lifetime,
                fail_with: None,
                requests: Vec::new(),
            }),
            config,
        });
        let server = bound.serve(endpoint::router(state.clone()), None);
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Value for `IDENTITY_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}/msi/token", self.addr())
    }

    /// Value for `IDENTITY_HEADER`.
    pub fn header(&self) -> &str {
        &self.state.config.header
    }

    /// The key that verifies this endpoint's tokens.
    pub fn key(&self) -> &TokenKey {
        &self.state.config.key
    }

    /// Client id of the system-assigned identity.
    pub fn client_id(&self) -> Uuid {
        self.state.config.client_id
    }

    /// Every call so far.
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state.inner().requests.clone()
    }

    /// Lifetime of the tokens issued from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.state.inner().lifetime = lifetime;
    }

    /// Answers every call with this status until set back to `None`.
    pub fn fail_with(&self, status: Option<u16>) {
        self.state.inner().fail_with = status;
    }

    /// Stops listening.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
