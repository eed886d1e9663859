//! A receiver of one session: the broker gives its messages to nobody else, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::link::inlet::Inlet;
use crate::message::ReceivedMessage;
use crate::namespace::Namespace;
use crate::settlement::{ReceiveMode, Settlement};
use crate::tries::Tries;
use crate::wire::management::{Request, Response};
use crate::wire::session::{Ask, Granted};

const ACCEPT: &str = "accept a session of";
const RECEIVE: &str = "receive from a session of";
const SETTLE: &str = "settle a message of a session of";
/// The longest wait for a session or a message: for ever, and yet a time that can be reckoned with.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// Receives the messages of one session, in peek-lock mode, and settles them on its own link: that
/// link holds the session, and nobody else may settle its messages.
///
/// The session's lock covers the locks of its messages. It runs out unless it is
/// [renewed](Self::renew_lock) in time. When it did, or when the link or the connection is lost, the
/// session is another's to take: every later call fails with
/// [`SessionLost`](crate::ErrorClass::SessionLost), and only accepting the session again (perhaps after
/// its lock has run out) helps. Nothing reconnects behind the caller's back.
///
/// Close it when done, which lets go of the session at once. A dropped receiver does so in the
/// background.
pub struct SessionReceiver {
    namespace: Arc<Namespace>,
    entity: String,
    session_id: String,
    locked_until: OffsetDateTime,
    credit: u32,
    link: Option<Inlet>,
    /// Arrived, and not handed out yet.
    ready: VecDeque<ReceivedMessage>,
    /// Why the session is lost, once it is.
    lost: Option<ErrorKind>,
}

impl std::fmt::Debug for SessionReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionReceiver")
            .field("entity", &self.entity)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

impl SessionReceiver {
    /// Accepts a session. `None` if the broker found none in the time of an [`Ask::Next`].
    pub(crate) async fn accept(
        namespace: Arc<Namespace>,
        entity: String,
        ask: Ask,
        credit: u32,
    ) -> Result<Option<Self>, Error> {
        let wait = match &ask {
            Ask::Named(_) => Duration::ZERO,
            Ask::Next(wait) => (*wait).min(LONGEST_WAIT),
        };
        let until = Instant::now() + wait;
        let patience = wait + namespace.options().operation_timeout;
        let mut tries = Tries::new(&namespace, ACCEPT, &entity, patience)?;
        let accepted = loop {
            let ask = match &ask {
                Ask::Named(id) => Ask::Named(id.clone()),
                Ask::Next(_) => Ask::Next(until.saturating_duration_since(Instant::now())),
            };
            let accepting = async {
                match namespace.session_inlet(&entity, ask).await {
                    Ok(accepted) => Ok(Ok(Some(accepted))),
                    Err(refusal) if is(&refusal, "com.microsoft:timeout") => Ok(Ok(None)),
                    // Whether to wait for its holder is for the caller to say.
                    Err(taken) if is(&taken, "com.microsoft:session-cannot-be-locked") => {
                        Ok(Err(taken))
                    }
                    Err(failure) => Err(failure),
                }
            };
            // A wait for a session may be long; a client that closes does not sit it out.
            let attempted = tokio::select! {
                biased;
                attempted = tries.attempt(accepting) => attempted?,
                () = namespace.closing() => {
                    return Err(Error::new(ACCEPT, entity.as_str(), ErrorKind::Closed));
                }
            };
            if let Some(answer) = attempted {
                break answer.map_err(|kind| Error::new(ACCEPT, entity.as_str(), kind))?;
            }
        };
        let Some((link, granted)) = accepted else {
            return Ok(None);
        };
        let Granted { id, locked_until } = granted;
        Ok(Some(Self {
            namespace,
            entity,
            session_id: id,
            locked_until,
            credit: credit.max(1),
            link: Some(link),
            ready: VecDeque::new(),
            lost: None,
        }))
    }

    /// The session it holds.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// When the session's lock ends unless it is renewed.
    pub fn locked_until(&self) -> OffsetDateTime {
        self.locked_until
    }

