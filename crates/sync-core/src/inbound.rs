//! The inbound side: from an acknowledgement to the source row.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use tracing::{Span, error, info, record_all, warn};

use crate::acknowledgement::{Acknowledgement, OCCURRED_AT, Outcome};
use crate::config::{SyncFiles, TableConfig};
use crate::decide::Disposition;
use crate::failure::{Failure, Stage};
use crate::message::Message;
use crate::metrics::{About, Direction, metrics};
use crate::patience::{Patience, try_patiently};
use crate::ports::{AckState, AckWrite, Acknowledgements, SharedRng, jitter_ms};
use crate::queue::{NotSettled, Settler};
use crate::trace;

/// A row that changes between each read and write this often is left to a later attempt.
const MOST_CONFLICTS: u32 = 10;

/// The inbound side of one instance.
#[derive(Clone)]
pub struct Inbound {
    files: SyncFiles,
    rows: Arc<dyn Acknowledgements>,
    settler: Settler,
    rng: SharedRng,
    deadline: Duration,
    objective: Duration,
}

/// How an acknowledgement ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Written,
    /// The row carries a newer one.
    Stale,
    /// The row is gone; it is not recreated.
    RowGone,
}

impl Done {
    /// The name used in logs and telemetry.
    fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Stale => "stale",
            Self::RowGone => "row_gone",
        }
    }
}

impl Inbound {
    /// Takes acknowledgements of the targets that `files` are for, each into its own columns.
    /// `deadline` bounds the work on one message; it must be shorter than the host's functionTimeout.
    #[must_use]
    pub fn new(
        files: impl Into<SyncFiles>,
        rows: Arc<dyn Acknowledgements>,
        settler: Settler,
        rng: SharedRng,
        deadline: Duration,
    ) -> Self {
        Self {
            files: files.into(),
            rows,
            settler,
            rng,
            deadline,
            objective: Duration::from_secs(60),
        }
    }

    /// Takes one message from the inbound queue all the way.
    ///
    /// # Errors
    /// [`NotSettled`]: fail the invocation, so that the broker delivers the message again.
    pub async fn handle(&self, message: Message) -> Result<Disposition, NotSettled> {
        metrics().received(Direction::Inbound);
        let decoded = Acknowledgement::decode(&message.body).and_then(|ack| {
            let table = self.table(&ack)?;
            Ok((ack, table))
        });
        let (result, known) = match decoded {
            Err(failure) => (Err(failure), None),
            Ok((ack, table)) => {
                let result = timeout(self.deadline, self.write(&ack, &table)).await;
                let result = result.unwrap_or_else(|_| {
                    let text = format!("Dataverse took longer than {:?}.", self.deadline);
                    Err(Failure::transient(
                        Stage::Acknowledge,
                        "DeadlineExceeded",
                        text,
                    ))
                });
                (result, Some((ack, table)))
            }
        };
        let policy = known
            .as_ref()
            .map_or(&self.files.first().default_policy, |(_, table)| {
                &table.policy
            });
        let disposition = self
            .settler
            .decide(&message, result.as_ref().map(|_| ()), policy);
        self.settler
            .carry_out(&message, &disposition, result.as_ref().err())
            .await
            .inspect_err(|_| self.tell(&message, known.as_ref(), None, &result))?;
        self.tell(&message, known.as_ref(), Some(&disposition), &result);
        log(
            &message,
            known.as_ref().map(|(ack, _)| ack),
            &disposition,
            &result,
            self.settler.now(),
        );
        Ok(disposition)
    }

    /// Tells telemetry how the attempt ended; without a disposition it is left to the broker.
    fn tell(
        &self,
        message: &Message,
        known: Option<&(Acknowledgement, Arc<TableConfig>)>,
        disposition: Option<&Disposition>,
        result: &Result<Done, Failure>,
    ) {
        let about = known.map_or(
            About {
                table: "unknown",
                target: "unknown",
            },
            |(ack, table)| About {
                table: &table.name,
                target: &ack.target_system,
            },
        );
        let outcome = result.as_ref().map(|done| done.name());
        metrics().settled(Direction::Inbound, about, disposition, outcome);
        let lag = occurred(message).map(|at| self.settler.now() - at);
        let held = known.is_some_and(|(ack, _)| ack.outcome != Outcome::Rejected);
        if let (Some(lag), Ok(Done::Written), Some(_)) = (lag, result, disposition)
            && held
        {
            metrics().acknowledged(about, lag, self.objective);
        }
        let span = Span::current();
        if span.is_disabled() {
            return;
        }
        trace::concluded(&span, disposition, result.as_ref().err());
        let (ack, done) = (known.map(|(ack, _)| ack), result.as_ref().ok());
        record_all!(
            span,
            table = about.table,
            target = about.target,
            correlation_id = ack.map(|ack| ack.correlation_id.as_str()),
            notification_id = ack.map(|ack| ack.notification_id.as_str()),
            row = ack.map(|ack| format!("{}:{}", ack.table, ack.source_row_id)),
            acknowledges = ack.map(|ack| ack.outcome.as_str()),
            version = ack
                .and_then(|ack| ack.source_version)
                .map(|v| v.to_string()),
            outcome = done.map(|done| done.name()),
            lag_ms = done.and(lag).map(trace::milliseconds),
        );
        if disposition.is_none() {
            trace::ended(&span, Err("left_to_broker"));
        }
    }

