//! The outbox table, as the sweeper sees it.

use std::sync::Arc;

use async_trait::async_trait;
use sync_core::failure::{Failure, Stage};
use sync_core::outbox::{Outbox, OutboxRow};
use time::OffsetDateTime;

use super::answer::call;
use super::{OutboxEntry, etag};
use crate::life::Life;
use crate::world::State;

/// The outbox, as one instance sweeps it.
pub(crate) struct SimOutbox {
    pub(crate) life: Arc<Life>,
}

impl SimOutbox {
    async fn call<T: Send + 'static>(
        &self,
        asked: &'static str,
        effect: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        call(&self.life, None, Stage::Fetch, asked, effect).await
    }
}

/// Changes an outbox row if nobody else did since `row` was read.
fn change(s: &mut State, row: &OutboxRow, change: impl FnOnce(&mut OutboxEntry)) -> bool {
    let matches = |e: &OutboxEntry| etag(e.version) == row.etag;
    if !s.dataverse.outbox.get(&row.id).is_some_and(matches) {
        return false;
    }
    let version = s.dataverse.next_version();
    if let Some(entry) = s.dataverse.outbox.get_mut(&row.id) {
        entry.version = version;
        change(entry);
    }
    true
}

fn read(s: &State, id: uuid::Uuid) -> Option<OutboxRow> {
    let entry = s.dataverse.outbox.get(&id)?;
    let change = &s.truth.changes[entry.change];
    Some(OutboxRow {
        id,
        etag: etag(entry.version),
        message_id: change.notification.clone(),
        correlation_id: format!("c-{}", change.notification),
        payload: change.body.clone(),
        attempts: entry.attempts,
    })
}

#[async_trait]
impl Outbox for SimOutbox {
    async fn due(&self, now: OffsetDateTime) -> Result<Vec<OutboxRow>, Failure> {
        let due = self.call("GET outbox", move |s| {
            let due = |e: &OutboxEntry| !e.failed && e.next.is_some_and(|next| next <= now);
            let outbox = s.dataverse.outbox.iter();
            let mut found: Vec<_> = outbox
                .filter(|(_, e)| due(e))
                .map(|(id, e)| (e.created, *id))
                .collect();
            found.sort_unstable();
            found.truncate(100);
            found
                .into_iter()
                .filter_map(|(_, id)| read(s, id))
                .collect()
        });
        due.await
    }

    async fn claim(
        &self,
        row: &OutboxRow,
        lease: OffsetDateTime,
    ) -> Result<Option<OutboxRow>, Failure> {
        let (mine, id) = (row.clone(), row.id);
        let claimed = self.call("PATCH outbox", move |s| {
            change(s, &mine, |e| e.next = Some(lease))
        });
        if !claimed.await? {
            return Ok(None);
        }
        self.call("GET outbox row", move |s| read(s, id)).await
    }

    async fn delete(&self, row: &OutboxRow) -> Result<(), Failure> {
        let row = row.clone();
        self.call("DELETE outbox", move |s| {
            let id = row.id;
            if change(s, &row, |_| {}) {
                s.dataverse.outbox.remove(&id);
                s.figures.swept += 1;
            }
        })
        .await
    }

    async fn keep(
        &self,
        row: &OutboxRow,
        reason: &str,
        next: Option<OffsetDateTime>,
    ) -> Result<(), Failure> {
        let (row, reason) = (row.clone(), reason.to_owned());
        self.call("PATCH outbox", move |s| {
            change(s, &row, |e| {
                (e.failed, e.next) = (next.is_none(), next);
                (e.attempts, e.reason) = (e.attempts + 1, Some(reason));
            });
        })
        .await
    }
}
