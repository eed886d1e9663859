//! `function.json`: the bindings of one function, with the traps that keep the host from indexing it.

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::json::{flag, member, text};
use super::retry::RetryPolicy;
use super::route::Route;
use super::{AppError, Settings, read_json};

/// One function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FunctionConfig {
    /// Folder name; the path of its invocations.
    pub(crate) name: String,
    /// The trigger's binding name, the key in `Data`.
    pub(crate) binding: String,
    pub(crate) trigger: TriggerConfig,
    pub(crate) outputs: Vec<OutputBinding>,
    /// The binding of type `http`, by which an HTTP request is answered.
    pub(crate) http_output: Option<String>,
    pub(crate) retry: Option<RetryPolicy>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TriggerConfig {
    ServiceBus(ServiceBusTriggerConfig),
    Timer(TimerConfig),
    Http(HttpTriggerConfig),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpTriggerConfig {
    /// Without the prefix that host.json sets.
    pub(crate) route: Route,
    /// Empty: all.
    pub(crate) methods: Vec<Method>,
}

impl HttpTriggerConfig {
    pub(crate) fn allows(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServiceBusTriggerConfig {
    /// Queue, or `topic/Subscriptions/subscription`.
    pub(crate) entity: String,
    pub(crate) connection: String,
    pub(crate) body: BodyType,
    pub(crate) auto_complete: bool,
    /// `cardinality: many`: the most messages of one invocation.
    pub(crate) batch: Option<usize>,
    /// `isSessionsEnabled`: the messages of each session in order.
    pub(crate) sessions: bool,
}

/// How the host binds a message's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyType {
    String,
    Binary,
    /// What `cardinality: many` without `dataType` means: every body must be JSON.
    Json,
}

/// `maxMessageBatchSize` where function.json has none. The value of host.json has no effect: the
/// attribute that the host makes of function.json always carries one.
const MAX_BATCH: usize = 1000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimerConfig {
    pub(crate) schedule: String,
    pub(crate) run_on_startup: bool,
    pub(crate) use_monitor: bool,
}

/// A Service Bus output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutputBinding {
    pub(crate) name: String,
    pub(crate) entity: String,
    pub(crate) connection: String,
}

impl FunctionConfig {
    /// Whether it has nothing but an HTTP request and its answer: what can be forwarded.
    pub(crate) fn is_plain_http(&self) -> bool {
        matches!(self.trigger, TriggerConfig::Http(_))
            && self.http_output.is_some()
            && self.outputs.is_empty()
    }

    pub(crate) fn has_output(&self, name: &str) -> bool {
        self.http_output.as_deref() == Some(name)
            || self.outputs.iter().any(|output| output.name == name)
    }

    /// Reads the function in `folder`; `None` when it is disabled.
    pub(crate) fn load(folder: &Path, settings: &Settings) -> Result<Option<Self>, AppError> {
        let name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let json = read_json(&folder.join("function.json"))?;
        Self::parse(&name, &json, settings).map_err(|reason| AppError::Function {
            function: name,
            reason,
        })
    }

    fn parse(name: &str, json: &Value, settings: &Settings) -> Result<Option<Self>, String> {
        if !is_function_name(name) {
            return Err(format!(
                "the folder name {name:?} is no function name (a letter, then up to 127 letters, digits, - or _)"
            ));
        }
        let disabled = settings.get(&format!("AzureWebJobs.{name}.Disabled"));
        if flag(json, "disabled")?.unwrap_or(false)
            || disabled.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
        {
            return Ok(None);
        }
        let bindings = member(json, "bindings").and_then(Value::as_array);
        let bindings = bindings.ok_or("has no list `bindings`")?;
        let mut trigger = None;
        let mut outputs = Vec::new();
        let mut http_output = None;
        for (place, json) in bindings.iter().enumerate() {
            let binding = Binding {
                place,
                name: text(json, "name")
                    .map_err(|reason| format!("bindings.{place}.name: {reason}"))?
                    .unwrap_or_default(),
                json,
                settings,
            };
            binding.check_name()?;
            let kind = binding.text("type")?.unwrap_or_default();
            let direction = binding
                .text("direction")?
                .unwrap_or_else(|| "in".to_owned());
            let parsed = match (kind.to_ascii_lowercase().as_str(), direction.as_str()) {
                ("servicebustrigger", "in") => TriggerConfig::ServiceBus(binding.service_bus()?),
                ("timertrigger", "in") => TriggerConfig::Timer(binding.timer()?),
                ("httptrigger", "in") => TriggerConfig::Http(binding.http(name)?),
                ("servicebus", "out") => {
                    outputs.push(binding.output()?);
                    continue;
                }
                ("http", "out") => {
                    if http_output.replace(binding.name).is_some() {
                        return Err("has more than one http output".to_owned());
                    }
                    continue;
                }
                (
                    "servicebustrigger" | "timertrigger" | "servicebus" | "httptrigger" | "http",
                    _,
                ) => {
                    return Err(
                        binding.error("direction", &format!("cannot be {direction:?} for {kind}"))
                    );
                }
                _ => {
                    return Err(binding.error(
                        "type",
                        &format!(
                            "{kind:?} is not known here (serviceBusTrigger, timerTrigger, httpTrigger, \
                             serviceBus, http)"
                        ),
                    ));
                }
            };
            if trigger.replace((binding.name, parsed)).is_some() {
                return Err("has more than one trigger".to_owned());
            }
        }
        let (binding, trigger) = trigger.ok_or("has no trigger")?;
        Ok(Some(Self {
            name: name.to_owned(),
            binding,
            trigger,
            outputs,
            http_output,
            retry: RetryPolicy::parse(json)?,
        }))
    }
}

/// `^[a-z][a-z0-9_\-]{0,127}$`, ignoring case.
fn is_function_name(name: &str) -> bool {
    let letter = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    letter && name.len() <= 128 && name.chars().all(rest)
}

struct Binding<'a> {
    /// In the list `bindings`.
    place: usize,
    name: String,
    json: &'a Value,
    settings: &'a Settings,
}

