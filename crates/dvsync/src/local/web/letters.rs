//! Dead letters: what they say, and how they are sent again.

use dead_letters::{Action, Place, Progress, Wanted, Work, WorkError};
use local_stack::bus::MessageView;
use local_stack::stack::{OUTBOUND, REJECTED, Stack};
use serde::Serialize;
use serde_json::Value;
use service_bus::Client;
use uuid::Uuid;

/// How many letters of each queue are shown.
const SHOWN: usize = 60;

/// A dead letter, by what its dead-letter queue says of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Letter {
    /// The queue or subscription it was given up on.
    pub(super) queue: String,
    number: i64,
    correlation_id: Option<String>,
    table: Option<String>,
    row: Option<String>,
    reason: Option<String>,
    stage: Option<String>,
    code: Option<String>,
    status: Option<i64>,
    description: Option<String>,
}

impl Letter {
    fn of(queue: &str, message: MessageView) -> Self {
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        let body = |name: &str| Some(body.get(name)?.as_str()?.to_owned());
        let property = |name: &str| Some(message.properties.get(name)?.as_str()?.to_owned());
        Self {
            queue: queue.to_owned(),
            number: message.sequence_number,
            table: body("table"),
            row: body("sourceRowId"),
            stage: property("FailureStage"),
            code: property("FailureCode"),
            status: message
                .properties
                .get("FailureStatus")
                .and_then(Value::as_i64),
            correlation_id: message.correlation_id,
            reason: message.dead_letter_reason,
            description: message.dead_letter_description,
        }
    }

    pub(super) fn correlation_id(&self) -> Option<Uuid> {
        self.correlation_id.as_deref()?.parse().ok()
    }
}

/// The newest letters of each queue.
pub(super) fn list(stack: &Stack) -> Vec<Letter> {
    let mut letters = Vec::new();
    for queue in stack.entities().chain([REJECTED]) {
        let counts = stack.bus.counts(queue).unwrap_or_default();
        let rejected = queue == REJECTED;
        if counts.dead_letter == 0 && !(rejected && counts.active > 0) {
            continue;
        }
        let snapshot = stack.bus.snapshot(queue).unwrap_or_default();
        let messages = if rejected {
            snapshot.active
        } else {
            snapshot.dead_letter
        };
        let newest = messages.into_iter().rev().take(SHOWN);
        letters.extend(newest.map(|message| Letter::of(queue, message)));
    }
    letters
}

/// Where the letters of a stack are.
pub(super) fn places(stack: &Stack) -> Vec<Place> {
    let queues = stack.entities().chain([REJECTED]);
    let present = queues.filter(|queue| stack.bus.counts(queue).is_some());
    present.map(place).collect()
}

fn place(queue: &str) -> Place {
    match queue.split_once("/Subscriptions/") {
        // The stack names a subscription after its target.
        Some((topic, target)) => Place::subscription(topic, target, target),
        None if queue == REJECTED => Place::rejected(REJECTED, OUTBOUND),
        None => Place::queue(queue),
    }
}

/// Sends letters again, one of a number or all. Returns how many.
pub(super) async fn resend(
    client: &Client,
    place: &Place,
    number: Option<i64>,
) -> Result<u64, WorkError> {
    let wanted = Wanted {
        numbers: number.into_iter().collect(),
        ..Wanted::default()
    };
    let work = Work::new(Uuid::new_v4());
    let mut sent = 0;
    let mut count = |progress: Progress| sent = progress.done;
    work.run(client, place, &wanted, &mut Action::Resend, &mut count)
        .await?;
    Ok(sent)
}
