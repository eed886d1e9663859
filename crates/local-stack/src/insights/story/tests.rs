//! Stories from hand-made items.

use serde_json::{Value, json};

use super::*;

const CHANGE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "1bf7651916cd43dd8448eb211c80319c";

struct Made(Value);

fn item(base_type: &str, ms: u32, operation: &str, parent: &str, base: Value) -> Made {
    let mut item = json!({
        "name": "x", "time": format!("2026-03-02T10:00:{:02}.{:03}Z", ms / 1000, ms % 1000),
        "tags": {"ai.cloud.role": "outbound-fn", "ai.operation.id": operation, "ai.operation.parentId": parent},
        "data": {"baseType": base_type, "baseData": base}
    });
    item["data"]["baseData"]["ver"] = json!(2);
    Made(item)
}

fn request(ms: u32, operation: &str, parent: &str, id: &str, name: &str) -> Made {
    let base = json!({"id": id, "name": name, "duration": "0.00:00:00.020000", "success": true, "responseCode": "0"});
    item("RequestData", ms, operation, parent, base)
}

fn dependency(ms: u32, operation: &str, parent: &str, id: &str, name: &str) -> Made {
    let base = json!({"id": id, "name": name, "type": "InProc", "duration": "0.00:00:00.005000", "success": true});
    item("RemoteDependencyData", ms, operation, parent, base)
}

impl Made {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.0["data"]["baseData"]["properties"][name] = json!(value);
        self
    }

    fn role(mut self, role: &str) -> Self {
        self.0["tags"]["ai.cloud.role"] = json!(role);
        self
    }

    fn failed(mut self) -> Self {
        self.0["data"]["baseData"]["success"] = json!(false);
        self
    }

    fn links_to(self, operation: &str, id: &str) -> Self {
        let links = json!([{"operation_Id": operation, "id": id}]).to_string();
        self.with("_MS.links", &links)
    }
}

fn read(made: Vec<Made>) -> Vec<Item> {
    made.into_iter()
        .filter_map(|made| Item::read(made.0))
        .collect()
}

/// One change that fails twice before it is delivered, and is acknowledged; its read shares a page.
fn travelled() -> Vec<Made> {
    let correlation = "0af76519-16cd-43dd-8448-eb211c80319c";
    let mut items = vec![
        request(0, CHANGE, "", "d1", "account Update").role("dataverse"),
        dependency(1, CHANGE, "d1", "d2", "outbox row").role("dataverse"),
        dependency(5, CHANGE, "d1", "d3", "send outbound").role("dataverse"),
    ];
    for (retry, ms) in [(0_u32, 100), (1, 700), (2, 1_900)] {
        let id = format!("a{retry}");
        let parent = if retry == 0 {
            "d3".to_owned()
        } else {
            format!("a{}s", retry - 1)
        };
        let attempt = request(ms, CHANGE, &parent, &id, "Outbound")
            .with("retry_count", &retry.to_string())
            .with("correlation_id", correlation)
            .with("row", "account:3f2504e0-4f89-11d3-9a0c-0305e82c3301");
        if retry < 2 {
            items.push(attempt.failed().with("disposition", "rescheduled"));
            let why = json!({"exceptions": [{"typeName": "deliver/TargetUnavailable", "message": "503"}]});
            items.push(item("ExceptionData", ms + 10, CHANGE, &id, why));
            items.push(dependency(
                ms + 11,
                CHANGE,
                &id,
                &format!("{id}s"),
                "send outbound",
            ));
        } else {
            items.push(
                attempt
                    .with("disposition", "completed")
                    .with("outcome", "delivered"),
            );
            items.push(dependency(ms + 1, CHANGE, &id, "r1", "read").links_to(OTHER, "p1"));
            items.push(dependency(ms + 8, CHANGE, &id, "s1", "send inbound"));
        }
    }
    items.push(
        request(1_950, CHANGE, "s1", "i1", "Inbound")
            .role("inbound-fn")
            .with("outcome", "written"),
    );
    // The page is another change's, and links to both rows' parts.
    items.push(
        dependency(1_902, OTHER, "x1", "p1", "page")
            .with("page_rows", "2")
            .links_to(CHANGE, "r1"),
    );
    items.push(dependency(1_903, OTHER, "p1", "h1", "POST $batch"));
    items.push(dependency(1_903, OTHER, "x1", "x2", "map"));
    items
}

