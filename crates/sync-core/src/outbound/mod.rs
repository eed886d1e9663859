//! The outbound side: from a notification to a delivered row and a sent acknowledgement.
//!
//! [`Outbound::handle`] takes one message through decode, flight, decision and settlement. The flight
//! itself, which serves every message of its row, is in [`pass`].

mod pass;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use service_bus::{OutgoingMessage, Properties};
use tokio::task::JoinSet;
use tracing::{Instrument, Span, error, info, record_all, warn};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::acknowledgement::{Acknowledgement, OCCURRED_AT, Outcome, Rejection};
use crate::config::{SyncConfig, TableConfig};
use crate::decide::Disposition;
use crate::failure::{Failure, Stage};
use crate::flight::{Flights, Joined};
use crate::message::Message;
use crate::metrics::{self, About, Direction, metrics};
use crate::notification::{Notification, Operation};
use crate::policy::RetryPolicy;
use crate::ports::{Clock, Queue, SharedRng, Source, Target};
use crate::queue::{NotSettled, Settler};
use crate::snapshot::{RowKey, RowVersion};
use crate::trace::{self, Link};

/// What the outbound side works with.
#[derive(Clone)]
pub struct OutboundParts {
    /// `sync.json`.
    pub config: Arc<SyncConfig>,
    /// Dataverse.
    pub source: Arc<dyn Source>,
    /// The target system.
    pub target: Arc<dyn Target>,
    /// The queue the notifications come from.
    pub outbound: Arc<dyn Queue>,
    /// The queue the acknowledgements go to.
    pub inbound: Arc<dyn Queue>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub rng: SharedRng,
    /// One flight may take this long. Must be shorter than the host's functionTimeout, whose end
    /// kills the process and everything else in it.
    pub deadline: Duration,
}

/// The outbound side of one instance.
#[derive(Clone)]
pub struct Outbound {
    parts: OutboundParts,
    settler: Settler,
    flights: Flights<RowKey, Notice, Result<Served, Failure>>,
    /// The flights' tasks: they end with the instance.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// What a message tells the flight it joins.
#[derive(Debug, Clone)]
struct Notice {
    notification: Notification,
    /// The message the acknowledgement's id is derived from.
    message: Message,
    /// Set when the notification only announces this version and owes nothing else: no earlier attempt
    /// of it may have delivered something that it would have to repair.
    only_announces: Option<RowVersion>,
    /// Set when the row must be delivered for it, whatever the versions say: an earlier attempt of it may
    /// have delivered something older, or somebody asked for the row.
    owes_delivery: bool,
    /// Where the attempt's span is found.
    link: Option<Link>,
}

/// How a flight ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    /// `delivered`, `deleted` or `superseded`.
    outcome: &'static str,
    /// Version the target now holds, if known.
    version: Option<RowVersion>,
    /// Notification whose acknowledgement stands for all that joined.
    acknowledged_by: String,
    /// How many notifications the flight served.
    notifications: usize,
    /// Calls made to the target.
    deliveries: u32,
    /// Where the flight's span is found.
    flight: Option<Link>,
}

