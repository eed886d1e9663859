//! `function.json`: what the host accepts and these apps cannot work with.

use serde_json::Value;

use super::finding::Report;
use super::near::nearest;
use super::package::{FunctionFile, Package, member};

/// A function of the two apps.
struct Known {
    name: &'static str,
    /// What its handler calls the trigger.
    binding: &'static str,
    /// Settings that name what it receives from; none for a timer.
    queue: Option<&'static str>,
}

const KNOWN: [Known; 3] = [
    Known {
        name: "Outbound",
        binding: "notification",
        queue: Some("OUTBOUND_QUEUE"),
    },
    Known {
        name: "Inbound",
        binding: "acknowledgement",
        queue: Some("INBOUND_QUEUE"),
    },
    Known {
        name: "OutboxSweep",
        binding: "tick",
        queue: None,
    },
];

const OF_MESSAGES: [&str; 12] = [
    "type",
    "direction",
    "name",
    "queueName",
    "topicName",
    "subscriptionName",
    "connection",
    "dataType",
    "cardinality",
    "isSessionsEnabled",
    "autoCompleteMessages",
    "maxMessageBatchSize",
];
const OF_TIMERS: [&str; 6] = [
    "type",
    "direction",
    "name",
    "schedule",
    "runOnStartup",
    "useMonitor",
];

/// Judges every function.
pub(super) fn check(package: &Package, report: &mut Report) {
    if package.functions.is_empty() {
        report.add(
            "",
            "",
            "no folder here has a function.json",
            "check the folder of a packaged app, or the one that outbound-fn and inbound-fn are in",
        );
    }
    for function in &package.functions {
        let known = KNOWN.iter().find(|known| known.name == function.name);
        if known.is_none() {
            unknown_function(function, report);
        }
        whole_file(function, report);
        for (place, binding) in function.bindings() {
            let text = |key| member(binding, key).and_then(Value::as_str);
            let kind = text("type").unwrap_or_default().to_ascii_lowercase();
            let at = Place {
                function,
                known,
                place: &place,
                binding,
                package,
            };
            match kind.as_str() {
                "servicebustrigger" => at.messages(report),
                "timertrigger" => at.timer(report),
                "servicebus" => at.output(report),
                // The host's own parser tells.
                _ => {}
            }
            at.settings(report);
        }
    }
}

fn unknown_function(function: &FunctionFile, report: &mut Report) {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    let fix = match nearest(&function.name, names.iter().copied()) {
        Some(name) => format!("call the folder {name}"),
        None => format!(
            "take the folder out; the handlers know {}",
            names.join(", ")
        ),
    };
    report.add(
        &function.file,
        "",
        format!(
            "is of a function {}, which no handler knows: each of its invocations would fail",
            function.name
        ),
        fix,
    );
}

fn whole_file(function: &FunctionFile, report: &mut Report) {
    let Some(json) = &function.json else {
        return;
    };
    let is_timer = function
        .bindings()
        .any(|(_, b)| member(b, "schedule").is_some());
    if member(json, "retry").is_some() && !is_timer {
        report.add(
            &function.file,
            "retry",
            "has the host repeat a failed invocation while the message stays locked, so that it is tried maxRetryCount + 1 times for every delivery; the app sends a scheduled copy instead",
            "delete retry; the patience is retry in sync.json",
        );
    }
    if member(json, "disabled") == Some(&Value::Bool(true)) {
        report.add(
            &function.file,
            "disabled",
            "is true: the function never runs, and its messages wait",
            format!(
                "delete it; to pause the function, set the app setting AzureWebJobs.{}.Disabled=true for as long",
                function.name
            ),
        );
    }
}

/// A binding, and where it is.
struct Place<'a> {
    function: &'a FunctionFile,
    known: Option<&'a Known>,
    place: &'a str,
    binding: &'a Value,
    package: &'a Package,
}

