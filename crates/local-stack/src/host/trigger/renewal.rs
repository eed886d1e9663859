//! Keeps a message's lock while its invocation runs (the SDK's `ReceiverManager`).

use std::time::Duration;

use service_bus::{Client, ErrorClass, ReceivedMessage};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::host::process::{LineLevel, Log};

/// The most that is left of a lock when it is renewed.
const LARGEST_MARGIN: Duration = Duration::from_secs(10);

/// Renews the lock again and again, for at most `limit` (`None`: for ever; zero: never). Returns when
/// there is nothing more to do; dropping the future ends the renewal.
pub(crate) async fn keep_lock(
    client: &Client,
    entity: &str,
    message: &ReceivedMessage,
    limit: Option<Duration>,
    log: &Log,
) {
    let (Some(token), Some(mut until)) = (message.lock_token, message.locked_until) else {
        return;
    };
    let ends = limit.map(|limit| Instant::now() + limit);
    loop {
        let at = Instant::now() + wait_before_renewal(until - OffsetDateTime::now_utc());
        if ends.is_some_and(|ends| at >= ends) {
            return;
        }
        tokio::time::sleep_until(at).await;
        match client.renew_lock(entity, token).await {
            Ok(renewed) => until = renewed,
            Err(error) => {
                // Somebody else settled the message, or the lock ran out: both are seen at completion.
                if error.class() != ErrorClass::LockLost {
                    log.host(LineLevel::Warning, format!("lock renewal: {error}"));
                }
                return;
            }
        }
    }
}

/// Half of what is left of the lock before it ends, but at most ten seconds.
pub(super) fn wait_before_renewal(left: time::Duration) -> Duration {
    let left = Duration::try_from(left).unwrap_or_default();
    left - (left / 2).min(LARGEST_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_renewed_before_it_ends() {
        for (left, wait) in [(60, 50), (30, 20), (10, 5), (0, 0), (-5, 0)] {
            let computed = wait_before_renewal(time::Duration::seconds(left));
            assert_eq!(computed, Duration::from_secs(wait), "{left}");
        }
    }
}
