//! The span of one attempt at a message, from what the host says of the invocation.

use custom_handler::Invocation;
use sync_core::message::Message;
use sync_core::trace::{self, Arrival};
use tracing::Span;

/// The span that all of this invocation's work belongs to. `source` names the namespace and the entity.
#[must_use]
pub fn attempt(
    function: &'static str,
    invocation: &Invocation,
    source: &str,
    message: &Message,
) -> Span {
    let arrival = Arrival {
        function,
        invocation: &invocation.id,
        host: invocation.traceparent.as_deref(),
        source,
    };
    trace::attempt(arrival, message)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_sync_marks_for_telemetry_is_what_telemetry_looks_for() {
        assert_eq!(sync_core::trace::TARGET, telemetry::SPANS);
        assert_eq!(sync_core::trace::KEEP, telemetry::KEEP);
    }
}
