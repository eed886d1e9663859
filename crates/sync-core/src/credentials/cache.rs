//! A cache by key: single-flight, refreshed ahead in the background, and an old value is served as
//! long as it is valid, even when refreshing fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::failure::{Failure, Stage};
use crate::flight::{Flights, Joined};

/// A fetched value and how long it serves.
#[derive(Debug, Clone)]
pub(super) struct Fetched<V> {
    pub(super) value: V,
    /// From now; a refresh starts in the background once this has passed.
    pub(super) fresh_for: Duration,
    /// From now; the value is not served after this.
    pub(super) valid_for: Duration,
}

struct Entry<V> {
    value: V,
    refresh_at: Instant,
    expires_at: Instant,
}

pub(super) struct Cache<V> {
    entries: Arc<Mutex<HashMap<String, Entry<V>>>>,
    fetches: Flights<String, (), Result<V, Failure>>,
}

/// After a background refresh that failed, the next one starts no sooner.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

impl<V: Clone + Send + 'static> Cache<V> {
    pub(super) fn new() -> Self {
        Self {
            entries: Arc::default(),
            fetches: Flights::default(),
        }
    }

    pub(super) async fn get<F>(&self, key: &str, fetch: impl FnOnce() -> F) -> Result<V, Failure>
    where
        F: Future<Output = Result<Fetched<V>, Failure>> + Send + 'static,
    {
        let now = Instant::now();
        let held = lock(&self.entries)
            .get(key)
            .filter(|e| e.expires_at > now)
            .map(|e| (e.value.clone(), e.refresh_at <= now));
        if let Some((value, false)) = held {
            return Ok(value);
        }
        let answer = match self.fetches.join(key.to_owned(), ()) {
            Joined::Waiting(answer) => answer,
            Joined::First(flight, answer) => {
                let (entries, key, fetching) = (Arc::clone(&self.entries), key.to_owned(), fetch());
                let fetched_for = tracing::Span::current();
                let work = async move {
                    let fetched = fetching.await;
                    let now = Instant::now();
                    let result = match fetched {
                        Ok(f) => {
                            let entry = Entry {
                                value: f.value.clone(),
                                refresh_at: now + f.fresh_for,
                                expires_at: now + f.valid_for,
                            };
                            lock(&entries).insert(key, entry);
                            Ok(f.value)
                        }
                        Err(failure) => {
                            if let Some(entry) = lock(&entries).get_mut(&key) {
                                entry.refresh_at = now + REFRESH_PAUSE;
                                warn!(
                                    credential = key,
                                    failure.code,
                                    "the refresh failed, the old credential still serves: {failure}"
                                );
                            }
                            Err(failure)
                        }
                    };
                    flight.abort().answer(|()| result.clone());
                };
                // Under whoever asked first; the others waited for the same.
                tokio::spawn(tracing::Instrument::instrument(work, fetched_for));
                answer
            }
        };
        if let Some((value, true)) = held {
            // Still valid: nobody waits for the refresh.
            return Ok(value);
        }
        answer.await.unwrap_or_else(|_| {
            let text = "Fetching the credential ended without an answer.";
            Err(Failure::transient(
                Stage::Credentials,
                "CredentialFetchLost",
                text,
            ))
        })
    }

    /// Drops what is held under `key` if it is `stale`.
    pub(super) fn forget(&self, key: &str, stale: impl FnOnce(&V) -> bool) {
        let mut entries = lock(&self.entries);
        if entries.get(key).is_some_and(|e| stale(&e.value)) {
            entries.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn get(cache: &Cache<u32>, fetches: &Arc<AtomicU32>, fail: bool) -> Result<u32, Failure> {
        let fetches = Arc::clone(fetches);
        cache
            .get("k", move || async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let value = fetches.fetch_add(1, Ordering::SeqCst);
                if fail {
                    return Err(Failure::transient(Stage::Credentials, "C", "m"));
                }
                let (fresh_for, valid_for) = (Duration::from_secs(60), Duration::from_secs(120));
                Ok(Fetched {
                    value,
                    fresh_for,
                    valid_for,
                })
            })
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_cost_one_fetch() {
        let (cache, fetches) = (Arc::new(Cache::new()), Arc::new(AtomicU32::new(0)));
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (cache, fetches) = (Arc::clone(&cache), Arc::clone(&fetches));
                tokio::spawn(async move { get(&cache, &fetches, false).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 0);
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_valid_value_is_served_while_its_refresh_fails_and_not_after_it_expired() {
        let (cache, fetches) = (Cache::new(), Arc::new(AtomicU32::new(7)));
        assert_eq!(get(&cache, &fetches, false).await.unwrap(), 7);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(get(&cache, &fetches, true).await.unwrap(), 7);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            get(&cache, &fetches, true).await.unwrap(),
            7,
            "no refresh within the pause"
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(get(&cache, &fetches, true).await.is_err());
        assert!(get(&cache, &fetches, false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn forgetting_an_older_value_does_not_drop_the_newer_one() {
        let (cache, fetches) = (Cache::new(), Arc::new(AtomicU32::new(1)));
        assert_eq!(get(&cache, &fetches, false).await.unwrap(), 1);
        cache.forget("k", |v| *v == 0);
        assert_eq!(get(&cache, &fetches, false).await.unwrap(), 1);
        cache.forget("k", |v| *v == 1);
        assert_eq!(get(&cache, &fetches, false).await.unwrap(), 2);
    }
}
