//! `host.json`: what of it matters to a custom handler with Service Bus, timer and HTTP triggers.
//!
//! Any value can be overridden by an app setting `AzureFunctionsJobHost__a__b__c`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::json::member;
use super::retry::RetryPolicy;
use super::{
    AppError, FunctionConfig, Settings, TriggerConfig, parse_time_span, positive, read_json,
};

const OVERRIDE_PREFIX: &str = "AzureFunctionsJobHost__";

/// The settings of a host instance. Defaults are those of a plan other than Consumption.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostJson {
    /// `customHandler.description.defaultExecutablePath`, absolute, or a name for the PATH.
    pub(crate) executable: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) initialization_timeout: Duration,
    /// `None`: invocations may run for ever.
    pub(crate) function_timeout: Option<Duration>,
    pub(crate) max_concurrent_calls: usize,
    /// `None`: for ever. Zero: not at all.
    pub(crate) max_auto_lock_renewal: Option<Duration>,
    pub(crate) prefetch_count: u32,
    pub(crate) max_concurrent_sessions: usize,
    pub(crate) max_concurrent_calls_per_session: usize,
    /// How long a session without messages is kept.
    pub(crate) session_idle_timeout: Duration,
    pub(crate) min_batch: usize,
    /// How long a batch that is smaller than [`Self::min_batch`] waits for more.
    pub(crate) max_batch_wait: Duration,
    /// Of all functions that have none of their own.
    pub(crate) retry: Option<RetryPolicy>,
    /// How long the lease lasts that lets one instance run a timer.
    pub(crate) listener_lock_period: Duration,
    /// How often the other instances ask for it.
    pub(crate) listener_lock_poll: Duration,
    /// Whether requests go to the handler of a function with nothing but an HTTP trigger and its
    /// answer as they came.
    pub(crate) forwards_http: bool,
    /// What all routes begin with; empty for nothing.
    pub(crate) route_prefix: String,
    has_bundle: bool,
}

impl HostJson {
    /// Reads the file of the app in `app_dir`.
    pub(crate) fn load(app_dir: &Path, settings: &Settings) -> Result<Self, AppError> {
        let json = Self::overridden(app_dir, settings)?;
        Self::parse(&Section { json: &json }, app_dir, settings)
    }

    /// The file's JSON under the app settings that override values of it.
    pub(super) fn overridden(app_dir: &Path, settings: &Settings) -> Result<Value, AppError> {
        let mut json = read_json(&app_dir.join("host.json"))?;
        for (name, value) in settings.iter() {
            if let Some(path) = name.strip_prefix(OVERRIDE_PREFIX) {
                set(&mut json, path.split("__"), value);
            }
        }
        Ok(json)
    }