    /// What of the save's lag still counts as in time, in telemetry.
    #[must_use]
    pub fn with_lag_objective(mut self, objective: Duration) -> Self {
        self.objective = objective;
        self
    }

    /// The table as the acknowledging target has it: its columns are that target's own.
    fn table(&self, ack: &Acknowledgement) -> Result<Arc<TableConfig>, Failure> {
        let config = self.files.of(&ack.target_system);
        let config = config.ok_or_else(|| unknown_target(&ack.target_system, &self.files))?;
        let table = config.tables.get(&ack.table).cloned();
        table.ok_or_else(|| unknown_table(ack))
    }

    /// A write whose answer was lost may have happened: tried again, it meets a conflict, and the next
    /// read tells.
    async fn patiently<T, F>(
        &self,
        table: &TableConfig,
        call: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let retries = table.policy.in_process_retries();
        let patience = Patience {
            retries,
            longest_wait: Duration::ZERO,
        };
        try_patiently(patience, || jitter_ms(&self.rng), call).await
    }

    /// Reads, decides and writes under the etag, until nobody changed the row in between. That makes
    /// "an older acknowledgement never overwrites a newer one" exact, also across instances.
    async fn write(&self, ack: &Acknowledgement, table: &TableConfig) -> Result<Done, Failure> {
        let (row, correlation) = (ack.source_row_id, ack.correlation_id.as_str());
        for _ in 0..MOST_CONFLICTS {
            let read = || self.rows.read(table, row, correlation);
            let Some(state) = self.patiently(table, read).await? else {
                return Ok(Done::RowGone);
            };
            let Some(news) = news(ack, &state) else {
                return Ok(Done::Stale);
            };
            let columns = columns(ack, news, table);
            let write = || {
                let columns = columns.clone();
                self.rows
                    .write(table, row, &state.etag, columns, correlation)
            };
            match self.patiently(table, write).await? {
                AckWrite::Written => return Ok(Done::Written),
                AckWrite::Gone => return Ok(Done::RowGone),
                AckWrite::Conflict => {}
            }
        }
        let text =
            format!("The row changed between read and write {MOST_CONFLICTS} times in a row.");
        Err(Failure::transient(
            Stage::Acknowledge,
            "RowKeepsChanging",
            text,
        ))
    }
}

fn unknown_table(ack: &Acknowledgement) -> Failure {
    let text = format!(
        "The sync file of targetSystem {} in inbound-fn has no table {:?}. Deploy both apps with the same file, then resend the message.",
        ack.target_system, ack.table
    );
    Failure::permanent(Stage::Decode, "UnknownTable", text)
}

fn unknown_target(target: &str, files: &SyncFiles) -> Failure {
    let known = files
        .targets()
        .map(|(target, file)| format!("{target} ({file})"));
    let known = known.collect::<Vec<_>>().join(", ");
    let text = format!(
        "No sync file of inbound-fn is for targetSystem {target:?}; it knows {known}. Put the file that this target's outbound-fn has into inbound-fn's package, name it in setting SYNC_FILES, then resend the message."
    );
    Failure::permanent(Stage::Decode, "UnknownTargetSystem", text)
}

/// What is new about an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// All it says.
    All,
    /// What the target holds. How the row fares was said by a later answer: a rejection, which leaves
    /// the version column alone.
    Held,
}

/// What an acknowledgement says that the row does not. Versions first; at the same version (or without
/// one) the answer that was processed later.
fn news(ack: &Acknowledgement, state: &AckState) -> Option<News> {
    let later = later(ack, state);
    let older = matches!((ack.source_version, state.version), (Some(new), Some(old)) if new < old);
    let newer = match (ack.source_version, state.version) {
        (Some(new), Some(old)) => new > old,
        (Some(_), None) => true,
        (None, _) => false,
    };
    match ack.outcome {
        _ if older => None,
        Outcome::Rejected => later.then_some(News::All),
        _ if later => Some(News::All),
        _ => newer.then_some(News::Held),
    }
}

