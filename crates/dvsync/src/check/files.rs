//! The sync files: each by itself, and those that one app takes side by side.

use std::sync::Arc;
use std::time::Duration;

use sync_core::config::{SyncConfig, SyncFiles};
use sync_core::settings::sync_files;

use super::duration::show;
use super::finding::Report;
use super::package::{Package, SettingsFile};
use super::schedule::steps;

/// A sync file that can be used.
pub(super) struct SyncFile {
    pub(super) name: String,
    pub(super) config: Arc<SyncConfig>,
}

/// Reads every sync file of the package.
pub(super) fn check(package: &Package, report: &mut Report) -> Vec<SyncFile> {
    let lookup = |name: &str| package.setting(name).map(str::to_owned);
    // What is wrong with the setting is told where settings are.
    let named = sync_files(&lookup).unwrap_or_else(|_| vec!["sync.json".into()]);
    let mut names = package.sync_files();
    for name in &named {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let mut usable = Vec::new();
    for name in names {
        match SyncConfig::load(&package.root.join(&name)) {
            Ok(config) => usable.push(SyncFile {
                name,
                config: Arc::new(config),
            }),
            Err(error) => report.config(&name, error),
        }
    }
    let together: Vec<_> = usable
        .iter()
        .filter(|file| named.contains(&file.name))
        .map(|file| (file.name.clone(), (*file.config).clone()))
        .collect();
    // One file more or less says nothing about those that are there.
    if together.len() == named.len()
        && let Err(error) = SyncFiles::new(together)
    {
        report.config(named.last().map_or("sync.json", String::as_str), error);
    }
    if package.packed && package.has("Outbound") && named.len() > 1 {
        let file = package.settings.as_ref().map_or("", |s| &s.file);
        report.add(
            file,
            SettingsFile::key("SYNC_FILES"),
            "names several files, but outbound-fn serves one target; only inbound-fn takes the files of all",
            "deploy one outbound-fn for each target, each with SYNC_FILES naming its file",
        );
    }
    usable
}

/// Whether patience, breaker and timeouts make sense together.
pub(super) fn sense(file: &SyncFile, deadline: Duration, report: &mut Report) {
    let (config, name) = (&file.config, file.name.as_str());
    let timeout = config.target.timeout;
    if timeout >= deadline {
        report.add(
            name,
            "target.timeoutSeconds",
            format!(
                "is {}, but the work on one message ends after {} s (INVOCATION_DEADLINE_SECONDS): no slow call would ever be told from a slow target",
                timeout.as_secs_f64(),
                deadline.as_secs()
            ),
            format!("set it to {} or less", (deadline / 4).as_secs().max(1)),
        );
    }
    for table in config.tables.values() {
        // A policy of the table's own is named there; else the top-level one was judged already.
        let own = table.policy != config.default_policy;
        if own {
            let key = format!("tables.{}.retry", table.name);
            policy(name, &key, &table.policy, report);
        }
    }
    policy(name, "retry", &config.default_policy, report);
    let breaker = &config.breaker;
    if breaker.failures < 2 {
        report.add(
            name,
            "breaker.failures",
            "is 1: a single failed call would keep every row from the target",
            "set it to 5 at least, e.g. 10",
        );
    }
    if let Some(rate) = &config.target.limits.rate {
        let per_second = 1.0 / rate.interval.as_secs_f64();
        if breaker.ramp_per_second > per_second * 1.001 {
            report.add(
                name,
                "breaker.rampPerSecond",
                format!(
                    "is {}, more than target.requestsPerSecond ({}) lets through: what waits for its turn too long would be rescheduled at once",
                    breaker.ramp_per_second, (per_second * 1000.0).round() / 1000.0
                ),
                "set it to less than target.requestsPerSecond",
            );
        }
    }
    if breaker.ramp_seconds == 0.0 {
        report.add(
            name,
            "breaker.rampSeconds",
            "is 0: the whole backlog would return at once to a target that has just come back",
            "set it to 10 at least, e.g. 30",
        );
    }
}

/// Queues made by the files in `infra/` keep a message this long.
const TIME_TO_LIVE: Duration = Duration::from_secs(14 * 86_400);

fn policy(file: &str, key: &str, policy: &sync_core::policy::RetryPolicy, report: &mut Report) {
    if policy.max_age() > TIME_TO_LIVE {
        report.add(
            file,
            format!("{key}.maxAgeHours"),
            format!(
                "is {}, longer than the 14 days that the queues of infra/ keep a message: it would expire first",
                show(policy.max_age())
            ),
            "set it to 336 at most, or have the queues keep messages longer",
        );
    }
    if policy.max_retries() == 0 {
        report.add(
            file,
            format!("{key}.maxRetries"),
            "is 0: one failed call and the message is dead-lettered",
            "set it to 5 at least, e.g. 12",
        );
        return;
    }
    if policy.max_age() < policy.shortest_backoff(0) {
        report.add(
            file,
            format!("{key}.maxAgeHours"),
            format!(
                "is {}, which is over before the first retry after {}",
                show(policy.max_age()),
                show(policy.shortest_backoff(0))
            ),
            "set it to some hours, e.g. 72",
        );
        return;
    }
    let waits = steps(policy);
    if waits.iter().all(|step| step.wait.0 == step.wait.1) {
        report.add(
            file,
            format!("{key}.jitter"),
            "is 0: messages that failed together come back together",
            "set it to 0.1 at least, e.g. 0.2",
        );
    }
    if let Some(last) = waits.last()
        && waits.len() as u64 * 4 < u64::from(policy.max_retries())
    {
        report.add(
            file,
            format!("{key}.maxRetries"),
            format!(
                "is {}, but the age of {} ends it at retry {}",
                policy.max_retries(),
                show(policy.max_age()),
                last.retry
            ),
            format!("set it to {}, or maxAgeHours to more", last.retry),
        );
    }
}
