//! Small pieces that tasks share: a lock, a life, and a slot that holds what is made on demand.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio_util::sync::CancellationToken;

use crate::error::ErrorKind;

/// Locks for a short critical section. Our sections cannot panic half-way, so that a poisoned lock
/// still guards good data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something still works, and if not, why. Clones share one life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    ended: CancellationToken,
    reason: Arc<OnceLock<ErrorKind>>,
}

impl Life {
    /// Ends it. The first reason stays.
    pub(crate) fn end(&self, reason: ErrorKind) {
        // The reason first: whoever sees the end must find it.
        let _ = self.reason.set(reason);
        self.ended.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Returns when it has ended.
    pub(crate) async fn over(&self) {
        self.ended.cancelled().await;
    }

    /// Why it ended.
    pub(crate) fn reason(&self) -> ErrorKind {
        self.reason
            .get()
            .cloned()
            .unwrap_or_else(|| ErrorKind::Connection("the link was lost".into()))
    }
}

/// Something that works until it does not.
pub(crate) trait Live: Send + Sync + 'static {
    fn is_live(&self) -> bool;
}

type Making<T> = Shared<BoxFuture<'static, Result<Arc<T>, ErrorKind>>>;

/// Holds one `T`: made on demand, by one attempt however many wait for it, and made anew once it is
/// no longer live. A failed attempt fails all who waited for it; the next caller starts another.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    current: Mutex<Option<Making<T>>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            current: Mutex::new(None),
        }
    }
}

impl<T: Live> Slot<T> {
    /// The live one, or the outcome of the attempt to make it.
    ///
    /// `make` must end by itself: it runs in a task of its own, so that it goes on when the caller
    /// that happened to start it gives up while others still wait.
    pub(crate) async fn get<F>(&self, make: impl FnOnce() -> F) -> Result<Arc<T>, ErrorKind>
    where
        F: Future<Output = Result<T, ErrorKind>> + Send + 'static,
    {
        let making = {
            let mut current = lock(&self.current);
            match current.as_ref().filter(|making| usable(making)) {
                Some(making) => making.clone(),
                None => {
                    let task = tokio::spawn(make());
                    let making = async move {
                        match task.await {
                            Ok(made) => made.map(Arc::new),
                            Err(error) => Err(ErrorKind::Connection(error.to_string())),
                        }
                    };
                    current.insert(making.boxed().shared()).clone()
                }
            }
        };
        making.await
    }

    /// The live one, if there is one now.
    pub(crate) fn peek(&self) -> Option<Arc<T>> {
        let current = lock(&self.current);
        let made = current.as_ref()?.peek()?;
        made.as_ref().ok().filter(|made| made.is_live()).cloned()
    }

    /// Empties the slot and returns what was in it.
    pub(crate) fn take(&self) -> Option<Arc<T>> {
        let taken = lock(&self.current).take()?;
        taken.peek()?.as_ref().ok().cloned()
    }
}

fn usable<T: Live>(making: &Making<T>) -> bool {
    match making.peek() {
        None => true,
        Some(Ok(made)) => made.is_live(),
        Some(Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Thing(Life);

    impl Live for Thing {
        fn is_live(&self) -> bool {
            !self.0.is_over()
        }
    }

    async fn make(made: Arc<AtomicUsize>, fails: bool) -> Result<Thing, ErrorKind> {
        made.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if fails {
            return Err(ErrorKind::Connection("refused".into()));
        }
        Ok(Thing(Life::default()))
    }

    #[tokio::test]
    async fn many_who_wait_share_one_attempt_and_its_outcome() {
        let (slot, made) = (Slot::default(), Arc::new(AtomicUsize::new(0)));
        for (fails, attempts) in [(true, 1), (false, 2), (false, 2)] {
            let calls = (0..50).map(|_| slot.get(|| make(made.clone(), fails)));
            for outcome in futures_util::future::join_all(calls).await {
                assert_eq!(outcome.is_err(), fails);
            }
            assert_eq!(made.load(Ordering::SeqCst), attempts);
        }
    }

    #[tokio::test]
    async fn what_died_is_made_anew() {
        let (slot, made) = (Slot::default(), Arc::new(AtomicUsize::new(0)));
        let first = slot.get(|| make(made.clone(), false)).await.unwrap();
        first.0.end(ErrorKind::Connection("detached".into()));
        assert!(slot.peek().is_none());
        let second = slot.get(|| make(made.clone(), false)).await.unwrap();
        assert!(second.is_live());
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_attempt_goes_on_when_the_caller_that_started_it_gives_up() {
        let (slot, made) = (Slot::default(), Arc::new(AtomicUsize::new(0)));
        let given_up = slot.get(|| make(made.clone(), false)).now_or_never();
        assert!(given_up.is_none());
        slot.get(|| make(made.clone(), false)).await.unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_first_reason_for_an_end_stays() {
        let life = Life::default();
        life.end(ErrorKind::Closed);
        life.end(ErrorKind::Connection("later".into()));
        life.over().await;
        assert!(matches!(life.reason(), ErrorKind::Closed));
    }
}
