//! Topics, subscriptions, their rules, and forwarding.

use fe2o3_amqp_types::messaging::Accepted;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::management::{Answer, operate, requester};
use super::*;
use crate::bus::config::QueueConfig;
use crate::bus::filter::{CorrelationFilter, Rule};
use crate::bus::queue::SubQueue;
use crate::bus::topic::{SubscriptionConfig, TopicConfig};

const A: &str = "t/Subscriptions/a";

/// A topic `t` with the subscriptions `a` and `b`, besides the queue `q`.
fn stage() -> Stage {
    stage_with(|_| {})
}

fn stage_with(configure: impl FnOnce(&mut BrokerConfig)) -> Stage {
    Stage::with(|config| {
        config.topics = vec![TopicConfig::with_subscriptions("t", ["a", "b"])];
        configure(config);
        config.check().unwrap();
    })
}

/// The ids of all messages of an entity, dead letters included.
fn ids(stage: &Stage, path: &str) -> Vec<String> {
    let entity = stage.hub.entity(path).unwrap();
    entity.with(|queue, _| {
        [SubQueue::Main, SubQueue::DeadLetter]
            .into_iter()
            .flat_map(|sub| queue.entries(sub))
            .map(|entry| entry.message.id.to_string())
            .collect()
    })
}

#[test]
fn a_message_is_in_every_subscription_when_its_sender_is_told_that_it_was_accepted() {
    let stage = stage();
    let mut peer = stage.peer();
    peer.attach_sender(0, "T");
    let verdict = peer.send_message(0, "m");
    assert_eq!(verdict, DeliveryState::Accepted(Accepted {}));
    assert_eq!(ids(&stage, A), ["m"]);
    assert_eq!(ids(&stage, "T/subscriptions/B"), ["m"]);
    assert_eq!(ids(&stage, "t"), Vec::<String>::new());
}

#[test]
fn a_receiver_that_waits_at_a_subscription_gets_what_is_sent_to_the_topic() {
    let stage = stage();
    let mut receiver = stage.peer();
    receiver.attach_receiver(0, A);
    receiver.grant(0, 0, 5);
    assert_eq!(receiver.deliveries(), []);
    let mut sender = stage.peer();
    sender.attach_sender(0, "t");
    sender.send_message(0, "m");
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].2, "m");
}

#[test]
fn senders_at_the_same_time_leave_the_same_order_in_every_subscription() {
    let stage = stage();
    std::thread::scope(|scope| {
        for sender in ["x", "y", "z"] {
            let mut peer = stage.peer();
            scope.spawn(move || {
                peer.attach_sender(0, "t");
                for number in 0..200 {
                    peer.send_message(number, &format!("{sender}{number}"));
                }
            });
        }
    });
    let order = ids(&stage, A);
    assert_eq!(order.len(), 600);
    assert_eq!(order, ids(&stage, "t/Subscriptions/b"));
    let entity = stage.hub.entity(A).unwrap();
    entity.with(|queue, _| {
        // The number in the topic rises with the number in the subscription.
        let all_in_order = queue
            .entries(SubQueue::Main)
            .all(|entry| entry.sequence == entry.enqueued_sequence);
        assert!(all_in_order);
    });
}

#[test]
fn a_scheduled_message_fans_out_when_it_is_due() {
    let stage = stage();
    let due = *stage.now.lock().unwrap() + time::Duration::seconds(60);
    let annotation = map([("x-opt-scheduled-enqueue-time", values::timestamp(due))]);
    let mut bytes = values::section(section::MESSAGE_ANNOTATIONS, Value::Map(annotation)).unwrap();
    bytes.extend_from_slice(&message("later"));
    let mut peer = stage.peer();
    peer.attach_sender(0, "t");
    peer.send_with(Performative::Transfer(transfer(0)), bytes.into());
    peer.verdict(0);
    assert_eq!(ids(&stage, "t"), ["later"]);
    assert_eq!(ids(&stage, A), Vec::<String>::new());
    stage.wait(60);
    let topic = stage.hub.entity("t").unwrap();
    topic.with(|queue, now| queue.advance(now));
    assert_eq!(ids(&stage, A), ["later"]);
    assert_eq!(ids(&stage, "t"), Vec::<String>::new());
}

