//! Builds a broker's entities: queues, topics and subscriptions, and the routes between them.

use std::collections::HashMap;
use std::sync::Arc;

use super::entity::{Clock, Entity, Kind, Rules};
use super::router::{Router, Routes};
use crate::bus::config::QueueConfig;
use crate::bus::filter::RuleSet;
use crate::bus::queue::Queue;
use crate::bus::topic::{SubscriptionConfig, TopicConfig, subscription_path};

/// The entities of a namespace, ready for use. The configuration has been checked.
pub(super) fn build(
    queues: Vec<QueueConfig>,
    topics: Vec<TopicConfig>,
    clock: &Clock,
) -> Arc<Router> {
    let router = Arc::new(Router::default());
    let mut entities = HashMap::new();
    let mut add = |name: String, queue: Queue, kind: Kind, routes: Routes| {
        let key = name.to_lowercase();
        let entity = Entity::new(name, queue, Arc::clone(clock)).routed(kind, routes, &router);
        entities.insert(key, Arc::new(entity));
    };
    for queue in queues {
        let routes = forwarding(&queue);
        add(queue.name.clone(), Queue::new(queue), Kind::Queue, routes);
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
            let rules = Rules::new(RuleSet::new(rules), dead_letter_on_filter_errors);
            let onward = forwarding(&queue);
            let kind = Kind::Subscription(rules);
            add(path, Queue::new(queue), kind, onward);
        }
        add(topic.name, pass, Kind::Topic, routes);
    }
    router.populate(entities);
    router
}

fn forwarding(queue: &QueueConfig) -> Routes {
    let key = |name: &String| name.to_lowercase();
    Routes {
        ready: queue.forward_to.iter().map(key).collect(),
        dead: queue.forward_dead_letters_to.as_ref().map(key),
    }
}