impl Binding<'_> {
    /// `^([a-zA-Z][a-zA-Z0-9]{0,127}|\$return)$`: the trap is the underscore.
    fn check_name(&self) -> Result<(), String> {
        let name = &self.name;
        let letter = name.starts_with(|first: char| first.is_ascii_alphabetic());
        let plain = name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric());
        if (letter && plain) || name == "$return" {
            return Ok(());
        }
        let reason = format!(
            "{name:?} is not allowed: a letter, then up to 127 letters or digits (no underscore), or $return"
        );
        Err(self.error("name", &reason))
    }

    fn error(&self, key: &str, reason: &str) -> String {
        format!("bindings.{}.{key}: {reason}", self.place)
    }

    fn text(&self, key: &str) -> Result<Option<String>, String> {
        text(self.json, key).map_err(|reason| self.error(key, &reason))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        flag(self.json, key).map_err(|reason| self.error(key, &reason))
    }

    fn number(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = member(self.json, key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| number.try_into().ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(key, "is not a number")),
        }
    }

    fn resolved(&self, key: &str) -> Result<Option<String>, String> {
        let value = self.text(key)?.filter(|text| !text.is_empty());
        let resolved = value.map(|text| self.settings.resolve(&text)).transpose();
        resolved.map_err(|reason| self.error(key, &reason))
    }

    fn service_bus(&self) -> Result<ServiceBusTriggerConfig, String> {
        let sessions = self.flag("isSessionsEnabled")?.unwrap_or(false);
        let cardinality = self.text("cardinality")?.unwrap_or_default();
        let many = match cardinality.to_ascii_lowercase().as_str() {
            "" | "one" => false,
            "many" => true,
            _ => return Err(self.error("cardinality", "must be \"one\" or \"many\"")),
        };
        if sessions && many {
            let reason = "with cardinality \"many\" is not modelled by the stand-in";
            return Err(self.error("isSessionsEnabled", reason));
        }
        let data_type = self.text("dataType")?.unwrap_or_default();
        let body = match data_type.to_ascii_lowercase().as_str() {
            "" if many => BodyType::Json,
            "" | "string" => BodyType::String,
            "binary" => BodyType::Binary,
            _ => return Err(self.error("dataType", "must be \"string\" or \"binary\"")),
        };
        let max_batch = self.number("maxMessageBatchSize")?.unwrap_or(MAX_BATCH);
        if max_batch == 0 {
            return Err(self.error("maxMessageBatchSize", "must be at least 1"));
        }
        let queue = self.resolved("queueName")?;
        let topic = self.resolved("topicName")?;
        let subscription = self.resolved("subscriptionName")?;
        let entity = match (queue, topic, subscription) {
            (Some(queue), None, None) => queue,
            (None, Some(topic), Some(subscription)) => {
                format!("{topic}/Subscriptions/{subscription}")
            }
            _ => {
                let reason = "either it or topicName and subscriptionName must be given";
                return Err(self.error("queueName", reason));
            }
        };
        Ok(ServiceBusTriggerConfig {
            entity,
            connection: self.resolved("connection")?.unwrap_or_default(),
            body,
            // host.json's value has no effect: the attribute the host makes of this file always
            // carries one, by default true.
            auto_complete: self.flag("autoCompleteMessages")?.unwrap_or(true),
            batch: many.then_some(max_batch),
            sessions,
        })
    }

    fn timer(&self) -> Result<TimerConfig, String> {
        let schedule = self.resolved("schedule")?;
        Ok(TimerConfig {
            schedule: schedule.ok_or_else(|| self.error("schedule", "is required"))?,
            run_on_startup: self.flag("runOnStartup")?.unwrap_or(false),
            use_monitor: self.flag("useMonitor")?.unwrap_or(true),
        })
    }

    fn http(&self, function: &str) -> Result<HttpTriggerConfig, String> {
        let level = self.text("authLevel")?.unwrap_or_default();
        let levels = ["", "anonymous", "user", "function", "system", "admin"];
        if !levels.contains(&level.to_ascii_lowercase().as_str()) {
            let reason = "must be \"anonymous\", \"function\" or \"admin\"";
            return Err(self.error("authLevel", reason));
        }
        let route = self.resolved("route")?;
        let route = Route::parse(route.as_deref().unwrap_or(function));
        let method = |value: &Value| {
            let name = value.as_str()?.to_ascii_uppercase();
            Method::from_bytes(name.as_bytes()).ok()
        };
        let methods = match member(self.json, "methods") {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(methods)) => methods.iter().map(method).collect(),
            Some(_) => None,
        };
        Ok(HttpTriggerConfig {
            route: route.map_err(|reason| self.error("route", &reason))?,
            methods: methods.ok_or_else(|| {
                self.error("methods", "is not a list such as [\"get\", \"post\"]")
            })?,
        })
    }

    fn output(&self) -> Result<OutputBinding, String> {
        if self
            .text("dataType")?
            .is_some_and(|kind| kind.eq_ignore_ascii_case("binary"))
        {
            return Err(self.error("dataType", "\"binary\" is not modelled for outputs"));
        }
        let queue = self.resolved("queueName")?;
        let entity = queue.map_or_else(|| self.resolved("topicName"), |queue| Ok(Some(queue)))?;
        Ok(OutputBinding {
            name: self.name.clone(),
            entity: entity.ok_or_else(|| self.error("queueName", "is required"))?,
            connection: self.resolved("connection")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        let pairs = [
            ("ORDERS", "orders"),
            ("CRON", "0 */5 * * * *"),
            ("AzureWebJobs.Off.Disabled", "1"),
        ];
        Settings::new(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }

    fn parse(name: &str, json: &Value) -> Result<Option<FunctionConfig>, String> {
        FunctionConfig::parse(name, json, &settings())
    }

    fn trigger() -> Value {
        json!({"type": "serviceBusTrigger", "direction": "in", "name": "msg", "queueName": "%ORDERS%",
               "connection": "SB", "dataType": "binary", "cardinality": "one", "autoCompleteMessages": false})
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut binding = trigger();
        change(&mut binding);
        parse("Orders", &json!({"bindings": [binding]})).unwrap_err()
    }

    #[test]
    fn a_service_bus_function_is_read() {
        let output = json!({"type": "serviceBus", "direction": "out", "name": "outq", "queueName": "replies"});
        let function = parse("Orders", &json!({"bindings": [trigger(), output]}))
            .unwrap()
            .unwrap();
        assert_eq!(function.binding, "msg");
        let TriggerConfig::ServiceBus(trigger) = function.trigger else {
            panic!("not a message")
        };
        assert_eq!(
            (trigger.entity.as_str(), trigger.connection.as_str()),
            ("orders", "SB")
        );
        assert_eq!(
            (trigger.body, trigger.auto_complete),
            (BodyType::Binary, false)
        );
        assert_eq!(function.outputs[0].entity, "replies");
    }

    #[test]
    fn without_data_type_a_body_is_a_string_and_completion_is_automatic() {
        let json =
            json!({"bindings": [{"TYPE": "ServiceBusTrigger", "name": "msg", "queuename": "q"}]});
        let function = parse("Orders", &json).unwrap().unwrap();
        let TriggerConfig::ServiceBus(trigger) = function.trigger else {
            panic!("not a message")
        };
        assert_eq!(
            (trigger.body, trigger.auto_complete),
            (BodyType::String, true)
        );
    }

    #[test]
    fn a_subscription_that_is_read_in_batches_is_read() {
        let json = json!({"bindings": [{"type": "serviceBusTrigger", "name": "msgs", "topicName": "%ORDERS%",
            "subscriptionName": "%ORDERS%-a", "isSessionsEnabled": false, "cardinality": "many",
            "maxMessageBatchSize": 50}]});
        let function = parse("Orders", &json).unwrap().unwrap();
        let TriggerConfig::ServiceBus(trigger) = function.trigger else {
            panic!("not a message")
        };
        assert_eq!(trigger.entity, "orders/Subscriptions/orders-a");
        assert_eq!(trigger.batch, Some(50));
        assert_eq!(trigger.body, BodyType::Json);
    }

    #[test]
    fn a_queue_with_sessions_is_read() {
        let mut binding = trigger();
        binding["isSessionsEnabled"] = json!(true);
        let function = parse("Orders", &json!({"bindings": [binding]}))
            .unwrap()
            .unwrap();
        assert!(matches!(function.trigger, TriggerConfig::ServiceBus(trigger) if trigger.sessions));
    }

    #[test]
    fn a_timer_with_a_retry_policy_is_read() {
        let json = json!({"bindings": [{"type": "timerTrigger", "name": "tick", "schedule": "%CRON%"}],
            "retry": {"strategy": "fixedDelay", "maxRetryCount": -1, "delayInterval": "00:00:10"}});
        let function = parse("Sweep", &json).unwrap().unwrap();
        let TriggerConfig::Timer(timer) = function.trigger else {
            panic!("not a timer")
        };
        assert_eq!(timer.schedule, "0 */5 * * * *");
        assert!(timer.use_monitor && !timer.run_on_startup);
        let retry = function.retry.unwrap();
        assert_eq!(
            (retry.max_retry_count, retry.first_delay.as_secs()),
            (None, 10)
        );
    }

    #[test]
    fn an_http_function_is_read() {
        let trigger = json!({"type": "httpTrigger", "direction": "in", "name": "req",
            "authLevel": "Function", "methods": ["get", "post"], "route": "%ORDERS%/{id}"});
        let output = json!({"type": "http", "direction": "out", "name": "res"});
        let function = parse("Orders", &json!({"bindings": [trigger, output]}))
            .unwrap()
            .unwrap();
        assert!(function.is_plain_http() && function.has_output("res"));
        let TriggerConfig::Http(http) = function.trigger else {
            panic!("not a request")
        };
        assert_eq!(http.route, Route::parse("orders/{id}").unwrap());
        assert!(http.allows(&Method::GET) && !http.allows(&Method::PUT));
        let bare = json!({"bindings": [{"type": "httpTrigger", "name": "req"}]});
        let TriggerConfig::Http(http) = parse("Orders", &bare).unwrap().unwrap().trigger else {
            panic!("not a request")
        };
        assert_eq!(http.route.template(), "Orders");
        assert!(http.allows(&Method::PUT));
        for (key, value) in [
            ("authLevel", json!("everybody")),
            ("methods", json!("get")),
            ("route", json!("a/{id:regex(x)}")),
        ] {
            let mut binding = json!({"type": "httpTrigger", "name": "req"});
            binding[key] = value;
            let refused = parse("Orders", &json!({"bindings": [binding]})).unwrap_err();
            assert!(refused.contains(key), "{refused}");
        }
    }

    #[test]
    fn a_disabled_function_is_left_out() {
        let json = json!({"disabled": true, "bindings": [trigger()]});
        assert_eq!(parse("Orders", &json), Ok(None));
        assert_eq!(parse("Off", &json!({"bindings": [trigger()]})), Ok(None));
    }

    #[test]
    fn names_the_host_does_not_accept_are_refused() {
        assert!(refused(|b| b["name"] = json!("my_msg")).contains("underscore"));
        for name in ["1Orders", "Order.In", ""] {
            assert!(
                parse(name, &json!({"bindings": [trigger()]}))
                    .unwrap_err()
                    .contains("folder name")
            );
        }
        assert!(parse("order_in-2", &json!({"bindings": [trigger()]})).is_ok());
    }

    #[test]
    fn errors_name_the_key() {
        assert!(refused(|b| b["type"] = json!("queueTrigger")).contains("queueTrigger"));
        assert!(refused(|b| b["direction"] = json!("out")).contains("direction"));
        assert!(refused(|b| b["cardinality"] = json!("some")).contains("cardinality"));
        assert!(refused(|b| b["isSessionsEnabled"] = json!("yes")).contains("isSessionsEnabled"));
        let batches_of_sessions = refused(|b| {
            b["isSessionsEnabled"] = json!(true);
            b["cardinality"] = json!("many");
        });
        assert!(batches_of_sessions.contains("isSessionsEnabled"));
        assert!(refused(|b| b["maxMessageBatchSize"] = json!("x")).contains("maxMessageBatchSize"));
        assert!(refused(|b| b["dataType"] = json!("stream")).contains("dataType"));
        assert!(refused(|b| b["queueName"] = json!("%NOPE%")).contains("NOPE"));
        assert!(
            refused(|b| b["autoCompleteMessages"] = json!("false"))
                .contains("autoCompleteMessages")
        );
        assert!(
            parse("Orders", &json!({"bindings": []}))
                .unwrap_err()
                .contains("no trigger")
        );
        let twice = json!({"bindings": [trigger(), trigger()]});
        assert!(
            parse("Orders", &twice)
                .unwrap_err()
                .contains("more than one")
        );
    }
}