fn later(ack: &Acknowledgement, state: &AckState) -> bool {
    // Equal times: Dataverse stores whole seconds, so the same second counts as later, and writing the
    // same acknowledgement twice changes nothing.
    state
        .acknowledged_on
        .is_none_or(|on| ack.processed_at.unix_timestamp() >= on.unix_timestamp())
}

/// The columns to write: the integration's own, never statecode, statuscode or the owner.
fn columns(ack: &Acknowledgement, news: News, table: &TableConfig) -> Map<String, Value> {
    let names = &table.ack;
    let mut columns = Map::new();
    let mut set = |name: &str, value: Value| columns.insert(name.to_owned(), value);
    if ack.outcome != Outcome::Rejected {
        set(&names.payload_hash, json!(ack.payload_hash));
        if let Some(version) = ack.source_version {
            set(&names.version, json!(version));
        }
        if let Some(id) = &ack.target_row_id {
            set(&names.target_id, json!(id));
        }
    }
    if news == News::Held {
        return columns;
    }
    set(
        &names.acknowledged_on,
        ack.processed_at
            .format(&Rfc3339)
            .map_or(Value::Null, Value::String),
    );
    set(&names.correlation_id, json!(ack.correlation_id));
    match ack.outcome {
        Outcome::Delivered | Outcome::Deleted => {
            set(
                &names.state,
                json!(if ack.outcome == Outcome::Delivered {
                    1
                } else {
                    2
                }),
            );
            set(&names.error, Value::Null);
        }
        // The version column stays: it says what the target holds. Moving it would make a resent
        // notification look superseded, and the rejected change would never be delivered.
        Outcome::Rejected => {
            set(&names.state, json!(3));
            let text = ack
                .error
                .as_ref()
                .map(|e| format!("{} [{} at {}]", e.message, e.code, e.stage));
            set(&names.error, json!(text));
        }
    }
    columns
}

/// The one line that tells a settled message's whole story.
fn log(
    message: &Message,
    ack: Option<&Acknowledgement>,
    disposition: &Disposition,
    result: &Result<Done, Failure>,
    now: OffsetDateTime,
) {
    let row = ack.map_or_else(
        || "unknown".into(),
        |a| format!("{}:{}", a.table, a.source_row_id),
    );
    let (correlation_id, notification_id, target_system) = ack.map_or(("", "", "unknown"), |a| {
        (&a.correlation_id, &a.notification_id, &a.target_system)
    });
    let (message_id, retry_count) = (&message.message_id, message.retry_count());
    let delivery_count = message.delivery_count;
    let version = ack.and_then(|a| a.source_version).map(|v| v.0);
    // The level is fixed where a line is written, so each needs one of its own.
    macro_rules! line {
        ($level:ident, $($rest:tt)*) => {
            $level!(
                correlation_id,
                notification_id,
                message_id,
                row,
                target_system,
                retry_count,
                delivery_count,
                version,
                $($rest)*
            )
        };
    }
    match (disposition, result) {
        (Disposition::Reschedule { delay, counts }, Err(failure)) => line!(
            warn,
            counts,
            delay_ms = delay.as_millis(),
            failure.class = trace::class(failure),
            failure.stage = failure.stage.as_str(),
            failure.code,
            "rescheduled the acknowledgement of {row}: {failure}"
        ),
        (Disposition::DeadLetter { reason, .. }, Err(failure)) => line!(
            error,
            reason,
            failure.class = trace::class(failure),
            failure.stage = failure.stage.as_str(),
            failure.code,
            "dead-lettered the acknowledgement of {row}: {failure}"
        ),
        (_, Ok(done)) => line!(
            info,
            lag_ms = occurred(message).map(|at| trace::milliseconds(now - at)),
            outcome = done.name(),
            acknowledges = ack.map(|a| a.outcome.as_str()),
            "acknowledgement of {row}: {}",
            done.name()
        ),
        (Disposition::Complete, Err(failure)) => line!(
            warn,
            failure.class = trace::class(failure),
            failure.stage = failure.stage.as_str(),
            failure.code,
            "completed the acknowledgement of {row} in spite of {failure}"
        ),
    }
}

/// When the change was saved that is acknowledged, if the message says so.
fn occurred(message: &Message) -> Option<OffsetDateTime> {
    let at = message.properties.get(OCCURRED_AT)?;
    OffsetDateTime::parse(at.as_str()?, &Rfc3339).ok()
}
