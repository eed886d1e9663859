//! The conditional writes of the inbound side.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use sync_core::config::TableConfig;
use sync_core::failure::{Failure, Stage};
use sync_core::ports::{AckState, AckWrite, Acknowledgements};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::answer::call;
use super::source::version;
use super::{Row, etag};
use crate::life::Life;
use crate::world::State;

/// Dataverse's acknowledgement columns, as one instance writes them.
pub(crate) struct SimAcknowledgements {
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl Acknowledgements for SimAcknowledgements {
    async fn read(
        &self,
        table: &TableConfig,
        row: Uuid,
        _: &str,
    ) -> Result<Option<AckState>, Failure> {
        let number = self.life.world.lock().number(row);
        let (on, at) = (table.ack.acknowledged_on.clone(), table.ack.version.clone());
        let read = call(
            &self.life,
            number,
            Stage::Acknowledge,
            "GET row",
            move |s| {
                let row = s.dataverse.rows.get(&number?)?;
                let text = row.ack.get(&on).and_then(Value::as_str);
                Some(AckState {
                    etag: etag(row.version),
                    version: version(row.ack.get(&at)),
                    acknowledged_on: text.and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok()),
                })
            },
        );
        read.await
    }

    async fn write(
        &self,
        table: &TableConfig,
        row: Uuid,
        etag: &str,
        columns: Map<String, Value>,
        _: &str,
    ) -> Result<AckWrite, Failure> {
        let number = self.life.world.lock().number(row);
        let own = table.ack.clone();
        let (condition, life) = (etag.to_owned(), Arc::clone(&self.life));
        let write = call(
            &self.life,
            number,
            Stage::Acknowledge,
            "PATCH row",
            move |s| {
                let Some(number) = number else {
                    return AckWrite::Gone;
                };
                let written = s.patch(number, &condition, columns, &own);
                s.note(
                    Some(number),
                    format!("{} writes the acknowledgement: {written:?}", life.name),
                );
                written
            },
        );
        write.await
    }
}

impl State {
    fn patch(
        &mut self,
        number: usize,
        condition: &str,
        columns: Map<String, Value>,
        own: &sync_core::config::AckColumns,
    ) -> AckWrite {
        let now = self.now();
        let before = match self.dataverse.rows.get(&number) {
            None if condition.is_empty() => {
                // Without a condition a PATCH is an upsert.
                self.violation(
                    "I4",
                    Some(number),
                    "an acknowledgement recreated a deleted row".into(),
                );
                return AckWrite::Written;
            }
            None => return AckWrite::Gone,
            Some(row) if !["", "*", &etag(row.version)].contains(&condition) => {
                return AckWrite::Conflict;
            }
            Some(row) => version(row.ack.get(&own.version)),
        };
        for name in columns
            .keys()
            .filter(|name| !own.all().contains(&name.as_str()))
        {
            let text = format!("an acknowledgement wrote {name}, which announces a change");
            self.violation("I4", Some(number), text);
        }
        let version_now = self.dataverse.next_version();
        if let Some(row) = self.dataverse.rows.get_mut(&number) {
            write(row, columns, own);
            row.version = version_now;
        }
        self.figures.acknowledged += 1;
        let after = version(self.dataverse.rows[&number].ack.get(&own.version));
        if after < before {
            let text =
                format!("the acknowledged version went back from {before:?} to {after:?} at {now}");
            self.violation("I4", Some(number), text);
        }
        self.check_written(number);
        AckWrite::Written
    }
}

/// Applies columns the way Dataverse stores them: dates in whole seconds.
fn write(row: &mut Row, columns: Map<String, Value>, own: &sync_core::config::AckColumns) {
    for (name, value) in columns {
        let stored = match value.as_str() {
            Some(text) if name == own.acknowledged_on => {
                let at = OffsetDateTime::parse(text, &Rfc3339).ok();
                let whole = at.and_then(|at| at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok());
                whole.map_or(Value::Null, Value::String)
            }
            _ => value,
        };
        row.ack.insert(name, stored);
    }
}