impl Outbound {
    /// An instance without anything in flight.
    #[must_use]
    pub fn new(parts: OutboundParts) -> Self {
        let settler = Settler::new(
            Arc::clone(&parts.outbound),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.rng),
        );
        Self {
            parts,
            settler,
            flights: Flights::default(),
            tasks: Arc::default(),
        }
    }

    /// Sends given-up messages to `rejected` instead of dead-lettering them; see
    /// [`Settler::rejecting_to`].
    #[must_use]
    pub fn rejecting_to(mut self, rejected: Arc<dyn Queue>) -> Self {
        self.settler = self.settler.rejecting_to(rejected);
        self
    }

    /// Takes one message from the outbound queue all the way.
    ///
    /// # Errors
    /// [`NotSettled`]: fail the invocation, so that the broker delivers the message again.
    pub async fn handle(&self, message: Message) -> Result<Disposition, NotSettled> {
        metrics().received(Direction::Outbound);
        let notification = match Notification::decode(&message.body) {
            Ok(notification) => notification,
            Err(failure) => return self.conclude(&message, None, Err(failure)).await,
        };
        let Some(table) = self
            .parts
            .config
            .tables
            .get(&notification.table)
            .map(Arc::clone)
        else {
            let known: Vec<_> = self
                .parts
                .config
                .tables
                .keys()
                .map(String::as_str)
                .collect();
            let failure = Failure::permanent(
                Stage::Decode,
                "UnknownTable",
                format!(
                    "sync.json has no table {:?}; it knows {}. Add the table, or take the plug-in step off it, then resend the message.",
                    notification.table.chars().take(64).collect::<String>(),
                    known.join(", ")
                ),
            );
            return self
                .conclude(&message, Some((&notification, None)), Err(failure))
                .await;
        };
        let served = match self.died_before(&message) {
            Some(failure) => Err(failure),
            None => self.fly(&table, &notification, &message).await,
        };
        self.conclude(&message, Some((&notification, Some(&table))), served)
            .await
    }

    /// A redelivery means that whoever had the message before died, perhaps with a call under way that
    /// takes effect later. What is delivered for this message must come after that call, or it would be
    /// overwritten and nobody would be left to see. So the death counts as a failed attempt, and a
    /// scheduled copy comes back once the call must be over: waiting here would hold a slot, and a
    /// message that kills the process would come back for ever.
    fn died_before(&self, message: &Message) -> Option<Failure> {
        (message.delivery_count > 1).then(|| {
            let text = "An earlier attempt at this message ended without an answer.";
            Failure::transient(Stage::Deliver, "AttemptDied", text)
                .lingering(self.parts.config.target.longest_call())
        })
    }

    /// Joins the row's flight, or starts it, and waits until it has landed.
    async fn fly(
        &self,
        table: &Arc<TableConfig>,
        notification: &Notification,
        message: &Message,
    ) -> Result<Served, Failure> {
        let announces = message.is_first_attempt() && notification.operation != Operation::Resync;
        let notice = Notice {
            notification: notification.clone(),
            message: message.clone(),
            only_announces: notification.row_version.filter(|_| announces),
            owes_delivery: !announces,
            link: trace::link(&Span::current()),
        };
        let answer = match self.flights.join(notification.row(), notice) {
            Joined::First(flight, answer) => {
                let (parts, table) = (self.parts.clone(), Arc::clone(table));
                let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
                while tasks.try_join_next().is_some() {}
                tasks.spawn(pass::fly(parts, table, flight).in_current_span());
                drop(tasks);
                answer
            }
            Joined::Waiting(answer) => answer,
        };
        let answer = answer.await;
        if let Ok(Ok(served)) = &answer {
            trace::connect(&Span::current(), served.flight.as_ref());
        }
        answer.unwrap_or_else(|_| {
            let text = "The flight of this row ended without an answer.";
            let failure = Failure::transient(Stage::Deliver, "FlightLost", text);
            Err(failure.lingering(self.parts.config.target.longest_call()))
        })
    }

    /// Decides, tells the row when its notification is given up, carries out, and logs the one line
    /// that tells the message's story.
    async fn conclude(
        &self,
        message: &Message,
        known: Option<(&Notification, Option<&Arc<TableConfig>>)>,
        served: Result<Served, Failure>,
    ) -> Result<Disposition, NotSettled> {
        let policy = self.policy(known.and_then(|(_, table)| table));
        let outcome = served.as_ref().map(|_| ());
        let disposition = self.settler.decide(message, outcome, policy);
        if let (Disposition::DeadLetter { reason, .. }, Some((notification, Some(_))), Err(failure)) =
            (&disposition, known, &served)
            && self.parts.config.acknowledge_rejections
        {
            let rejected = self.reject(message, notification, reason, failure).await;
            rejected.inspect_err(|_| self.tell(message, known, None, &served))?;
        }
        self.settler
            .carry_out(message, &disposition, served.as_ref().err())
            .await
            .inspect_err(|_| self.tell(message, known, None, &served))?;
        self.tell(message, known, Some(&disposition), &served);
        log(
            message,
            known.map(|(n, _)| n),
            &self.parts.config.target_system,
            &disposition,
            &served,
            self.parts.clock.now(),
        );
        Ok(disposition)
    }

    /// Tells telemetry how the attempt ended; without a disposition it is left to the broker.
    fn tell(
        &self,
        message: &Message,
        known: Option<(&Notification, Option<&Arc<TableConfig>>)>,
        disposition: Option<&Disposition>,
        served: &Result<Served, Failure>,
    ) {
        let notification = known.map(|(notification, _)| notification);
        let about = About {
            // What no table is set up for would be a name that anybody may send.
            table: known
                .and_then(|(_, table)| table)
                .map_or("unknown", |t| &t.name),
            target: &self.parts.config.target_system,
        };
        let outcome = served.as_ref().map(|served| served.outcome);
        metrics().settled(Direction::Outbound, about, disposition, outcome);
        let lag = notification.map(|n| self.parts.clock.now() - n.occurred_at);
        if let (Some(lag), Ok(served), Some(_)) = (lag, served, disposition)
            && served.deliveries > 0
        {
            metrics().lag_delivered(about, lag);
        }
        let span = Span::current();
        if span.is_disabled() {
            return;
        }
        trace::concluded(&span, disposition, served.as_ref().err());
        let served = served.as_ref().ok();
        let queued = notification.map(|n| message.enqueued_time - n.occurred_at);
        record_all!(
            span,
            table = about.table,
            target = about.target,
            correlation_id = notification.map(|n| n.correlation_id.as_str()),
            notification_id = notification.map(|n| n.notification_id.as_str()),
            row = notification.map(|n| n.row().to_string()),
            queued_ms = queued.map(trace::milliseconds),
            outcome = served.map(|served| served.outcome),
            deliveries = served.map(|served| served.deliveries),
            notifications = served.map(|served| trace::count(served.notifications)),
            version = served
                .and_then(|served| served.version)
                .map(|v| v.to_string()),
            lag_ms = served.and(lag).map(trace::milliseconds),
        );
        if disposition.is_none() {
            trace::ended(&span, Err(metrics::name(None)));
        }
    }

    fn policy<'a>(&'a self, table: Option<&'a Arc<TableConfig>>) -> &'a RetryPolicy {
        table.map_or(&self.parts.config.default_policy, |t| &t.policy)
    }

    /// Sends the negative acknowledgement, before the message is dead-lettered: a crash in between
    /// repeats both, the other order could leave the row without a reason.
    async fn reject(
        &self,
        message: &Message,
        notification: &Notification,
        reason: &'static str,
        failure: &Failure,
    ) -> Result<(), NotSettled> {
        // Something older may still land, or have landed, in the target for this message: then the row
        // must say so whatever version was acknowledged since.
        let owes = failure.lingers.is_some() || !message.is_first_attempt();
        let version = notification.row_version.filter(|_| !owes);
        let acknowledgement = Acknowledgement {
            error: Some(Rejection {
                code: reason.to_owned(),
                stage: failure.stage.as_str().to_owned(),
                message: failure.message.clone(),
            }),
            ..blank(&self.parts, notification, Outcome::Rejected, version)
        };
        let sent = self
            .parts
            .inbound
            .send(envelope(
                message,
                &acknowledgement,
                notification.occurred_at,
            ))
            .await;
        match sent {
            Ok(()) => Ok(()),
            Err(source) => {
                let step = "negative acknowledgement";
                Err(self.settler.leave_to_broker(message, step, source).await)
            }
        }
    }
}

