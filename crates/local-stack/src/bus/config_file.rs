//! Reads queues from the configuration file of Microsoft's own Service Bus emulator
//! (Azure doc "Test locally by using the Azure Service Bus emulator": `Config.json`).

use serde::Deserialize;
use time::ext::NumericalStdDuration as _;

use super::config::{BrokerConfig, ConfigError, QueueConfig};
use super::iso_duration;

/// Longer times to live mean "for ever"; the service's own maximum is some 29,000 years.
const FOR_EVER_DAYS: u64 = 36_500;

impl BrokerConfig {
    /// Reads the emulator's `Config.json`: `UserConfig.Namespaces[].Queues[]`.
    ///
    /// # Errors
    /// When it has another shape, or asks for something this broker does not do: topics,
    /// forwarding, more than one namespace. The error names the entity and the setting.
    pub fn from_emulator_json(json: &str) -> Result<Self, ConfigError> {
        let file: File = serde_json::from_str(json)?;
        let mut namespaces = file.user_config.namespaces.into_iter();
        let namespace = namespaces.next().unwrap_or_default();
        if let Some(second) = namespaces.next() {
            return Err(ConfigError::Unsupported {
                what: "second namespace",
                name: second.name,
            });
        }
        if let Some(topic) = namespace.topics.into_iter().next() {
            return Err(ConfigError::Unsupported {
                what: "topic",
                name: topic.name,
            });
        }
        let queues = namespace.queues.into_iter().map(Queue::into_config);
        let config = BrokerConfig::new(queues.collect::<Result<Vec<_>, _>>()?);
        config.check()?;
        Ok(config)
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "UserConfig")]
    user_config: UserConfig,
}

#[derive(Deserialize)]
struct UserConfig {
    #[serde(rename = "Namespaces")]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Namespace {
    #[serde(default)]
    name: String,
    #[serde(default)]
    queues: Vec<Queue>,
    #[serde(default)]
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Topic {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Queue {
    name: String,
    #[serde(default)]
    properties: Properties,
}

/// Durations stay text here, so that an error can name the queue.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Properties {
    dead_lettering_on_message_expiration: bool,
    default_message_time_to_live: Option<String>,
    duplicate_detection_history_time_window: Option<String>,
    forward_dead_lettered_messages_to: Option<String>,
    forward_to: Option<String>,
    lock_duration: Option<String>,
    max_delivery_count: Option<u32>,
    requires_duplicate_detection: bool,
    requires_session: bool,
}

impl Queue {
    fn into_config(self) -> Result<QueueConfig, ConfigError> {
        let Queue { name, properties } = self;
        let mut config = QueueConfig::named(name);
        let unsupported = [
            ("ForwardTo", is_set(properties.forward_to.as_deref())),
            (
                "ForwardDeadLetteredMessagesTo",
                is_set(properties.forward_dead_lettered_messages_to.as_deref()),
            ),
        ];
        if let Some((setting, _)) = unsupported.into_iter().find(|(_, asked_for)| *asked_for) {
            return Err(config.wrong(setting, "is not supported by this broker"));
        }
        let duration = |setting: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match iso_duration::parse(&text) {
                Some(duration) => Ok(Some(duration)),
                None => Err(QueueConfig::named(&config.name).wrong(
                    setting,
                    &format!("{text:?} is not an ISO 8601 duration such as \"PT1M\""),
                )),
            },
        };
        let lock = duration("LockDuration", properties.lock_duration)?;
        let ttl = duration(
            "DefaultMessageTimeToLive",
            properties.default_message_time_to_live,
        )?;
        let window = duration(
            "DuplicateDetectionHistoryTimeWindow",
            properties.duplicate_detection_history_time_window,
        )?;
        config.lock_duration = lock.unwrap_or(config.lock_duration);
        config.max_delivery_count = properties
            .max_delivery_count
            .unwrap_or(config.max_delivery_count);
        config.default_ttl = ttl.filter(|ttl| ttl.as_secs() / 86_400 < FOR_EVER_DAYS);
        config.duplicate_detection_window = properties
            .requires_duplicate_detection
            // The service's default window.
            .then(|| window.unwrap_or(10.std_minutes()));
        config.requires_session = properties.requires_session;
        config.dead_letter_on_expiration = properties.dead_lettering_on_message_expiration;
        Ok(config)
    }
}

fn is_set(name: Option<&str>) -> bool {
    name.is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The queue of the emulator's own sample, and one with other settings.
    const SAMPLE: &str = r#"{
      "UserConfig": {
        "Namespaces": [{
          "Name": "sbemulatorns",
          "Queues": [
            { "Name": "queue.1", "Properties": {
                "DeadLetteringOnMessageExpiration": false,
                "DefaultMessageTimeToLive": "PT1H",
                "DuplicateDetectionHistoryTimeWindow": "PT20S",
                "ForwardDeadLetteredMessagesTo": "",
                "ForwardTo": "",
                "LockDuration": "PT1M",
                "MaxDeliveryCount": 3,
                "RequiresDuplicateDetection": false,
                "RequiresSession": false } },
            { "Name": "queue.2", "Properties": {
                "DeadLetteringOnMessageExpiration": true,
                "DefaultMessageTimeToLive": "P10675199DT2H48M5.4775807S",
                "LockDuration": "PT30S",
                "RequiresSession": true,
                "RequiresDuplicateDetection": true,
                "DuplicateDetectionHistoryTimeWindow": "PT20S" } },
            { "Name": "queue.3" }
          ],
          "Topics": []
        }],
        "Logging": { "Type": "File" }
      }
    }"#;

    #[test]
    fn the_emulators_sample_is_understood() {
        let config = BrokerConfig::from_emulator_json(SAMPLE).unwrap();
        let first = QueueConfig {
            default_ttl: Some(Duration::from_secs(3_600)),
            max_delivery_count: 3,
            ..QueueConfig::named("queue.1")
        };
        let second = QueueConfig {
            lock_duration: Duration::from_secs(30),
            duplicate_detection_window: Some(Duration::from_secs(20)),
            requires_session: true,
            dead_letter_on_expiration: true,
            ..QueueConfig::named("queue.2")
        };
        assert_eq!(
            config.queues,
            [first, second, QueueConfig::named("queue.3")]
        );
    }

    fn refusal(from: &str, to: &str) -> String {
        let json = SAMPLE.replacen(from, to, 1);
        assert_ne!(json, SAMPLE, "{from}");
        BrokerConfig::from_emulator_json(&json)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        assert_eq!(
            refusal(r#""ForwardTo": """#, r#""ForwardTo": "queue.2""#),
            r#"queue "queue.1": ForwardTo is not supported by this broker"#,
        );
        assert_eq!(
            refusal(
                r#""Topics": []"#,
                r#""Topics": [{ "Name": "topic.1", "Properties": {} }]"#
            ),
            r#"topic "topic.1": not supported by this broker, which serves queues only"#,
        );
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        assert_eq!(
            refusal(r#""PT1M""#, r#""one minute""#),
            r#"queue "queue.1": LockDuration "one minute" is not an ISO 8601 duration such as "PT1M""#,
        );
        assert_eq!(
            refusal(r#""PT1M""#, r#""PT10M""#),
            r#"queue "queue.1": LockDuration must be above zero and at most 5 minutes"#,
        );
        assert!(refusal("MaxDeliveryCount", "MaxDeliveryCuont").contains("MaxDeliveryCuont"));
        assert_eq!(
            refusal(r#""queue.2""#, r#""QUEUE.1""#),
            r#"queue "QUEUE.1": Name is the name of two queues"#,
        );
    }
}