fn refusal(stage: &Stage, role: Role, address: &str) -> String {
    let mut peer = stage.peer();
    peer.send(Performative::Attach(attach(0, role, address)));
    let answers = peer.received();
    let Some(Performative::Detach(detach)) = answers.get(1) else {
        panic!("{answers:#?}")
    };
    condition(detach.error.as_ref().unwrap())
}

#[test]
fn links_that_make_no_sense_are_refused() {
    let stage = stage_with(|config| {
        config.queues.push(QueueConfig {
            forward_to: Some("t".into()),
            ..QueueConfig::named("forwarding")
        });
    });
    for (role, address) in [
        (Role::Receiver, "t"),
        (Role::Receiver, "t/$DeadLetterQueue"),
        (Role::Sender, A),
        (Role::Receiver, "forwarding"),
    ] {
        let condition = refusal(&stage, role.clone(), address);
        assert_eq!(condition, "amqp:not-allowed", "{role:?} {address}");
    }
    assert_eq!(refusal(&stage, Role::Receiver, "t/a"), "amqp:not-found");
    let missing = "t/Subscriptions/c";
    assert_eq!(refusal(&stage, Role::Receiver, missing), "amqp:not-found");
    stage
        .peer()
        .attach_receiver(0, "t/subscriptions/a/$deadletterqueue");
    stage
        .peer()
        .attach_receiver(0, "forwarding/$DeadLetterQueue");
}

#[test]
fn management_requests_that_make_no_sense_are_refused() {
    let stage = stage();
    for (node, operation) in [
        ("t", "update-disposition"),
        ("t", "receive-by-sequence-number"),
        ("t", "add-rule"),
        ("q", "enumerate-rules"),
        (A, "schedule-message"),
        (A, "cancel-scheduled-message"),
    ] {
        let mut peer = requester(&stage, &format!("{node}/$management"));
        let answer = operate(&mut peer, 0, operation, []);
        assert_eq!(answer.status(), 400, "{node} {operation}");
        let condition = answer.condition();
        assert_eq!(condition, Some(&values::symbol("amqp:not-allowed")));
    }
}

fn sql(expression: &str) -> Value {
    let filter = map([("expression", Value::String(expression.to_owned()))]);
    Value::Map(map([("sql-filter", Value::Map(filter))]))
}

fn add(peer: &mut Peer, delivery_id: SequenceNo, name: &str, description: Value) -> Answer {
    let members = [
        ("rule-name", Value::String(name.to_owned())),
        ("rule-description", description),
    ];
    operate(peer, delivery_id, "add-rule", members)
}

fn refused_with(answer: &Answer) -> (i64, String) {
    let condition = answer.condition().and_then(values::text).unwrap();
    (answer.status(), condition.to_owned())
}

#[test]
fn rules_are_added_and_removed_by_name() {
    let stage = stage();
    let mut peer = requester(&stage, &format!("{A}/$management"));
    assert_eq!(add(&mut peer, 0, "r", sql("n = 1")).status(), 200);
    let again = refused_with(&add(&mut peer, 1, "R", sql("n = 1")));
    assert_eq!(again, (409, "com.microsoft:entity-already-exists".into()));
    for (delivery_id, description) in [
        (2, sql("n == 1")),
        (3, Value::Map(map([]))),
        (
            4,
            Value::Map(map([("correlation-filter", Value::Map(map([])))])),
        ),
    ] {
        let wrong = refused_with(&add(&mut peer, delivery_id, "x", description));
        assert_eq!(wrong, (400, "com.microsoft:argument-error".into()));
    }
    let mut remove = |delivery_id, name: &str| {
        let name = [("rule-name", Value::String(name.to_owned()))];
        operate(&mut peer, delivery_id, "remove-rule", name)
    };
    assert_eq!(remove(5, "$default").status(), 200);
    let missing = refused_with(&remove(6, "$Default"));
    assert_eq!(missing, (404, "amqp:not-found".into()));
    // Nothing matches any more but what the new rule selects.
    let mut sender = stage.peer();
    sender.attach_sender(0, "t");
    sender.send_message(0, "m");
    assert_eq!(ids(&stage, A), Vec::<String>::new());
    assert_eq!(ids(&stage, "t/Subscriptions/b"), ["m"]);
}