/// An acknowledgement with what every one has.
fn blank(
    parts: &OutboundParts,
    notification: &Notification,
    outcome: Outcome,
    source_version: Option<RowVersion>,
) -> Acknowledgement {
    Acknowledgement {
        schema_version: 1,
        correlation_id: notification.correlation_id.clone(),
        notification_id: notification.notification_id.clone(),
        table: notification.table.clone(),
        source_row_id: notification.source_row_id,
        target_system: parts.config.target_system.clone(),
        target_row_id: None,
        outcome,
        source_version,
        payload_hash: None,
        processed_at: parts.clock.now(),
        error: None,
    }
}

/// The message that carries an acknowledgement. Trace context travels on from the notification.
fn envelope(
    message: &Message,
    acknowledgement: &Acknowledgement,
    occurred_at: OffsetDateTime,
) -> OutgoingMessage {
    let version = acknowledgement
        .source_version
        .map_or_else(String::new, |v| v.to_string());
    let what = format!("ack/{}/{version}", acknowledgement.outcome.as_str());
    let mut properties: Properties = trace::CONTEXT
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), message.properties.get(key)?.clone())))
        .collect();
    if let Ok(occurred_at) = occurred_at.format(&Rfc3339) {
        properties.insert(OCCURRED_AT.into(), occurred_at.into());
    }
    OutgoingMessage {
        message_id: Some(message.derived_id(&what).to_string()),
        correlation_id: Some(acknowledgement.correlation_id.clone()),
        content_type: Some("application/json".into()),
        subject: Some(acknowledgement.outcome.as_str().to_owned()),
        properties,
        // Strings, numbers and times: writing them as JSON cannot fail.
        body: serde_json::to_vec(acknowledgement)
            .unwrap_or_default()
            .into(),
        ..OutgoingMessage::default()
    }
}

