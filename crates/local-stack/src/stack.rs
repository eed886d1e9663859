//! The whole loop on one machine: every stand-in, and both function apps as child processes.

mod config;
mod entities;
mod launch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use service_bus::{Client, ClientOptions};
use tempfile::TempDir;
use uuid::Uuid;

use crate::StartError;
use crate::apps::{self, App, Form, SyncFile};
use crate::bus::{self, Broker, BrokerConfig, QueueConfig, RuleError};
use crate::dataverse::{BusSender, Dataverse, DataverseConfig, PlugInTelemetry};
use crate::host::{Fleet, HostError};
use crate::identity::{Identity, IdentityConfig, TokenKey};
use crate::insights::{Insights, InsightsConfig};
use crate::target::{Target, TargetConfig};
use crate::tls::LocalCa;
use crate::vault::{Vault, VaultConfig};
use config::further;
pub use config::{AppLineSink, Ports, StackConfig, TelemetryConfig};
use entities::{queue, topic};
use launch::Launcher;
pub use launch::instance_name;

/// Queue of the notifications, or the topic.
pub const OUTBOUND: &str = "outbound";
/// The subscription of the first target, by path.
pub const SUBSCRIPTION: &str = "outbound/Subscriptions/customer-api";
/// A subscription for another target, which no app serves: what reaches it stays there to be looked at.
pub const WITNESS: &str = "outbound/Subscriptions/witness";
/// Queue of the acknowledgements.
pub const INBOUND: &str = "inbound";
/// Queue of the notifications that were given up, when there are sessions.
pub const REJECTED: &str = "outbound-rejected";
/// Name of the first target's API key in the vault.
pub const TARGET_SECRET: &str = "target-api-key";

/// A target beside the first one.
pub struct FurtherTarget {
    /// Its `targetSystem`, which its subscription is called after.
    pub name: String,
    /// The subscription, by path.
    pub subscription: String,
    /// The system.
    pub target: Target,
    /// Runs its `outbound-fn`.
    pub outbound: Fleet,
}