    /// Up to `max` messages of the session: returns as soon as there is at least one, or with none
    /// after `wait`. Cancel-safe: when the future is dropped, the next call returns what came.
    ///
    /// # Errors
    /// [`SessionLost`](crate::ErrorClass::SessionLost) when the session is no longer held.
    pub async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        if self.ready.is_empty() && max > 0 {
            let until = Instant::now() + wait.min(LONGEST_WAIT);
            if let Err(failure) = self.fill(max, until).await {
                let lost = self.lose(failure);
                // What came before is handed out; settling it will tell.
                if self.ready.is_empty() {
                    return Err(self.failed(RECEIVE, lost));
                }
            }
        }
        let count = self.ready.len().min(max);
        Ok(self.ready.drain(..count).collect())
    }

    /// Settles a message of the session: on its link, and one that was deferred over the management
    /// node.
    ///
    /// # Errors
    /// [`SessionLost`](crate::ErrorClass::SessionLost) when the session is no longer held;
    /// [`LockLost`](crate::ErrorClass::LockLost) when the message was settled before.
    pub async fn settle(
        &self,
        message: &ReceivedMessage,
        settlement: Settlement,
    ) -> Result<(), Error> {
        let Some(lock_token) = message.lock_token else {
            let reason = "a message that is not locked cannot be settled";
            return Err(self.failed(SETTLE, ErrorKind::Invalid(reason.into())));
        };
        let link = self.link(SETTLE)?;
        let patience = self.namespace.options().try_timeout;
        let settled = link.settle(lock_token, settlement.clone(), patience).await;
        if let Some(outcome) = settled {
            return outcome.map_err(|kind| self.failed(SETTLE, kind));
        }
        let request = Request::update_disposition(lock_token, settlement);
        self.manage(SETTLE, request, |response| response.success().map(drop))
            .await
    }

    /// Starts the time of the session's lock anew; when it ends now.
    ///
    /// # Errors
    /// [`SessionLost`](crate::ErrorClass::SessionLost) when the session is no longer held.
    pub async fn renew_lock(&mut self) -> Result<OffsetDateTime, Error> {
        let request = Request::renew_session_lock();
        let until = self
            .manage("renew a session of", request, Response::session_expiration)
            .await?;
        self.locked_until = until;
        Ok(until)
    }

    /// The session's state: bytes that the broker keeps with it, whoever holds it.
    ///
    /// # Errors
    /// [`SessionLost`](crate::ErrorClass::SessionLost) when the session is no longer held.
    pub async fn state(&self) -> Result<Option<Bytes>, Error> {
        let request = Request::get_session_state();
        self.manage(
            "read the state of a session of",
            request,
            Response::session_state,
        )
        .await
    }

    /// Replaces the session's state; `None` clears it.
    ///
    /// # Errors
    /// [`SessionLost`](crate::ErrorClass::SessionLost) when the session is no longer held.
    pub async fn set_state(&self, state: Option<Bytes>) -> Result<(), Error> {
        let request = Request::set_session_state(state);
        self.manage("set the state of a session of", request, |response| {
            response.success().map(drop)
        })
        .await
    }

    /// Looks at up to `max` messages of the session from a sequence number on.
    ///
    /// # Errors
    /// When the broker refused or did not answer in time.
    pub async fn peek(&self, from: i64, max: u32) -> Result<Vec<ReceivedMessage>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let request = Request::peek(from, max);
        self.manage("peek at a session of", request, Response::peeked)
            .await
    }

    /// Fetches deferred messages of the session by their sequence numbers, locked under its lock.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorClass::NotFound) when one of them is not there or not deferred.
    pub async fn receive_deferred(&self, seq: &[i64]) -> Result<Vec<ReceivedMessage>, Error> {
        if seq.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request::receive_deferred(seq, ReceiveMode::PeekLock);
        self.manage(
            "receive deferred messages of a session of",
            request,
            Response::messages,
        )
        .await
    }

    /// Lets go of the session. Messages that were not settled are back in their places, and this does
    /// not count as a failed delivery.
    ///
    /// # Errors
    /// When the broker does not answer in time; the link is gone all the same.
    pub async fn close(mut self) -> Result<(), Error> {
        let Some(link) = self.link.take() else {
            return Ok(());
        };
        let patience = self.namespace.options().try_timeout;
        let closed = let_go(link, patience).await;
        closed.map_err(|kind| self.failed("close a session of", kind))
    }

    async fn fill(&mut self, max: usize, until: Instant) -> Result<(), ErrorKind> {
        let Some(link) = &mut self.link else {
            return Err(ErrorKind::Closed);
        };
        tokio::select! {
            biased;
            filled = link.fill(&mut self.ready, max, self.credit, until) => filled,
            () = self.namespace.closing() => Err(ErrorKind::Closed),
        }
    }

    /// Notes that the link is gone; what later calls are told.
    fn lose(&mut self, failure: ErrorKind) -> ErrorKind {
        self.leave_link();
        self.lost
            .get_or_insert_with(|| session_lost(failure))
            .clone()
    }

    fn link(&self, operation: &'static str) -> Result<&Inlet, Error> {
        let failure = match (&self.link, &self.lost) {
            (Some(link), _) => match link.lost() {
                None => return Ok(link),
                Some(reason) => session_lost(reason),
            },
            (None, Some(lost)) => lost.clone(),
            (None, None) => ErrorKind::Closed,
        };
        Err(self.failed(operation, failure))
    }

    /// A request in the name of the session's link.
    async fn manage<T>(
        &self,
        operation: &'static str,
        request: Request,
        read: fn(Response) -> Result<T, ErrorKind>,
    ) -> Result<T, Error> {
        let link = self.link(operation)?;
        let request = request.within(&self.session_id, link.name());
        self.namespace
            .manage(operation, &self.entity, request, read)
            .await
    }

    fn failed(&self, operation: &'static str, kind: ErrorKind) -> Error {
        Error::new(operation, self.entity.as_str(), kind)
    }

    fn leave_link(&mut self) {
        let patience = self.namespace.options().try_timeout;
        if let (Some(link), Ok(runtime)) = (self.link.take(), Handle::try_current()) {
            runtime.spawn(let_go(link, patience));
        }
    }
}

impl Drop for SessionReceiver {
    fn drop(&mut self) {
        self.leave_link();
    }
}

/// Drains a link and ends it. What comes while it drains is not released, which would count as a
/// failed delivery: it returns to its place when the broker hears of the end.
async fn let_go(mut link: Inlet, patience: Duration) -> Result<(), ErrorKind> {
    let drained = link.drain(patience, drop).await;
    link.close().await;
    drained
}

/// A link that ended took the session with it, whatever it ended of.
fn session_lost(failure: ErrorKind) -> ErrorKind {
    match failure {
        refused if is(&refused, "com.microsoft:session-lock-lost") => refused,
        other => ErrorKind::SessionLost(other.to_string()),
    }
}

fn is(failure: &ErrorKind, expected: &str) -> bool {
    matches!(failure, ErrorKind::Refused { condition, .. } if condition == expected)
}
