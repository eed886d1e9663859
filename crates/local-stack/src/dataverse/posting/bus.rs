//! Posting over AMQP, with this workspace's Service Bus client.
//!
//! The real plug-in posts over HTTPS ("Send Message", Azure Service Bus REST); the message that
//! arrives is the same.

use std::error::Error;

use async_trait::async_trait;
use service_bus::{Client, OutgoingMessage};

use super::{NotificationSender, OutboundNotification, PostFailed};

/// Sends notifications to one queue or topic.
#[derive(Debug, Clone)]
pub struct BusSender {
    client: Client,
    entity: String,
}

impl BusSender {
    /// A sender to `entity` over `client`.
    pub fn new(client: Client, entity: impl Into<String>) -> Self {
        Self {
            client,
            entity: entity.into(),
        }
    }
}

#[async_trait]
impl NotificationSender for BusSender {
    async fn post(&self, notification: OutboundNotification) -> Result<(), PostFailed> {
        let mut message = OutgoingMessage::new(notification.body);
        message.message_id = Some(notification.message_id);
        message.correlation_id = Some(notification.correlation_id);
        message.content_type = Some("application/json".to_owned());
        for (name, value) in notification.properties {
            message.properties.insert(name, value.as_str().into());
        }
        let sent = self.client.send(&self.entity, message).await;
        sent.map_err(|error| PostFailed(chain(&error)))
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
    let causes = causes.map(|cause| format!(": {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect()
}
