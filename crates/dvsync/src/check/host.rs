//! `host.json`: what the host accepts, passes over, or takes for something else than was meant.

use std::time::Duration;

use local_stack::host;
use serde_json::Value;

use super::finding::{Report, name_of};
use super::functions::placeholders;
use super::near::nearest;
use super::package::{Package, at};

const FILE: &str = "host.json";
const BUS: &str = "extensions.serviceBus";

/// Keys of `extensions.serviceBus` in the extension's version 5.
const BUS_KEYS: [&str; 15] = [
    "autoCompleteMessages",
    "clientRetryOptions",
    "crossEntityTransactions",
    "enableCrossEntityTransactions",
    "maxAutoLockRenewalDuration",
    "maxBatchWaitTime",
    "maxConcurrentCalls",
    "maxConcurrentCallsPerSession",
    "maxConcurrentSessions",
    "maxMessageBatchSize",
    "minMessageBatchSize",
    "prefetchCount",
    "sessionIdleTimeout",
    "transportType",
    "webProxy",
];

/// Judges `host.json`; gives it as the host will see it, with the overriding settings.
pub(super) fn check(package: &Package, report: &mut Report) -> Option<Value> {
    let mut settings = package.values();
    // Names that are missing are told where they are used.
    for function in &package.functions {
        for (_, binding) in function.bindings() {
            let texts = binding.as_object().into_iter().flatten();
            for name in texts.filter_map(|(_, v)| v.as_str()).flat_map(placeholders) {
                let value = if name.contains("SCHEDULE") {
                    "00:01:00"
                } else {
                    "name"
                };
                settings.entry(name.to_owned()).or_insert(value.to_owned());
            }
        }
    }
    let json = host::host_json(&package.root, &settings).ok();
    if let Some(json) = &json {
        traps(package, json, report);
    }
    let folders: Vec<_> = package.functions.iter().map(|f| f.folder.clone()).collect();
    for refusal in host::examine(&package.root, &folders, &settings) {
        let file = name_of(&package.root, &refusal.file);
        if report.knows(&file, &refusal.path) {
            continue;
        }
        match refusal.path.as_str() {
            "extensionBundle" => report.add(
                &file,
                refusal.path,
                refusal.reason,
                r#"set "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}"#,
            ),
            "customHandler.description.defaultExecutablePath" => report.add(
                &file,
                refusal.path,
                format!("{}: without it the host does not run as a custom handler's", refusal.reason),
                r#"set "customHandler": {"description": {"defaultExecutablePath": "handler"}}"#,
            ),
            "version" => report.add(&file, refusal.path, refusal.reason, "set \"version\": \"2.0\""),
            _ => report.note(&file, refusal.path, refusal.reason),
        }
    }
    json
}

fn traps(package: &Package, json: &Value, report: &mut Report) {
    let mut add = |path: &str, problem: &str, fix: &str| {
        if at(json, path).is_some() {
            report.add(FILE, path, problem, fix);
        }
    };
    add(
        "extensions.serviceBus.autoCompleteMessages",
        "has no effect: what the host makes of function.json always carries a value of its own",
        "delete it; \"autoCompleteMessages\": true in function.json counts",
    );
    add(
        "extensions.serviceBus.maxMessageBatchSize",
        "has no effect: what the host makes of function.json always carries a value of its own, by default 1000",
        "delete it; these functions take one message at a time",
    );
    for key in [
        "messageHandlerOptions",
        "sessionHandlerOptions",
        "batchOptions",
    ] {
        add(
            &format!("{BUS}.{key}"),
            "is of version 4 of the extension; the one that the bundle brings passes over it",
            "write its values directly below extensions.serviceBus: maxConcurrentCalls, maxAutoLockRenewalDuration, maxConcurrentSessions, prefetchCount",
        );
    }
    add(
        "serviceBus",
        "is where version 1 of the host had it; this one passes over it",
        "move it below \"extensions\"",
    );
    add(
        "httpWorker",
        "is the old name of customHandler",
        "call it \"customHandler\"",
    );
    add(
        "extensions.http.routePrefix",
        "is for functions that answer HTTP, of which these apps have none; the host posts to /Outbound, without a prefix, whatever it says",
        "delete extensions.http",
    );
    add(
        "retry",
        "has the host repeat failed invocations of every function while the message stays locked; the app sends a scheduled copy instead",
        "delete it; the patience is retry in sync.json",
    );
    for key in ["enableForwardingHttpRequest", "enableProxyingHttpRequest"] {
        let path = format!("customHandler.{key}");
        if at(json, &path) == Some(&Value::Bool(true)) {
            report.add(
                FILE,
                path,
                "is true, which is for functions that answer HTTP, of which these apps have none, and makes the host follow no redirects of a handler",
                format!("set \"{key}\": false"),
            );
        }
    }
    let prefetch = at(json, &format!("{BUS}.prefetchCount"));
    if prefetch.is_some_and(|value| value.as_u64().is_some_and(|count| count > 0)) {
        report.add(
            FILE,
            format!("{BUS}.prefetchCount"),
            "is more than 0: the lock of a prefetched message runs while it waits for its turn, and nobody renews it; it comes back, and counts as a death of an attempt",
            "set \"prefetchCount\": 0",
        );
    }
    bundle(json, report);
    executable(package, json, report);
    bus_keys(json, report);
}