fn wanted(id: &str) -> Wanted {
    Wanted::parse(id).unwrap()
}

#[test]
fn one_tree_leads_from_the_save_over_two_retries_to_the_acknowledgement() {
    let items = read(travelled());
    let story = of(&items, &wanted(CHANGE)).unwrap();
    assert_eq!(story.operations, [CHANGE]);
    assert_eq!(story.retries, 2);
    assert_eq!(story.roots.len(), 1);
    assert_eq!(
        render(&story, Paint::Plain),
        include_str!("golden/two_retries.txt")
    );
}

#[test]
fn the_same_story_is_found_by_correlation_id_and_by_row() {
    let items = read(travelled());
    let story = of(&items, &wanted(CHANGE)).unwrap();
    for id in [
        "0AF76519-16CD-43DD-8448-EB211C80319C",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "account:3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ] {
        assert_eq!(of(&items, &wanted(id)).as_ref(), Some(&story), "{id}");
    }
    assert_eq!(
        of(
            &items,
            &wanted("contact:3f2504e0-4f89-11d3-9a0c-0305e82c3301")
        ),
        None
    );
    assert_eq!(of(&[], &wanted(CHANGE)), None);
}

#[test]
fn the_order_in_which_items_come_and_doubles_make_no_difference() {
    let items = read(travelled());
    let mut doubled = read(travelled());
    doubled.reverse();
    doubled.extend(items.clone());
    let story = |items: &[Item]| of(items, &wanted(CHANGE)).map(|s| render(&s, Paint::Plain));
    assert_eq!(story(&doubled), story(&items));
}

#[test]
fn what_has_lost_its_parent_stands_as_a_tree_of_its_own() {
    let mut items = read(travelled());
    items.retain(|item| item.id != "a1s");
    let story = of(&items, &wanted(CHANGE)).unwrap();
    let roots: Vec<_> = story
        .roots
        .iter()
        .map(|root| (root.name.as_str(), root.retry))
        .collect();
    assert_eq!(roots, [("account Update", 0), ("Outbound", 2)]);
}

#[test]
fn a_ring_of_parents_is_told_once_and_comes_to_an_end() {
    let items = read(vec![
        dependency(0, CHANGE, "b", "a", "first"),
        dependency(1, CHANGE, "a", "b", "second"),
        dependency(2, CHANGE, "c", "c", "its own parent"),
    ]);
    let story = of(&items, &wanted(CHANGE)).unwrap();
    let text = render(&story, Paint::Plain);
    for name in ["first", "second", "its own parent"] {
        assert_eq!(text.matches(name).count(), 1, "{text}");
    }
}

#[test]
fn a_shared_page_shows_its_own_calls_and_nothing_else_of_the_other_change() {
    let items = read(travelled());
    let story = of(&items, &wanted(OTHER)).unwrap();
    let text = render(&story, Paint::Plain);
    assert!(!text.contains("account Update"), "{text}");
    let story = of(&items, &wanted(CHANGE)).unwrap();
    let text = render(&story, Paint::Plain);
    assert!(text.contains("shared: POST $batch"), "{text}");
    assert!(!text.contains("map"), "{text}");
}

#[test]
fn colour_and_control_characters_are_for_terminals_and_for_nobody() {
    let items = read(vec![request(0, CHANGE, "", "a", "one\u{1b}[31m\ntwo")]);
    let story = of(&items, &wanted(CHANGE)).unwrap();
    let plain = render(&story, Paint::Plain);
    assert!(!plain.contains('\u{1b}'), "{plain}");
    assert!(plain.contains("one [31m two"), "{plain}");
    assert!(render(&story, Paint::Colour).contains("\u{1b}["));
}
