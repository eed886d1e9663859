//! The parts on `host.json` and `function.json`: what the shipped files say, and why.

use std::collections::BTreeMap;

use serde_json::Value;

use super::markdown::{code, table};
use super::read;

/// Why each value is as it is, in the order of the file.
const HOST: [(&str, &str); 12] = [
    ("version", "Always."),
    (
        "functionTimeout",
        "No invocation is longer. The host would end the whole process, and everything else in it: `INVOCATION_DEADLINE_SECONDS` must end the work well before.",
    ),
    ("extensionBundle.id", "Where the triggers come from."),
    (
        "extensionBundle.version",
        "Bundle 4 brings version 5 of the Service Bus extension, for which the `function.json` files are written.",
    ),
    (
        "customHandler.description.defaultExecutablePath",
        "The binary, beside `host.json`. No `./`: Core Tools makes only a file of exactly this name executable.",
    ),
    (
        "customHandler.enableForwardingHttpRequest",
        "Forwarding is for functions that answer HTTP.",
    ),
    (
        "extensions.serviceBus.maxConcurrentCalls",
        "Messages that one instance works on at once. What reaches the target is bounded by `target.maxConcurrent` of the sync file as well.",
    ),
    (
        "extensions.serviceBus.maxConcurrentSessions",
        "With `SESSIONS`: rows that one instance works on at once.",
    ),
    (
        "extensions.serviceBus.sessionIdleTimeout",
        "With `SESSIONS`: how long a row that has gone quiet keeps its place.",
    ),
    (
        "extensions.serviceBus.maxAutoLockRenewalDuration",
        "The lock is renewed for so long. When that ends, a message comes a second time while the first is worked on: `INVOCATION_DEADLINE_SECONDS` must end the work well before.",
    ),
    (
        "extensions.serviceBus.prefetchCount",
        "Must be 0: the lock of a prefetched message runs while it waits for its turn, and nobody renews it.",
    ),
    (
        "logging.logLevel.default",
        "Of the host's own log; the apps' is `LOG_LEVEL`.",
    ),
];

const BINDINGS: [(&str, &str); 14] = [
    ("type", "A message of Service Bus, or a time."),
    ("direction", "Always."),
    ("name", "What the handler calls it."),
    ("queueName", "From the setting between the `%`."),
    (
        "topicName",
        "With `OUTBOUND_TOPIC`, in the place of `queueName`.",
    ),
    ("subscriptionName", "Goes with it."),
    (
        "connection",
        "Start of the settings' names: `ServiceBus`, `ServiceBus__fullyQualifiedNamespace`.",
    ),
    (
        "dataType",
        "Must be `binary`: otherwise members of a message's JSON overwrite the host's own `MessageId`, `DeliveryCount` and `LockToken`.",
    ),
    (
        "cardinality",
        "Must be `one`: a batch's locks are not renewed, and one bad message would fail all.",
    ),
    (
        "isSessionsEnabled",
        "The same as the setting `SESSIONS`, or the app does not start.",
    ),
    (
        "autoCompleteMessages",
        "Must be true: the host completes a message when the handler has answered well.",
    ),
    ("schedule", "From the setting between the `%`."),
    (
        "runOnStartup",
        "Must be false: each new instance would sweep at once.",
    ),
    (
        "useMonitor",
        "One instance at a time, and a missed time is made up for.",
    ),
];

pub(super) fn document() -> String {
    let mut text = String::from(
        "## host.json\n\n\
         Both apps have the same [host.json](../host.json). `dvsync check` knows what the host would pass over in silence.\n\n",
    );
    let mut values = BTreeMap::new();
    flatten("", &json("host.json"), &mut values);
    let rows: Vec<_> = HOST
        .iter()
        .map(|(key, why)| {
            let value = values.remove(*key);
            let value = value.unwrap_or_else(|| panic!("host.json has no {key} any more"));
            [code(key), code(&value.to_string()), (*why).to_owned()]
        })
        .collect();
    assert!(values.is_empty(), "say why in this file: {values:?}");
    text.push_str(&table(["key", "value", "why"], &rows));
    text.push_str(&functions());
    text
}

/// The function's folder in its app, and what else may stand in its place.
const FUNCTIONS: [&str; 4] = [
    "outbound-fn/Outbound",
    "outbound-fn/topic/Outbound",
    "inbound-fn/Inbound",
    "inbound-fn/OutboxSweep",
];

fn functions() -> String {
    let mut text = String::from(
        "\n## function.json\n\n\
         One for each function, in a folder of its name. `outbound-fn/topic/Outbound` takes the place of `outbound-fn/Outbound` with a topic.\n\n",
    );
    let files =
        FUNCTIONS.map(|folder| json(&format!("{folder}/function.json"))["bindings"][0].clone());
    let mut rows = Vec::new();
    let mut told = 0;
    for (key, why) in &BINDINGS {
        let cells = files.each_ref().map(|binding| match binding.get(*key) {
            Some(value) => {
                told += 1;
                code(value.to_string().trim_matches('"'))
            }
            None => String::new(),
        });
        let [queue, topic, inbound, sweep] = cells;
        rows.push([code(key), queue, topic, inbound, sweep, (*why).to_owned()]);
    }
    let all: usize = files
        .iter()
        .filter_map(Value::as_object)
        .map(serde_json::Map::len)
        .sum();
    assert_eq!(told, all, "say why in this file");
    let heads = [
        "key",
        "`Outbound`",
        "`topic/Outbound`",
        "`Inbound`",
        "`OutboxSweep`",
        "why",
    ];
    text.push_str(&table(heads, &rows));
    text
}

fn json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, Value>) {
    let Some(members) = value.as_object() else {
        all.insert(path.to_owned(), value.clone());
        return;
    };
    for (key, value) in members {
        let path = match path {
            "" => key.clone(),
            _ => format!("{path}.{key}"),
        };
        flatten(&path, value, all);
    }
}
