//! Service protection: several web servers, each with three limits per user.
//!
//! Contract: "Service protection API limits" (Power Apps docs). Known: a refusal names one of three
//! codes and a `Retry-After` in whole seconds that grows while a client keeps pushing; an affinity
//! cookie ties a client to one server. Not documented, decided here: a refused request counts
//! towards no limit, and once refused for requests or execution time a user stays refused on that
//! server until the announced wait is over.

mod costs;
mod limits;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

pub use costs::Costs;
pub use limits::{Limit, Limits};

pub(super) use limits::grouped;

use self::window::Window;
use crate::dice::Dice;

/// How requests without an affinity cookie find their web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// One after the other.
    RoundRobin,
    /// By chance, with this seed.
    Random(u64),
}

/// The environment's web servers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WebServers {
    /// How many; at least one.
    pub count: usize,
    /// How requests without an affinity cookie are spread over them.
    pub spread: Spread,
    /// `x-ms-dop-hint` of every answer: how many requests at a time are advised.
    pub dop_hint: u32,
    /// Limits per user and server; `None` refuses nobody.
    pub limits: Option<Limits>,
    /// What operations cost in execution time.
    pub costs: Costs,
}

impl Default for WebServers {
    fn default() -> Self {
        Self {
            count: 1,
            spread: Spread::RoundRobin,
            dop_hint: 4,
            limits: None,
            costs: Costs::default(),
        }
    }
}

/// What one user did on one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// Requests that were let through.
    pub requests: u64,
    /// Their execution time.
    pub execution_time: Duration,
    /// Most of them at the same time.
    pub peak_concurrency: usize,
    /// Requests refused, by limit.
    pub refused: BTreeMap<Limit, u64>,
}

/// Requests by user (client id) and web server.
pub type ProtectionCounts = BTreeMap<(String, usize), ServerCounts>;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) limit: Limit,
    pub(super) message: String,
    pub(super) retry_after_s: u64,
}

/// What is left to a user on a server: requests, and execution time.
pub(super) type Remaining = (u64, Duration);

/// The servers' books.
#[derive(Debug)]
pub(super) struct Protection {
    pub(super) servers: WebServers,
    dice: Option<Dice>,
    next: usize,
    books: HashMap<(String, usize), Book>,
}

#[derive(Debug, Default)]
struct Book {
    requests: Window,
    /// Microseconds.
    execution: Window,
    running: usize,
    /// Refused until then, by which limit.
    blocked: Option<(Limit, Instant)>,
    /// Refusals for concurrency since a request was last let through.
    crowding: u32,
    counts: ServerCounts,
}

impl Protection {
    pub(super) fn new(servers: WebServers) -> Self {
        let servers = WebServers {
            count: servers.count.max(1),
            ..servers
        };
        Self {
            dice: match servers.spread {
                Spread::RoundRobin => None,
                Spread::Random(seed) => Some(Dice::new(seed)),
            },
            servers,
            next: 0,
            books: HashMap::new(),
        }
    }

    /// The server of a request: the one its cookie names, else by the spread.
    pub(super) fn choose(&mut self, cookies: Option<&str>) -> usize {
        let count = self.servers.count;
        let named = cookies.and_then(affinity);
        if let Some(server) = (0..count).find(|server| named == Some(affinity_of(*server).as_str()))
        {
            return server;
        }
        match &mut self.dice {
            Some(dice) => dice.below(count),
            None => {
                let server = self.next;
                self.next = (server + 1) % count;
                server
            }
        }
    }

    /// Lets a request begin, or refuses it. What begins must be ended by [`end`](Self::end).
    pub(super) fn begin(&mut self, user: &str, server: usize, now: Instant) -> Result<(), Refusal> {
        let book = self.books.entry((user.to_owned(), server)).or_default();
        if let Some(limits) = &self.servers.limits {
            book.check(limits, now)?;
            book.requests.add(now, 1);
        }
        book.running += 1;
        book.counts.requests += 1;
        book.counts.peak_concurrency = book.counts.peak_concurrency.max(book.running);
        Ok(())
    }

