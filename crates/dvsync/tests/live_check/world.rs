//! The systems around the apps, and the command.

use std::collections::BTreeMap;
use std::path::PathBuf;

use local_stack::bus::{
    AuthorizationRule, Broker, BrokerConfig, QueueConfig, Rights, Rule, Security,
    SubscriptionConfig, TopicConfig,
};
use local_stack::dataverse::{Dataverse, DataverseConfig};
use local_stack::identity::{Identity, IdentityConfig, TokenKey};
use local_stack::insights::{Insights, InsightsConfig};
use local_stack::target::{Target, TargetConfig};
use local_stack::tls::LocalCa;
use local_stack::vault::{Vault, VaultConfig};
use serde_json::Value;
use service_bus::{Client, ClientOptions};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const SECRET: &str = "target-api-key";

pub(crate) struct World {
    pub(crate) bus: Broker,
    pub(crate) client: Client,
    pub(crate) identity: Identity,
    pub(crate) dataverse: Dataverse,
    pub(crate) vault: Vault,
    pub(crate) target: Target,
    /// Behind TLS of an authority that nobody trusts.
    pub(crate) foreign_target: Target,
    pub(crate) foreign_ca: PathBuf,
    pub(crate) insights: Insights,
    /// Takes telemetry from identities only.
    pub(crate) strict_insights: Insights,
    /// The same, of another tenant.
    pub(crate) foreign_insights: Insights,
    ca_file: PathBuf,
    folder: TempDir,
}

/// What one check is given.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) sync: Value,
}

impl Setup {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.settings.remove(name);
    }

    /// A topic in the place of the queue.
    pub(crate) fn topic(&mut self, topic: &str, subscription: &str) {
        self.unset("OUTBOUND_QUEUE");
        self.set("OUTBOUND_TOPIC", topic);
        self.set("OUTBOUND_SUBSCRIPTION", subscription);
    }

    /// Another key of the namespace.
    pub(crate) fn key(&mut self, name: &str, key: &str) {
        let text = &self.settings["ServiceBus"];
        let parts = text.split(';').map(|part| match part.split_once('=') {
            Some(("SharedAccessKeyName", _)) => format!("SharedAccessKeyName={name}"),
            Some(("SharedAccessKey", _)) => format!("SharedAccessKey={key}"),
            _ => part.to_owned(),
        });
        let text = parts.collect::<Vec<_>>().join(";");
        self.set("ServiceBus", text);
    }
}

pub(crate) struct Checked {
    pub(crate) usable: bool,
    pub(crate) text: String,
    lines: Vec<Value>,
}

impl Checked {
    pub(crate) fn codes(&self) -> Vec<&str> {
        let codes = self.lines.iter().filter_map(|line| line["code"].as_str());
        codes.collect()
    }

    pub(crate) fn fix_of(&self, code: &str) -> Option<&str> {
        let mut lines = self.lines.iter();
        lines.find(|line| line["code"] == code)?["fix"].as_str()
    }
}

fn queue(name: &str) -> QueueConfig {
    QueueConfig {
        duplicate_detection_window: Some(Duration::from_secs(600)),
        ..QueueConfig::named(name)
    }
}

fn subscription(name: &str, filter: &str) -> SubscriptionConfig {
    SubscriptionConfig {
        rules: vec![Rule::sql("rule", filter).unwrap()],
        ..SubscriptionConfig::named(name)
    }
}

