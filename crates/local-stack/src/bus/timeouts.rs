//! How long the service puts up with connections and links that do nothing.

use std::time::Duration;

/// The service's time-outs (Azure doc "AMQP errors in Azure Service Bus"; the last one from "AMQP
/// 1.0 protocol guide"). Tests may shorten them; `Duration::MAX` turns one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A link that nobody uses is detached with `amqp:link:detach-forced`, whether it has credit or
    /// not. Links to `$cbs` are left alone.
    pub idle_link: Duration,
    /// A connection whose links are all gone is closed with `amqp:connection:forced`.
    pub without_links: Duration,
    /// A connection has this long to attach its first link.
    pub first_link: Duration,
    /// A connection has this long to put its first token, where tokens are looked at.
    pub first_token: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            idle_link: Duration::from_secs(600),
            without_links: Duration::from_secs(300),
            first_link: Duration::from_secs(60),
            first_token: Duration::from_secs(20),
        }
    }
}
