//! App Service managed identity, the endpoint behind `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`, and beside
//! it the token endpoint of Entra ID for app registrations.
//!
//! Contract: Azure App Service, "How to use managed identities", REST endpoint, api-version
//! 2019-08-01. Tokens are [`TokenKey`] tokens, which the other stand-ins of a stack can check.

mod assertion;
mod endpoint;
mod entra;
mod token;

use std::collections::BTreeMap;
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
    /// The directory that app registrations are in.
    pub tenant: Uuid,
    /// For a second port that speaks TLS: clients send a client secret over https only.
    pub tls: Option<Arc<rustls::ServerConfig>>,
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
            tenant: Uuid::new_v4(),
            tls: None,
            user_assigned: Vec::new(),
        }
    }
}

/// How a caller proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// By calling from within the app.
    ManagedIdentity,
    /// By a client secret.
    ClientSecret,
    /// By an assertion that a certificate signed.
    Assertion,
}

/// One call of an endpoint, answered or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// When.
    pub at: OffsetDateTime,
    /// How the caller proved who it is.
    pub grant: Grant,
    /// The resource asked for.
    pub resource: Option<String>,
    /// The user-assigned identity, or the application, asked for.
    pub client_id: Option<String>,
    /// The instance that asked, where it has a header of its own: [`Identity::instance_header`].
    pub instance: Option<String>,
    /// Which token was given: [`Claims::uti`].
    pub token: Option<String>,
    /// The HTTP status answered.
    pub status: u16,
}

/// The running endpoint; dropping it stops it.
#[derive(Debug)]
pub struct Identity {
    server: Server,
    secure: Option<Server>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    config: IdentityConfig,
    /// Addresses under which the token endpoint is reached.
    authorities: Vec<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    lifetime: Duration,
    fail_with: Option<u16>,
    requests: Vec<TokenRequest>,
    /// Names by secret header.
    instances: BTreeMap<String, String>,
    applications: BTreeMap<Uuid, Application>,
}

/// What an application is known by.
#[derive(Debug, Clone, Default)]
struct Application {
    secret: Option<String>,
    /// DER.
    certificates: Vec<Vec<u8>>,
}

impl State {
    /// Whom an assertion may be addressed to.
    fn audiences(&self) -> Vec<String> {
        let tenant = self.config.tenant;
        let authorities = self.authorities.iter();
        authorities
            .map(|authority| format!("{authority}/{tenant}/oauth2/v2.0/token"))
            .collect()
    }

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
        let tls = config.tls.clone();
        let secure = match &tls {
            Some(_) => Some(Bound::take("identity", 0).await?),
            None => None,
        };
        let mut authorities = vec![format!("http://{}", bound.addr())];
        authorities.extend(secure.as_ref().map(authority));
        let state = Arc::new(State {
            authorities,
            inner: Mutex::new(Inner {
                lifetime: config.lifetime,
                fail_with: None,
                requests: Vec::new(),
                instances: BTreeMap::new(),
                applications: BTreeMap::new(),
            }),
            config,
        });
        let server = bound.serve(endpoint::router(state.clone()), None);
        let secure = secure.map(|bound| bound.serve(endpoint::router(state.clone()), tls));
        Ok(Self {
            server,
            secure,
            state,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Value for `IDENTITY_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}/msi/token", self.addr())
    }

    /// Value for `AZURE_AUTHORITY_HOST`: over TLS where that was asked for.
    pub fn authority(&self) -> String {
        self.state.authorities.last().cloned().unwrap_or_default()
    }

    /// Value for `DATAVERSE_TENANT_ID`.
    pub fn tenant(&self) -> Uuid {
        self.state.config.tenant
    }

    /// Registers an application's only client secret.
    pub fn set_client_secret(&self, client_id: Uuid, secret: &str) {
        let mut inner = self.state.inner();
        inner.applications.entry(client_id).or_default().secret = Some(secret.to_owned());
    }

    /// Registers a certificate (DER) with an application.
    pub fn add_certificate(&self, client_id: Uuid, der: &[u8]) {
        let mut inner = self.state.inner();
        let application = inner.applications.entry(client_id).or_default();
        application.certificates.push(der.to_vec());
    }

    /// Value for `IDENTITY_HEADER`.
    pub fn header(&self) -> &str {
        &self.state.config.header
    }

    /// Value for `IDENTITY_HEADER` of one instance of an app, as App Service gives each its own: its calls
    /// are recorded under `name`.
    pub fn instance_header(&self, name: &str) -> String {
        let header = Uuid::new_v4().simple().to_string();
        let instances = &mut self.state.inner().instances;
        instances.insert(header.clone(), name.to_owned());
        header
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
        if let Some(secure) = self.secure {
            secure.shutdown().await;
        }
    }
}

/// By name: certificates of the local stack are made out to it.
fn authority(bound: &Bound) -> String {
    format!("https://localhost:{}", bound.addr().port())
}