fn broker() -> BrokerConfig {
    let ordered = QueueConfig {
        requires_session: true,
        ..queue("ordered")
    };
    let queues = [
        queue("outbound"),
        queue("inbound"),
        QueueConfig::named("rejected"),
        QueueConfig::named("plain"),
        ordered,
    ];
    let own = "TargetSystem IS NULL OR TargetSystem = 'customer-api'";
    let topic = TopicConfig {
        duplicate_detection_window: Some(Duration::from_secs(600)),
        subscriptions: vec![
            subscription("customer-api", own),
            subscription("everything", "1 = 1"),
        ],
        ..TopicConfig::named("news")
    };
    let rule = |name: &str, rights| AuthorizationRule {
        name: name.to_owned(),
        keys: vec!["k3y".to_owned()],
        rights,
        entity: None,
    };
    let mut security = Security::default();
    security.rules.push(rule("listen", Rights::LISTEN));
    security.rules.push(rule("send", Rights::SEND));
    BrokerConfig {
        topics: vec![topic],
        security: Some(security),
        ..BrokerConfig::new(queues)
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (ca, other_ca) = (LocalCa::new().unwrap(), LocalCa::new().unwrap());
        let (ca_file, foreign_ca) = (
            folder.path().join("ca.pem"),
            folder.path().join("other.pem"),
        );
        ca.write_pem(&ca_file).unwrap();
        other_ca.write_pem(&foreign_ca).unwrap();
        let key = TokenKey::random();
        let bus = Broker::start(broker()).await.unwrap();
        let options = ClientOptions::default();
        let client = Client::from_connection_string(&bus.connection_string(), options).unwrap();
        let identity = IdentityConfig {
            key: key.clone(),
            tls: Some(ca.server_config().unwrap()),
            user_assigned: vec![Uuid::from_u128(1)],
            ..IdentityConfig::default()
        };
        let dataverse = DataverseConfig {
            auth: Some(key.clone()),
            sample_accounts: 3,
            ..DataverseConfig::default()
        };
        let vault = VaultConfig {
            port: 0,
            ca: &ca,
            key: key.clone(),
            tenant: Uuid::new_v4(),
        };
        let vault = Vault::start(vault).await.unwrap();
        let target = Target::start(TargetConfig::default()).await.unwrap();
        vault.set_secret(SECRET, target.api_key());
        let foreign_target = TargetConfig {
            tls: Some(other_ca.server_config().unwrap()),
            api_key: target.api_key().to_owned(),
            ..TargetConfig::default()
        };
        let insights = |auth| InsightsConfig {
            auth,
            ..InsightsConfig::new(&ca)
        };
        Self {
            client,
            bus,
            identity: Identity::start(identity).await.unwrap(),
            dataverse: Dataverse::start(dataverse).await.unwrap(),
            vault,
            target,
            foreign_target: Target::start(foreign_target).await.unwrap(),
            foreign_ca,
            insights: Insights::start(insights(None)).await.unwrap(),
            strict_insights: Insights::start(insights(Some(key))).await.unwrap(),
            foreign_insights: Insights::start(insights(Some(TokenKey::random())))
                .await
                .unwrap(),
            ca_file,
            folder,
        }
    }

    /// Everything as it should be.
    pub(crate) fn setup(&self) -> Setup {
        let settings = [
            ("ServiceBus", self.bus.connection_string()),
            ("OUTBOUND_QUEUE", "outbound".to_owned()),
            ("INBOUND_QUEUE", "inbound".to_owned()),
            ("DATAVERSE_URL", self.dataverse.url().to_owned()),
            ("TARGET_URL", self.target.url()),
            ("TARGET_SECRET_NAME", SECRET.to_owned()),
            ("KEY_VAULT_URL", self.vault.url().to_owned()),
            ("KEY_VAULT_VERIFY_CHALLENGE", "false".to_owned()),
            ("IDENTITY_ENDPOINT", self.identity.url()),
            ("IDENTITY_HEADER", self.identity.header().to_owned()),
            ("SSL_CERT_FILE", self.ca_file.display().to_string()),
            (
                "APPLICATIONINSIGHTS_CONNECTION_STRING",
                self.insights.connection_string(),
            ),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let sync = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sync.json");
        let sync = std::fs::read_to_string(sync).unwrap();
        Setup {
            settings: settings.into(),
            sync: serde_json::from_str(&sync).unwrap(),
        }
    }

    /// Client id of the identity that checks.
    pub(crate) fn app(&self) -> String {
        self.identity.client_id().to_string()
    }

    pub(crate) async fn check(&self, setup: &Setup) -> Checked {
        let (usable, text) = self.run(setup, &["--json"]).await;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        Checked {
            usable,
            lines: json["checks"].as_array().cloned().unwrap_or_default(),
            text,
        }
    }

    /// What people see.
    pub(crate) async fn print(&self, setup: &Setup) -> String {
        self.run(setup, &[]).await.1
    }

    async fn run(&self, setup: &Setup, further: &[&str]) -> (bool, String) {
        let app = self.folder.path();
        std::fs::write(app.join("sync.json"), setup.sync.to_string()).unwrap();
        let settings = serde_json::json!({"IsEncrypted": false, "Values": setup.settings});
        let file = app.join("settings.json");
        std::fs::write(&file, settings.to_string()).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dvsync"));
        command.args(["check", "--live", "--settings"]).arg(&file);
        let output = command.args(further).arg(app).output().await.unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.success(), text)
    }
}
