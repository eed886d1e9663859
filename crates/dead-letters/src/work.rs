//! Sending letters again, or putting them aside: first the copy, or the line in the file, and only when
//! that is safe, the letter's end.

mod pass;

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;

use service_bus::{Client, Error};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::aside::Aside;
use crate::look::look;
use crate::place::Place;
use crate::wanted::Wanted;
use pass::Pass;

/// What is done with each letter that is meant.
#[derive(Debug)]
pub enum Action {
    /// It is sent again.
    Resend,
    /// It is written to a file, and gone.
    PutAside(Aside),
}

/// How far the work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Letters that were meant when the work began, as far as the limit.
    pub meant: u64,
    /// Letters that are done.
    pub done: u64,
    /// Letters that are not meant.
    pub others: u64,
}

/// How the work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub end: End,
    /// Letters that this work sent, and that were given up again already.
    pub returned: u64,
    /// Numbers of letters that are meant and stay, since no copy could hold all of them: they are of a kind
    /// that this program cannot write, or too large for the queue.
    pub unfit: Vec<i64>,
}

/// Why the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What was meant is done.
    All,
    /// It was stopped.
    Stopped,
    /// What is left is locked by somebody else, or by a run that broke off: it comes when its lock ends.
    Locked,
    /// There may be more behind letters that are not meant: so many of those that their locks end, and
    /// they come again, before the ones behind come for the first time.
    OutOfReach,
}

/// What ended the work early. Nothing is lost; to do it again with the same [`Work::id`] goes on.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The broker refused or did not answer.
    #[error(transparent)]
    Bus(#[from] Error),
    /// A letter was not written, and is where it was.
    #[error("{}: a letter cannot be written: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Work on the letters of a place.
#[derive(Debug, Clone)]
pub struct Work {
    /// Names the work. Under the same id, letters it has sent already are not sent again.
    pub id: Uuid,
    /// So many a second at most.
    pub rate: Option<NonZeroU32>,
    /// So many at most.
    pub limit: Option<u64>,
    /// Ends it between two letters.
    pub stop: CancellationToken,
}

impl Work {
    /// As much as there is, as fast as it goes.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self {
            id,
            rate: None,
            limit: None,
            stop: CancellationToken::new(),
        }
    }

    /// Does it. `progress` is told after each few letters.
    ///
    /// As many are done as are there when it begins, so that it ends even if new ones keep coming.
    ///
    /// # Errors
    /// [`WorkError`]; what was done until then is in the last progress.
    pub async fn run(
        &self,
        client: &Client,
        place: &Place,
        wanted: &Wanted,
        action: &mut Action,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Outcome, WorkError> {
        let meant = self.count(client, place, wanted).await?;
        let (mut end, mut unfit) = (End::All, Vec::new());
        // Nothing is received for nothing: that would lock the others.
        if meant > 0 {
            let mut pass = Pass::begin(self, client, place, wanted, meant).await?;
            let ended = pass.go(action, progress).await;
            progress(pass.progress());
            unfit = pass.finish().await;
            end = ended?;
        }
        let returned = match action {
            Action::Resend => self.returned(client, place).await?,
            Action::PutAside(_) => 0,
        };
        Ok(Outcome {
            end,
            returned,
            unfit,
        })
    }

    /// How many are meant, as far as the limit.
    async fn count(&self, client: &Client, place: &Place, wanted: &Wanted) -> Result<u64, Error> {
        let limit = self.limit.unwrap_or(u64::MAX);
        let mut meant = 0;
        if limit > 0 {
            let seen = look(client, place, wanted, |letter| {
                meant += u64::from(letter.resend_id != Some(self.id));
                meant < limit
            });
            seen.await?;
        }
        Ok(meant)
    }

    async fn returned(&self, client: &Client, place: &Place) -> Result<u64, Error> {
        let (mut returned, everything) = (0, Wanted::default());
        let seen = look(client, place, &everything, |letter| {
            returned += u64::from(letter.resend_id == Some(self.id));
            true
        });
        seen.await?;
        Ok(returned)
    }
}

#[cfg(test)]
mod tests;