    /// Ends a request that took so much execution time.
    pub(super) fn end(&mut self, user: &str, server: usize, now: Instant, spent: Duration) {
        let limited = self.servers.limits.is_some();
        let Some(book) = self.books.get_mut(&(user.to_owned(), server)) else {
            return;
        };
        book.running = book.running.saturating_sub(1);
        book.counts.execution_time += spent;
        if limited {
            book.execution.add(now, micros(spent));
        }
    }

    /// What is left to a user; without limits, what the real ones begin with.
    pub(super) fn remaining(&mut self, user: &str, server: usize, now: Instant) -> Remaining {
        let limits = self.servers.limits.unwrap_or(Limits::REAL);
        let Some(book) = self.books.get_mut(&(user.to_owned(), server)) else {
            return (limits.requests, limits.execution_time);
        };
        if self.servers.limits.is_none() {
            let used = book.counts.requests % limits.requests;
            return (limits.requests - used, limits.execution_time);
        }
        let spent = Duration::from_micros(book.execution.sum(now, limits.window));
        let requests = book.requests.sum(now, limits.window);
        (
            limits.requests.saturating_sub(requests),
            limits.execution_time.saturating_sub(spent),
        )
    }

    pub(super) fn counts(&self) -> ProtectionCounts {
        let books = self.books.iter();
        books
            .map(|(key, book)| (key.clone(), book.counts.clone()))
            .collect()
    }

    /// Other limits from now on; what was spent so far is forgotten.
    pub(super) fn set_limits(&mut self, limits: Option<Limits>) {
        self.servers.limits = limits;
        for book in self.books.values_mut() {
            book.requests = Window::default();
            book.execution = Window::default();
            book.blocked = None;
        }
    }
}

impl Book {
    fn check(&mut self, limits: &Limits, now: Instant) -> Result<(), Refusal> {
        let step = limits.window / 600;
        let (limit, wait) = match self.blocked {
            Some((limit, until)) if now < until => {
                // Pushing on makes it longer, up to a whole window.
                let until = (until + step).min(now + limits.window);
                self.blocked = Some((limit, until));
                (limit, until - now)
            }
            _ => {
                self.blocked = None;
                let Some((limit, wait)) = self.exceeded(limits, now) else {
                    self.crowding = 0;
                    return Ok(());
                };
                if limit == Limit::Concurrency {
                    self.crowding += 1;
                    let wait = (limits.window / 300) + step * self.crowding;
                    (limit, wait.min(limits.window / 10))
                } else {
                    self.blocked = Some((limit, now + wait));
                    (limit, wait)
                }
            }
        };
        *self.counts.refused.entry(limit).or_default() += 1;
        Err(Refusal {
            limit,
            message: limit.message(limits),
            retry_after_s: whole_seconds(wait),
        })
    }

    fn exceeded(&mut self, limits: &Limits, now: Instant) -> Option<(Limit, Duration)> {
        let Limits {
            window, requests, ..
        } = *limits;
        if self.running >= limits.concurrency {
            return Some((Limit::Concurrency, Duration::ZERO));
        }
        if self.requests.sum(now, window) >= requests {
            return Some((Limit::Requests, self.requests.wait(now, window, requests)));
        }
        let time = micros(limits.execution_time);
        if self.execution.sum(now, window) >= time {
            return Some((Limit::ExecutionTime, self.execution.wait(now, window, time)));
        }
        None
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `Retry-After` has no fractions, and zero would mean no wait.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The value of the affinity cookie of a server.
pub(super) fn affinity_of(server: usize) -> String {
    let name = format!("local-{server}");
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What a `Cookie` header says of `ARRAffinity`.
fn affinity(cookies: &str) -> Option<&str> {
    let mut pairs = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == "ARRAffinity").then_some(value))
}

#[cfg(test)]
mod tests;
