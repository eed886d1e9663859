//! Starting the environment, and looking inside it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::cell::Cell;
use super::config::DataverseConfig;
use super::error::ApiError;
use super::faults::DataverseFaults;
use super::journal::{AckWrite, Change, DataverseCounters, Journal};
use super::posting;
use super::protection::{Limits, Protection};
use super::schema::{Schema, Table};
use super::script::{Script, Scripts};
use super::service::Save;
use super::state::{Inner, State};
use super::steps::{ListedStep, Steps};
use super::store::Store;
use super::transaction::Transaction;
use super::users::Depth;
use super::web::Scheme;
use super::{sample, trace, web};
use crate::dice::Dice;
use crate::serve::{Bound, Server, StartError};

/// A save that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The row.
    pub id: Uuid,
    /// Its version after the save; for a delete its last one.
    pub version: i64,
    /// Of the save.
    pub correlation_id: Uuid,
    /// The notification it caused, if any.
    pub notification_id: Option<Uuid>,
}

/// A save that was refused, as the Web API would refuse it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}: {status} {code} {message}")]
pub struct SaveError {
    /// Logical name of the table.
    pub table: String,
    /// HTTP status.
    pub status: u16,
    /// Error code.
    pub code: String,
    /// Error message.
    pub message: String,
}

/// The running environment; dropping it stops it.
#[derive(Debug)]
pub struct Dataverse {
    server: Server,
    tls: Option<Server>,
    state: Arc<State>,
    /// Ends the asynchronous step.
    stop: DropGuard,
}

