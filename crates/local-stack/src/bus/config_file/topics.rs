//! The topics of the emulator's `Config.json`: `Topics[].Subscriptions[].Rules[]`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_amqp::Value;
use time::ext::NumericalStdDuration as _;

use super::{Properties, Queue, limited, read_duration};
use crate::bus::config::ConfigError;
use crate::bus::filter::{CorrelationFilter, Rule as ParsedRule, RuleError};
use crate::bus::topic::{SubscriptionConfig, TopicConfig, relabelled, subscription_path, wrong};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Topic {
    name: String,
    #[serde(default)]
    properties: TopicProperties,
    #[serde(default)]
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct TopicProperties {
    default_message_time_to_live: Option<String>,
    duplicate_detection_history_time_window: Option<String>,
    requires_duplicate_detection: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Subscription {
    name: String,
    #[serde(default)]
    properties: SubscriptionProperties,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// A queue's properties and one more; wrong names are found among the queue's.
#[derive(Deserialize, Default)]
struct SubscriptionProperties {
    /// As on the service, true unless it is switched off.
    #[serde(rename = "DeadLetteringOnFilterEvaluationExceptions")]
    dead_lettering_on_filter_evaluation_exceptions: Option<bool>,
    #[serde(flatten)]
    queue: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    name: String,
    properties: RuleProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RuleProperties {
    filter_type: Option<String>,
    correlation_filter: Option<Correlation>,
    sql_filter: Option<SqlFilter>,
    action: Option<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqlFilter {
    sql_expression: String,
    /// Not in the emulator's file: values for `@name` in the expression.
    #[serde(default)]
    parameters: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Action {
    sql_expression: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Correlation {
    content_type: Option<String>,
    correlation_id: Option<String>,
    label: Option<String>,
    message_id: Option<String>,
    reply_to: Option<String>,
    reply_to_session_id: Option<String>,
    session_id: Option<String>,
    to: Option<String>,
    properties: BTreeMap<String, serde_json::Value>,
}

impl Topic {
    pub(super) fn into_config(self) -> Result<TopicConfig, ConfigError> {
        let Topic {
            name,
            properties,
            subscriptions,
        } = self;
        let mut config = TopicConfig::named(name);
        let duration = |setting: &str, text| {
            read_duration(text).map_err(|problem| config.wrong(setting, &problem))
        };
        let ttl = duration(
            "DefaultMessageTimeToLive",
            properties.default_message_time_to_live,
        )?;
        let window = duration(
            "DuplicateDetectionHistoryTimeWindow",
            properties.duplicate_detection_history_time_window,
        )?;
        config.default_ttl = limited(ttl);
        config.duplicate_detection_window = properties
            .requires_duplicate_detection
            // The service's default window.
            .then(|| window.unwrap_or(10.std_minutes()));
        let subscriptions = subscriptions
            .into_iter()
            .map(|subscription| subscription.into_config(&config.name));
        config.subscriptions = subscriptions.collect::<Result<_, _>>()?;
        Ok(config)
    }
}

impl Subscription {
    fn into_config(self, topic: &str) -> Result<SubscriptionConfig, ConfigError> {
        let path = subscription_path(topic, &self.name);
        let mut config = SubscriptionConfig::named(&self.name);
        let properties: Properties =
            serde_json::from_value(serde_json::Value::Object(self.properties.queue))
                .map_err(|error| wrong("subscription", &path, "Properties", error.to_string()))?;
        let queue = Queue {
            name: self.name,
            properties,
        };
        config.queue = queue
            .into_config()
            .map_err(|error| relabelled(error, "subscription", &path))?;
        config.dead_letter_on_filter_errors = self
            .properties
            .dead_lettering_on_filter_evaluation_exceptions
            .unwrap_or(config.dead_letter_on_filter_errors);
        if !self.rules.is_empty() {
            // They take the place of the default rule.
            let rules = self.rules.into_iter().map(|rule| rule.parse(&path));
            config.rules = rules.collect::<Result<_, _>>()?;
        }
        Ok(config)
    }
}

impl Rule {
    fn parse(self, subscription: &str) -> Result<ParsedRule, ConfigError> {
        let path = format!("{subscription}/Rules/{}", self.name);
        let RuleProperties {
            filter_type,
            correlation_filter,
            sql_filter,
            action,
        } = self.properties;
        let kind = filter_type.as_deref().unwrap_or("Sql").to_lowercase();
        let rule = match (kind.as_str(), sql_filter, correlation_filter) {
            ("sql", Some(filter), None) => {
                let setting = "SqlFilter.Parameters";
                let parameters = amqp(filter.parameters, &path, setting)?;
                ParsedRule::sql_with(self.name, &filter.sql_expression, &parameters)
                    .map_err(|error| refused(&error, &path))?
            }
            ("correlation", None, Some(filter)) => {
                let setting = "CorrelationFilter.Properties";
                let properties = amqp(filter.properties, &path, setting)?;
                let filter = CorrelationFilter {
                    content_type: filter.content_type,
                    correlation_id: filter.correlation_id,
                    label: filter.label,
                    message_id: filter.message_id,
                    reply_to: filter.reply_to,
                    reply_to_session_id: filter.reply_to_session_id,
                    session_id: filter.session_id,
                    to: filter.to,
                    properties,
                };
                ParsedRule::correlation(self.name, filter)
                    .map_err(|error| refused(&error, &path))?
            }
            _ => {
                let problem = "must be \"Sql\" beside a SqlFilter or \"Correlation\" beside a \
                               CorrelationFilter";
                return Err(wrong("rule", &path, "FilterType", problem));
            }
        };
        match action {
            Some(action) => rule
                .with_action(&action.sql_expression)
                .map_err(|error| refused(&error, &path)),
            None => Ok(rule),
        }
    }
}

/// The error names the setting in its first word.
fn refused(error: &RuleError, path: &str) -> ConfigError {
    let text = error.to_string();
    let (setting, problem) = text.split_once(' ').unwrap_or(("Properties", &text));
    wrong("rule", path, setting, problem)
}

/// JSON values as the properties of messages have them: whole numbers as `long`.
fn amqp(
    values: BTreeMap<String, serde_json::Value>,
    path: &str,
    setting: &str,
) -> Result<BTreeMap<String, Value>, ConfigError> {
    let convert = |(name, value): (String, serde_json::Value)| {
        let value = match &value {
            serde_json::Value::String(text) => Value::String(text.clone()),
            serde_json::Value::Bool(flag) => Value::Bool(*flag),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Long(whole),
                (None, Some(number)) => Value::Double(number.into()),
                (None, None) => Value::Null,
            },
            _ => {
                let problem = format!("has {name:?}, which is neither text, number nor boolean");
                return Err(wrong("rule", path, setting, problem));
            }
        };
        Ok((name, value))
    };
    values.into_iter().map(convert).collect()
}
