//! Key Vault secrets over TLS, with the authentication challenge the official clients rely on.
//!
//! Contract: Azure Key Vault REST API, secrets (api-versions 7.x and 2025-07-01), and the challenge of
//! "Authentication, requests and responses". Who has a token may do everything. Judged by the official
//! clients: `tests/conformance/vault`.

mod bodies;
mod faults;
mod guard;
mod secrets;
mod web;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

pub use faults::VaultFaults;
use secrets::Secrets;
pub use secrets::{SecretProperties, SecretVersion};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultRequest {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// HTTP method.
    pub method: String,
    /// Name of the secret asked for; empty for a list of all.
    pub secret: String,
    /// The HTTP status answered.
    pub status: u16,
    /// Whether a value was handed out.
    pub read: bool,
    /// Client id of the caller, once its token proved good.
    pub caller: Option<String>,
    /// Which token that was: [`Claims::uti`](crate::identity::Claims::uti).
    pub token: Option<String>,
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
    faults: VaultFaults,
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

    /// Sets a secret, or a new version of it; returns the version. A deleted secret of that name is gone
    /// for good.
    pub fn set_secret(&self, name: &str, value: &str) -> String {
        let now = OffsetDateTime::now_utc();
        let secrets = &mut self.state.inner().secrets;
        secrets.purge(name);
        let set = secrets.set(name, value, SecretProperties::default(), now);
        set.map(|set| set.version).unwrap_or_default()
    }

    /// Enables or disables every version of a secret; a disabled one is answered 403.
    pub fn set_enabled(&self, name: &str, enabled: bool) {
        let now = OffsetDateTime::now_utc();
        let mut inner = self.state.inner();
        inner
            .secrets
            .change(name, |_| true, now, |held| held.enabled = enabled);
    }

    /// When every version of a secret may be used: it is handed out all the same.
    pub fn set_lifetime(
        &self,
        name: &str,
        not_before: Option<OffsetDateTime>,
        expires: Option<OffsetDateTime>,
    ) {
        let now = OffsetDateTime::now_utc();
        let mut inner = self.state.inner();
        inner.secrets.change(
            name,
            |_| true,
            now,
            |held| {
                held.not_before = not_before;
                held.expires = expires;
            },
        );
    }

    /// Takes a secret away for good.
    pub fn remove_secret(&self, name: &str) {
        let now = OffsetDateTime::now_utc();
        let secrets = &mut self.state.inner().secrets;
        secrets.delete(name, now);
        secrets.purge(name);
    }

    /// Answers every authenticated call with this status until set back to `None`.
    pub fn fail_with(&self, status: Option<u16>) {
        self.set_faults(VaultFaults {
            fail_with: status,
            ..VaultFaults::default()
        });
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: VaultFaults) {
        self.state.inner().faults = faults;
    }

    /// Every request so far, challenges included.
    pub fn requests(&self) -> Vec<VaultRequest> {
        self.state.inner().requests.clone()
    }

    /// How often a value was handed out.
    pub fn reads(&self) -> usize {
        let inner = self.state.inner();
        inner.requests.iter().filter(|r| r.read).count()
    }

    /// Stops listening.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
