//! The settings of Service Bus: the namespace, and where notifications wait in it.

use std::sync::Arc;

use app_settings::Lookup;
use service_bus::{Client, ClientOptions, Credential, Endpoint};

use super::SettingsError;
use super::table::{
    OUTBOUND_QUEUE, OUTBOUND_SUBSCRIPTION, OUTBOUND_TOPIC, ServiceBus,
    ServiceBus__fullyQualifiedNamespace,
};
use crate::credentials::{BusTokens, EntraTokens};

/// Where notifications wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundSetting {
    /// A queue, for one target.
    Queue(String),
    /// A topic, for several.
    Topic {
        /// Its name.
        topic: String,
        /// The subscription of this app's target; inbound-fn has none.
        subscription: Option<String>,
    },
}

impl OutboundSetting {
    /// Reads it.
    ///
    /// # Errors
    /// [`SettingsError::Outbound`] when both forms are given, or none.
    pub fn read(get: Lookup<'_>) -> Result<Self, SettingsError> {
        let (topic, subscription) = (OUTBOUND_TOPIC.get(get), OUTBOUND_SUBSCRIPTION.get(get));
        let problem = match (OUTBOUND_QUEUE.get(get), topic, subscription) {
            (Some(queue), None, None) => return Ok(Self::Queue(queue)),
            (None, Some(topic), subscription) => {
                return Ok(Self::Topic {
                    topic,
                    subscription,
                });
            }
            (None, None, None) => "none of them is there",
            (Some(_), Some(_), _) => "a queue and a topic are both given",
            (Some(_), None, Some(_)) => "a queue has no subscriptions",
            (None, None, Some(_)) => "a subscription is given without its topic",
        };
        Err(SettingsError::Outbound { problem })
    }

    /// Where new notifications are posted.
    #[must_use]
    pub fn entity(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Topic { topic: name, .. } => name,
        }
    }
}

/// How the namespace is reached.
#[derive(Clone)]
pub enum BusSetting {
    /// A connection string, which may hold a key. For local runs.
    ConnectionString(String),
    /// `contoso.servicebus.windows.net`, with the app's identity.
    Namespace(String),
}

impl std::fmt::Debug for BusSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConnectionString(_) => f.write_str("ConnectionString(..)"),
            Self::Namespace(name) => f.debug_tuple("Namespace").field(name).finish(),
        }
    }
}

impl BusSetting {
    /// Reads it.
    ///
    /// # Errors
    /// When neither form is there.
    pub fn read(get: Lookup<'_>) -> Result<Self, SettingsError> {
        // The same two names, and the same precedence, as the host's own trigger connection "ServiceBus".
        if let Some(text) = ServiceBus.get(get) {
            return Ok(Self::ConnectionString(text));
        }
        let namespace = ServiceBus__fullyQualifiedNamespace.required(get)?;
        Ok(Self::Namespace(namespace))
    }

    /// The client of that namespace.
    ///
    /// # Errors
    /// When the connection string is malformed.
    pub fn client(
        &self,
        tokens: &Arc<EntraTokens>,
        options: ClientOptions,
    ) -> Result<Client, SettingsError> {
        match self {
            Self::ConnectionString(text) => Client::from_connection_string(text, options)
                .map_err(|e| ServiceBus.invalid(e.to_string()).into()),
            Self::Namespace(host) => {
                let endpoint = Endpoint {
                    host: host.clone(),
                    port: 5671,
                    tls: true,
                };
                let tokens = Arc::new(BusTokens(Arc::clone(tokens)));
                Ok(Client::new(endpoint, Credential::Token(tokens), options))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_wait_on_a_queue_or_on_a_topics_subscription() {
        let read = |names: &[&str]| {
            OutboundSetting::read(&|name| names.contains(&name).then(|| name.to_lowercase()))
        };
        let topic = |subscription: Option<&str>| OutboundSetting::Topic {
            topic: "outbound_topic".into(),
            subscription: subscription.map(Into::into),
        };
        let queue = OutboundSetting::Queue("outbound_queue".into());
        assert_eq!(read(&["OUTBOUND_QUEUE"]).unwrap(), queue);
        assert_eq!(read(&["OUTBOUND_TOPIC"]).unwrap(), topic(None));
        let both = ["OUTBOUND_TOPIC", "OUTBOUND_SUBSCRIPTION"];
        assert_eq!(read(&both).unwrap(), topic(Some("outbound_subscription")));
        for (names, problem) in [
            (&[][..], "none of them is there"),
            (&["OUTBOUND_QUEUE", "OUTBOUND_TOPIC"], "both given"),
            (
                &["OUTBOUND_QUEUE", "OUTBOUND_SUBSCRIPTION"],
                "no subscriptions",
            ),
            (&["OUTBOUND_SUBSCRIPTION"], "without its topic"),
        ] {
            let text = read(names).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
            let examples = ["OUTBOUND_QUEUE=outbound", "OUTBOUND_TOPIC=outbound with"];
            assert!(examples.iter().all(|it| text.contains(it)), "{text}");
        }
    }
}
