//! What an environment is started with.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::faults::DataverseFaults;
use super::posting::NotificationSender;
use super::protection::WebServers;
use super::steps::Step;
use super::telemetry::PlugInTelemetry;
use crate::identity::TokenKey;

/// A port that speaks TLS.
pub struct TlsPort {
    /// Port on loopback; 0 lets the system choose.
    pub port: u16,
    /// Certificate and key, as [`LocalCa`](crate::tls::LocalCa) makes them.
    pub config: Arc<rustls::ServerConfig>,
}

/// How the environment behaves.
pub struct DataverseConfig {
    /// Port on loopback; 0 lets the system choose.
    pub port: u16,
    /// A second port, over TLS; `None` for plain HTTP only.
    pub tls: Option<TlsPort>,
    /// Verifies access tokens, whose audience must be the environment's URL. `None` lets everybody
    /// in.
    pub auth: Option<TokenKey>,
    /// The web servers and their limits.
    pub servers: WebServers,
    /// Tenant named in the challenge of a 401.
    pub tenant: Uuid,
    /// The registered steps.
    pub steps: Vec<Step>,
    /// Value of `?tag=` at which the plug-in returns early: the integration's own writes.
    pub integration_tag: String,
    /// Where the asynchronous step posts to; with `None`, outbox rows stay Pending.
    pub sender: Option<Arc<dyn NotificationSender>>,
    /// Where the plug-in tells of what it did; it never holds a save up.
    pub telemetry: Option<PlugInTelemetry>,
    /// How many notifications are posted at a time.
    pub post_concurrency: usize,
    /// `dvs_nextattempton` of a new outbox row, from now: how long the sweep leaves the row to the
    /// asynchronous step.
    pub pending_lease: Duration,
    /// `dvs_nextattempton` after a failed post, from then.
    pub retry_wait: Duration,
    /// How long a delta token is answered.
    pub delta_lifetime: Duration,
    /// How many sample accounts to begin with: Microsoft's ten with their contacts first, generated
    /// ones after. They cause no events.
    pub sample_accounts: usize,
    /// Seed of the generated accounts.
    pub sample_seed: u64,
    /// What goes wrong from the start.
    pub faults: DataverseFaults,
}

impl Default for DataverseConfig {
    fn default() -> Self {
        Self {
            port: 0,
            tls: None,
            auth: None,
            servers: WebServers::default(),
            tenant: Uuid::new_v4(),
            steps: Step::defaults(),
            integration_tag: "dataverse-sync".to_owned(),
            sender: None,
            telemetry: None,
            post_concurrency: 16,
            pending_lease: Duration::from_secs(120),
            retry_wait: Duration::from_secs(30),
            // `Organization.ExpireChangeTrackingInDays`
            delta_lifetime: Duration::from_secs(7 * 24 * 60 * 60),
            sample_accounts: 0,
            sample_seed: 0,
            faults: DataverseFaults::default(),
        }
    }
}
