//! Shared access keys in a configuration file, named as in Azure's resource templates.

use serde::Deserialize;

use super::Queue;
use super::topics::Topic;
use crate::bus::config::{ConfigError, QueueConfig};
use crate::bus::security::{AuthorizationRule, Rights, Security};
use crate::bus::topic::TopicConfig;

/// `{"Name": "sender", "PrimaryKey": "…", "Rights": ["Send"]}`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Rule {
    name: String,
    primary_key: String,
    secondary_key: Option<String>,
    rights: Vec<Right>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Right {
    Send,
    Listen,
    Manage,
}

/// The keys of the namespace, its queues and its topics, beside the root keys that every broker has.
pub(super) fn security(
    namespace: Vec<Rule>,
    queues: &[Queue],
    topics: &[Topic],
) -> Result<Security, ConfigError> {
    let mut security = Security::default();
    for rule in namespace {
        security.rules.push(rule.of(None));
    }
    for queue in queues {
        let wrong = |problem: &str| QueueConfig::named(&queue.name).wrong("Rights", problem);
        for rule in &queue.shared_access_authorization_rules {
            let rule = rule.of_entity(&queue.name).map_err(|e| wrong(&e))?;
            security.rules.push(rule);
        }
    }
    for topic in topics {
        let wrong = |problem: &str| TopicConfig::named(&topic.name).wrong("Rights", problem);
        for rule in &topic.shared_access_authorization_rules {
            let rule = rule.of_entity(&topic.name).map_err(|e| wrong(&e))?;
            security.rules.push(rule);
        }
    }
    Ok(security)
}

impl Rule {
    fn of_entity(&self, entity: &str) -> Result<AuthorizationRule, String> {
        if self.rights.is_empty() {
            return Err(format!(
                "{:?} names none of Send, Listen, Manage",
                self.name
            ));
        }
        Ok(self.clone().of(Some(entity.to_owned())))
    }

    fn of(self, entity: Option<String>) -> AuthorizationRule {
        let has = |right| self.rights.contains(&right) || self.rights.contains(&Right::Manage);
        AuthorizationRule {
            rights: Rights {
                send: has(Right::Send),
                listen: has(Right::Listen),
            },
            name: self.name,
            keys: std::iter::once(self.primary_key)
                .chain(self.secondary_key)
                .collect(),
            entity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BrokerConfig;

    fn read(rules: &str) -> Result<Option<Security>, ConfigError> {
        let json = format!(
            r#"{{"UserConfig": {{"Namespaces": [{{{rules} "Queues": [{{
                "Name": "q", "SharedAccessAuthorizationRules": [
                    {{"Name": "s", "PrimaryKey": "k", "Rights": ["Send"]}}]}}]}}]}}}}"#
        );
        BrokerConfig::from_emulator_json(&json).map(|config| config.security)
    }

    #[test]
    fn keys_come_with_the_rights_and_the_entity_they_have_in_the_file() {
        let rules = r#""SharedAccessAuthorizationRules": [
            {"Name": "m", "PrimaryKey": "a", "SecondaryKey": "b", "Rights": ["Manage"]}],"#;
        let security = read(rules).unwrap().unwrap();
        let rules: Vec<_> = security
            .rules
            .iter()
            .map(|rule| (rule.name.as_str(), rule.rights, rule.entity.as_deref()))
            .collect();
        assert_eq!(rules[0].0, "RootManageSharedAccessKey");
        assert_eq!(
            rules[1..],
            [("m", Rights::ALL, None), ("s", Rights::SEND, Some("q"))]
        );
        assert_eq!(security.rules[1].keys, ["a", "b"]);
    }

    #[test]
    fn without_keys_of_the_namespace_tokens_are_not_verified() {
        assert!(read("").unwrap().is_none());
    }

    #[test]
    fn an_unknown_right_is_refused() {
        let rules = r#""SharedAccessAuthorizationRules": [
            {"Name": "m", "PrimaryKey": "a", "Rights": ["Sned"]}],"#;
        assert!(read(rules).unwrap_err().to_string().contains("Sned"));
    }
}
