//! The parts of the pipeline, each with its colour and a word for it.

use local_stack::bus::QueueCounts;
use local_stack::host::{Fleet, HostState};
use local_stack::stack::Stack;
use serde_json::{Value, json};

/// Whether an answer, or a reset in its place, says that the target does not work, rather than that it will
/// not have this row.
pub(super) fn is_down(status: Option<u16>) -> bool {
    status.is_none_or(|status| status >= 500 || matches!(status, 401 | 403 | 429))
}

pub(super) fn target_state(
    last: Option<Option<u16>>,
    recent_failures: usize,
) -> (&'static str, String) {
    match last {
        Some(None) => ("red", "failing: connection reset".to_owned()),
        Some(Some(status)) if is_down(Some(status)) => ("red", format!("failing: {status}")),
        _ if recent_failures > 0 => ("amber", "recovering".to_owned()),
        Some(_) => ("green", "up".to_owned()),
        None => ("green", "not called yet".to_owned()),
    }
}

pub(super) fn counts(stack: &Stack, queue: &str) -> QueueCounts {
    stack.bus.counts(queue).unwrap_or_default()
}

pub(super) fn queue_part(id: &str, name: &str, counts: QueueCounts) -> Value {
    let (state, word) = match counts {
        QueueCounts {
            dead_letter: 1.., ..
        } => ("amber", "dead letters"),
        QueueCounts { scheduled: 1.., .. } => ("amber", "retries wait"),
        _ => ("green", "flows"),
    };
    json!({"id": id, "name": name, "state": state, "word": word, "counts": {
        "active": counts.active + counts.locked, "scheduled": counts.scheduled, "dead-lettered": counts.dead_letter,
    }})
}

pub(super) fn fleet_part(name: &str, fleet: &Fleet) -> Value {
    let states: Vec<_> = fleet.hosts().iter().map(|host| host.state()).collect();
    let ready = states.iter().filter(|s| **s == HostState::Ready).count();
    let starting = states.contains(&HostState::Starting);
    let (state, word) = match ready {
        all if all == states.len() => ("green", "ready"),
        0 if !starting => ("red", "stopped"),
        _ => ("amber", "starting"),
    };
    let invocations = fleet.invocations();
    json!({"id": name, "name": name, "state": state, "word": word, "counts": {
        "invocations": invocations.started, "in flight": invocations.in_flight(), "restarts": fleet.handler_restarts(),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_red_with_its_status_until_a_call_succeeds() {
        assert_eq!(
            target_state(Some(Some(503)), 3),
            ("red", "failing: 503".to_owned())
        );
        assert_eq!(target_state(Some(None), 1).0, "red");
        assert_eq!(target_state(Some(Some(200)), 3).0, "amber");
        assert_eq!(target_state(Some(Some(200)), 0).0, "green");
    }

    #[test]
    fn a_row_the_target_refuses_does_not_make_it_red() {
        assert_eq!(target_state(Some(Some(422)), 0).0, "green");
    }
}
