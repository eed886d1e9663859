//! Settings of a client.

use std::time::Duration;

/// Settings of a [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The deadline of each call, over all its tries. Default 30 s.
    pub operation_timeout: Duration,
    /// The deadline of each attempt to connect or to attach a link. Default 10 s.
    pub connect_timeout: Duration,
    /// The deadline of each try: a link that has not answered by then is given up. Default 12 s.
    pub try_timeout: Duration,
    /// How many messages may wait for the broker's answer on one sending link; further sends wait
    /// their turn, in the order they came. Requests to a management node are bounded likewise.
    /// Default 256.
    pub send_window: usize,
    /// How long [`Client::close`](crate::Client::close) waits for calls under way. Default 10 s.
    pub close_timeout: Duration,
    /// How many times a call is tried again after a failure that may pass. Default 5.
    pub retries: u32,
    /// The wait before the first retry; doubled for each further one. Default 200 ms. When a
    /// connection or link was lost, the first retry comes at once.
    pub retry_base: Duration,
    /// The longest wait between two tries, or between two attempts to connect, but for a broker that says it is busy. Default 5 s.
    pub retry_cap: Duration,
    /// The wait after the broker said it is busy. Default 10 s, which is what Microsoft's SDKs use.
    pub busy_wait: Duration,
    /// How long before its expiry an entity's authorization is renewed. Default 5 minutes.
    pub renew_ahead: Duration,
    /// How long a SAS token is good for. Default 1 hour.
    pub sas_lifetime: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            operation_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            try_timeout: Duration::from_secs(12),
            send_window: 256,
            close_timeout: Duration::from_secs(10),
            retries: 5,
            retry_base: Duration::from_millis(200),
            retry_cap: Duration::from_secs(5),
            busy_wait: Duration::from_secs(10),
            renew_ahead: Duration::from_secs(300),
            sas_lifetime: Duration::from_secs(3600),
        }
    }
}
