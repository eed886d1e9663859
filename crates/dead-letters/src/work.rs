//! Sending letters again, or putting them aside: first the copy, or the line in the file, and only when
//! that is safe, the letter's end.
//!
//! The broker hands letters out in their order and no other way, so those that are not meant are received
//! as well, and held to the end, when they are given back. A lock that ends meanwhile does no harm: the
//! letter comes once more and is held under its new lock. A letter that this very work has sent, and that
//! was given up again since, is not sent once more.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use service_bus::{
    Client, Error, ErrorClass, OutgoingMessage, Properties, ReceiveMode, ReceivedMessage, Receiver,
    Settlement,
};
use sync_core::message::resent;
use sync_core::topic::TARGET_SYSTEM;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::aside::Aside;
use crate::letter::{Letter, RESEND_ID};
use crate::look::{LookError, look};
use crate::place::Place;
use crate::wanted::Wanted;

/// Received, and dealt with, at a time.
const MOST_AT_ONCE: u32 = 50;
/// When nothing has come for so long, it is looked whether there is anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looked for so many times, letters that are there and do not come are somebody else's.
const LOOKS: u32 = 6;

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
    /// Letters that were meant and are done.
    pub done: u64,
    /// Letters that this work sent, and that were given up again already.
    pub returned: u64,
    /// Letters that are not meant.
    pub others: u64,
}

/// Why the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing that is meant is left.
    All,
    /// As many are done as were asked for.
    Limit,
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
    /// Does it. `progress` is told after each few letters.
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
    ) -> Result<End, WorkError> {
        let page = self.rate.map_or(MOST_AT_ONCE, |rate| {
            // What waits for its turn is locked meanwhile.
            rate.get().saturating_mul(10).min(MOST_AT_ONCE)
        });
        let receiver = client.receiver(place.from(), ReceiveMode::PeekLock, page);
        let mut pass = Pass {
            work: self,
            client,
            place,
            wanted,
            page,
            receiver: receiver.await?,
            held: HashMap::new(),
            progress: Progress::default(),
            began: Instant::now(),
        };
        let end = pass.go(action, progress).await;
        progress(pass.progress);
        pass.give_back().await;
        if let Err(error) = pass.receiver.close().await {
            // What the link still held comes back when its lock ends.
            tracing::debug!(%error, place = place.name(), "the receiver was not closed in time");
        }
        end
    }
}

struct Pass<'a> {
    work: &'a Work,
    client: &'a Client,
    place: &'a Place,
    wanted: &'a Wanted,
    page: u32,
    receiver: Receiver,
    /// Not meant, by number: locked for us until the end.
    held: HashMap<i64, ReceivedMessage>,
    progress: Progress,
    began: Instant,
}

