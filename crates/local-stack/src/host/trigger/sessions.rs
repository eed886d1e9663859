//! `isSessionsEnabled: true`: so many sessions at a time, the messages of each in order (the SDK's
//! `ServiceBusSessionProcessor`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use service_bus::{ErrorClass, SessionReceiver};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::renewal::wait_before_renewal;
use super::service_bus::{Finished, RECEIVE_WAIT, ServiceBusListener, verb};
use crate::host::encode::BusClient;
use crate::host::process::LineLevel;

impl ServiceBusListener {
    /// Runs until `stop`, then takes no more messages and waits for the invocations under way.
    pub(super) async fn by_session(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut places = JoinSet::new();
        for _ in 0..this.dispatcher.host.max_concurrent_sessions {
            places.spawn(Arc::clone(&this).one_after_the_other(stop.clone()));
        }
        while places.join_next().await.is_some() {}
    }

    /// Takes whatever session is next, again and again.
    async fn one_after_the_other(self: Arc<Self>, stop: CancellationToken) {
        let calls = self.dispatcher.host.max_concurrent_calls_per_session;
        let credit = u32::try_from(calls).unwrap_or(u32::MAX);
        let entity = &self.config.entity;
        while !stop.is_cancelled() {
            let accepting = self
                .client
                .accept_next_session(entity, credit, RECEIVE_WAIT);
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = accepting => accepted,
            };
            match accepted {
                Ok(Some(session)) => self.work_through(session, calls, &stop).await,
                Ok(None) => {}
                Err(error) => self.pause_after(&error, &stop).await,
            }
        }
    }

    /// Works through one session until it has been idle for long enough, or is lost. Invocations run in
    /// tasks of their own; receiving, settling and renewing happen here, on the session's link.
    async fn work_through(
        self: &Arc<Self>,
        mut session: SessionReceiver,
        calls: usize,
        stop: &CancellationToken,
    ) {
        let host = &self.dispatcher.host;
        let (idle, limit) = (host.session_idle_timeout, host.max_auto_lock_renewal);
        let mut renewal = Renewal::starting(limit, &session);
        let mut running: JoinSet<Finished> = JoinSet::new();
        let mut over = false;
        loop {
            over |= stop.is_cancelled();
            if over && running.is_empty() {
                break;
            }
            let room = calls.saturating_sub(running.len());
            tokio::select! {
                Some(finished) = running.join_next() => {
                    let mut all = Vec::from_iter(finished.ok());
                    while let Some(finished) = running.try_join_next() {
                        all.extend(finished.ok());
                    }
                    join_all(all.into_iter().map(|finished| self.settle_in(&session, finished))).await;
                }
                () = stop.cancelled(), if !over => {}
                () = renewal.due() => match session.renew_lock().await {
                    Ok(until) => renewal.renewed(until),
                    Err(error) => {
                        renewal.end();
                        // What is lost is told by the next receive or settlement.
                        if error.class() != ErrorClass::SessionLost {
                            let text = format!("renewal of session {:?}: {error}", session.session_id());
                            self.dispatcher.log.host(LineLevel::Warning, text);
                        }
                    }
                },
                received = session.receive(room, idle), if room > 0 && !over => match received {
                    Ok(messages) => {
                        // With invocations under way it is not idle.
                        over = messages.is_empty() && running.is_empty();
                        for message in messages {
                            let (this, shown) = (Arc::clone(self), self.shown_in(&session));
                            running.spawn(async move {
                                let succeeded = this.invoke(&message, &shown).await;
                                (message, this.settlement(succeeded))
                            });
                        }
                    }
                    Err(error) => {
                        over = true;
                        if error.class() == ErrorClass::SessionLost {
                            let text = format!(
                                "the listener of 'Functions.{}' lost session {:?}: {error}",
                                self.function.name,
                                session.session_id()
                            );
                            self.dispatcher.log.host(LineLevel::Warning, text);
                        } else {
                            self.pause_after(&error, stop).await;
                        }
                    }
                },
            }
        }
        if let Err(error) = session.close().await {
            let text = format!("closing a session: {error}");
            self.dispatcher.log.host(LineLevel::Warning, text);
        }
    }

    async fn settle_in(&self, session: &SessionReceiver, (message, settlement): Finished) {
        let Some(settlement) = settlement else { return };
        let what = verb(&settlement);
        let settled = session.settle(&message, settlement).await;
        self.note_settled(&message, what, settled);
    }

    /// What the metadata shows of the client, with the session's lock as it is now.
    fn shown_in(&self, session: &SessionReceiver) -> BusClient {
        BusClient {
            session_locked_until: Some(session.locked_until()),
            ..self.shown_client.clone()
        }
    }
}

/// When a session's lock is renewed: before it ends, for at most so long after the session was taken.
struct Renewal {
    ends: Option<Instant>,
    next: Option<Instant>,
}

impl Renewal {
    fn starting(limit: Option<Duration>, session: &SessionReceiver) -> Self {
        let mut renewal = Self {
            ends: limit.map(|limit| Instant::now() + limit),
            next: None,
        };
        renewal.renewed(session.locked_until());
        renewal
    }

    fn renewed(&mut self, until: OffsetDateTime) {
        let at = Instant::now() + wait_before_renewal(until - OffsetDateTime::now_utc());
        self.next = self.ends.is_none_or(|ends| at < ends).then_some(at);
    }

    fn end(&mut self) {
        self.next = None;
    }

    async fn due(&self) {
        match self.next {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