    fn parse(json: &Section<'_>, app_dir: &Path, settings: &Settings) -> Result<Self, AppError> {
        if json.text("version")?.as_deref() != Some("2.0") {
            return Err(error("version", "must be \"2.0\""));
        }
        if json.at("customHandler.http").is_some() {
            return Err(error(
                "customHandler.http",
                "cannot be mixed with function.json files",
            ));
        }
        let path = "customHandler.description.defaultExecutablePath";
        let executable = json.text(path)?.filter(|text| !text.is_empty());
        let executable = executable.ok_or_else(|| error(path, "is required"))?;
        // A relative path that does not exist under the app's folder is left to the PATH.
        let beneath = app_dir.join(&executable);
        let executable = if beneath.exists() {
            beneath
        } else {
            PathBuf::from(executable)
        };
        let directory = json.text("customHandler.description.workingDirectory")?;
        let mut arguments = Vec::new();
        for argument in json.list("customHandler.description.arguments")? {
            // The host joins the arguments with blanks and lets .NET split them again.
            let expanded = expand(&argument, settings);
            arguments.extend(expanded.split_whitespace().map(str::to_owned));
        }
        let bus = "extensions.serviceBus";
        let dynamic = "concurrency.dynamicConcurrencyEnabled";
        if json
            .text(dynamic)?
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        {
            // In Azure it replaces maxConcurrentCalls and maxConcurrentSessions by numbers that begin
            // at 1 and follow the load. To run with other numbers than these would only look the same.
            return Err(error(
                dynamic,
                "is not modelled by the stand-in; to run here with maxConcurrentCalls instead, set the app \
                 setting AzureFunctionsJobHost__concurrency__dynamicConcurrencyEnabled=false",
            ));
        }
        // Without a value the SDK waits as long as for any other receive.
        let minute = Duration::from_secs(60);
        let finite = |path: &str, default| -> Result<Duration, AppError> {
            let span = json.span(path)?.unwrap_or(Some(default));
            span.ok_or_else(|| error(path, "must not be negative"))
        };
        let count = |key: &str, default| -> Result<usize, AppError> {
            let number = json.number(&format!("{bus}.{key}"))?;
            Ok(number.map_or(default, |number| number.max(1) as usize))
        };
        let lock_period = finite("singleton.listenerLockPeriod", minute)?;
        if !(Duration::from_secs(15)..=minute).contains(&lock_period) {
            return Err(error(
                "singleton.listenerLockPeriod",
                "must be from 00:00:15 to 00:01:00, the limits of a blob's lease",
            ));
        }
        let is_true = |path: &str| -> Result<bool, AppError> {
            let text = json.text(path)?;
            Ok(text.is_some_and(|text| text.eq_ignore_ascii_case("true")))
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            executable,
            arguments,
            working_directory: directory
                .map_or_else(|| app_dir.to_owned(), |directory| app_dir.join(directory)),
            initialization_timeout: finite(
                "customHandler.initializationTimeout",
                Duration::from_secs(30),
            )?,
            function_timeout: json
                .span("functionTimeout")?
                .unwrap_or(Some(Duration::from_secs(30 * 60))),
            max_concurrent_calls: count("maxConcurrentCalls", 16 * cores)?,
            max_concurrent_sessions: count("maxConcurrentSessions", 8)?,
            max_concurrent_calls_per_session: count("maxConcurrentCallsPerSession", 1)?,
            session_idle_timeout: finite(&format!("{bus}.sessionIdleTimeout"), minute)?,
            min_batch: count("minMessageBatchSize", 1)?,
            max_batch_wait: finite(&format!("{bus}.maxBatchWaitTime"), minute / 2)?,
            retry: RetryPolicy::parse(json.json).map_err(|reason| error("retry", &reason))?,
            listener_lock_period: lock_period,
            listener_lock_poll: finite("singleton.listenerLockRecoveryPollingInterval", minute)?,
            max_auto_lock_renewal: json
                .span(&format!("{bus}.maxAutoLockRenewalDuration"))?
                .unwrap_or(Some(Duration::from_secs(5 * 60))),
            prefetch_count: json.number(&format!("{bus}.prefetchCount"))?.unwrap_or(0),
            // The newer one streams; what the handler sees is the same.
            forwards_http: is_true("customHandler.enableForwardingHttpRequest")?
                || is_true("customHandler.enableProxyingHttpRequest")?,
            route_prefix: json
                .text("extensions.http.routePrefix")?
                .unwrap_or_else(|| "api".to_owned())
                .trim_matches('/')
                .to_owned(),
            has_bundle: json.at("extensionBundle.id").is_some(),
        })
    }

    /// Whether the least size of a batch can be reached.
    pub(crate) fn check_batches(&self, functions: &[FunctionConfig]) -> Result<(), AppError> {
        let too_small = |function: &&FunctionConfig| match &function.trigger {
            TriggerConfig::ServiceBus(trigger) => {
                trigger.batch.is_some_and(|max| max < self.min_batch)
            }
            TriggerConfig::Timer(_) | TriggerConfig::Http(_) => false,
        };
        match functions.iter().find(too_small) {
            Some(function) => Err(error(
                "extensions.serviceBus.minMessageBatchSize",
                &format!("is more than maxMessageBatchSize of {}", function.name),
            )),
            None => Ok(()),
        }
    }

    /// Without the extension bundle no host knows the Service Bus bindings.
    pub(crate) fn check_bundle(&self, functions: &[FunctionConfig]) -> Result<(), AppError> {
        let needs_bundle = |function: &FunctionConfig| {
            matches!(function.trigger, TriggerConfig::ServiceBus(_)) || !function.outputs.is_empty()
        };
        match functions.iter().find(|function| needs_bundle(function)) {
            Some(function) if !self.has_bundle => Err(error(
                "extensionBundle",
                &format!(
                    "is needed for the Service Bus bindings of {}",
                    function.name
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Replaces `%NAME%` by the setting; unlike in function.json an unset one is removed.
fn expand(text: &str, settings: &Settings) -> String {
    let mut expanded = String::new();
    for (index, part) in text.split('%').enumerate() {
        expanded.push_str(if index % 2 == 1 {
            settings.get(part).unwrap_or_default()
        } else {
            part
        });
    }
    expanded
}

fn set<'k>(json: &mut Value, mut path: impl Iterator<Item = &'k str>, value: &str) {
    let Some(key) = path.next() else {
        *json = Value::from(value);
        return;
    };
    if !json.is_object() {
        *json = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(members) = json {
        let name = members.keys().find(|name| name.eq_ignore_ascii_case(key));
        let name = name.cloned().unwrap_or_else(|| key.to_owned());
        set(members.entry(name).or_insert(Value::Null), path, value);
    }
}

fn error(key: &str, reason: &str) -> AppError {
    AppError::HostJson {
        key: key.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Typed access by path. Scalars may be strings, because overriding settings are.
struct Section<'a> {
    json: &'a Value,
}

impl Section<'_> {
    fn at(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(self.json, member);
        found.filter(|value| !value.is_null())
    }

    fn text(&self, path: &str) -> Result<Option<String>, AppError> {
        match self.at(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(scalar.to_string())),
            Some(_) => Err(error(path, "is not a string")),
        }
    }

    fn number(&self, path: &str) -> Result<Option<u32>, AppError> {
        let text = self.text(path)?;
        let parsed = text.map(|text| text.parse().map_err(|_| error(path, "is not a number")));
        parsed.transpose()
    }

    /// Outer `None`: absent. Inner `None`: negative, which means "infinite".
    fn span(&self, path: &str) -> Result<Option<Option<Duration>>, AppError> {
        let Some(text) = self.text(path)? else {
            return Ok(None);
        };
        let span = parse_time_span(&text).ok_or_else(|| error(path, "is not a time span"))?;
        Ok(Some(positive(span)))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, AppError> {
        match self.at(path) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                let texts = texts.collect::<Option<Vec<_>>>();
                texts.ok_or_else(|| error(path, "is not a list of strings"))
            }
            Some(_) => Err(error(path, "is not a list of strings")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::new(pairs.iter().map(owned).collect::<BTreeMap<_, _>>())
    }

    fn parse(json: &Value, settings: &Settings) -> Result<HostJson, AppError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("host.json"), json.to_string()).unwrap();
        HostJson::load(dir.path(), settings)
    }

    fn minimal() -> Value {
        json!({"version": "2.0", "customHandler": {"description": {"defaultExecutablePath": "handler"}}})
    }

    #[test]
    fn defaults_are_the_hosts() {
        let host = parse(&minimal(), &settings(&[])).unwrap();
        assert_eq!(host.executable, PathBuf::from("handler"));
        assert_eq!(host.initialization_timeout, Duration::from_secs(30));
        assert_eq!(host.function_timeout, Some(Duration::from_secs(1800)));
        assert_eq!(host.max_auto_lock_renewal, Some(Duration::from_secs(300)));
        assert_eq!(
            (host.max_concurrent_calls % 16, host.prefetch_count),
            (0, 0)
        );
        assert_eq!(
            (host.max_concurrent_sessions, host.min_batch, host.retry),
            (8, 1, None)
        );
    }

    #[test]
    fn values_are_read_and_overridden_by_app_settings() {
        let mut json = minimal();
        json["functionTimeout"] = json!("00:10:00");
        json["extensions"] = json!({"serviceBus": {"maxConcurrentCalls": 8, "maxAutoLockRenewalDuration": "-00:00:00.0010000"}});
        json["customHandler"]["description"]["arguments"] = json!(["--mode %MODE%", "%UNSET%"]);
        let settings = settings(&[
            ("MODE", "fast"),
            ("AzureFunctionsJobHost__FunctionTimeout", "00:00:07"),
            (
                "AzureFunctionsJobHost__extensions__serviceBus__prefetchCount",
                "20",
            ),
        ]);
        let host = parse(&json, &settings).unwrap();
        assert_eq!(host.function_timeout, Some(Duration::from_secs(7)));
        assert_eq!((host.max_concurrent_calls, host.prefetch_count), (8, 20));
        assert_eq!(host.max_auto_lock_renewal, None);
        assert_eq!(host.arguments, ["--mode", "fast"]);
    }

    #[test]
    fn what_keeps_the_host_from_starting_is_named() {
        let with = |key: &str, value: Value| {
            let mut json = minimal();
            json[key] = value;
            parse(&json, &settings(&[])).unwrap_err().to_string()
        };
        assert!(with("version", json!("1.0")).contains("version"));
        assert!(with("functionTimeout", json!("ten minutes")).contains("functionTimeout"));
        assert!(with("customHandler", json!({})).contains("defaultExecutablePath"));
        assert!(with("customHandler", json!({"http": {}})).contains("customHandler.http"));
        let lock = json!({"listenerLockPeriod": "00:00:05"});
        assert!(with("singleton", lock).contains("listenerLockPeriod"));
        let dynamic = json!({"dynamicConcurrencyEnabled": true});
        let refused = with("concurrency", dynamic);
        let way_out = "AzureFunctionsJobHost__concurrency__dynamicConcurrencyEnabled=false";
        assert!(refused.contains(way_out), "{refused}");
        assert!(with("retry", json!({"strategy": "often"})).contains("retry"));
    }
}
