//! AMQP 1.0 bytes: frames, performatives and message sections. No I/O.

pub(crate) mod delivery;
pub(crate) mod frame;
pub(crate) mod performative;
pub(crate) mod section;
pub(crate) mod values;

#[cfg(test)]
mod tests;

/// Bytes that are not valid AMQP 1.0. Closes the connection they came on with `amqp:decode-error`
/// (in a frame), or refuses one message (in a message's sections).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not valid AMQP: {0}")]
pub(crate) struct Malformed(pub(crate) String);

impl From<serde_amqp::Error> for Malformed {
    fn from(error: serde_amqp::Error) -> Self {
        Malformed(error.to_string())
    }
}

impl From<amqp_walk::Malformed> for Malformed {
    fn from(error: amqp_walk::Malformed) -> Self {
        Malformed(error.to_string())
    }
}

impl From<&str> for Malformed {
    fn from(what: &str) -> Self {
        Malformed(what.to_owned())
    }
}
