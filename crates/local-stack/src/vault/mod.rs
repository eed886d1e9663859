//! Key Vault secrets over TLS, with the authentication challenge the official clients rely on.
//!
//! Contract: Azure Key Vault REST API, "Get Secret" and "Set Secret" (api-versions 7.x and 2025-07-01),
//! and the challenge of "Authentication, requests and responses".

mod secrets;
mod web;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use uuid::Uuid;

pub use secrets::SecretVersion;
use secrets::Secrets;

use crate::identity::TokenKey;
use crate::serve::{Bound, Server, StartError};
use crate::tls::LocalCa;

/// How the vault behaves.
#[derive(Debug)]
pub struct VaultConfig<'a> {
    /// Port on loopback; 0 lets the system choose.
    pub port: u16,
    /// Signs the server's certificate.
    pub ca: &'a LocalCa,
    /// Verifies access tokens, whose audience must be `https://vault.azure.net`.
    pub key: TokenKey,
    /// Tenant named in the challenge.
    pub tenant: Uuid,
}

/// One request, answered or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultRequest {
    /// When.
    pub at: OffsetDateTime,
    /// Name of the secret asked for.
    pub secret: String,
    /// The HTTP status answered.
    pub status: u16,
}

/// The running vault; dropping it stops it.
#[derive(Debug)]
pub struct Vault {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    key: TokenKey,
    tenant: Uuid,
    url: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    secrets: Secrets,
    fail_with: Option<u16>,
    requests: Vec<VaultRequest>,
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault {
    /// Starts an empty vault.
    ///
    /// # Errors
    /// The port is taken, or no certificate could be made.
    pub async fn start(config: VaultConfig<'_>) -> Result<Self, StartError> {
        let tls = config
            .ca
            .server_config()
            .map_err(|error| StartError::Config {
                stand_in: "Key Vault",
                reason: error.to_string(),
            })?;
        let bound = Bound::take("Key Vault", config.port).await?;
        let state = Arc::new(State {
            key: config.key,
            tenant: config.tenant,
            url: format!("https://localhost:{}", bound.addr().port()),
            inner: Mutex::default(),
        });
        let server = bound.serve(web::router(state.clone()), Some(tls));
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Value for `KEY_VAULT_URL`.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// Sets a secret, or a new version of it; returns the version.
    pub fn set_secret(&self, name: &str, value: &str) -> String {
        let now = OffsetDateTime::now_utc();
        self.state.inner().secrets.set(name, value, now)
    }

    /// Enables or disables every version of a secret; a disabled one is answered 403.
    pub fn set_enabled(&self, name: &str, enabled: bool) {
        self.state.inner().secrets.set_enabled(name, enabled);
    }

    /// Answers every authenticated call with this status until set back to `None`.
    pub fn fail_with(&self, status: Option<u16>) {
        self.state.inner().fail_with = status;
    }

    /// Every request so far, challenges included.
    pub fn requests(&self) -> Vec<VaultRequest> {
        self.state.inner().requests.clone()
    }

    /// How often a value was handed out.
    pub fn reads(&self) -> usize {
        let inner = self.state.inner();
        inner.requests.iter().filter(|r| r.status == 200).count()
    }

    /// Stops listening.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
