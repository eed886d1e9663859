//! One trace from the save to the acknowledgement.

use std::collections::{BTreeMap, BTreeSet};

use local_stack::insights::story::{self, Node};
use local_stack::insights::{Item, Kind, Wanted};
use local_stack::stack::Stack;
use local_stack::target::Faults;
use serde_json::{Value, json};

use crate::world::World;

/// Every node of a story, whatever it stands under.
fn all(roots: &[Node]) -> Vec<&Node> {
    let mut nodes = Vec::new();
    let mut open: Vec<&Node> = roots.iter().collect();
    while let Some(node) = open.pop() {
        nodes.push(node);
        open.extend(&node.children);
    }
    nodes
}

fn requests<'a>(nodes: &[&'a Node], name: &str) -> Vec<&'a Node> {
    let of_name = |n: &&&Node| n.kind == Kind::Request && n.name == name;
    nodes.iter().filter(of_name).copied().collect()
}

fn acknowledged(stack: &Stack) -> bool {
    let insights = stack.insights.as_ref().unwrap();
    // Each app sends on its own; what an invocation did comes before the invocation itself.
    let items = insights.items();
    let told = |name: &str| {
        let of_name = |i: &Item| i.kind == Kind::Request && i.name == name;
        items.iter().any(|i| of_name(i) && i.success == Some(true))
    };
    told("Outbound") && told("Inbound")
}

#[tokio::test]
async fn a_change_that_was_retried_twice_is_one_tree_from_the_save_to_the_acknowledgement() {
    let world = World::start().await;
    let id = world.account();
    world.stack.target.set_faults(Faults {
        rate_500: 1.0,
        ..Faults::default()
    });
    world.save(id, json!({"name": "Followed"}));
    world
        .until("two failed calls", |s| s.target.counters().calls >= 2)
        .await;
    world.stack.target.set_faults(Faults::default());
    world.drained().await;
    world
        .until("the acknowledgement is told", acknowledged)
        .await;

    let insights = world.stack.insights.as_ref().unwrap();
    let wanted = Wanted::parse(&format!("account:{id}")).unwrap();
    let story = story::of(&insights.items_of(&wanted), &wanted).unwrap();
    assert_eq!(story.operations.len(), 1, "{:?}", story.operations);
    assert_eq!(story.roots.len(), 1, "one tree: {:#?}", story.roots);
    assert_eq!(story.roots[0].name, "account Update");
    let nodes = all(&story.roots);
    let roles: BTreeSet<&str> = nodes.iter().map(|n| n.role.as_str()).collect();
    assert_eq!(
        roles,
        BTreeSet::from(["dataverse", "inbound-fn", "outbound-fn"])
    );
    let attempts = requests(&nodes, "Outbound");
    assert!(attempts.len() >= 3, "{attempts:#?}");
    let went = |success| {
        attempts
            .iter()
            .filter(|n| n.success == Some(success))
            .count()
    };
    assert_eq!(went(true), 1);
    let exception = |n: &&&Node| n.kind == Kind::Exception;
    let exceptions: Vec<_> = nodes.iter().filter(exception).collect();
    assert_eq!(exceptions.len(), went(false));
    for exception in exceptions {
        assert_eq!(exception.properties["failure.stage"], "deliver");
        assert_eq!(exception.properties["failure.class"], "Transient");
    }
    // An attempt stands under what sent its message: the plug-in, or the attempt before.
    let posted = |n: &&&Node| n.name == "send outbound" && n.role == "outbound-fn";
    assert_eq!(nodes.iter().filter(posted).count(), went(false));
    assert_eq!(requests(&nodes, "Inbound").len(), 1);
    let row = format!("account:{id}");
    for request in attempts {
        assert_eq!(request.properties["row"], row);
        assert_eq!(request.properties["target"], "customer-api");
    }
}

#[tokio::test]
async fn the_apps_tell_nothing_under_names_that_queries_do_not_know() {
    let world = World::start().await;
    let id = world.account();
    world.stack.target.set_faults(Faults {
        rate_500: 1.0,
        ..Faults::default()
    });
    world.send("{broken").await;
    world.save(id, json!({"name": "Once"}));
    world
        .until("a failed call", |s| s.target.counters().calls >= 1)
        .await;
    world.stack.target.set_faults(Faults::default());
    world.drained().await;
    let metrics = |s: &Stack| {
        let items = s.insights.as_ref().unwrap().items();
        let metric = |i: &Item| i.name == "dvsync.acknowledged";
        items.iter().any(metric)
    };
    world.until("metrics are told", metrics).await;

    let names = include_str!("../../../infra/monitoring/names.json");
    let names: Value = serde_json::from_str(names).unwrap();
    let list = |key: &str| -> BTreeSet<String> {
        let list = names[key].as_array().unwrap().iter();
        list.map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let (known_requests, known_dimensions) = (list("requests"), list("dimensions"));
    let known_dependencies = list("dependencies");
    let peers = names["values"]["peer"].as_array().unwrap();
    let mut seen_dependencies = BTreeSet::new();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for item in world.stack.insights.as_ref().unwrap().items() {
        if item.role == "dataverse" {
            continue;
        }
        let own = |key: &&String| !key.starts_with("service.");
        let dimensions = item.properties.keys().filter(own).cloned();
        match item.kind {
            Kind::Metric => seen
                .entry(item.name.clone())
                .or_default()
                .extend(dimensions),
            Kind::Request => {
                assert!(known_requests.contains(&item.name), "{}", item.name);
                let extra: Vec<_> = dimensions
                    .filter(|d| !known_dimensions.contains(d))
                    .filter(|d| !d.starts_with("ai.") && d != "client.address")
                    .collect();
                assert!(extra.is_empty(), "{}: {extra:?}", item.name);
            }
            Kind::Dependency => {
                if item.detail != "HTTP" {
                    assert!(known_dependencies.contains(&item.name), "{}", item.name);
                }
                if let Some(peer) = item.property("peer") {
                    assert!(peers.contains(&json!(peer)), "{}: {peer}", item.name);
                }
                seen_dependencies.insert(item.name);
            }
            _ => {}
        }
    }
    for name in ["map", "GET token", "GET secrets"] {
        assert!(
            seen_dependencies.contains(name),
            "{name}: {seen_dependencies:?}"
        );
    }
    for (metric, dimensions) in seen {
        let known = &names["metrics"][&metric];
        let known: BTreeSet<String> = known
            .as_array()
            .unwrap_or_else(|| panic!("{metric} is not in names.json"))
            .iter()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect();
        assert!(dimensions.is_subset(&known), "{metric}: {dimensions:?}");
    }
}
