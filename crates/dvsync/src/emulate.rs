//! `dvsync emulate`: one stand-in alone, for other people's tests and for trying things out.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use local_stack::bus::{Broker, BrokerAdmin, BrokerConfig, TopicConfig};
use local_stack::dataverse::{Dataverse, DataverseConfig, Limits, TlsPort, WebServers};
use local_stack::identity::{Identity, IdentityConfig, TokenKey};
use local_stack::insights::{Insights, InsightsConfig};
use local_stack::target::{Target, TargetConfig};
use local_stack::tls::LocalCa;
use local_stack::vault::{Vault, VaultConfig};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::local::stopped;
use crate::out;

/// Options of `dvsync emulate`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Part,
    /// Where to listen, on loopback; port 0 takes a free one.
    #[arg(long, global = true, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// Say where it listens as one line of JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Azure Service Bus over AMQP.
    ServiceBus {
        /// A queue with default settings; repeatable.
        #[arg(long = "queue")]
        queues: Vec<String>,
        /// A topic and its subscriptions, all with default settings; repeatable.
        #[arg(long = "topic", value_name = "NAME/SUBSCRIPTION[,SUBSCRIPTION]")]
        topics: Vec<String>,
        /// Queues and topics in the shape of Microsoft's emulator's Config.json.
        #[arg(long, conflicts_with_all = ["queues", "topics"])]
        config: Option<PathBuf>,
        /// Keep everything in this directory, so that a restart loses nothing; without it all is in
        /// memory.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Verify tokens: the key of the connection string is good, others are not.
        #[arg(long)]
        verify_tokens: bool,
        /// Serve test hooks over HTTP on this loopback address; port 0 takes a free one.
        #[arg(long, value_name = "ADDRESS")]
        admin_listen: Option<SocketAddr>,
    },
    /// The Dataverse Web API with accounts, contacts and the outbox.
    Dataverse {
        /// Accounts to start with: the well-known sample ones first, then generated ones.
        #[arg(long, default_value_t = 10)]
        rows: usize,
        /// Seed of the generated ones.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Listen on a TLS port too, and write the certificate to trust (SSL_CERT_FILE) here.
        #[arg(long)]
        ca: Option<PathBuf>,
        /// Web servers, among which the ARRAffinity cookie chooses.
        #[arg(long, default_value_t = 1)]
        servers: usize,
        /// Enforce the service protection limits, over a window so many times shorter than 300 s.
        #[arg(long, value_name = "FACTOR")]
        limits: Option<u32>,
    },
    /// The customer API.
    Target {
        /// What callers must send as x-api-key.
        #[arg(long, default_value = "local-key")]
        api_key: String,
    },
    /// The managed-identity endpoint of App Service.
    Identity,
    /// Application Insights: ingestion over TLS, and its items (GET /items, /counts) and faults
    /// (/_admin/faults) over plain HTTP.
    ApplicationInsights {
        /// Where to write the certificate to trust (SSL_CERT_FILE, REQUESTS_CA_BUNDLE).
        #[arg(long, default_value = "dvsync-ca.pem")]
        ca: PathBuf,
    },
    /// Key Vault over TLS, with the identity endpoint its tokens come from.
    KeyVault {
        /// NAME=VALUE; repeatable.
        #[arg(long = "secret")]
        secrets: Vec<String>,
        /// Where to write the certificate to trust (SSL_CERT_FILE).
        #[arg(long, default_value = "dvsync-ca.pem")]
        ca: PathBuf,
    },
}