fn described(code: u64, fields: Vec<Value>) -> Value {
    Value::Described(Box::new(Described {
        descriptor: Descriptor::Code(code),
        value: Value::List(fields),
    }))
}

#[test]
fn rules_are_listed_page_by_page_in_the_documented_form() {
    let text = |text: &str| Value::String(text.to_owned());
    let stage = stage_with(|config| {
        let correlation = CorrelationFilter {
            label: Some("red".into()),
            properties: [("n".to_owned(), Value::Int(1))].into(),
            ..CorrelationFilter::default()
        };
        let action = Rule::sql("s", "n = 1").unwrap().with_action("SET m = 2");
        config.topics[0].subscriptions[0] = SubscriptionConfig {
            rules: vec![
                Rule::select_all(),
                Rule::correlation("c", correlation).unwrap(),
                action.unwrap(),
            ],
            ..SubscriptionConfig::named("a")
        };
    });
    let mut peer = requester(&stage, &format!("{A}/$management"));
    let mut page = |delivery_id, skip, top| {
        let members = [("skip", Value::Int(skip)), ("top", Value::Int(top))];
        operate(&mut peer, delivery_id, "enumerate-rules", members)
    };
    let rule = |filter, action, name| {
        let description = described(0x137_0000_0004, vec![filter, action, text(name)]);
        Value::Map(map([("rule-description", description)]))
    };
    let no_action = || described(0x137_0000_0005, Vec::new());
    let mut fields = vec![Value::Null; 8];
    fields[4] = text("red");
    fields.push(Value::Map(map([("n", Value::Int(1))])));
    let default = rule(
        described(0x13_7000_0007, Vec::new()),
        no_action(),
        "$Default",
    );
    let correlation = rule(described(0x13_7000_0009, fields), no_action(), "c");
    let sql = rule(
        described(0x13_7000_0006, vec![text("n = 1")]),
        described(0x137_0000_0006, vec![text("SET m = 2")]),
        "s",
    );
    let first = page(0, 0, 2);
    assert_eq!(
        first.member("rules"),
        Value::List(vec![default, correlation])
    );
    assert_eq!(page(1, 2, 2).member("rules"), Value::List(vec![sql]));
    assert_eq!(page(2, 3, 2).status(), 204);
}

#[test]
fn a_ring_of_forwarding_queues_ends_in_a_dead_letter() {
    let stage = Stage::with(|config| {
        let forwarding = |name: &str, to: &str| QueueConfig {
            forward_to: Some(to.to_owned()),
            ..QueueConfig::named(name)
        };
        config.queues = vec![forwarding("ping", "pong"), forwarding("pong", "ping")];
        config.check().unwrap();
    });
    let mut peer = stage.peer();
    peer.attach_sender(0, "ping");
    peer.send_message(0, "m");
    assert_eq!(ids(&stage, "ping"), ["m"]);
    assert_eq!(ids(&stage, "pong"), Vec::<String>::new());
}

/// The ids of an entity's messages, and of its dead letters.
fn letters(stage: &Stage, path: &str) -> [Vec<String>; 2] {
    let entity = stage.hub.entity(path).unwrap();
    entity.with(|queue, _| {
        [SubQueue::Main, SubQueue::DeadLetter].map(|sub| {
            let entries = queue.entries(sub);
            entries.map(|entry| entry.message.id.to_string()).collect()
        })
    })
}

/// A queue `source` that differs from others as `configure` says, and one that is full of anything.
fn stage_with_a_full_queue(configure: fn(&mut QueueConfig)) -> Stage {
    Stage::with(|config| {
        let mut source = QueueConfig::named("source");
        configure(&mut source);
        let full = QueueConfig {
            max_size: Some(1),
            ..QueueConfig::named("full")
        };
        config.queues = vec![source, full];
        config.check().unwrap();
    })
}