/// The one line that tells a settled message's whole story.
fn log(
    message: &Message,
    notification: Option<&Notification>,
    target_system: &str,
    disposition: &Disposition,
    served: &Result<Served, Failure>,
    now: OffsetDateTime,
) {
    let row = notification.map_or_else(|| "unknown".into(), |n| n.row().to_string());
    let (correlation_id, notification_id) =
        notification.map_or(("", ""), |n| (&n.correlation_id, &n.notification_id));
    let (message_id, retry_count) = (&message.message_id, message.retry_count());
    let delivery_count = message.delivery_count;
    let queued_ms =
        notification.map(|n| trace::milliseconds(message.enqueued_time - n.occurred_at));
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
                queued_ms,
                $($rest)*
            )
        };
    }
    match (disposition, served) {
        (Disposition::Reschedule { delay, counts }, Err(failure)) => line!(
            warn,
            counts,
            delay_ms = delay.as_millis(),
            failure.class = trace::class(failure),
            failure.stage = failure.stage.as_str(),
            failure.code,
            "rescheduled {row}: {failure}"
        ),
        (Disposition::DeadLetter { reason, .. }, Err(failure)) => line!(
            error,
            reason,
            failure.class = trace::class(failure),
            failure.stage = failure.stage.as_str(),
            failure.code,
            "dead-lettered {row}: {failure}"
        ),
        (_, Ok(served)) => line!(
            info,
            lag_ms = notification.map(|n| trace::milliseconds(now - n.occurred_at)),
            outcome = served.outcome,
            version = served.version.map(|v| v.0),
            acknowledged_by = served.acknowledged_by,
            notifications = served.notifications,
            deliveries = served.deliveries,
            "{} {row}",
            served.outcome
        ),
        (Disposition::Complete, Err(failure)) => line!(
            warn,
            failure.class = trace::class(failure),
            failure.stage = failure.stage.as_str(),
            failure.code,
            "completed {row} in spite of {failure}"
        ),
    }
}
