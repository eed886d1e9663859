//! Reads queues and topics from the configuration file of Microsoft's own Service Bus emulator
//! (Azure doc "Test locally by using the Azure Service Bus emulator": `Config.json`).

mod rules;
mod topics;

use std::time::Duration;

use serde::Deserialize;
use time::ext::NumericalStdDuration as _;

use super::config::{BrokerConfig, ConfigError, QueueConfig};
use super::iso_duration;

/// Longer times to live mean "for ever"; the service's own maximum is some 29,000 years.
const FOR_EVER_DAYS: u64 = 36_500;

impl BrokerConfig {
    /// Reads the emulator's `Config.json`: `UserConfig.Namespaces[].Queues[]` and `.Topics[]`.
    ///
    /// # Errors
    /// When it has another shape, or asks for something this broker does not do: more than one
    /// namespace. The error names the entity and the setting.
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
        let security = namespace
            .shared_access_authorization_rules
            .map(|rules| rules::security(rules, &namespace.queues, &namespace.topics))
            .transpose()?;
        let queues = namespace.queues.into_iter().map(Queue::into_config);
        let mut config = BrokerConfig::new(queues.collect::<Result<Vec<_>, _>>()?);
        let topics = namespace.topics.into_iter().map(topics::Topic::into_config);
        config.topics = topics.collect::<Result<Vec<_>, _>>()?;
        config.security = security;
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
    /// Not in Microsoft's emulator, which trusts everybody. Present, even empty, it makes the
    /// broker verify tokens.
    shared_access_authorization_rules: Option<Vec<rules::Rule>>,
    #[serde(default)]
    topics: Vec<topics::Topic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Queue {
    name: String,
    #[serde(default)]
    properties: Properties,
    /// Keys of this queue alone; for these the namespace must have the member too.
    #[serde(default)]
    shared_access_authorization_rules: Vec<rules::Rule>,
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
    /// Not in Microsoft's emulator; named as in Azure.
    max_size_in_megabytes: Option<f64>,
    requires_duplicate_detection: bool,
    requires_session: bool,
}

impl Queue {
    fn into_config(self) -> Result<QueueConfig, ConfigError> {
        let Queue {
            name, properties, ..
        } = self;
        let mut config = QueueConfig::named(name);
        let wrong = |setting: &str, problem: &str| config.wrong(setting, problem);
        let lock = duration("LockDuration", properties.lock_duration, &wrong)?;
        let limits = Limits {
            time_to_live: properties.default_message_time_to_live,
            is_detecting: properties.requires_duplicate_detection,
            window: properties.duplicate_detection_history_time_window,
            megabytes: properties.max_size_in_megabytes,
        };
        let limits = limits.read(&wrong)?;
        config.lock_duration = lock.unwrap_or(config.lock_duration);
        config.max_delivery_count = properties
            .max_delivery_count
            .unwrap_or(config.max_delivery_count);
        config.default_ttl = limits.default_ttl;
        config.duplicate_detection_window = limits.duplicate_detection_window;
        config.max_size = limits.max_size;
        config.requires_session = properties.requires_session;
        config.forward_to = named(properties.forward_to);
        config.forward_dead_letters_to = named(properties.forward_dead_lettered_messages_to);
        config.dead_letter_on_expiration = properties.dead_lettering_on_message_expiration;
        Ok(config)
    }
}

/// The emulator's file says "no destination" with an empty name.
fn named(name: Option<String>) -> Option<String> {
    name.filter(|name| !name.is_empty())
}

/// An error about a setting of the entity at hand: the setting, and what is wrong with it.
type Wrong<'w> = &'w dyn Fn(&str, &str) -> ConfigError;

fn duration(
    setting: &str,
    text: Option<String>,
    wrong: Wrong<'_>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = text else {
        return Ok(None);
    };
    match iso_duration::parse(&text) {
        Some(duration) => Ok(Some(duration)),
        None => {
            let problem = format!("{text:?} is not an ISO 8601 duration such as \"PT1M\"");
            Err(wrong(setting, &problem))
        }
    }
}

/// What the file says of queues and of topics alike.
struct Limits {
    time_to_live: Option<String>,
    is_detecting: bool,
    window: Option<String>,
    megabytes: Option<f64>,
}

struct ReadLimits {
    default_ttl: Option<Duration>,
    duplicate_detection_window: Option<Duration>,
    max_size: Option<u64>,
}

impl Limits {
    fn read(self, wrong: Wrong<'_>) -> Result<ReadLimits, ConfigError> {
        let ttl = duration("DefaultMessageTimeToLive", self.time_to_live, wrong)?;
        let setting = "DuplicateDetectionHistoryTimeWindow";
        let window = duration(setting, self.window, wrong)?;
        let max_size = match self.megabytes {
            // Whole numbers in Azure; tests do with less.
            Some(megabytes) if megabytes > 0.0 => Some((megabytes * 1024.0 * 1024.0) as u64),
            Some(_) => return Err(wrong("MaxSizeInMegabytes", "must be above zero")),
            None => None,
        };
        Ok(ReadLimits {
            default_ttl: ttl.filter(|ttl| ttl.as_secs() / 86_400 < FOR_EVER_DAYS),
            // The service's default window.
            duplicate_detection_window: self
                .is_detecting
                .then(|| window.unwrap_or(10.std_minutes())),
            max_size,
        })
    }
}

#[cfg(test)]
mod tests {
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
            refusal(r#""ForwardTo": """#, r#""ForwardTo": "queue.9""#),
            r#"queue "queue.1": ForwardTo "queue.9" is neither a queue nor a topic of this broker"#,
        );
        assert_eq!(
            refusal(
                r#""ForwardDeadLetteredMessagesTo": """#,
                r#""ForwardDeadLetteredMessagesTo": "Queue.1""#
            ),
            r#"queue "queue.1": ForwardDeadLetteredMessagesTo leads to the entity itself"#,
        );
        let json = SAMPLE.replacen(r#""ForwardTo": """#, r#""ForwardTo": "QUEUE.2""#, 1);
        let config = BrokerConfig::from_emulator_json(&json).unwrap();
        assert_eq!(config.queues[0].forward_to.as_deref(), Some("QUEUE.2"));
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
