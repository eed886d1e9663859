//! Where the letters are: the namespace, and the queues or subscriptions in it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use dead_letters::{Place, PlaceError};
use local_stack::bus::LOCAL_KEY;
use local_stack::stack::{INBOUND, OUTBOUND};
use service_bus::{Client, ClientOptions, Error, ErrorClass};
use sync_core::queue::ServiceBusQueue;
use sync_core::settings::table::{INBOUND_QUEUE, SESSIONS};
use sync_core::settings::{BusSetting, OutboundSetting, environment, identity, rejected_queue};

use crate::app_settings;
use crate::local::BUS_PORT;

/// Which namespace, and which queues. Without these as the app settings say.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// App settings: a local.settings.json, or what `az functionapp config appsettings list` prints. Without it
    /// local.settings.json in this folder, or the environment.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The namespace, e.g. contoso.servicebus.windows.net, where you are signed in (`az login`) and have the
    /// roles Azure Service Bus Data Receiver and, to resend, Data Sender.
    #[arg(long, value_name = "HOST", conflicts_with = "settings")]
    namespace: Option<String>,
    /// The loop that `dvsync local` runs on this machine.
    #[arg(long, conflicts_with_all = ["settings", "namespace"])]
    local: bool,
    /// A queue, or a topic's subscription (topic/Subscriptions/name). May be given several times.
    #[arg(long, value_name = "NAME")]
    queue: Vec<String>,
    /// With sessions: the queue that takes what is given up on the one --queue, to be looked at instead of its
    /// dead-letter queue.
    #[arg(long, value_name = "NAME", requires = "queue")]
    rejected: Option<String>,
}

/// A client, and the places that were asked for.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) places: Vec<Place>,
    by_identity: bool,
}

impl Connection {
    pub(super) async fn open(options: &Where) -> anyhow::Result<Self> {
        let bus = match &options.namespace {
            _ if options.local => BusSetting::ConnectionString(local()),
            Some(host) => BusSetting::Namespace(host.clone()),
            None => {
                app_settings::into_environment(Path::new("."), options.settings.as_deref())?;
                BusSetting::read(&environment).context(
                    "which namespace? --namespace HOST, --settings FILE with the app's settings, or --local for what `dvsync local` runs",
                )?
            }
        };
        let own = app_settings::signed_in(&identity(&environment), &bus).await?;
        let client = bus.client(&own, ClientOptions::default())?;
        let mut connection = Self {
            places: Vec::new(),
            by_identity: matches!(bus, BusSetting::Namespace(_)),
            client,
        };
        connection.places = connection.find(options).await?;
        Ok(connection)
    }

    async fn find(&self, options: &Where) -> anyhow::Result<Vec<Place>> {
        let mut places = Vec::new();
        match (&options.rejected, &options.queue[..]) {
            (Some(rejected), [outbound]) if !outbound.contains('/') => {
                return Ok(vec![Place::rejected(rejected, outbound)]);
            }
            (Some(_), _) => {
                bail!("--rejected goes with one --queue, which its messages go back to")
            }
            (None, _) => {}
        }
        if !options.queue.is_empty() {
            for entity in &options.queue {
                places.push(self.place(entity).await?);
            }
            return Ok(places);
        }
        if options.local {
            return Ok([OUTBOUND, INBOUND].map(Place::queue).into());
        }
        let get = &environment;
        let outbound = OutboundSetting::read(get)
            .context("which queues? --queue NAME, or the app's settings: --settings FILE")?;
        match &outbound {
            OutboundSetting::Queue(name) => places.push(Place::queue(name)),
            OutboundSetting::Topic {
                topic,
                subscription: Some(subscription),
            } => {
                let path = ServiceBusQueue::subscription_path(topic, subscription);
                places.push(self.place(&path).await?);
            }
            OutboundSetting::Topic {
                topic,
                subscription: None,
            } => bail!(
                "the settings name topic {topic} and no subscription: --queue {topic}/Subscriptions/NAME, or the settings of an outbound-fn"
            ),
        }
        places.extend(INBOUND_QUEUE.get(get).map(Place::queue));
        if SESSIONS.flag(get)? {
            let rejected = rejected_queue(get)?;
            places.push(Place::rejected(&rejected, outbound.entity()));
            // Given back too often, its messages are there.
            places.push(Place::queue(rejected));
        }
        Ok(places)
    }

    async fn place(&self, entity: &str) -> anyhow::Result<Place> {
        Place::find(&self.client, entity)
            .await
            .map_err(|error| match error {
                PlaceError::Bus(error) => self.explain(entity, error),
                PlaceError::NoTarget { .. } => error.into(),
            })
    }

    /// What went wrong at a place, and what to do.
    pub(super) fn failed(&self, place: &Place, error: Error) -> anyhow::Error {
        self.explain(place.name(), error)
    }

    fn explain(&self, entity: &str, error: Error) -> anyhow::Error {
        let fix = match error.class() {
            ErrorClass::NotFound => format!(
                "{} has no {entity}: name the queues with --queue",
                self.client.namespace()
            ),
            ErrorClass::Unauthorized if self.by_identity => format!(
                "sign in with `az login`, with the roles Azure Service Bus Data Receiver and, to resend, Data Sender on {}; a new assignment takes some minutes",
                self.client.namespace()
            ),
            ErrorClass::Unauthorized => {
                "the connection string's key needs the rights Listen and, to resend, Send"
                    .to_owned()
            }
            _ => return error.into(),
        };
        anyhow!(error).context(fix)
    }
}

fn local() -> String {
    format!(
        "Endpoint=sb://127.0.0.1:{BUS_PORT};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey={LOCAL_KEY};UseDevelopmentEmulator=true"
    )
}
