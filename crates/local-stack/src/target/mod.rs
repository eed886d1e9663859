//! The target system: a small customer API, as an ERP might offer it.
//!
//! `PUT`, `PATCH` and `DELETE /customers/{externalId}` and `/contacts/{externalId}` keyed by the source
//! row's id, `GET` to look; an API key; the system's own ids in its answers. Everything that
//! arrives is recorded, in the order in which it was applied.
//!
//! Configured otherwise it knows callers by other means, limits how often they call, demands more of a
//! row, or knows rows by ids of its own only: then `GET /customers?externalId=..` finds them, `POST
//! /customers` creates them, and `PUT`, `PATCH` and `DELETE /customers/{id}` take the system's id.

mod door;
mod echo;
mod faults;
mod schema;
mod store;
mod web;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use uuid::Uuid;

pub use door::Auth;
use door::Door;
use faults::Fault;
pub use faults::{Down, Faults};
pub use schema::{Demand, Kind, Schema};
use store::Store;
pub use store::TargetRow;

use crate::dice::Dice;
use crate::serve::{Bound, Server, StartError};

/// How the target behaves.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Port on loopback; 0 lets the system choose.
    pub port: u16,
    /// How callers prove who they are.
    pub auth: Auth,
    /// The key, token or password they must know.
    pub api_key: String,
    /// For TLS, perhaps with a certificate of the caller's.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Calls a second beyond which 429 is answered.
    pub calls_per_second: Option<u32>,
    /// Whether rows are written under the source row's id. Otherwise they have to be found, or created.
    pub upsert: bool,
    /// What is demanded of rows, by resource (`customers`, `contacts`).
    pub schemas: BTreeMap<String, Schema>,
    /// Refuse a write that is older than what is held (409 `older-version`). A plain ERP does not.
    pub version_guard: bool,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            port: 0,
            auth: Auth::default(),
            api_key: Uuid::new_v4().simple().to_string(),
            tls: None,
            calls_per_second: None,
            upsert: true,
            schemas: BTreeMap::new(),
            version_guard: false,
            faults: Faults::default(),
        }
    }
}

/// One call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it was decided.
    pub at: OffsetDateTime,
    /// Its place in the order in which calls came, whenever they were decided.
    pub arrival: u64,
    /// HTTP method.
    pub method: String,
    /// `customers`, `contacts`, or whatever the path began with.
    pub entity: String,
    /// The source row's id, empty for a listing.
    pub external_id: String,
    /// `x-source-version`.
    pub source_version: Option<String>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `x-correlation-id`.
    pub correlation_id: Option<String>,
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// The status answered; `None` when the connection was reset instead.
    pub status: Option<u16>,
    /// Whether it changed what the target holds.
    pub applied: bool,
    /// SHA-256 of the body, hexadecimal; `None` when it was empty.
    pub body_hash: Option<String>,
}

impl Call {
    fn writes(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE")
    }
}

/// Totals over all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetCounters {
    /// All calls.
    pub calls: u64,
    /// Calls meant to change something: deliveries.
    pub writes: u64,
    /// Calls that changed something.
    pub applied: u64,
    /// Calls answered 4xx, other than 429.
    pub refused: u64,
    /// Of these, calls answered 401.
    pub unauthorized: u64,
    /// Calls that failed by a scripted fault, or while the target was down.
    pub faulted: u64,
}

/// The running target; dropping it stops it.
#[derive(Debug)]
pub struct Target {
    server: Server,
    secure: bool,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    api_key: String,
    upsert: bool,
    schemas: BTreeMap<String, Schema>,
    /// Calls whose caller is gone and which are still to be applied.
    late: AtomicUsize,
    /// Calls that have come.
    arrivals: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    door: Door,
    version_guard: bool,
    faults: Faults,
    dice: Dice,
    calls: Vec<Call>,
    counters: TargetCounters,
}

impl Inner {
    fn set_faults(&mut self, faults: Faults) {
        self.dice = Dice::new(faults.seed);
        self.faults = faults;
    }

