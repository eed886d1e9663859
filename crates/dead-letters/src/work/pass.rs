//! One pass over the letters of a place.
//!
//! The broker hands letters out in their order and no other way, so those that are not meant are received
//! as well, and held to the end, when they are given back. A lock that ends meanwhile does no harm: the
//! letter comes once more and is held under its new lock. A letter that this very work has sent, and that
//! was given up again since, is not sent once more.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use governor::{DefaultDirectRateLimiter, Quota};
use service_bus::{Client, Error, ErrorClass, ReceiveMode, ReceivedMessage, Receiver, Settlement};

use super::{Action, End, Progress, Work, WorkError};
use crate::aside::Aside;
use crate::copy::copy;
use crate::held::Held;
use crate::letter::Letter;
use crate::place::Place;
use crate::wanted::Wanted;

/// Received, and dealt with, at a time.
const MOST_AT_ONCE: u32 = 50;
/// When nothing has come for so long, it is looked whether there is anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looked for so many times, letters that are there and do not come are somebody else's.
const LOOKS: u32 = 8;

type Few = Vec<(Letter, ReceivedMessage)>;

pub(super) struct Pass<'a> {
    work: &'a Work,
    client: &'a Client,
    place: &'a Place,
    wanted: &'a Wanted,
    receiver: Receiver,
    pace: Option<DefaultDirectRateLimiter>,
    held: Held,
    unfit: Vec<i64>,
    progress: Progress,
}

