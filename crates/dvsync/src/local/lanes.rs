//! The targets of a run, each with all that is its own.

use local_stack::bus::MessageView;
use local_stack::stack::{SUBSCRIPTION, Stack};
use local_stack::target::Target;
use serde_json::Value;
use sync_core::config::SyncConfig;
use sync_core::topic::TARGET_SYSTEM;

/// One target.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    /// Its sync file.
    pub(crate) config: &'a SyncConfig,
    /// The system.
    pub(crate) target: &'a Target,
    /// Its subscription by path, where there are several targets.
    subscription: Option<&'a str>,
}

/// All of a run; `configs` in the order of the stack's targets.
pub(crate) fn lanes<'a>(stack: &'a Stack, configs: &'a [SyncConfig]) -> Vec<Lane<'a>> {
    let further = stack.further_targets.iter();
    let further = further.map(|further| further.subscription.as_str());
    let subscriptions = std::iter::once(SUBSCRIPTION).chain(further);
    let several = configs.len() > 1;
    let parts = configs.iter().zip(stack.targets()).zip(subscriptions);
    let lane = |((config, target), subscription)| Lane {
        config,
        target,
        subscription: several.then_some(subscription),
    };
    parts.map(lane).collect()
}

impl Lane<'_> {
    /// Whether a message that is in `entity` is on its way to this target, or from it.
    pub(crate) fn owns(&self, entity: &str, message: &MessageView) -> bool {
        let Some(subscription) = self.subscription else {
            return true;
        };
        if entity.contains("/Subscriptions/") {
            return entity == subscription;
        }
        let own = |name: &str| name == self.config.target_system;
        if let Some(name) = message.properties.get(TARGET_SYSTEM) {
            return name.as_str().is_some_and(own);
        }
        // An acknowledgement says whose it is; a new notification, whether it waits on the topic or is
        // only scheduled there, is everybody's.
        let body: Option<Value> = serde_json::from_slice(&message.body).ok();
        let body = body.unwrap_or_default();
        let target = body.get("targetSystem").and_then(Value::as_str);
        target.is_none_or(own)
    }
}