impl Dataverse {
    /// Starts the environment.
    ///
    /// # Errors
    /// The port is taken, or a step is registered on what does not exist or would loop.
    pub async fn start(config: DataverseConfig) -> Result<Self, StartError> {
        let schema = Arc::new(Schema::new());
        let (tag, lease) = (config.integration_tag, config.pending_lease);
        let steps = Steps::register(config.steps, tag, lease, &schema);
        let steps = steps.map_err(|reason| StartError::Config {
            stand_in: "Dataverse",
            reason,
        })?;
        let mut store = Store::new(schema.clone());
        let now = OffsetDateTime::now_utc();
        sample::fill(&mut store, config.sample_accounts, config.sample_seed, now);
        let bound = Bound::take("Dataverse", config.port).await?;
        let tls = match config.tls {
            Some(tls) => Some((Bound::take("Dataverse", tls.port).await?, tls.config)),
            None => None,
        };
        let (jobs, queue) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            url: format!("http://{}", bound.addr()),
            tenant: config.tenant,
            schema,
            steps,
            auth: config.auth,
            costs: config.servers.costs,
            delta_lifetime: config.delta_lifetime,
            retry_wait: config.retry_wait,
            jobs: config.sender.is_some().then_some(jobs),
            telemetry: config.telemetry,
            open_jobs: AtomicUsize::new(0),
            job_finished: Notify::new(),
            inner: Mutex::new(Inner {
                store,
                journal: Journal::default(),
                dice: Dice::new(config.faults.seed),
                faults: config.faults,
                scripts: Scripts::default(),
            }),
            users: Mutex::default(),
            further_steps: Mutex::default(),
            protection: Mutex::new(Protection::new(config.servers)),
        });
        let stop = CancellationToken::new();
        if let Some(sender) = config.sender {
            let (state, stop) = (state.clone(), stop.clone());
            let concurrency = config.post_concurrency;
            tokio::spawn(posting::run(state, sender, queue, concurrency, stop));
        }
        let server = bound.serve(web::router(state.clone(), Scheme::Http), None);
        let tls = tls.map(|(bound, config)| {
            bound.serve(web::router(state.clone(), Scheme::Https), Some(config))
        });
        Ok(Self {
            server,
            tls,
            state,
            stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Value for `DATAVERSE_URL`, and the audience of its tokens.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// The same environment over TLS, if it was asked for.
    pub fn tls_url(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        Some(format!("https://{}", tls.addr()))
    }

    /// A user's save: changes the row `id`, or creates one when `id` is `None`.
    ///
    /// `columns` is what a Web API body would be, `@odata.bind` included. No scripted fault hits it.
    ///
    /// # Errors
    /// What the Web API would answer; nothing is saved then, and no notification written.
    pub fn save(&self, table: &str, id: Option<Uuid>, columns: &Value) -> Result<Saved, SaveError> {
        self.in_transaction(table, |transaction, save, table| {
            let Some(body) = columns.as_object() else {
                return Err(ApiError::payload(
                    table.set,
                    "The body must be a JSON object.",
                ));
            };
            web::save_row(transaction, save, table, id, body)
        })
    }

    /// A user's delete, with what hangs on the row.
    ///
    /// # Errors
    /// What the Web API would answer.
    pub fn delete(&self, table: &str, id: Uuid) -> Result<Saved, SaveError> {
        self.in_transaction(table, |transaction, save, table| {
            web::delete_row(transaction, save, table, id)?;
            Ok((id, 0))
        })
    }

    fn in_transaction(
        &self,
        table: &str,
        work: impl FnOnce(&mut Transaction<'_>, &Save<'_>, &Table) -> Result<(Uuid, i64), ApiError>,
    ) -> Result<Saved, SaveError> {
        let refused = |error: ApiError| SaveError {
            table: table.to_owned(),
            status: error.status,
            code: error.code.to_owned(),
            message: error.message,
        };
        let state = &self.state;
        let Some(known) = state.schema.by_logical(table) else {
            return Err(refused(ApiError::unknown_segment(table)));
        };
        let save = Save {
            now: OffsetDateTime::now_utc(),
            user_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, b"user"),
            correlation_id: Uuid::new_v4(),
            traceparent: trace::parent(None),
            tag: None,
            steps: &state.steps,
        };
        let mut inner = state.inner();
        let inner = &mut *inner;
        let mut transaction = Transaction::begin(&mut inner.store);
        let (id, version) = work(&mut transaction, &save, known).map_err(refused)?;
        let effects = transaction.commit();
        let own = effects.changes.iter().find(|change| change.row_id == id);
        let saved = Saved {
            id,
            version: own.map_or(version, |change| change.version),
            correlation_id: save.correlation_id,
            notification_id: own.and_then(|change| change.notification_id),
        };
        state.committed(&mut inner.journal, effects);
        Ok(saved)
    }

    /// A row as the Web API returns it with all columns; `None` when it does not exist.
    pub fn row(&self, table: &str, id: Uuid) -> Option<Map<String, Value>> {
        let table = self.state.schema.by_logical(table)?;
        let inner = self.state.inner();
        Some(web::document(table, inner.store.row(table, id)?))
    }

    /// The row that a single-valued navigation property of a row leads to, e.g. `primarycontactid` of an
    /// account; `None` when it leads nowhere.
    pub fn related(&self, table: &str, id: Uuid, navigation: &str) -> Option<Map<String, Value>> {
        let table = self.state.schema.by_logical(table)?;
        let navigation = table.navigation(navigation)?;
        let target = self.state.schema.by_logical(navigation.target)?;
        let inner = self.state.inner();
        match inner.store.row(table, id)?.get(table, navigation.column) {
            Cell::Reference(table, id) if *table == target.logical => {
                Some(web::document(target, inner.store.row(target, *id)?))
            }
            _ => None,
        }
    }

    /// All rows of a table, by id, as [`row`](Self::row) gives them.
    pub fn rows(&self, table: &str) -> Vec<Map<String, Value>> {
        let Some(table) = self.state.schema.by_logical(table) else {
            return Vec::new();
        };
        let inner = self.state.inner();
        let rows = inner.store.rows(table);
        rows.map(|row| web::document(table, row)).collect()
    }

    /// Ids of all rows of a table.
    pub fn ids(&self, table: &str) -> Vec<Uuid> {
        let Some(table) = self.state.schema.by_logical(table) else {
            return Vec::new();
        };
        let inner = self.state.inner();
        inner.store.rows(table).map(|row| row.id).collect()
    }

    /// How many outbox rows there are.
    pub fn outbox_len(&self) -> usize {
        let outbox = self.state.schema.by_logical("dvs_outbox");
        outbox.map_or(0, |outbox| self.state.inner().store.count(outbox))
    }

    /// Outbox rows still there, as [`row`](Self::row) gives them.
    pub fn outbox(&self) -> Vec<Map<String, Value>> {
        self.rows("dvs_outbox")
    }

    /// Every change so far, in the order of commits.
    pub fn changes(&self) -> Vec<Change> {
        self.state.inner().journal.changes.clone()
    }

    /// Every acknowledgement write so far, in the order of commits.
    pub fn ack_writes(&self) -> Vec<AckWrite> {
        self.state.inner().journal.ack_writes.clone()
    }

    /// The changes after the first `seen`, in the order of commits.
    pub fn changes_after(&self, seen: usize) -> Vec<Change> {
        let inner = self.state.inner();
        inner.journal.changes.iter().skip(seen).cloned().collect()
    }

    /// The acknowledgement writes after the first `seen`, in the order of commits.
    pub fn ack_writes_after(&self, seen: usize) -> Vec<AckWrite> {
        let inner = self.state.inner();
        let writes = inner.journal.ack_writes.iter();
        writes.skip(seen).cloned().collect()
    }

    /// Totals.
    pub fn counters(&self) -> DataverseCounters {
        let mut counters = self.state.inner().journal.counters.clone();
        counters.servers = self.state.protection().counts();
        counters
    }

    /// The faults in force.
    pub fn faults(&self) -> DataverseFaults {
        self.state.inner().faults.clone()
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: DataverseFaults) {
        self.state.inner().set_faults(faults);
    }

    /// Adds a script; scripts are tried in the order in which they were added.
    ///
    /// # Errors
    /// A sentence saying what of it cannot be played.
    pub fn script(&self, script: Script) -> Result<(), String> {
        script.check()?;
        self.state.inner().scripts.add(script);
        Ok(())
    }

    /// Whether an application has a user here; it has, until told otherwise.
    pub fn set_user(&self, client_id: &str, known: bool) {
        self.state.users().set_known(client_id, known);
    }

    /// How far a privilege (`prvWriteAccount`) of an application's user reaches; `None` takes it away. A
    /// user has all of them for all rows, until told otherwise. Depths are only told, not played.
    pub fn set_privilege(&self, client_id: &str, privilege: &str, depth: Option<Depth>) {
        self.state.users().set(client_id, privilege, depth);
    }

    /// Replaces the steps that are listed beside those that are played, and never run.
    pub fn set_further_steps(&self, steps: Vec<ListedStep>) {
        *self.state.further_steps() = steps;
    }

    /// Scripts not used up yet.
    pub fn scripts(&self) -> Vec<Script> {
        self.state.inner().scripts.pending().to_vec()
    }

    /// Makes every delta token given so far too old, as a week would.
    pub fn expire_delta_tokens(&self) {
        self.state.inner().store.forget_deleted();
    }

    /// Other service protection limits from now on, beginning with nothing spent.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.state.protection().set_limits(limits);
    }

    /// Waits until the asynchronous step has dealt with every outbox row created so far.
    pub async fn posts_done(&self) {
        loop {
            // Registered before looking, so that a job ending in between is not missed.
            let finished = self.state.job_finished.notified();
            if self.state.open_jobs.load(Ordering::SeqCst) == 0 {
                return;
            }
            finished.await;
        }
    }

    /// Stops listening and posting.
    pub async fn shutdown(self) {
        drop(self.stop);
        self.server.shutdown().await;
        if let Some(tls) = self.tls {
            tls.shutdown().await;
        }
    }
}