/// Why the stack did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A stand-in.
    #[error(transparent)]
    StandIn(#[from] StartError),
    /// The broker.
    #[error(transparent)]
    Bus(#[from] bus::StartError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The sync file of a further target.
    #[error("{0} must be for a topic, and name its target, e.g. \"targetSystem\": \"warehouse\"")]
    FurtherTarget(String),
    /// A subscription's rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A function app.
    #[error(transparent)]
    App(#[from] apps::AppError),
    /// A Functions host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The working folder.
    #[error("the working folder: {0}")]
    Folder(#[from] std::io::Error),
    /// The connection string that the broker gave.
    #[error(transparent)]
    ConnectionString(#[from] service_bus::ConnectionStringError),
}

/// The running loop. Dropping it stops everything.
pub struct Stack {
    /// Runs `outbound-fn` of the first target.
    pub outbound: Fleet,
    /// Runs `inbound-fn`.
    pub inbound: Fleet,
    /// The Dataverse environment.
    pub dataverse: Dataverse,
    /// The target system, or the first one.
    pub target: Target,
    /// The others.
    pub further_targets: Vec<FurtherTarget>,
    /// The Service Bus namespace.
    pub bus: Broker,
    /// Application Insights, unless there is no telemetry.
    pub insights: Option<Insights>,
    /// Key Vault.
    pub vault: Vault,
    /// The managed-identity endpoint, and Entra's token endpoint.
    pub identity: Identity,
    /// Client of the plug-in's asynchronous step.
    posting: Client,
    form: Form,
    /// What outbound-fn of the first target and inbound-fn were started with.
    settings: BTreeMap<String, String>,
    folder: TempDir,
}

impl Stack {
    /// Starts everything. Returns when the hosts are started; their handlers take a moment more.
    ///
    /// # Errors
    /// [`StackError`], naming the part.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        let folder = TempDir::with_prefix("dvsync-")?;
        let further = further(&config)?;
        let mut broker = BrokerConfig::new([queue(INBOUND)]);
        match config.form {
            Form::Queue => broker.queues.push(QueueConfig {
                requires_session: config.sessions,
                ..queue(OUTBOUND)
            }),
            Form::Topic => broker
                .topics
                .push(topic(further.iter().map(|(name, _)| name.as_str()))?),
        }
        if config.sessions {
            broker.queues.push(queue(REJECTED));
        }
        broker.listen.set_port(config.ports.bus);
        let bus = Broker::start(broker).await?;

        let key = TokenKey::random();
        let ca = LocalCa::new()?;
        let identity = Identity::start(IdentityConfig {
            key: key.clone(),
            tls: Some(ca.server_config()?),
            ..IdentityConfig::default()
        })
        .await?;
        let ca_file = folder.path().join("ca.pem");
        ca.write_pem(&ca_file)?;
        let vault_config = VaultConfig {
            port: 0,
            ca: &ca,
            key: key.clone(),
            tenant: Uuid::new_v4(),
        };
        let vault = Vault::start(vault_config).await?;
        let mut target_config = TargetConfig {
            port: config.ports.target,
            ..TargetConfig::default()
        };
        if let Some(key) = &config.target_key {
            target_config.api_key.clone_from(key);
        }
        let target = Target::start(target_config).await?;
        vault.set_secret(TARGET_SECRET, target.api_key());

        let insights = match &config.telemetry {
            Some(telemetry) => Some(
                Insights::start(InsightsConfig {
                    items_port: config.ports.items,
                    file: telemetry.file.clone(),
                    auth: telemetry.identities_only.then(|| key.clone()),
                    ..InsightsConfig::new(&ca)
                })
                .await?,
            ),
            None => None,
        };

        let posting =
            Client::from_connection_string(&bus.connection_string(), ClientOptions::default())?;
        let dataverse = Dataverse::start(DataverseConfig {
            port: config.ports.dataverse,
            auth: Some(key),
            sender: Some(Arc::new(
                BusSender::new(posting.clone(), OUTBOUND).with_sessions(config.sessions),
            )),
            telemetry: insights.as_ref().map(|insights| PlugInTelemetry {
                sink: insights.sink(),
                instrumentation_key: insights.instrumentation_key(),
                target: format!("{}/{OUTBOUND}", bus.addr()),
            }),
            pending_lease: Duration::from_secs(10),
            retry_wait: Duration::from_secs(2),
            sample_accounts: config.rows,
            sample_seed: config.seed,
            ..DataverseConfig::default()
        })
        .await?;

        let mut settings = BTreeMap::from(
            [
                ("ServiceBus", bus.connection_string()),
                ("INBOUND_QUEUE", INBOUND.to_owned()),
                ("DATAVERSE_URL", dataverse.url().to_owned()),
                ("TARGET_URL", target.url()),
                ("KEY_VAULT_URL", vault.url().to_owned()),
                ("KEY_VAULT_VERIFY_CHALLENGE", "false".to_owned()),
                ("TARGET_SECRET_NAME", TARGET_SECRET.to_owned()),
                ("IDENTITY_ENDPOINT", identity.url()),
                ("IDENTITY_HEADER", identity.header().to_owned()),
                ("AZURE_AUTHORITY_HOST", identity.authority()),
                ("DATAVERSE_TENANT_ID", identity.tenant().to_string()),
                // So that the shipped binary, unmodified, trusts the vault stand-in's certificate.
                ("SSL_CERT_FILE", ca_file.display().to_string()),
                ("SWEEP_SCHEDULE", "*/2 * * * * *".to_owned()),
                ("SWEEP_LEASE_SECONDS", "5".to_owned()),
                ("DATAVERSE_TIMEOUT_SECONDS", "5".to_owned()),
                // Soon enough for a person who watches.
                ("DATAVERSE_REPORT_SECONDS", "0.2".to_owned()),
                ("INVOCATION_DEADLINE_SECONDS", "30".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if let Some(insights) = &insights {
            let telemetry = [
                (
                    "APPLICATIONINSIGHTS_CONNECTION_STRING",
                    insights.connection_string(),
                ),
                ("TELEMETRY_METRICS_SECONDS", "1".to_owned()),
                // OpenTelemetry's own settings, in milliseconds: soon enough for a person who watches.
                ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
                ("OTEL_BLRP_SCHEDULE_DELAY", "200".to_owned()),
            ];
            settings.extend(telemetry.map(|(name, value)| (name.to_owned(), value)));
        }
        if config.sessions {
            settings.insert("SESSIONS".to_owned(), "true".to_owned());
            settings.insert("REJECTED_QUEUE".to_owned(), REJECTED.to_owned());
        }
        let outbound: &[(&str, &str)] = match config.form {
            Form::Queue => &[("OUTBOUND_QUEUE", OUTBOUND)],
            Form::Topic => &[
                ("OUTBOUND_TOPIC", OUTBOUND),
                ("OUTBOUND_SUBSCRIPTION", "customer-api"),
            ],
        };
        let outbound = outbound.iter();
        settings.extend(outbound.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        if config.packages.is_some() {
            for name in ["DATAVERSE_URL", "TARGET_URL", "ServiceBus"] {
                if let Some(value) = settings.get_mut(name) {
                    *value = value.replace("127.0.0.1", "localhost");
                }
            }
        }
        settings.extend(config.settings.clone());
        let launcher = Launcher {
            config: &config,
            folder: folder.path(),
            settings: &settings,
            identity: &identity,
        };
        let first = SyncFile {
            name: "sync.json".to_owned(),
            text: config.sync_json.clone(),
        };
        let outbound = launcher.start(App::Outbound, "", &[&first], []).await?;
        let mut further_targets = Vec::new();
        for (name, file) in &further {
            let target = Target::start(TargetConfig::default()).await?;
            let secret = format!("{TARGET_SECRET}-{name}");
            vault.set_secret(&secret, target.api_key());
            let own = [
                ("OUTBOUND_SUBSCRIPTION", name.clone()),
                ("SYNC_FILES", file.name.clone()),
                ("TARGET_URL", target.url()),
                ("TARGET_SECRET_NAME", secret),
            ];
            further_targets.push(FurtherTarget {
                name: name.clone(),
                subscription: format!("{OUTBOUND}/Subscriptions/{name}"),
                outbound: launcher.start(App::Outbound, name, &[file], own).await?,
                target,
            });
        }
        let files: Vec<&SyncFile> = std::iter::once(&first)
            .chain(further.iter().map(|(_, file)| file))
            .collect();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let own = [("SYNC_FILES", names.join(","))];
        let inbound = launcher.start(App::Inbound, "", &files, own).await?;
        Ok(Self {
            outbound,
            inbound,
            dataverse,
            target,
            further_targets,
            bus,
            insights,
            vault,
            identity,
            posting,
            form: config.form,
            settings,
            folder,
        })
    }

    /// All target systems, the first one first.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let further = self.further_targets.iter().map(|further| &further.target);
        std::iter::once(&self.target).chain(further)
    }

    /// What runs `outbound-fn`, in the order of the targets.
    pub fn outbound_fleets(&self) -> impl Iterator<Item = &Fleet> {
        let further = self.further_targets.iter().map(|further| &further.outbound);
        std::iter::once(&self.outbound).chain(further)
    }

    /// Where notifications wait, the witness left out: the queue, or the topic, which holds what is
    /// scheduled, and the subscriptions.
    pub fn outbound_entities(&self) -> impl Iterator<Item = &str> {
        let subscription = (self.form == Form::Topic).then_some(SUBSCRIPTION);
        let further = self.further_targets.iter();
        let further = further.map(|further| further.subscription.as_str());
        std::iter::once(OUTBOUND).chain(subscription).chain(further)
    }

    /// All entities whose messages travel on, in the order in which these do.
    pub fn entities(&self) -> impl Iterator<Item = &str> {
        self.outbound_entities().chain([INBOUND])
    }

    /// Whether everything that was saved has travelled to its end: nothing in the outbox, on a queue
    /// (dead-lettered messages do not count), or in a handler.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let quiet = |queue| {
            self.bus
                .counts(queue)
                .is_some_and(|c| c.active + c.locked + c.scheduled + c.deferred == 0)
        };
        // In the order in which a change travels: what moves on while we look is seen further on.
        let quiet = self.dataverse.outbox_len() == 0 && self.entities().all(quiet);
        // What is applied late may still overwrite something.
        quiet && self.targets().all(|target| target.late_calls() == 0)
    }

    /// The settings of both apps, those of the first target's outbound-fn where they differ.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Where the apps are laid out.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops everything, the apps first.
    pub async fn shutdown(self) {
        tokio::join!(self.outbound.stop(), self.inbound.stop());
        for further in self.further_targets {
            further.outbound.stop().await;
            further.target.shutdown().await;
        }
        self.dataverse.shutdown().await;
        self.posting.close().await;
        self.target.shutdown().await;
        self.vault.shutdown().await;
        self.identity.shutdown().await;
        self.bus.shutdown().await;
        if let Some(insights) = self.insights {
            insights.shutdown().await;
        }
    }
}
