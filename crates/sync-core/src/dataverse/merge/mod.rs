//! Merging: concurrent requests for rows become one, and each caller still gets its own answer.
//!
//! Dataverse counts requests, and a page of fifty rows, read or written, counts as one ("Service
//! protection API limits", Power Apps docs).
//!
//! What makes a merged read as good as one's own is *when* it is issued: a request joins only pages
//! that have not been sent yet. It is never served from a read that was under way when it came, which
//! may have missed the very change it is about.

mod gather;
mod narrow;
mod plan;
mod reads;
mod rhythm;
mod size;
mod writes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::ServiceError;
use super::classify::classify;
use super::client::DataverseClient;
use crate::failure::{Class, Failure, Stage};
use crate::ports::AckWrite;
use gather::Gatherer;
pub(super) use narrow::ask_all;
pub use plan::PageTotals;
#[cfg(feature = "fuzzing")]
pub(super) use reads::read;
pub(super) use reads::{ReadAsk, ReadPages};
use rhythm::Rhythm;
pub(super) use writes::{Write, WriteAsk};

/// How concurrent requests are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merging {
    /// How long a page waits for company where company is to be expected. A lone request of an idle
    /// client never waits.
    pub linger: Duration,
    /// Rows of a page to begin with; it adapts between a fifth and four times of it.
    pub rows: usize,
}

impl Default for Merging {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(3),
            rows: 50,
        }
    }
}

/// Requests that can be answered together.
#[async_trait]
pub(super) trait Pages: Send + Sync {
    /// What one caller asks.
    type Ask: Send + Sync + 'static;
    /// What it gets.
    type Answer: Send + 'static;
    /// The right to send one page.
    type Ticket: Send + 'static;

    /// `read` or `write`, for telemetry.
    fn kind(&self) -> &'static str;

    /// Waits for the right to send a page.
    async fn admit(&self) -> Result<Self::Ticket, Failure>;

    /// Sends one page; answers by position.
    async fn call(
        &self,
        ticket: Self::Ticket,
        asks: &[Self::Ask],
    ) -> Result<Vec<Result<Self::Answer, Failure>>, PageFailure>;
}

/// A page that failed as a whole.
#[derive(Debug, Clone)]
pub(super) struct PageFailure {
    pub(super) failure: Failure,
    /// Whether a single row may be to blame, so that its neighbours are worth asking for again.
    pub(super) divisible: bool,
    /// Whether fewer rows might have worked.
    pub(super) too_large: bool,
}

impl PageFailure {
    /// One that says nothing about the rows: it is everybody's own.
    pub(super) fn of_all(failure: Failure) -> Self {
        Self {
            failure,
            divisible: false,
            // An answer that did not come in time shows in how long it was waited for.
            too_large: false,
        }
    }

    pub(super) fn refused(error: &ServiceError, stage: Stage, asked: &str) -> Self {
        let failure = classify(error, stage, asked);
        let unfit = matches!(error.status, 400 | 413 | 414) && failure.class == Class::Permanent;
        let broke = error.status == 500 && !error.is_deadlock();
        Self {
            divisible: (unfit || broke) && !matches!(failure.class, Class::Throttled { .. }),
            too_large: matches!(error.status, 413 | 414) || error.is_slow(),
            failure,
        }
    }
}

/// Everything that is gathered for one client.
#[derive(Clone)]
pub(super) struct Merged(Arc<Inner>);

struct Inner {
    client: DataverseClient,
    merging: Merging,
    reads: Mutex<HashMap<ReadPages, Gatherer<reads::Reads>>>,
    writes: Gatherer<writes::Writes>,
    rhythm: Rhythm,
}

impl Merged {
    pub(super) fn new(client: DataverseClient, merging: Merging) -> Self {
        let writes = writes::Writes(client.clone());
        let rhythm = Rhythm::default();
        let writes = Gatherer::new(writes, merging, writes::MOST, client.timeout(), &rhythm);
        Self(Arc::new(Inner {
            client,
            merging,
            reads: Mutex::default(),
            writes,
            rhythm,
        }))
    }

    /// What was sent so far.
    pub(super) fn totals(&self) -> PageTotals {
        self.0.rhythm.now().totals()
    }

    /// Columns of one row; `None` when it does not exist.
    pub(super) async fn read(
        &self,
        pages: ReadPages,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<Map<String, Value>>, Failure> {
        let stage = pages.stage;
        let gatherer = {
            let mut reads = self.0.reads.lock().unwrap_or_else(PoisonError::into_inner);
            let inner = &self.0;
            reads
                .entry(pages)
                .or_insert_with_key(|pages| {
                    let most = pages.most_rows(inner.client.root());
                    let reads = reads::Reads {
                        client: inner.client.clone(),
                        pages: pages.clone(),
                    };
                    let timeout = inner.client.timeout();
                    Gatherer::new(reads, inner.merging, most, timeout, &inner.rhythm)
                })
                .clone()
        };
        let correlation = correlation.to_owned();
        gatherer.ask(ReadAsk { row, correlation }, stage).await
    }

    /// Writes one row on a condition.
    pub(super) async fn write(&self, ask: WriteAsk) -> Result<AckWrite, Failure> {
        let stage = ask.stage;
        self.0.writes.ask(ask, stage).await
    }
}
