//! Where timers remember, and how the instances of an app agree on which of them runs one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use time::format_description::well_known::Iso8601;
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use super::{ScheduleRecord, TimerRecords};
use crate::host::encode::schedule_status;
use crate::host::storage::{Blobs, StorageError};

/// Shared by all instances of an app that run in this process.
#[derive(Debug, Clone)]
pub(crate) enum TimerStorage {
    /// Without `AzureWebJobsStorage`: memory or files, and only instances of this process agree.
    Local {
        records: TimerRecords,
        locks: Arc<Mutex<BTreeSet<String>>>,
    },
    /// With it: blobs named and written as the host's own are.
    Blobs { blobs: Blobs, host_id: String },
}

/// The right to run a timer. A local one is given back when dropped, a blob's when it runs out.
#[derive(Debug)]
pub(crate) enum TimerLock {
    Local {
        locks: Arc<Mutex<BTreeSet<String>>>,
        function: String,
    },
    Blob {
        blobs: Blobs,
        path: String,
        lease: Uuid,
    },
}

/// Why a record was not read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TimerStorageError {
    #[error(transparent)]
    Blob(#[from] StorageError),
    #[error(transparent)]
    File(#[from] std::io::Error),
}

impl TimerStorage {
    pub(crate) fn local(records: TimerRecords) -> Self {
        Self::Local {
            records,
            locks: Arc::default(),
        }
    }

    pub(crate) async fn get(
        &self,
        function: &str,
    ) -> Result<Option<ScheduleRecord>, TimerStorageError> {
        match self {
            Self::Local { records, .. } => Ok(records.get(function)),
            Self::Blobs { blobs, host_id } => {
                let text = blobs.read(&status_path(host_id, function)).await?;
                // As the host does with a status it cannot read: the timer begins anew.
                Ok(text.and_then(|text| read_status(&text)))
            }
        }
    }

    pub(crate) async fn set(
        &self,
        function: &str,
        record: ScheduleRecord,
    ) -> Result<(), TimerStorageError> {
        match self {
            Self::Local { records, .. } => Ok(records.set(function, record)?),
            Self::Blobs { blobs, host_id } => {
                let status = schedule_status(&record).to_string();
                Ok(blobs.write(&status_path(host_id, function), status).await?)
            }
        }
    }

    /// The right to run the timer, if no other instance has it.
    pub(crate) async fn try_lock(
        &self,
        function: &str,
        period: Duration,
        instance: &str,
    ) -> Result<Option<TimerLock>, TimerStorageError> {
        match self {
            Self::Local { locks, .. } => {
                let mut held = locks.lock().unwrap_or_else(PoisonError::into_inner);
                let mine = held.insert(function.to_owned());
                Ok(mine.then(|| TimerLock::Local {
                    locks: Arc::clone(locks),
                    function: function.to_owned(),
                }))
            }
            Self::Blobs { blobs, host_id } => {
                let path = format!("locks/{host_id}/Host.Functions.{function}.Listener");
                let lease = blobs.lease(&path, period, instance).await?;
                Ok(lease.map(|lease| TimerLock::Blob {
                    blobs: blobs.clone(),
                    path,
                    lease,
                }))
            }
        }
    }
}

impl TimerLock {
    /// `false` when another has it by now.
    pub(crate) async fn renew(&self) -> Result<bool, StorageError> {
        match self {
            Self::Local { .. } => Ok(true),
            Self::Blob { blobs, path, lease } => blobs.renew(path, *lease).await,
        }
    }

    pub(crate) async fn release(self) -> Result<(), StorageError> {
        match &self {
            Self::Local { .. } => Ok(()),
            Self::Blob { blobs, path, lease } => blobs.release(path, *lease).await,
        }
    }
}

impl Drop for TimerLock {
    fn drop(&mut self) {
        if let Self::Local { locks, function } = self {
            let mut held = locks.lock().unwrap_or_else(PoisonError::into_inner);
            held.remove(function);
        }
    }
}

/// `StorageScheduleMonitor`'s name of a status; a timer is called by its .NET method's full name.
fn status_path(host_id: &str, function: &str) -> String {
    format!("timers/{host_id}/Host.Functions.{function}/status")
}

fn read_status(text: &[u8]) -> Option<ScheduleRecord> {
    let json: Value = serde_json::from_slice(text).ok()?;
    let date = |name: &str| -> Option<OffsetDateTime> {
        let text = json.get(name)?.as_str()?;
        let date = OffsetDateTime::parse(text, &Iso8601::PARSING).or_else(|_| {
            PrimitiveDateTime::parse(text, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc)
        });
        // .NET's smallest date stands for "never".
        date.ok().filter(|date| date.year() > 1)
    };
    Some(ScheduleRecord {
        last: date("Last"),
        next: date("Next")?,
        last_updated: date("LastUpdated"),
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_status_is_written_as_the_host_writes_it_and_read_again() {
        let record = ScheduleRecord {
            last: None,
            next: datetime!(2026-03-02 09:15:00 UTC),
            last_updated: Some(datetime!(2026-03-02 09:10:00.0123456 UTC)),
        };
        let text = schedule_status(&record).to_string();
        assert_eq!(
            text,
            r#"{"Last":"0001-01-01T00:00:00","Next":"2026-03-02T09:15:00+00:00","LastUpdated":"2026-03-02T09:10:00.0123456+00:00"}"#
        );
        assert_eq!(read_status(text.as_bytes()), Some(record));
        assert_eq!(read_status(b"not json"), None);
        assert_eq!(
            status_path("host", "Sweep"),
            "timers/host/Host.Functions.Sweep/status"
        );
    }

    #[tokio::test]
    async fn one_instance_at_a_time_has_the_right_to_run_a_timer() {
        let storage = TimerStorage::local(TimerRecords::new(None));
        let lock = async |storage: &TimerStorage| {
            let lock = storage.try_lock("Sweep", Duration::from_secs(15), "a");
            lock.await.unwrap()
        };
        let first = lock(&storage).await.unwrap();
        assert!(lock(&storage.clone()).await.is_none());
        drop(first);
        assert!(lock(&storage).await.is_some());
    }
}
