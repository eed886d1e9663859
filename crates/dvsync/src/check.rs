//! `dvsync check`: is `sync.json` usable, and what does its patience mean in hours and minutes?

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use sync_core::config::SyncConfig;
use sync_core::policy::RetryPolicy;

use crate::out;

/// Options of `dvsync check`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file to check.
    #[arg(long, default_value = "sync.json")]
    config: PathBuf,
    /// Print the exact retry schedule of each table.
    #[arg(long)]
    schedule: bool,
    /// Print the schedule as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks, and prints what was asked for.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = SyncConfig::load(&options.config).context("sync.json")?;
    if options.json {
        let tables: serde_json::Map<_, _> = config
            .tables
            .values()
            .map(|table| (table.name.clone(), as_json(&table.policy)))
            .collect();
        out::line(format_args!("{}", json!({ "tables": tables })));
        return Ok(ExitCode::SUCCESS);
    }
    let path = options.config.display();
    out::line(format_args!(
        "{path} is usable: {} tables to {}",
        config.tables.len(),
        config.target_system
    ));
    if options.schedule {
        for table in config.tables.values() {
            print(&table.name, &table.policy);
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
    Ok(ExitCode::SUCCESS)
}

/// A counted retry: the shortest and the longest wait before it, and when it is due at the earliest and
/// at the latest after the first attempt, not counting the attempts themselves.
struct Step {
    retry: u32,
    wait: (Duration, Duration),
    due: (Duration, Duration),
}

fn steps(policy: &RetryPolicy) -> Vec<Step> {
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

fn print(table: &str, policy: &RetryPolicy) {
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

fn as_json(policy: &RetryPolicy) -> serde_json::Value {
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

/// `1 h 3 min`, `2 min 5 s`, `0.5 s`.
fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    let seconds = duration.as_secs();
    if seconds < 3600 {
        return format!("{} min {} s", seconds / 60, seconds % 60);
    }
    format!("{} h {} min", seconds / 3600, seconds / 60 % 60)
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

    #[test]
    fn durations_read_well() {
        assert_eq!(show(Duration::from_millis(500)), "0.5 s");
        assert_eq!(show(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(show(Duration::from_secs(3780)), "1 h 3 min");
    }
}