#[test]
fn a_forwarded_message_that_finds_its_destination_full_is_a_dead_letter_where_it_came_from() {
    let stage = stage_with_a_full_queue(|source| source.forward_to = Some("full".into()));
    let mut peer = stage.peer();
    peer.attach_sender(0, "source");
    for (delivery_id, id) in [(0, "fits"), (1, "does-not")] {
        let verdict = peer.send_message(delivery_id, id);
        assert_eq!(verdict, DeliveryState::Accepted(Accepted {}));
    }
    assert_eq!(letters(&stage, "full"), [vec!["fits".to_owned()], vec![]]);
    let source = letters(&stage, "source");
    assert_eq!(source, [vec![], vec!["does-not".to_owned()]]);
    let source = stage.hub.entity("source").unwrap();
    source.with(|queue, _| {
        assert_eq!(queue.counters.forwarded, 1);
        let entry = queue.entries(SubQueue::DeadLetter).next().unwrap();
        let properties = entry.message.application_property_map();
        let reason = values::get(&properties, "DeadLetterReason").and_then(values::text);
        assert_eq!(reason, Some("QuotaExceeded"));
    });
}

#[test]
fn a_dead_letter_that_finds_its_destination_full_stays() {
    let stage = stage_with_a_full_queue(|source| {
        source.forward_dead_letters_to = Some("full".into());
        source.dead_letter_on_expiration = true;
        source.default_ttl = Some(std::time::Duration::ZERO);
    });
    let mut peer = stage.peer();
    peer.attach_sender(0, "source");
    peer.send_message(0, "fits");
    peer.send_message(1, "does-not");
    assert_eq!(letters(&stage, "full"), [vec!["fits".to_owned()], vec![]]);
    let source = letters(&stage, "source");
    assert_eq!(source, [vec![], vec!["does-not".to_owned()]]);
}

#[test]
fn a_topic_is_full_of_what_its_subscriptions_hold() {
    let stage = stage_with(|config| config.topics[0].max_size = Some(1));
    let mut peer = stage.peer();
    peer.attach_sender(0, "t");
    peer.send_message(0, "first");
    let DeliveryState::Rejected(rejected) = peer.send_message(1, "second") else {
        panic!()
    };
    let error = rejected.error.unwrap();
    assert_eq!(condition(&error), "amqp:resource-limit-exceeded");
    assert!(error.description.unwrap().contains("for Topic: 't'."));
    for subscription in [A, "t/Subscriptions/b"] {
        let entity = stage.hub.entity(subscription).unwrap();
        entity.with(|queue, now| queue.take_next(SubQueue::Main, now).unwrap());
    }
    let verdict = peer.send_message(2, "third");
    assert_eq!(verdict, DeliveryState::Accepted(Accepted {}));
}

#[test]
fn a_message_for_a_subscription_with_sessions_needs_one() {
    let stage = stage_with(|config| {
        config.topics[0].subscriptions[0].queue.requires_session = true;
    });
    let mut peer = stage.peer();
    peer.attach_sender(0, "t");
    peer.send_message(0, "m");
    assert_eq!(letters(&stage, A), [vec![], vec!["m".to_owned()]]);
    let without = letters(&stage, "t/Subscriptions/b");
    assert_eq!(without, [vec!["m".to_owned()], vec![]]);
}

#[test]
fn settings_that_do_not_go_together_are_refused_by_name() {
    let refusal = |configure: fn(&mut QueueConfig)| {
        let mut config = BrokerConfig::with_queues(["q"]);
        config.topics = vec![TopicConfig::with_subscriptions("t", ["a"])];
        configure(&mut config.topics[0].subscriptions[0].queue);
        config.check().unwrap_err().to_string()
    };
    let sessions = refusal(|queue| {
        queue.requires_session = true;
        queue.forward_to = Some("q".into());
    });
    let expected = "ForwardTo is not for an entity with RequiresSession";
    assert_eq!(sessions, format!("subscription \"{A}\": {expected}"));
    let size = refusal(|queue| queue.max_size = Some(1));
    let expected = "MaxSizeInMegabytes belongs to the topic, not to a subscription";
    assert_eq!(size, format!("subscription \"{A}\": {expected}"));
}
