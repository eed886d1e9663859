//! What the passes need from the outside world. Real clients implement these, and so does the
//! simulation: the passes cannot tell.

use async_trait::async_trait;
use service_bus::{OutgoingMessage, Properties};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::config::{DeletePolicy, TableConfig};
use crate::failure::Failure;
use crate::mapping::Payload;
use crate::snapshot::{Latest, RowKey, RowVersion};

/// Reads of the source rows.
#[async_trait]
pub trait Source: Send + Sync {
    /// The row as it is now.
    async fn latest(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Latest, Failure>;

    /// The row's version as it is now; `None` when the row does not exist.
    async fn version(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<RowVersion>, Failure>;
}

/// What one call tells the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The source row.
    pub row: RowKey,
    /// Version of the snapshot; for a delete the newest version that was announced, if any was.
    pub version: Option<RowVersion>,
    /// Of the change that led to it.
    pub correlation_id: String,
    /// Names this decision to deliver.
    pub attempt: Uuid,
    /// What to do.
    pub change: Change,
}

/// What the target should do.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Hold this row.
    Upsert(Payload),
    /// The row is gone; act by the table's policy.
    Delete(DeletePolicy),
}

impl Delivery {
    /// The same for the tries of one decision to deliver, another for each later one:
    /// `{table}:{rowId}:{version}:{attempt}`.
    ///
    /// A version alone would not do. A target that remembers keys would answer a repair from memory,
    /// since the row was delivered at that version before somebody overwrote it; and a deleted row has
    /// the version of its last delivery.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let version = self
            .version
            .map_or_else(|| "deleted".to_owned(), |v| v.to_string());
        format!("{}:{version}:{}", self.row, self.attempt.simple())
    }
}

/// What the target answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The row's key in the target, if it said so.
    pub target_row_id: Option<String>,
}

/// The target system.
#[async_trait]
pub trait Target: Send + Sync {
    /// Makes one call that changes the target. Safe to repeat.
    async fn deliver(&self, table: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure>;

    /// Fails while it is known that no call would be made at all.
    ///
    /// # Errors
    /// What such a call would give.
    fn available(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A queue, as far as its own messages are concerned.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends one message and waits until the broker has it.
    async fn send(&self, message: OutgoingMessage) -> Result<(), service_bus::Error>;

    /// Moves a message that another process holds into the dead-letter queue.
    async fn dead_letter(
        &self,
        lock_token: Uuid,
        reason: &str,
        description: &str,
        properties: Properties,
    ) -> Result<(), service_bus::Error>;
}

/// The acknowledgement columns of a row, as they are now.
#[derive(Debug, Clone, PartialEq)]
pub struct AckState {
    /// For the conditional write.
    pub etag: String,
    /// Newest version acknowledged as delivered.
    pub version: Option<RowVersion>,
    /// When the acknowledged answer was processed.
    pub acknowledged_on: Option<OffsetDateTime>,
}

/// How a conditional write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckWrite {
    /// The row carries it.
    Written,
    /// Somebody changed the row in between: read again and decide again.
    Conflict,
    /// The row does not exist; it is not recreated.
    Gone,
}

/// Where acknowledgements are written.
#[async_trait]
pub trait Acknowledgements: Send + Sync {
    /// The row's acknowledgement columns; `None` when the row does not exist.
    async fn read(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<AckState>, Failure>;

    /// Writes columns on the condition that the row is still as it was at `etag`.
    async fn write(
        &self,
        table: &TableConfig,
        row: Uuid,
        etag: &str,
        columns: serde_json::Map<String, serde_json::Value>,
        correlation: &str,
    ) -> Result<AckWrite, Failure>;
}

/// Wall-clock time. Waiting is `tokio::time`, which a simulation pauses.
pub trait Clock: Send + Sync {
    /// Now, UTC.
    fn now(&self) -> OffsetDateTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// Randomness behind a lock: drawn in short sections, seeded by a simulation.
pub type SharedRng = std::sync::Arc<std::sync::Mutex<rand::rngs::SmallRng>>;

/// A generator for production: seeded by the operating system.
#[must_use]
pub fn system_rng() -> SharedRng {
    use rand::SeedableRng;
    std::sync::Arc::new(std::sync::Mutex::new(rand::rngs::SmallRng::from_os_rng()))
}

/// A few milliseconds of jitter for a pause within an invocation.
pub(crate) fn jitter_ms(rng: &SharedRng) -> u64 {
    use rand::Rng;
    rng.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .random_range(0..50)
}