impl<'a> Pass<'a> {
    pub(super) async fn begin(
        work: &'a Work,
        client: &'a Client,
        place: &'a Place,
        wanted: &'a Wanted,
        meant: u64,
    ) -> Result<Self, Error> {
        let mode = ReceiveMode::PeekLock;
        let receiver = client.receiver(place.from(), mode, page(work.rate)).await?;
        // One at a time, evenly: what is saved up in a pause is not spent at once.
        let pace = work
            .rate
            .map(|rate| Quota::per_second(rate).allow_burst(NonZeroU32::MIN));
        Ok(Self {
            work,
            client,
            place,
            wanted,
            receiver,
            pace: pace.map(DefaultDirectRateLimiter::direct),
            held: Held::default(),
            unfit: Vec::new(),
            progress: Progress {
                meant,
                ..Progress::default()
            },
        })
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Gives everything back that stays; returns the numbers of those that are unfit.
    pub(super) async fn finish(mut self) -> Vec<i64> {
        self.held.give_back(&self.receiver).await;
        if let Err(error) = self.receiver.close().await {
            // What the link still held comes back when its lock ends.
            tracing::debug!(%error, place = self.place.name(), "the receiver was not closed in time: {error}");
        }
        self.unfit
    }

    pub(super) async fn go(
        &mut self,
        action: &mut Action,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<End, WorkError> {
        // How many came again since one came for the first time, or was done; looks in vain.
        let (mut again, mut looks) = (0, 0);
        let page = page(self.work.rate) as usize;
        while self.left() > 0 {
            let next = self.receiver.receive(page, PATIENCE);
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
            let (count, before) = (page.len(), self.held.len() as u64 + self.progress.done);
            let meant = self.sort(page);
            if let Some(end) = self.deal_with(meant, action, progress).await? {
                return Ok(end);
            }
            let is_news = self.held.len() as u64 + self.progress.done > before;
            again = if is_news { 0 } else { again + count };
            if again > self.held.len().saturating_add(count) {
                return Ok(match self.is_any_left().await? {
                    true if self.held.len() == 0 => End::Locked,
                    true => End::OutOfReach,
                    false => End::All,
                });
            }
        }
        Ok(End::All)
    }

    /// How many are still to be done.
    fn left(&self) -> u64 {
        let dealt_with = self.progress.done + self.unfit.len() as u64;
        self.progress.meant.saturating_sub(dealt_with)
    }

    async fn is_any_left(&self) -> Result<bool, Error> {
        let one = Work {
            // Those that are unfit stay, and are meant.
            limit: Some(self.unfit.len() as u64 + 1),
            ..self.work.clone()
        };
        let meant = one.count(self.client, self.place, self.wanted).await?;
        Ok(meant > self.unfit.len() as u64)
    }

    /// Those that are meant; the others are held.
    fn sort(&mut self, page: Vec<ReceivedMessage>) -> Few {
        let mut meant = Vec::new();
        for message in page {
            let letter = Letter::read(self.place.name(), &message);
            if letter.resend_id == Some(self.work.id) {
                self.held.hold(message);
            } else if !self.wanted.has(&letter) {
                self.progress.others += u64::from(self.held.hold(message));
            } else if message.is_whole {
                meant.push((letter, message));
            } else {
                self.keep(message);
            }
        }
        meant
    }

    /// Keeps one that no copy can hold.
    fn keep(&mut self, message: ReceivedMessage) {
        let number = message.sequence_number;
        if self.held.hold(message) {
            self.unfit.push(number);
        }
    }

    /// A few at a time; whatever ends it, those that are not done are held.
    async fn deal_with(
        &mut self,
        mut meant: Few,
        action: &mut Action,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Option<End>, WorkError> {
        while !meant.is_empty() {
            let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
            let rest = meant.split_off(meant.len().min(step(self.work.rate)).min(left));
            let few = std::mem::replace(&mut meant, rest);
            let ended = match self.turns(few.len()).await {
                Some(end) => {
                    self.hold_all(few);
                    Ok(Some(end))
                }
                None if few.is_empty() => Ok(Some(End::All)),
                None => match action {
                    Action::Resend => self.resend(few).await.map(|()| None),
                    Action::PutAside(aside) => self.put_aside(aside, few).await.map(|()| None),
                },
            };
            progress(self.progress);
            if !matches!(ended, Ok(None)) {
                self.hold_all(meant);
                return ended;
            }
        }
        Ok(None)
    }

    /// Waits until the rate allows so many more.
    async fn turns(&self, count: usize) -> Option<End> {
        for _ in 0..count {
            let turn = async {
                if let Some(pace) = &self.pace {
                    pace.until_ready().await;
                }
            };
            tokio::select! {
                biased;
                () = self.work.stop.cancelled() => return Some(End::Stopped),
                () = turn => {}
            }
        }
        None
    }

    fn hold_all(&mut self, few: Few) {
        for (_, message) in few {
            self.held.hold(message);
        }
    }

    async fn resend(&mut self, few: Few) -> Result<(), WorkError> {
        let each = few.iter().map(async |(_, message)| {
            let copy = copy(message, self.place, self.work.id);
            self.client.send(self.place.to(), copy).await?;
            self.complete(message).await
        });
        let ended = join_all(each).await;
        self.count(few, ended)
    }

    async fn put_aside(&mut self, aside: &mut Aside, few: Few) -> Result<(), WorkError> {
        let written = few
            .iter()
            .try_for_each(|(letter, message)| aside.write(letter, message))
            .and_then(|()| aside.sync());
        if let Err(error) = written {
            self.hold_all(few);
            let path = aside.path().to_owned();
            return Err(WorkError::File { path, error });
        }
        let ended = join_all(few.iter().map(|(_, message)| self.complete(message))).await;
        self.count(few, ended)
    }

    /// All that are done count, also when another failed; that one is held.
    fn count(&mut self, few: Few, ended: Vec<Result<bool, Error>>) -> Result<(), WorkError> {
        let mut failed = None;
        for ((_, message), one) in few.into_iter().zip(ended) {
            match one {
                Ok(true) => self.progress.done += 1,
                Ok(false) => {}
                // Every run would meet it again, and nothing behind it would ever be sent.
                Err(error) if error.class() == ErrorClass::TooLarge => self.keep(message),
                Err(error) => {
                    self.held.hold(message);
                    failed = failed.or(Some(error));
                }
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
}

/// Received at a time: what waits for its turn is locked meanwhile.
fn page(rate: Option<NonZeroU32>) -> u32 {
    rate.map_or(MOST_AT_ONCE, |rate| {
        rate.get().saturating_mul(10).min(MOST_AT_ONCE)
    })
}

/// Done at once: a tenth of a second's worth.
fn step(rate: Option<NonZeroU32>) -> usize {
    let rate = rate.map_or(MOST_AT_ONCE, |rate| rate.get() / 10);
    rate.clamp(1, MOST_AT_ONCE) as usize
}
