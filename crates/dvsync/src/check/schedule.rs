//! What the patience of `sync.json` means in hours and minutes.

use std::time::Duration;

use serde_json::{Value, json};
use sync_core::config::SyncConfig;
use sync_core::policy::RetryPolicy;

use super::duration::show;
use crate::out;

/// Prints the exact retry schedule of each table.
pub(super) fn print(config: &SyncConfig) {
    for table in config.tables.values() {
        print_table(&table.name, &table.policy);
    }
    let breaker = &config.breaker;
    out::line(format_args!(
        "\nThrottled, down (breaker open) and misconfigured systems are waited for without counting.\n\
         The breaker opens after {} failures in a row, for {} s at first and {} s at most, and lets the backlog\n\
         return at {} a second for {} s.",
        breaker.failures,
        breaker.open_seconds,
        breaker.max_open_seconds,
        breaker.ramp_per_second,
        breaker.ramp_seconds
    ));
}

/// The retry schedule of each table.
pub(super) fn as_json(config: &SyncConfig) -> Value {
    let tables = config.tables.values();
    let tables = tables.map(|table| (table.name.clone(), table_as_json(&table.policy)));
    Value::Object(tables.collect())
}

/// A counted retry: the shortest and the longest wait before it, and when it is due at the earliest and
/// at the latest after the first attempt, not counting the attempts themselves.
pub(super) struct Step {
    pub(super) retry: u32,
    pub(super) wait: (Duration, Duration),
    pub(super) due: (Duration, Duration),
}

pub(super) fn steps(policy: &RetryPolicy) -> Vec<Step> {
    let (mut due, mut steps) = ((Duration::ZERO, Duration::ZERO), Vec::new());
    for retry in 0..policy.max_retries() {
        // The age ends it before the count does.
        if due.0 > policy.max_age() {
            break;
        }
        let wait = (
            policy.shortest_backoff(retry),
            policy.longest_backoff(retry),
        );
        due = (due.0 + wait.0, due.1 + wait.1);
        steps.push(Step {
            retry: retry + 1,
            wait,
            due,
        });
    }
    steps
}

fn print_table(table: &str, policy: &RetryPolicy) {
    out::line(format_args!(
        "\n{table}: {} tries at once, then counted retries ({} at most, and none after {}):\n\
         {:>6}  {:>21}  {:>27}",
        policy.in_process_retries() + 1,
        policy.max_retries(),
        show(policy.max_age()),
        "retry",
        "wait",
        "after the first attempt"
    ));
    for step in steps(policy) {
        out::line(format_args!(
            "{:>6}  {:>9} - {:>9}  {:>12} - {:>12}",
            step.retry,
            show(step.wait.0),
            show(step.wait.1),
            show(step.due.0),
            show(step.due.1)
        ));
    }
    out::line(format_args!("  then   the dead-letter queue"));
}

fn table_as_json(policy: &RetryPolicy) -> Value {
    steps(policy)
        .iter()
        .map(|step| {
            json!({
                "retry": step.retry,
                "waitSeconds": [step.wait.0.as_secs_f64(), step.wait.1.as_secs_f64()],
                "dueSeconds": [step.due.0.as_secs_f64(), step.due.1.as_secs_f64()],
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use sync_core::policy::RetrySettings;

    use super::*;

    #[test]
    fn the_schedule_ends_with_the_count_or_with_the_age() {
        let policy = |settings: &RetrySettings| RetryPolicy::try_from(settings).unwrap();
        let all = steps(&policy(&RetrySettings::default()));
        assert_eq!(all.len(), 12);
        assert_eq!(all[2].wait.0, Duration::from_secs(20));
        assert_eq!(all[2].due.0, Duration::from_secs(35));
        let short = RetrySettings {
            max_age_hours: 0.01,
            ..RetrySettings::default()
        };
        // 5, 15, 35, 75 s: the retry at 75 s is the first beyond 36 s, and the last.
        assert_eq!(steps(&policy(&short)).len(), 4);
    }
}
