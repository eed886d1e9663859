//! Application Insights: the ingestion endpoint over TLS, and what it was sent, to be looked at.
//!
//! Contract: the "track" operation of the Application Insights ingestion API (v2 and v2.1), with shapes and
//! statuses as the official Python exporter's generated models and its handling of answers have them. Judged
//! by that exporter: `tests/conformance/insights`. A second port, over plain HTTP, hands the items out to
//! people and to `dvsync trace`.

mod body;
mod envelope;
mod faults;
mod item;
mod query;
mod store;
pub mod story;
mod web;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use faults::{InsightsFaults, Outage};
pub(crate) use item::duration_text;
pub use item::{Item, Kind, Link};
pub use query::{Wanted, kql};
use store::Store;

use crate::identity::TokenKey;
use crate::serve::{Bound, Server, StartError};
use crate::tls::LocalCa;

/// How many items are kept unless the configuration says otherwise.
pub const KEPT: usize = 200_000;

/// Takes telemetry envelopes.
pub trait EnvelopeSink: Send + Sync {
    /// Takes them in; must not block.
    fn take(&self, envelopes: Vec<Value>);
}

/// How the endpoint behaves.
#[derive(Debug)]
pub struct InsightsConfig<'a> {
    /// Port of ingestion on loopback; 0 lets the system choose.
    pub port: u16,
    /// Port on loopback on which people read the items, over plain HTTP; 0 lets the system choose.
    pub items_port: u16,
    /// Signs the server's certificate.
    pub ca: &'a LocalCa,
    /// The instrumentation key; items for another are refused.
    pub instrumentation_key: Uuid,
    /// With it, only bearer tokens for `https://monitor.azure.com` are let in, as on a resource with local
    /// authentication turned off.
    pub auth: Option<TokenKey>,
    /// Items kept; the oldest are dropped and counted.
    pub kept: usize,
    /// Every accepted item is written here too, one a line.
    pub file: Option<PathBuf>,
}

impl<'a> InsightsConfig<'a> {
    /// A resource with a new instrumentation key that lets everybody in.
    pub fn new(ca: &'a LocalCa) -> Self {
        Self {
            port: 0,
            items_port: 0,
            ca,
            instrumentation_key: Uuid::new_v4(),
            auth: None,
            kept: KEPT,
            file: None,
        }
    }
}

/// How many items came, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InsightsCounts {
    /// POSTs, refused ones included.
    pub requests: u64,
    /// Items taken in since the start.
    pub accepted: u64,
    /// Items refused, one by one.
    pub refused: u64,
    /// Items that are held now.
    pub held: usize,
    /// Items that made room for newer ones.
    pub dropped: u64,
    /// Items that could not be written to the file.
    pub unwritten: u64,
}

/// The running endpoint; dropping it stops it.
#[derive(Debug)]
pub struct Insights {
    ingestion: Server,
    people: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    key: Uuid,
    auth: Option<TokenKey>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    faults: InsightsFaults,
    requests: u64,
    refused: u64,
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> InsightsCounts {
        let inner = self.inner();
        InsightsCounts {
            requests: inner.requests,
            accepted: inner.store.accepted(),
            refused: inner.refused,
            held: inner.store.len(),
            dropped: inner.store.dropped(),
            unwritten: inner.store.unwritten(),
        }
    }
}

impl Insights {
    /// Starts it, empty.
    ///
    /// # Errors
    /// A port is taken, the file cannot be written, or no certificate could be made.
    pub async fn start(config: InsightsConfig<'_>) -> Result<Self, StartError> {
        const NAME: &str = "Application Insights";
        let refused = |reason: String| StartError::Config {
            stand_in: NAME,
            reason,
        };
        let tls = config.ca.server_config();
        let tls = tls.map_err(|error| refused(error.to_string()))?;
        let file = config.file.map(|path| {
            File::create(&path).map_err(|error: io::Error| {
                refused(format!("cannot write {}: {error}", path.display()))
            })
        });
        let file = file.transpose()?;
        let state = Arc::new(State {
            key: config.instrumentation_key,
            auth: config.auth,
            inner: Mutex::new(Inner {
                store: Store::new(config.kept, file),
                faults: InsightsFaults::default(),
                requests: 0,
                refused: 0,
            }),
        });
        let bound = Bound::take(NAME, config.port).await?;
        let people = Bound::take(NAME, config.items_port).await?;
        let ingestion = bound.serve(web::ingestion(state.clone()), Some(tls));
        let people = people.serve(web::people(state.clone()), None);
        Ok(Self {
            ingestion,
            people,
            state,
        })
    }

    /// Value for `APPLICATIONINSIGHTS_CONNECTION_STRING`.
    pub fn connection_string(&self) -> String {
        let endpoint = format!("https://127.0.0.1:{}/", self.ingestion.addr().port());
        let key = self.state.key;
        format!("InstrumentationKey={key};IngestionEndpoint={endpoint};LiveEndpoint={endpoint}")
    }

    /// Where people read the items: `GET /items`.
    pub fn items_url(&self) -> String {
        format!("http://{}", self.people.addr())
    }

    /// Where ingestion listens.
    pub fn addr(&self) -> SocketAddr {
        self.ingestion.addr()
    }

    /// The instrumentation key.
    pub fn instrumentation_key(&self) -> Uuid {
        self.state.key
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: InsightsFaults) {
        self.state.inner().faults = faults;
    }

    /// Counts so far.
    pub fn counts(&self) -> InsightsCounts {
        self.state.counts()
    }

    /// All held items, oldest first.
    pub fn items(&self) -> Vec<Item> {
        self.state.inner().store.read(|_| true)
    }

    /// The items after the first `seen` that ever came, with the number to ask from next time.
    pub fn items_since(&self, seen: u64) -> (Vec<Item>, u64) {
        self.state.inner().store.since(seen)
    }

    /// What [`story::of`] needs for an id; empty when nothing held is of it.
    pub fn items_of(&self, wanted: &Wanted) -> Vec<Item> {
        self.state.inner().store.of(wanted)
    }

    /// Reads the items where the endpoint itself is not at hand.
    pub fn reader(&self) -> Reader {
        Reader(self.state.clone())
    }

    /// Takes envelopes in process, past TLS and faults.
    pub fn sink(&self) -> Arc<dyn EnvelopeSink> {
        Arc::new(InProcess(self.state.clone()))
    }

    /// Stops listening.
    pub async fn shutdown(self) {
        self.ingestion.shutdown().await;
        self.people.shutdown().await;
    }
}

/// Reads what is held. Cheap to clone; does not keep the endpoint listening.
#[derive(Debug, Clone)]
pub struct Reader(Arc<State>);

impl Reader {
    /// See [`Insights::items_of`].
    pub fn items_of(&self, wanted: &Wanted) -> Vec<Item> {
        self.0.inner().store.of(wanted)
    }

    /// The metrics among the items after the first `seen` that ever came, with the number to ask from
    /// next time.
    pub fn metrics_since(&self, seen: u64) -> (Vec<Item>, u64) {
        self.0.inner().store.metrics_since(seen)
    }
}

struct InProcess(Arc<State>);

impl EnvelopeSink for InProcess {
    fn take(&self, envelopes: Vec<Value>) {
        web::accept(&self.0, &envelopes);
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InProcess(..)")
    }
}
