//! Requests that a session's receiver makes ("AMQP 1.0 in Azure Service Bus:
//! request-response-based operations", session operations).

use bytes::Bytes;

use super::*;

impl Request {
    /// The request as one of a session's receiver: for the session, and in the name of its link.
    pub(crate) fn within(mut self, session_id: &str, link: &str) -> Self {
        self.fields
            .push(("session-id", Amqp::String(session_id.to_owned())));
        self.link = Some(link.to_owned());
        self
    }

    pub(crate) fn renew_session_lock() -> Self {
        Self::new("com.microsoft:renew-session-lock", Vec::new())
    }

    pub(crate) fn get_session_state() -> Self {
        Self::new("com.microsoft:get-session-state", Vec::new())
    }

    pub(crate) fn set_session_state(state: Option<Bytes>) -> Self {
        let state = state.map_or(Amqp::Null, |bytes| {
            Amqp::Binary(Binary::from(bytes.to_vec()))
        });
        Self::new(
            "com.microsoft:set-session-state",
            vec![("session-state", state)],
        )
    }
}

impl Response {
    /// When the renewed lock of a session ends.
    pub(crate) fn session_expiration(self) -> Result<OffsetDateTime, ErrorKind> {
        let body = self.success()?.body;
        match field(&body, "expiration") {
            Some(Amqp::Timestamp(time)) => from_timestamp(time),
            _ => None,
        }
        .ok_or_else(|| missing("expiration"))
    }

    /// A session's state; `None` if it has none.
    pub(crate) fn session_state(self) -> Result<Option<Bytes>, ErrorKind> {
        let body = self.success()?.body;
        match field(&body, "session-state") {
            Some(Amqp::Binary(bytes)) => Ok(Some(Bytes::copy_from_slice(bytes))),
            Some(Amqp::Null) | None => Ok(None),
            Some(_) => Err(missing("session-state")),
        }
    }
}
