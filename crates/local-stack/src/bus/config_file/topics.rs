//! The topics of the emulator's `Config.json`: `Topics[].Subscriptions[].Rules[]`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_amqp::Value;

use super::{Limits, Properties, Queue};
use crate::bus::config::ConfigError;
use crate::bus::filter::{CorrelationFilter, Rule as ParsedRule, RuleError};
use crate::bus::topic::{SubscriptionConfig, TopicConfig, relabelled, subscription_path, wrong};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Topic {
    pub(super) name: String,
    /// Not in Microsoft's emulator; good for its subscriptions too.
    #[serde(default)]
    pub(super) shared_access_authorization_rules: Vec<super::rules::Rule>,
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
    /// Not in Microsoft's emulator; named as in Azure.
    max_size_in_megabytes: Option<f64>,
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
            ..
        } = self;
        let mut config = TopicConfig::named(name);
        let limits = Limits {
            time_to_live: properties.default_message_time_to_live,
            is_detecting: properties.requires_duplicate_detection,
            window: properties.duplicate_detection_history_time_window,
            megabytes: properties.max_size_in_megabytes,
        };
        let limits = limits.read(&|setting, problem| config.wrong(setting, problem))?;
        config.default_ttl = limits.default_ttl;
        config.duplicate_detection_window = limits.duplicate_detection_window;
        config.max_size = limits.max_size;
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
            // A subscription has no keys of its own; those of its topic count.
            shared_access_authorization_rules: Vec::new(),
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

#[cfg(test)]
mod tests {
    use time::ext::NumericalStdDuration as _;

    use super::*;
    use crate::bus::config::BrokerConfig;

    /// The topic of the emulator's own sample, shortened, and what else a file may ask for.
    const SAMPLE: &str = r#"{
      "UserConfig": { "Namespaces": [{ "Name": "sbemulatorns", "Queues": [{ "Name": "all" }],
        "Topics": [{
          "Name": "topic.1",
          "Properties": {
            "DefaultMessageTimeToLive": "PT1H",
            "DuplicateDetectionHistoryTimeWindow": "PT20S",
            "MaxSizeInMegabytes": 1,
            "RequiresDuplicateDetection": true },
          "Subscriptions": [
            { "Name": "subscription.1",
              "Properties": {
                "DeadLetteringOnMessageExpiration": false,
                "DefaultMessageTimeToLive": "PT1H",
                "LockDuration": "PT1M",
                "MaxDeliveryCount": 3,
                "ForwardDeadLetteredMessagesTo": "",
                "ForwardTo": "",
                "RequiresSession": true },
              "Rules": [
                { "Name": "app-prop-filter-1", "Properties": {
                    "FilterType": "Correlation",
                    "CorrelationFilter": {
                      "ContentType": "application/text", "CorrelationId": "id1",
                      "Label": "subject1", "MessageId": "msgid1", "ReplyTo": "someQueue",
                      "ReplyToSessionId": "sessionId", "SessionId": "session1", "To": "xyz",
                      "Properties": { "prop3": "value3" } } } },
                { "Name": "sql-1", "Properties": {
                    "FilterType": "Sql",
                    "SqlFilter": { "SqlExpression": "user.prop = @p", "Parameters": { "@p": 1 } },
                    "Action": { "SqlExpression": "SET user.other = 2" } } } ] },
            { "Name": "subscription.2",
              "Properties": {
                "ForwardTo": "all", "DeadLetteringOnFilterEvaluationExceptions": false } }
          ] }]
      }], "Logging": { "Type": "File" } }
    }"#;

    fn topic() -> TopicConfig {
        let mut config = BrokerConfig::from_emulator_json(SAMPLE).unwrap();
        config.topics.remove(0)
    }

    #[test]
    fn the_emulators_sample_is_understood() {
        let topic = topic();
        assert_eq!(topic.name, "topic.1");
        assert_eq!(topic.default_ttl, Some(3_600.std_seconds()));
        assert_eq!(topic.duplicate_detection_window, Some(20.std_seconds()));
        let [first, second] = &topic.subscriptions[..] else {
            panic!("{topic:?}")
        };
        assert_eq!(topic.max_size, Some(1024 * 1024));
        assert_eq!(first.queue.max_delivery_count, 3);
        assert!(first.queue.requires_session);
        assert!(!second.queue.requires_session);
        assert!(first.dead_letter_on_filter_errors);
        let names: Vec<_> = first.rules.iter().map(ParsedRule::name).collect();
        assert_eq!(names, ["app-prop-filter-1", "sql-1"]);
        assert_eq!(second.queue.forward_to.as_deref(), Some("all"));
        assert!(!second.dead_letter_on_filter_errors);
        assert_eq!(second.rules, [ParsedRule::select_all()]);
    }

    #[test]
    fn a_wrong_setting_is_refused_with_its_entity_and_name() {
        for (from, to, error) in [
            (
                "user.prop = @p",
                "user.prop == 1",
                r#"rule "topic.1/Subscriptions/subscription.1/Rules/sql-1": SqlFilter expects a value at character 12 of: user.prop == 1"#,
            ),
            (
                "SET user.other = 2",
                "user.other = 2",
                r#"rule "topic.1/Subscriptions/subscription.1/Rules/sql-1": Action expects SET or REMOVE at character 1 of: user.other = 2"#,
            ),
            (
                r#""FilterType": "Sql""#,
                r#""FilterType": "Correlation""#,
                r#"rule "topic.1/Subscriptions/subscription.1/Rules/sql-1": FilterType must be "Sql" beside a SqlFilter or "Correlation" beside a CorrelationFilter"#,
            ),
            (
                r#""ForwardTo": "all""#,
                r#""ForwardTo": "none""#,
                r#"subscription "topic.1/Subscriptions/subscription.2": ForwardTo "none" is neither a queue nor a topic of this broker"#,
            ),
            (
                r#""PT1M""#,
                r#""PT9M""#,
                r#"subscription "topic.1/Subscriptions/subscription.1": LockDuration must be above zero and at most 5 minutes"#,
            ),
            (
                r#""PT20S""#,
                r#""20 s""#,
                r#"topic "topic.1": DuplicateDetectionHistoryTimeWindow "20 s" is not an ISO 8601 duration such as "PT1M""#,
            ),
            (
                r#""Name": "subscription.2""#,
                r#""Name": "SUBSCRIPTION.1""#,
                r#"subscription "topic.1/Subscriptions/SUBSCRIPTION.1": Name is the name of two subscriptions of the topic"#,
            ),
            (
                r#""Name": "all""#,
                r#""Name": "TOPIC.1""#,
                r#"topic "topic.1": Name is the name of two queues or topics"#,
            ),
            (
                r#""Name": "sql-1""#,
                r#""Name": "App-Prop-Filter-1""#,
                r#"rule "topic.1/Subscriptions/subscription.1/Rules/App-Prop-Filter-1": Name is the name of two rules of the subscription"#,
            ),
        ] {
            let json = SAMPLE.replacen(from, to, 1);
            assert_ne!(json, SAMPLE, "{from}");
            let refusal = BrokerConfig::from_emulator_json(&json).unwrap_err();
            assert_eq!(refusal.to_string(), error);
        }
        let json = SAMPLE.replacen("MaxDeliveryCount", "MaxDeliveryCuont", 1);
        let refusal = BrokerConfig::from_emulator_json(&json).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("subscription.1"), "{refusal}");
        assert!(refusal.contains("MaxDeliveryCuont"), "{refusal}");
    }
}
