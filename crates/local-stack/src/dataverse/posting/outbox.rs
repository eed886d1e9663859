//! The plug-in's asynchronous step: post the notification, then delete the outbox row.
//!
//! What fails here is left on the outbox row, for the sweep. The trace of a notification is its correlation
//! id, so that the sweep, which reads only the row, continues it.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{NotificationSender, OutboundNotification, PostFailed};
use crate::dataverse::State;
use crate::dataverse::cell::{Cell, whole_second};
use crate::dataverse::faults::PostFault;
use crate::dataverse::notification::body_of;
use crate::dataverse::store::Store;
use crate::dataverse::telemetry::{Saved, Spans};
use crate::dataverse::transaction::Transaction;

/// When the save was, for its telemetry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) saved_at: OffsetDateTime,
    pub(super) written_at: OffsetDateTime,
}

pub(super) async fn post(state: &State, sender: &dyn NotificationSender, id: Uuid, times: Times) {
    let (notification, saved, fault) = {
        let mut inner = state.inner();
        let Some((notification, saved)) = read(state, &inner.store, id) else {
            // The sweep was faster.
            return;
        };
        (notification, saved, inner.draw_post_fault())
    };
    let telemetry = state.telemetry.as_ref();
    if let Some(telemetry) = telemetry {
        telemetry.saved(&saved, times.saved_at, times.written_at);
    }
    let began = OffsetDateTime::now_utc();
    let posted = match fault {
        PostFault::Fails => Err(PostFailed("a scripted fault".to_owned())),
        PostFault::None | PostFault::CrashesAfterwards => sender.post(notification).await,
    };
    let ended = OffsetDateTime::now_utc();
    // A worker that dies says nothing any more.
    if let (Some(telemetry), false) = (telemetry, fault == PostFault::CrashesAfterwards) {
        let failure = posted.as_ref().err().map(ToString::to_string);
        telemetry.posted(&saved, began, ended, failure.as_deref());
    }
    let mut inner = state.inner();
    let failure = match posted {
        // As if the worker died here: the row stays, and the sweep will post it again.
        Ok(()) if fault == PostFault::CrashesAfterwards => {
            inner.journal.counters.posted += 1;
            return;
        }
        Ok(()) => None,
        Err(failure) => Some(failure),
    };
    match &failure {
        None => inner.journal.counters.posted += 1,
        Some(_) => inner.journal.counters.post_failures += 1,
    }
    settle(state, &mut inner.store, id, failure);
}

fn read(state: &State, store: &Store, id: Uuid) -> Option<(OutboundNotification, Saved)> {
    let outbox = state.schema.by_logical("dvs_outbox")?;
    let row = store.row(outbox, id)?;
    let text = |name| row.get(outbox, name).as_text().map(str::to_owned);
    let table = text("dvs_table").unwrap_or_default();
    let correlation_id = text("dvs_correlationid").unwrap_or_default();
    let spans = Spans::new(&correlation_id, id);
    let traceparent = spans.traceparent();
    let properties = [
        ("x-source-table", table.as_str()),
        ("traceparent", traceparent.as_str()),
        ("Diagnostic-Id", traceparent.as_str()),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let saved = Saved {
        spans,
        notification_id: id,
        correlation_id: correlation_id.clone(),
        table: table.clone(),
        row_id: text("dvs_rowid").unwrap_or_default(),
        operation: text("dvs_operation").unwrap_or_default(),
        version: text("dvs_rowversion").unwrap_or_default(),
    };
    let notification = OutboundNotification {
        message_id: text("dvs_messageid").unwrap_or_else(|| id.to_string()),
        correlation_id,
        table,
        traceparent,
        properties: properties.into(),
        body: body_of(outbox, row),
    };
    Some((notification, saved))
}

/// Deletes the outbox row, or marks it for the sweep.
fn settle(state: &State, store: &mut Store, id: Uuid, failure: Option<PostFailed>) {
    const RETRY_WAIT: i64 = 3;
    let Some(outbox) = state.schema.by_logical("dvs_outbox") else {
        return;
    };
    let mut transaction = Transaction::begin(store);
    match failure {
        None => {
            transaction.remove(outbox, id);
        }
        Some(failure) => {
            let Some(mut row) = transaction.store().row(outbox, id).cloned() else {
                return;
            };
            let attempts = row.get(outbox, "dvs_attempts").as_int().unwrap_or(0) + 1;
            let reason: String = failure.to_string().chars().take(4000).collect();
            let next = whole_second(OffsetDateTime::now_utc() + state.retry_wait);
            for (name, cell) in [
                ("statuscode", Cell::Int(RETRY_WAIT)),
                ("dvs_lasterror", Cell::Text(reason)),
                ("dvs_attempts", Cell::Int(attempts)),
                ("dvs_nextattempton", Cell::Time(next)),
            ] {
                if let Some(index) = outbox.column(name) {
                    row.cells[index] = cell;
                }
            }
            transaction.write(outbox, row);
        }
    }
    transaction.commit();
}
