//! Time-outs of a connection and its links, in the service's words, which users search for.

use std::time::Duration;

use fe2o3_amqp_types::definitions::{Error, LinkError};
use time::OffsetDateTime;

use super::engine::Engine;
use super::failure::{connection_forced, error};

/// What a connection has done so far, as far as its time-outs are concerned.
#[derive(Debug)]
pub(super) struct Patience {
    since: OffsetDateTime,
    has_put_token: bool,
    has_had_links: bool,
    /// Since when it has no link to an entity; `None` while it has one.
    linkless_since: Option<OffsetDateTime>,
}

/// A time-out that a connection may run into.
enum Limit {
    Token,
    Links(Duration),
}

impl Patience {
    pub(super) fn new(now: OffsetDateTime) -> Self {
        Patience {
            since: now,
            has_put_token: false,
            has_had_links: false,
            linkless_since: Some(now),
        }
    }

    pub(super) fn has_put_token(&mut self) {
        self.has_put_token = true;
    }

    pub(super) fn links_are(&mut self, any: bool, now: OffsetDateTime) {
        self.has_had_links |= any;
        self.linkless_since = match (any, self.linkless_since) {
            (true, _) => None,
            (false, since) => since.or(Some(now)),
        };
    }
}

impl Engine {
    /// When the first of the time-outs is over, if nothing happens before.
    pub(super) fn next_timeout(&self) -> Option<OffsetDateTime> {
        let connection = self.limit().map(|(at, _)| at);
        let idle = self.ctx.hub.timeouts.idle_link;
        let used = self.sessions.values().filter_map(|one| one.first_used());
        let link = used.min().and_then(|used| after(used, idle));
        connection.into_iter().chain(link).min()
    }

    /// Closes the connection, or detaches links, if they have been idle for too long.
    pub(super) fn time_out(&mut self, now: OffsetDateTime) {
        if let Some((at, limit)) = self.limit()
            && at <= now
        {
            let text = match limit {
                Limit::Token => {
                    "The connection was closed because no token was put in time.".into()
                }
                Limit::Links(limit) => format!(
                    "The connection was closed by container 'local-service-bus' because it did \
                     not have any active links in the past {} milliseconds.",
                    limit.as_millis()
                ),
            };
            return self.close(connection_forced(&text));
        }
        let limit = self.ctx.hub.timeouts.idle_link;
        let is_over = |used: OffsetDateTime| after(used, limit).is_some_and(|at| at <= now);
        let idle: Vec<(u16, u32)> = self
            .sessions
            .values()
            .flat_map(|one| {
                one.used()
                    .filter(|(_, used)| is_over(*used))
                    .map(|(handle, _)| (one.channel, handle))
            })
            .collect();
        self.detach_links(&idle, &idle_timeout(limit));
    }

    fn limit(&self) -> Option<(OffsetDateTime, Limit)> {
        let (patience, timeouts) = (&self.patience, &self.ctx.hub.timeouts);
        if self.is_closed() {
            return None;
        }
        let token = match self.ctx.hub.security.is_some() && !patience.has_put_token {
            true => after(patience.since, timeouts.first_token).map(|at| (at, Limit::Token)),
            false => None,
        };
        let (since, limit) = match patience.has_had_links {
            true => (patience.linkless_since, timeouts.without_links),
            false => (Some(patience.since), timeouts.first_link),
        };
        let links = since
            .and_then(|since| after(since, limit))
            .map(|at| (at, Limit::Links(limit)));
        [token, links]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }
}

/// `None` if it never comes to that.
fn after(since: OffsetDateTime, limit: Duration) -> Option<OffsetDateTime> {
    since.checked_add(time::Duration::try_from(limit).ok()?)
}

fn idle_timeout(limit: Duration) -> Error {
    let seconds = limit.as_secs();
    let text = format!(
        "The link is force detached by the broker because it was idle. Detach origin: \
         IdleTimerExpired: Idle timeout: {:02}:{:02}:{:02}.",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    );
    error(LinkError::DetachForced, text)
}