/// Starts the stand-in and keeps it up until Ctrl-C.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    if !options.listen.ip().is_loopback() {
        bail!(
            "--listen {} is not a loopback address: stand-ins are for this machine only",
            options.listen
        );
    }
    let port = options.listen.port();
    match options.part {
        Part::ServiceBus {
            queues,
            topics,
            config,
            data,
            verify_tokens,
            admin_listen,
        } => {
            let mut config = match config {
                Some(path) => {
                    let text = fs::read_to_string(&path)
                        .with_context(|| format!("cannot read {}", path.display()))?;
                    BrokerConfig::from_emulator_json(&text)
                        .with_context(|| path.display().to_string())?
                }
                None if queues.is_empty() && topics.is_empty() => {
                    bail!(
                        "name the queues and topics: --queue outbound --topic orders/billing,stock, \
                         or --config FILE"
                    )
                }
                None => {
                    let mut config = BrokerConfig::with_queues(queues.iter().map(String::as_str));
                    let topics = topics.iter().map(|topic| topic_config(topic));
                    config.topics = topics.collect::<anyhow::Result<_>>()?;
                    config
                }
            };
            config.listen = options.listen;
            config.data = data;
            if verify_tokens {
                config.security.get_or_insert_default();
            }
            let broker = Broker::start(config).await?;
            let admin = match admin_listen {
                Some(addr) if !addr.ip().is_loopback() => {
                    bail!("--admin-listen {addr} is not a loopback address")
                }
                Some(addr) => Some(BrokerAdmin::start(broker.hooks(), addr.port()).await?),
                None => None,
            };
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            let mut where_it_is = json!({
                "connectionString": broker.connection_string(),
                "listen": broker.addr().to_string(),
                "queues": sorted(broker.queues()),
                "topics": sorted(broker.topics()),
                "subscriptions": sorted(broker.subscriptions()),
            });
            if let Some(admin) = &admin {
                where_it_is["admin"] = json!(admin.url());
            }
            say(options.json, &where_it_is);
            let is_broken = tokio::select! {
                stopped = stopped() => stopped.map(|()| false)?,
                () = broker.broken() => true,
            };
            if let Some(admin) = admin {
                admin.shutdown().await;
            }
            broker.shutdown().await;
            if is_broken {
                bail!("the broker has stopped: its data could not be written any more");
            }
        }
        Part::Dataverse {
            rows,
            seed,
            ca,
            servers,
            limits,
        } => {
            let mut config = DataverseConfig {
                port,
                sample_accounts: rows,
                sample_seed: seed,
                servers: WebServers {
                    count: servers,
                    limits: limits.map(|factor| Limits::REAL.scaled_down(factor)),
                    ..WebServers::default()
                },
                ..DataverseConfig::default()
            };
            if let Some(path) = &ca {
                let authority = LocalCa::new()?;
                authority
                    .write_pem(path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                config.tls = Some(TlsPort {
                    port: 0,
                    config: authority.server_config()?,
                });
            }
            let dataverse = Dataverse::start(config).await?;
            let mut where_it_is = json!({ "url": dataverse.url() });
            if let (Some(url), Some(path)) = (dataverse.tls_url(), &ca) {
                where_it_is["tlsUrl"] = json!(url);
                where_it_is["SSL_CERT_FILE"] = json!(path.display().to_string());
            }
            say(options.json, &where_it_is);
            stopped().await?;
            dataverse.shutdown().await;
        }
        Part::Target { api_key } => {
            let target = Target::start(TargetConfig {
                port,
                api_key,
                ..TargetConfig::default()
            })
            .await?;
            say(
                options.json,
                &json!({ "url": target.url(), "apiKey": target.api_key() }),
            );
            stopped().await?;
            target.shutdown().await;
        }
        Part::Identity => {
            let identity = Identity::start(IdentityConfig {
                port,
                ..IdentityConfig::default()
            })
            .await?;
            say(
                options.json,
                &json!({ "IDENTITY_ENDPOINT": identity.url(), "IDENTITY_HEADER": identity.header() }),
            );
            stopped().await?;
            identity.shutdown().await;
        }
        Part::ApplicationInsights { ca } => {
            let authority = LocalCa::new()?;
            authority
                .write_pem(&ca)
                .with_context(|| format!("cannot write {}", ca.display()))?;
            let insights = Insights::start(InsightsConfig {
                port,
                ..InsightsConfig::new(&authority)
            })
            .await?;
            say(
                options.json,
                &json!({
                    "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string(),
                    "SSL_CERT_FILE": ca.display().to_string(),
                    "items": insights.items_url(),
                }),
            );
            stopped().await?;
            insights.shutdown().await;
        }
        Part::KeyVault { secrets, ca } => key_vault(port, options.json, &secrets, &ca).await?,
    }
    Ok(())
}

/// A topic from `NAME/SUBSCRIPTION[,SUBSCRIPTION]`. The last slash ends the topic's name, which may
/// hold others.
fn topic_config(text: &str) -> anyhow::Result<TopicConfig> {
    let (name, subscriptions) = text.rsplit_once('/').with_context(|| {
        format!("--topic {text} names no subscription; write NAME/SUBSCRIPTION[,SUBSCRIPTION]")
    })?;
    Ok(TopicConfig::with_subscriptions(
        name,
        subscriptions.split(','),
    ))
}

async fn key_vault(
    port: u16,
    json: bool,
    secrets: &[String],
    ca_path: &Path,
) -> anyhow::Result<()> {
    let key = TokenKey::random();
    let identity = Identity::start(IdentityConfig {
        key: key.clone(),
        ..IdentityConfig::default()
    })
    .await?;
    let ca = LocalCa::new()?;
    ca.write_pem(ca_path)
        .with_context(|| format!("cannot write {}", ca_path.display()))?;
    let vault = Vault::start(VaultConfig {
        port,
        ca: &ca,
        key,
        tenant: Uuid::new_v4(),
    })
    .await?;
    for secret in secrets {
        // The value is never repeated, not even in an error.
        let (name, value) = secret
            .split_once('=')
            .context("--secret takes NAME=VALUE")?;
        vault.set_secret(name, value);
    }
    say(
        json,
        &json!({
            "KEY_VAULT_URL": vault.url(), "SSL_CERT_FILE": ca_path.display().to_string(),
            "IDENTITY_ENDPOINT": identity.url(), "IDENTITY_HEADER": identity.header(),
        }),
    );
    stopped().await?;
    vault.shutdown().await;
    identity.shutdown().await;
    Ok(())
}

/// One line of JSON for machines, a line per value for people.
fn say(as_json: bool, what: &Value) {
    if as_json {
        out::line(what);
        return;
    }
    for (name, value) in what.as_object().into_iter().flatten() {
        match value.as_str() {
            Some(text) => out::line(format_args!("{name}: {text}")),
            None => out::line(format_args!("{name}: {value}")),
        }
    }
    out::line(format_args!("Ctrl-C stops it."));
}
