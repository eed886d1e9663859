//! Builds a broker's entities: queues, topics and subscriptions, and the routes between them.

use std::collections::HashMap;
use std::sync::Arc;

use super::entity::{Clock, Entity, Kind, Rules};
use super::router::{Router, Routes};
use crate::bus::config::QueueConfig;
use crate::bus::durable::{Data, DataError};
use crate::bus::filter::Rule;
use crate::bus::queue::{Queue, SubQueue};
use crate::bus::topic::{SubscriptionConfig, TopicConfig, subscription_path};

/// The entities of a namespace, ready for use, with what they held before if there is data of
/// theirs. The configuration has been checked.
///
/// # Errors
/// When the data are of entities of other kinds.
pub(super) fn build(
    queues: Vec<QueueConfig>,
    topics: Vec<TopicConfig>,
    clock: &Clock,
    data: Option<Data>,
) -> Result<Arc<Router>, DataError> {
    let mut builder = Builder {
        router: Arc::new(Router::default()),
        clock,
        data,
        entities: HashMap::new(),
    };
    for queue in queues {
        let routes = forwarding(&queue);
        builder.add(queue.name.clone(), Queue::new(queue), Kind::Queue, routes)?;
    }
    for topic in topics {
        let pass = Queue::of_topic(topic.as_queue());
        let mut routes = Routes::default();
        for subscription in topic.subscriptions {
            let SubscriptionConfig {
                mut queue,
                dead_letter_on_filter_errors,
                rules,
            } = subscription;
            let path = subscription_path(&topic.name, &queue.name);
            routes.ready.push(path.to_lowercase());
            queue.name.clone_from(&path);
            let now = builder.rules_of(&path, &rules);
            let rules = Rules::new(now, rules, dead_letter_on_filter_errors);
            let onward = forwarding(&queue);
            let kind = Kind::Subscription(rules);
            builder.add(path, Queue::new(queue), kind, onward)?;
        }
        builder.add(topic.name, pass, Kind::Topic, routes)?;
    }
    Ok(builder.finish())
}

struct Builder<'c> {
    router: Arc<Router>,
    clock: &'c Clock,
    data: Option<Data>,
    entities: HashMap<String, Arc<Entity>>,
}

impl Builder<'_> {
    fn add(
        &mut self,
        name: String,
        queue: Queue,
        kind: Kind,
        routes: Routes,
    ) -> Result<(), DataError> {
        let key = name.to_lowercase();
        let clock = Arc::clone(self.clock);
        let entity = match &mut self.data {
            None => Entity::new(name, queue, clock),
            Some(data) => {
                let kind = described(&queue, &kind);
                let queue = queue.restored(data.past.take(&key, kind)?);
                Entity::new(name, queue, clock).kept(&data.journal, kind)
            }
        };
        let entity = entity.routed(kind, routes, &self.router);
        self.entities.insert(key, Arc::new(entity));
        Ok(())
    }

    /// The rules a subscription has: those that clients have set, or those of the configuration.
    fn rules_of(&mut self, path: &str, configured: &[Rule]) -> Vec<Rule> {
        let data = self.data.as_mut();
        let kept = data.and_then(|data| data.past.take_rules(&path.to_lowercase(), configured));
        kept.unwrap_or_else(|| configured.to_vec())
    }

    fn finish(self) -> Arc<Router> {
        if let Some(data) = &self.data {
            data.past.report_rest();
        }
        self.router.populate(self.entities);
        self.router
    }
}

/// What cannot be changed of an entity once it is made.
fn described(queue: &Queue, kind: &Kind) -> &'static str {
    match (kind, queue.has_sessions(SubQueue::Main)) {
        (Kind::Queue, false) => "queue",
        (Kind::Queue, true) => "queue with sessions",
        (Kind::Subscription(_), false) => "subscription",
        (Kind::Subscription(_), true) => "subscription with sessions",
        (Kind::Topic, _) => "topic",
    }
}

fn forwarding(queue: &QueueConfig) -> Routes {
    let key = |name: &String| name.to_lowercase();
    Routes {
        ready: queue.forward_to.iter().map(key).collect(),
        dead: queue.forward_dead_letters_to.as_ref().map(key),
    }
}