/// Version 4 of the bundle brings version 5 of the Service Bus extension.
fn bundle(json: &Value, report: &mut Report) {
    let path = "extensionBundle.version";
    let id = "extensionBundle.id";
    let expected = "Microsoft.Azure.Functions.ExtensionBundle";
    if let Some(found) = at(json, id).and_then(Value::as_str)
        && found != expected
    {
        report.add(
            FILE,
            id,
            format!("is {found:?}, which the host cannot download"),
            format!("set \"id\": \"{expected}\""),
        );
    }
    if at(json, id).is_none() {
        return;
    }
    let version = at(json, path).and_then(Value::as_str).unwrap_or_default();
    let least = version.trim_start_matches(['[', '(']);
    if least.split('.').next() != Some("4") {
        report.add(
            FILE,
            path,
            format!("is {version:?}: these function.json files are for the Service Bus extension that bundle 4 brings"),
            "set \"version\": \"[4.*, 5.0.0)\"",
        );
    }
}

fn executable(package: &Package, json: &Value, report: &mut Report) {
    let path = "customHandler.description.defaultExecutablePath";
    let Some(name) = at(json, path)
        .and_then(Value::as_str)
        .filter(|n| !n.is_empty())
    else {
        return;
    };
    if name.starts_with("./") || name.starts_with(".\\") {
        report.add(
            FILE,
            path,
            format!("is {name:?}: Core Tools makes only the file executable whose name in the package is exactly this"),
            format!("set \"defaultExecutablePath\": \"{}\"", &name[2..]),
        );
    } else if package.packed && !package.root.join(name).is_file() {
        report.add(
            FILE,
            path,
            format!(
                "is {name:?}, which is not in this folder; the host would look for it on the PATH"
            ),
            "put the app's binary beside host.json under this name",
        );
    }
}

fn bus_keys(json: &Value, report: &mut Report) {
    let bus = at(json, BUS).and_then(Value::as_object);
    for (key, _) in bus.into_iter().flatten() {
        let path = format!("{BUS}.{key}");
        let known = BUS_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key));
        if known || report.knows(FILE, &path) {
            continue;
        }
        let fix = match key.to_ascii_lowercase().as_str() {
            "maxautorenewduration" => "it is called maxAutoLockRenewalDuration".to_owned(),
            _ => match nearest(key, BUS_KEYS) {
                Some(name) => format!("it is called {name}"),
                None => format!("delete it; there are {}", BUS_KEYS.join(", ")),
            },
        };
        report.add(
            FILE,
            path,
            "is no setting of the extension, which passes over it in silence",
            fix,
        );
    }
    let top = [
        "version",
        "functionTimeout",
        "extensionBundle",
        "customHandler",
        "extensions",
        "logging",
        "concurrency",
        "singleton",
        "healthMonitor",
        "aggregator",
        "functions",
        "managedDependency",
        "retry",
        "telemetryMode",
        "watchDirectories",
        "watchFiles",
        "serviceBus",
        "httpWorker",
        "configurationProfile",
        "tracing",
        "http",
        "queues",
        "eventHub",
        "applicationInsights",
        "id",
        "durableTask",
        "sendGrid",
    ];
    for (key, _) in json.as_object().into_iter().flatten() {
        if top.iter().any(|name| name.eq_ignore_ascii_case(key)) {
            continue;
        }
        let fix = match nearest(key, top) {
            Some(name) => format!("it is called {name}"),
            None => "delete it".to_owned(),
        };
        report.add(
            FILE,
            key,
            "is no setting of the host, which passes over it in silence",
            fix,
        );
    }
}

/// No invocation may reach the host's own limits.
pub(super) fn deadline(json: &Value, deadline: Duration, from: &str, report: &mut Report) {
    for limit in function_app::within_reach(deadline, json) {
        let needed = deadline + function_app::AFTERWARDS;
        let consequence = match limit.key {
            "functionTimeout" => {
                "the host kills the process and everything else that is under way in it"
            }
            _ => "the message is delivered a second time while the first is still worked on",
        };
        let zero = limit.value == "00:00:00";
        let off = if zero {
            ", which turns renewal off"
        } else {
            ""
        };
        report.add(
            FILE,
            limit.key,
            format!(
                "is {}{off}, but the work on one message may take {} s ({from}) and {} s more to settle it: beyond it {consequence}",
                limit.value,
                deadline.as_secs(),
                function_app::AFTERWARDS.as_secs()
            ),
            format!(
                "set it to \"{}\" at least, or shorten INVOCATION_DEADLINE_SECONDS to {}",
                span(needed),
                limit.longest_deadline.as_secs().max(1)
            ),
        );
    }
    for key in [
        "functionTimeout",
        "extensions.serviceBus.maxAutoLockRenewalDuration",
    ] {
        let value = at(json, key);
        let unreadable = |v: &Value| {
            v.as_str()
                .is_none_or(|text| host::time_span(text).is_none())
        };
        if value.is_some_and(unreadable) && !report.knows(FILE, key) {
            report.add(
                FILE,
                key,
                "is no time span",
                "write hours, minutes and seconds, e.g. \"00:10:00\"",
            );
        }
    }
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