impl Place<'_> {
    fn add(
        &self,
        report: &mut Report,
        key: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let path = format!("{}.{key}", self.place);
        report.add(&self.function.file, path, problem, fix);
    }

    fn value(&self, key: &str) -> Option<&Value> {
        member(self.binding, key)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(Value::as_str)
    }

    fn is(&self, key: &str, text: &str) -> bool {
        self.text(key)
            .is_some_and(|value| value.eq_ignore_ascii_case(text))
    }

    fn messages(&self, report: &mut Report) {
        self.keys(&OF_MESSAGES, report);
        self.name(report);
        if !self.is("dataType", "binary") {
            self.add(
                report,
                "dataType",
                "is not binary: the host would then let members of a message's JSON overwrite its own MessageId, DeliveryCount and LockToken",
                "set \"dataType\": \"binary\"",
            );
        }
        if self.is("cardinality", "many") {
            self.add(
                report,
                "cardinality",
                "is many: the handler takes one message at a time, the lock of a batch is never renewed, and one bad message fails all",
                "set \"cardinality\": \"one\"",
            );
        }
        if self.value("autoCompleteMessages") == Some(&Value::Bool(false)) {
            self.add(
                report,
                "autoCompleteMessages",
                "is false: nobody would complete a message that was worked off, since the handler cannot; it would come back until it is dead-lettered",
                "set \"autoCompleteMessages\": true",
            );
        }
        if self.value("maxMessageBatchSize").is_some() && !self.is("cardinality", "many") {
            self.add(
                report,
                "maxMessageBatchSize",
                "has no effect with one message at a time",
                "delete it; how many run at once is extensions.serviceBus.maxConcurrentCalls in host.json",
            );
        }
        self.connection(report);
        self.entity(report);
        self.sessions(report);
    }

    fn connection(&self, report: &mut Report) {
        let Some(connection) = self.text("connection").filter(|text| !text.is_empty()) else {
            self.add(
                report,
                "connection",
                "is missing, so that the host takes AzureWebJobsServiceBus, while the handler sends through ServiceBus",
                "set \"connection\": \"ServiceBus\"",
            );
            return;
        };
        if connection.contains("Endpoint=") {
            self.add(
                report,
                "connection",
                "is a connection string, key included, in a file that is committed; the host expects the name of a setting",
                "set \"connection\": \"ServiceBus\", and replace the key, since it is known now",
            );
        } else if connection != "ServiceBus" && self.known.is_some() {
            self.add(
                report,
                "connection",
                format!("is {connection:?}: the host would receive from another namespace than the handler sends to, which is in ServiceBus or ServiceBus__fullyQualifiedNamespace"),
                "set \"connection\": \"ServiceBus\"",
            );
        }
    }

    /// A copy must come back to where the message was.
    fn entity(&self, report: &mut Report) {
        let Some(setting) = self.known.and_then(|known| known.queue) else {
            return;
        };
        if let Some(queue) = self.text("queueName") {
            let same = queue == format!("%{setting}%")
                || self
                    .package
                    .setting(setting)
                    .is_some_and(|value| value == queue);
            let topic =
                setting == "OUTBOUND_QUEUE" && self.package.setting("OUTBOUND_TOPIC").is_some();
            if topic && self.function.in_use {
                self.add(
                    report,
                    "queueName",
                    "makes the host receive from a queue, while OUTBOUND_TOPIC makes the handler send to a topic",
                    "take the function.json of outbound-fn/topic/Outbound, or set OUTBOUND_QUEUE instead of OUTBOUND_TOPIC",
                );
            } else if !same {
                self.add(
                    report,
                    "queueName",
                    format!("is {queue:?}: the handler sends retry copies and messages to the queue in {setting}, which this is not"),
                    format!("set \"queueName\": \"%{setting}%\""),
                );
            }
        }
        if self.text("topicName").is_some() {
            self.topic(setting, report);
        }
    }

    fn topic(&self, setting: &str, report: &mut Report) {
        if setting == "INBOUND_QUEUE" {
            self.add(
                report,
                "topicName",
                "makes the host receive from a topic, but acknowledgements go to a queue",
                "set \"queueName\": \"%INBOUND_QUEUE%\" instead",
            );
        } else if self.function.in_use && self.package.setting("OUTBOUND_QUEUE").is_some() {
            self.add(
                report,
                "topicName",
                "makes the host receive from a topic, while OUTBOUND_QUEUE makes the handler send to a queue",
                "take the function.json of outbound-fn/Outbound, or set OUTBOUND_TOPIC and OUTBOUND_SUBSCRIPTION instead of OUTBOUND_QUEUE",
            );
        } else {
            for (key, setting) in [
                ("topicName", "OUTBOUND_TOPIC"),
                ("subscriptionName", "OUTBOUND_SUBSCRIPTION"),
            ] {
                let value = self.text(key).unwrap_or_default();
                let same = value == format!("%{setting}%")
                    || self
                        .package
                        .setting(setting)
                        .is_some_and(|set| set == value);
                if !same {
                    self.add(
                        report,
                        key,
                        format!("is {value:?}, but the handler goes by the setting {setting}"),
                        format!("set \"{key}\": \"%{setting}%\""),
                    );
                }
            }
        }
    }

    fn sessions(&self, report: &mut Report) {
        let on = self.value("isSessionsEnabled") == Some(&Value::Bool(true));
        let outbound = self.function.name == "Outbound";
        if on && !outbound && self.known.is_some() {
            self.add(
                report,
                "isSessionsEnabled",
                "is true, but acknowledgements are sent without a session, so that a queue with sessions would refuse them",
                "set \"isSessionsEnabled\": false",
            );
        }
        // The default of a setting that is not there says nothing while there are no settings.
        if !outbound || !self.function.in_use || self.package.settings.is_none() {
            return;
        }
        let set = self.package.setting("SESSIONS") == Some("true");
        if on != set {
            self.add(
                report,
                "isSessionsEnabled",
                format!("is {on}, but the setting SESSIONS is {set}: outbound-fn would not start"),
                "set both to true, with a queue that has sessions, or both to false",
            );
        }
    }

    fn timer(&self, report: &mut Report) {
        self.keys(&OF_TIMERS, report);
        self.name(report);
        if self.value("runOnStartup") == Some(&Value::Bool(true)) {
            self.add(
                report,
                "runOnStartup",
                "is true: every instance that is started runs it at once, also when many are started",
                "set \"runOnStartup\": false",
            );
        }
        if self.value("useMonitor") == Some(&Value::Bool(false)) {
            self.add(
                report,
                "useMonitor",
                "is false: a run that was due while the app was down is never made up for",
                "set \"useMonitor\": true",
            );
        }
    }

    fn output(&self, report: &mut Report) {
        self.add(
            report,
            "type",
            "is an output: it can set neither MessageId nor schedule nor properties, and the handlers never use one",
            "delete the binding",
        );
    }

    fn name(&self, report: &mut Report) {
        let Some(known) = self.known else { return };
        if self.text("name") != Some(known.binding) {
            self.add(
                report,
                "name",
                format!(
                    "is {:?}, but the handler of {} looks for the message under {:?}",
                    self.text("name").unwrap_or_default(),
                    known.name,
                    known.binding
                ),
                format!("set \"name\": \"{}\"", known.binding),
            );
        }
    }

    /// Keys that the host would pass over in silence.
    fn keys(&self, known: &[&'static str], report: &mut Report) {
        let members = self.binding.as_object().into_iter().flatten();
        for (key, _) in members {
            if known.iter().any(|name| name.eq_ignore_ascii_case(key)) {
                continue;
            }
            let fix = match key.to_ascii_lowercase().as_str() {
                "isbatched" => {
                    "it belongs to C#; in function.json it is \"cardinality\": \"one\"".to_owned()
                }
                "autocomplete" => {
                    "it is of an older extension; now it is \"autoCompleteMessages\": true"
                        .to_owned()
                }
                "accessrights" => "delete it; it is of an older extension".to_owned(),
                _ => match nearest(key, known.iter().copied()) {
                    Some(name) => format!("it is called {name}"),
                    None => format!("delete it; there are {}", known.join(", ")),
                },
            };
            self.add(
                report,
                key,
                "is no property of this binding, so that the host passes over it in silence",
                fix,
            );
        }
    }

    /// `%NAME%` must be settings that there are.
    fn settings(&self, report: &mut Report) {
        let (Some(settings), true) = (&self.package.settings, self.function.in_use) else {
            return;
        };
        for key in [
            "queueName",
            "topicName",
            "subscriptionName",
            "connection",
            "schedule",
        ] {
            for name in placeholders(self.text(key).unwrap_or_default()) {
                if settings.get(name).is_none() {
                    self.add(
                        report,
                        key,
                        format!(
                            "needs the app setting {name}, which {} does not have",
                            settings.file
                        ),
                        match nearest(name, settings.values.keys().map(String::as_str)) {
                            Some(near) => format!("it has {near}: make them the same"),
                            None => format!("set {name}, e.g. {name}={}", example(key)),
                        },
                    );
                }
            }
        }
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "schedule" => "0 */1 * * * *",
        "connection" => "ServiceBus",
        _ => "outbound",
    }
}

/// The names between pairs of `%`.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('%').skip(1).step_by(2)
}