    fn draw(&mut self, writes: bool) -> Fault {
        self.faults.draw(&mut self.dice, writes)
    }

    fn record(&mut self, call: Call, faulted: bool) {
        let counters = &mut self.counters;
        counters.calls += 1;
        counters.writes += u64::from(call.writes());
        counters.applied += u64::from(call.applied);
        let refused = call.status.is_some_and(|s| (400..500).contains(&s)) && !faulted;
        counters.refused += u64::from(refused);
        counters.unauthorized += u64::from(call.status == Some(401));
        counters.faulted += u64::from(faulted);
        self.calls.push(call);
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    /// Starts an empty target.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start(config: TargetConfig) -> Result<Self, StartError> {
        let bound = Bound::take("target", config.port).await?;
        let (tls, secret) = (config.tls, config.api_key.clone());
        let secure = tls.is_some();
        let state = Arc::new(State {
            api_key: config.api_key,
            upsert: config.upsert,
            schemas: config.schemas,
            late: AtomicUsize::new(0),
            arrivals: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                store: Store::default(),
                door: Door::new(config.auth, secret, config.calls_per_second),
                version_guard: config.version_guard,
                dice: Dice::new(config.faults.seed),
                faults: config.faults,
                calls: Vec::new(),
                counters: TargetCounters::default(),
            }),
        });
        let server = bound.serve(web::router(state.clone()), tls);
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

    /// Value for `TARGET_URL`.
    pub fn url(&self) -> String {
        if self.secure {
            // By name: its certificate is made out to it.
            return format!("https://localhost:{}", self.addr().port());
        }
        format!("http://{}", self.addr())
    }

    /// The secrets that are accepted from now on: old and new side by side while they are rotated.
    pub fn accept_secrets(&self, secrets: &[&str]) {
        let secrets = secrets.iter().map(|secret| (*secret).to_owned());
        self.state.inner().door.secrets = secrets.collect();
    }

    /// The access tokens that came so far are worth nothing any more.
    pub fn revoke_tokens(&self) {
        self.state.inner().door.revoke_tokens();
    }

    /// The key callers must send at first.
    pub fn api_key(&self) -> &str {
        &self.state.api_key
    }

    /// Every row, by entity and external id.
    pub fn rows(&self) -> Vec<TargetRow> {
        self.state.inner().store.rows().cloned().collect()
    }

    /// One row, by entity set (`customers`, `contacts`) and the source row's id.
    pub fn row(&self, entity: &str, external_id: &str) -> Option<TargetRow> {
        let entity = store::entity(entity)?;
        self.state.inner().store.row(entity, external_id).cloned()
    }

    /// Every call so far, in the order in which they were applied or refused.
    pub fn calls(&self) -> Vec<Call> {
        self.state.inner().calls.clone()
    }

    /// The calls after the first `seen`, in the order in which they were applied or refused.
    pub fn calls_after(&self, seen: usize) -> Vec<Call> {
        self.state
            .inner()
            .calls
            .iter()
            .skip(seen)
            .cloned()
            .collect()
    }

    /// Totals over all calls.
    pub fn counters(&self) -> TargetCounters {
        self.state.inner().counters
    }

    /// Calls that will still be applied although their caller has given up.
    pub fn late_calls(&self) -> usize {
        self.state.late.load(Ordering::SeqCst)
    }

    /// The faults in force.
    pub fn faults(&self) -> Faults {
        self.state.inner().faults.clone()
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state.inner().set_faults(faults);
    }

    /// Takes the target down (every call answered 503) or up, leaving the other faults alone.
    pub fn set_down(&self, down: bool) {
        self.state.inner().faults.down = if down { Down::Unavailable } else { Down::No };
    }

    /// Turns the version guard on or off.
    pub fn set_version_guard(&self, on: bool) {
        self.state.inner().version_guard = on;
    }

    /// Stops listening.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