impl Pass<'_> {
    async fn go(
        &mut self,
        action: &mut Action,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<End, WorkError> {
        // How many came again since the last that came for the first time.
        let (mut again, mut looks) = (0, 0);
        loop {
            if let Some(end) = self.is_done() {
                return Ok(end);
            }
            let next = self.receiver.receive(self.page as usize, PATIENCE);
            let page = tokio::select! {
                biased;
                () = self.work.stop.cancelled() => return Ok(End::Stopped),
                page = next => page?,
            };
            if page.is_empty() {
                looks += 1;
                match self.is_any_left().await? {
                    false => return Ok(End::All),
                    true if looks == LOOKS => return Ok(End::Locked),
                    true => continue,
                }
            }
            looks = 0;
            let (count, known) = (page.len(), self.held.len());
            let mut meant = self.sort(page);
            let is_news = !meant.is_empty() || self.held.len() > known;
            again = if is_news { 0 } else { again + count };
            if again > self.held.len().saturating_add(count) {
                let is_any_left = self.is_any_left().await?;
                return Ok(if is_any_left {
                    End::OutOfReach
                } else {
                    End::All
                });
            }
            while !meant.is_empty() {
                let rest = meant.split_off(meant.len().min(self.step()));
                let few = std::mem::replace(&mut meant, rest);
                if let Some(end) = self.turn().await {
                    for (letter, message) in few.into_iter().chain(meant) {
                        self.hold(letter.number, message);
                    }
                    return Ok(end);
                }
                match action {
                    Action::Resend => self.resend(few).await?,
                    Action::PutAside(aside) => self.put_aside(aside, few).await?,
                }
                progress(self.progress);
            }
            progress(self.progress);
        }
    }

    fn is_done(&self) -> Option<End> {
        let done = self.progress.done;
        if self.wanted.is_met_by(done) {
            return Some(End::All);
        }
        let limit = self.work.limit?;
        (done >= limit).then_some(End::Limit)
    }

    /// Whether a letter is meant and not done, whoever has it.
    async fn is_any_left(&self) -> Result<bool, WorkError> {
        let mut is_any = false;
        let looked = look(self.client, self.place, self.wanted, |letter| {
            is_any |= letter.resend_id != Some(self.work.id);
            Ok::<_, Infallible>(!is_any)
        });
        match looked.await {
            Ok(()) => Ok(is_any),
            Err(LookError::Bus(error)) => Err(error.into()),
            Err(LookError::Shown(never)) => match never {},
        }
    }

    /// Done at once: a tenth of a second's worth.
    fn step(&self) -> usize {
        let rate = self.work.rate.map_or(MOST_AT_ONCE, |rate| rate.get() / 10);
        let left = self.work.limit.map(|limit| limit - self.progress.done);
        let left = left.and_then(|left| usize::try_from(left).ok());
        let step = rate.clamp(1, MOST_AT_ONCE) as usize;
        left.map_or(step, |left| step.min(left.max(1)))
    }

    /// Waits until the rate allows more.
    async fn turn(&self) -> Option<End> {
        if let Some(end) = self.is_done() {
            return Some(end);
        }
        let due = self.work.rate.map(|rate| due(self.progress.done, rate));
        let due = self.began + due.unwrap_or(Duration::ZERO);
        tokio::select! {
            biased;
            () = self.work.stop.cancelled() => Some(End::Stopped),
            () = sleep_until(due) => None,
        }
    }

    /// Those that are meant; the others are held.
    fn sort(&mut self, page: Vec<ReceivedMessage>) -> Vec<(Letter, ReceivedMessage)> {
        let mut meant = Vec::new();
        for message in page {
            let letter = Letter::read(self.place.name(), &message);
            let is_ours = letter.resend_id == Some(self.work.id);
            if is_ours {
                self.progress.returned += u64::from(self.hold(letter.number, message));
            } else if !self.wanted.has(&letter) {
                self.progress.others += u64::from(self.hold(letter.number, message));
            } else {
                meant.push((letter, message));
            }
        }
        meant
    }

    /// Whether it is held for the first time.
    fn hold(&mut self, number: i64, message: ReceivedMessage) -> bool {
        // There may be very many; nothing but the lock is needed of them.
        let slim = ReceivedMessage {
            body: bytes::Bytes::new(),
            properties: Properties::new(),
            ..message
        };
        self.held.insert(number, slim).is_none()
    }

    async fn resend(&mut self, few: Vec<(Letter, ReceivedMessage)>) -> Result<(), WorkError> {
        let each = few.iter().map(async |(_, message)| {
            let copy = self.copy_of(message);
            self.client.send(self.place.to(), copy).await?;
            self.complete(message).await
        });
        let ended = join_all(each).await;
        self.count(ended)
    }

    async fn put_aside(
        &mut self,
        aside: &mut Aside,
        few: Vec<(Letter, ReceivedMessage)>,
    ) -> Result<(), WorkError> {
        let written = few
            .iter()
            .try_for_each(|(letter, message)| aside.write(letter, message))
            .and_then(|()| aside.sync());
        if let Err(error) = written {
            for (letter, message) in few {
                self.hold(letter.number, message);
            }
            let path = aside.path().to_owned();
            return Err(WorkError::File { path, error });
        }
        let ended = join_all(few.iter().map(|(_, message)| self.complete(message))).await;
        self.count(ended)
    }

    /// All that are done count, also when another failed.
    fn count(&mut self, ended: Vec<Result<bool, Error>>) -> Result<(), WorkError> {
        let mut failed = None;
        for one in ended {
            match one {
                Ok(true) => self.progress.done += 1,
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends a letter; `false` if its lock was lost, so that it will come again.
    async fn complete(&self, message: &ReceivedMessage) -> Result<bool, Error> {
        match self.receiver.settle(message, Settlement::Complete).await {
            Ok(()) => Ok(true),
            Err(error) if error.class() == ErrorClass::LockLost => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn copy_of(&self, letter: &ReceivedMessage) -> OutgoingMessage {
        let mut properties = letter.properties.clone();
        if let Some(target) = self.place.target() {
            // A letter that the broker gave up by itself does not say for whom it is.
            properties
                .entry(TARGET_SYSTEM.to_owned())
                .or_insert_with(|| target.into());
        }
        properties.insert(RESEND_ID.into(), self.work.id.to_string().into());
        let copy = OutgoingMessage {
            body: letter.body.clone(),
            message_id: letter.message_id.clone(),
            correlation_id: letter.correlation_id.clone(),
            session_id: letter.session_id.clone(),
            content_type: letter.content_type.clone(),
            subject: letter.subject.clone(),
            properties,
            ..OutgoingMessage::default()
        };
        // The same when this work does it twice, after a crash between the copy and the letter's end:
        // duplicate detection folds that.
        let name = format!("{}/{}", self.place.from(), letter.sequence_number);
        resent(copy, Uuid::new_v5(&self.work.id, name.as_bytes()))
    }

    async fn give_back(&mut self) {
        let receiver = &self.receiver;
        let given = self.held.drain().map(async |(number, letter)| {
            let back = Settlement::Abandon {
                properties: Properties::new(),
            };
            if let Err(error) = receiver.settle(&letter, back).await {
                // Its lock ends all the same.
                tracing::debug!(%error, number, "a dead letter was not given back");
            }
        });
        let given = given.collect::<Vec<_>>();
        stream::iter(given)
            .for_each_concurrent(MOST_AT_ONCE as usize, |one| one)
            .await;
    }
}

/// When, from the beginning, the letter after so many is due.
fn due(done: u64, rate: NonZeroU32) -> Duration {
    // More than an f64 tells apart would take ages.
    Duration::from_secs_f64(done as f64 / f64::from(rate.get()))
}

#[cfg(test)]
mod tests;
