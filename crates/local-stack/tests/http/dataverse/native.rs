use std::sync::Arc;
use std::time::Duration;

use local_stack::dataverse::{
    Dataverse, DataverseConfig, DataverseFaults, Emission, OutboundNotification, Step,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::posting::Recorder;
use super::wire::assert_golden;
use super::{patch, request, send};

const CLAIMS: &str = "http://schemas.microsoft.com/xrm/2011/Claims/";

/// An environment where the platform itself announces accounts, and the plug-in contacts.
async fn native(recorder: &Arc<Recorder>, faults: DataverseFaults) -> Dataverse {
    let mut steps = Step::defaults();
    for step in &mut steps {
        if step.table == "account" {
            step.emission = Emission::Native;
        }
    }
    Dataverse::start(DataverseConfig {
        steps,
        sender: Some(recorder.clone()),
        retry_wait: Duration::from_millis(1),
        faults,
        ..DataverseConfig::default()
    })
    .await
    .unwrap()
}

fn body(message: &OutboundNotification) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

/// The context with its times replaced, for the golden file.
fn steady(message: &OutboundNotification) -> String {
    let mut text = serde_json::to_string_pretty(&body(message)).unwrap();
    let mut from = 0;
    while let Some(at) = text[from..].find("/Date(") {
        let start = from + at + "/Date(".len();
        let digits = text[start..].find(|c: char| !c.is_ascii_digit()).unwrap();
        text.replace_range(start..start + digits, "<ms>");
        from = start;
    }
    text
}

#[tokio::test]
async fn events_look_as_in_the_documentation() {
    let recorder = Recorder::new(false, 10);
    let dataverse = native(&recorder, DataverseFaults::default()).await;
    let contact = json!({"firstname": "Jo", "lastname": "Doe"});
    let contact = dataverse.save("contact", None, &contact).unwrap();
    let account = json!({
        "name": "A/B", "accountnumber": "A1", "revenue": 100, "industrycode": 7, "creditonhold": true,
        "primarycontactid@odata.bind": format!("/contacts({})", contact.id),
    });
    let id = dataverse.save("account", None, &account).unwrap().id;
    dataverse.posts_done().await;
    let path = format!("accounts({id})?tag=import");
    let update = patch(
        &dataverse,
        &path,
        json!({"description": null, "telephone1": "1"}),
    )
    .await;
    assert_eq!(update.status, 204);
    dataverse.posts_done().await;
    dataverse.delete("account", id).unwrap();
    dataverse.posts_done().await;
    let posted = recorder.posted();
    let events: Vec<_> = posted.iter().filter(|one| one.table == "account").collect();
    for (event, name) in events.iter().zip(["create", "update", "delete"]) {
        assert_golden(&format!("native-{name}.json"), &steady(event));
    }
    let raw = std::str::from_utf8(&events[0].body).unwrap();
    assert!(raw.contains(r#""value":"A\/B""#), "slashes are escaped");
    assert!(raw.contains(r#"{"__type":"Entity:http:\/\/schemas"#));
}

#[tokio::test]
async fn an_event_carries_its_claims_and_writes_no_outbox_row() {
    let recorder = Recorder::new(false, 10);
    let dataverse = native(&recorder, DataverseFaults::default()).await;
    let saved = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    assert_eq!(dataverse.outbox_len(), 0);
    dataverse.posts_done().await;
    let posted = recorder.posted();
    let claim = |name: &str| posted[0].properties[&format!("{CLAIMS}{name}")].clone();
    assert_eq!(
        (claim("EntityLogicalName"), claim("RequestName")),
        ("account".to_owned(), "Create".to_owned())
    );
    assert_eq!(posted[0].correlation_id, saved.correlation_id.to_string());
    let operation = body(&posted[0])["OperationId"].as_str().unwrap().to_owned();
    assert_eq!(saved.notification_id.unwrap().to_string(), operation);
    assert_eq!(dataverse.counters().events, 1);
}

#[tokio::test]
async fn only_the_filtering_attributes_keep_an_acknowledgement_from_coming_back() {
    let recorder = Recorder::new(false, 10);
    let dataverse = native(&recorder, DataverseFaults::default()).await;
    let id = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap()
        .id;
    let path = format!("accounts({id})?tag=dataverse-sync");
    patch(&dataverse, &path, json!({"dvs_ackstate": 1})).await;
    assert_eq!(dataverse.counters().events, 1);
    patch(&dataverse, &path, json!({"name": "B"})).await;
    assert_eq!(dataverse.counters().events, 2);
}

#[tokio::test]
async fn above_192_kilobytes_the_columns_are_dropped_and_a_property_says_so() {
    let recorder = Recorder::new(false, 10);
    let mut steps = Step::defaults();
    steps[0].table = "dvs_outbox".to_owned();
    steps[0].filtering_attributes = vec!["statuscode".to_owned()];
    steps[0].delete_image.clear();
    steps[0].emission = Emission::Native;
    let dataverse = Dataverse::start(DataverseConfig {
        steps,
        sender: Some(recorder.clone()),
        ..DataverseConfig::default()
    })
    .await
    .unwrap();
    for size in [1_000, 200_000] {
        let row = json!({"dvs_name": "large", "dvs_payload": "x".repeat(size)});
        let post = request(&dataverse, Method::POST, "dvs_outboxes").json(&row);
        assert_eq!(send(post).await.status, 204);
        dataverse.posts_done().await;
    }
    let posted = recorder.posted();
    let events: Vec<_> = posted
        .iter()
        // The plug-in posts the outbox rows, too, as they are.
        .filter(|one| !one.properties.contains_key("x-source-table"))
        .collect();
    let size_claim = format!("{CLAIMS}MessageMaxSizeExceeded");
    let [small, large] = events[..] else {
        panic!("{} events", events.len())
    };
    assert!(body(small)["InputParameters"].is_array());
    assert!(!small.properties.contains_key(&size_claim));
    let context = body(large);
    assert!(large.properties.contains_key(&size_claim));
    for name in [
        "ParentContext",
        "InputParameters",
        "PreEntityImages",
        "PostEntityImages",
    ] {
        assert!(context[name].is_null(), "{name}");
    }
    assert!(context["PrimaryEntityId"].is_string());
}

#[tokio::test]
async fn what_cannot_be_posted_is_posted_again_by_the_platform_as_the_same_operation() {
    let recorder = Recorder::new(false, 100);
    let faults = DataverseFaults {
        rate_post_failure: 0.4,
        rate_post_crash: 0.4,
        seed: 1,
        ..DataverseFaults::default()
    };
    let dataverse = native(&recorder, faults).await;
    for name in ["A", "B", "C", "D", "E"] {
        let body = json!({"name": name});
        dataverse.save("account", None, &body).unwrap();
    }
    dataverse.posts_done().await;
    let posted = recorder.posted();
    let counters = dataverse.counters();
    assert_eq!(counters.posted, posted.len() as u64);
    let again = counters.posted + counters.post_failures - 5;
    assert!(again > 0, "this seed makes nothing fail");
    let mut operations: Vec<String> = posted
        .iter()
        .map(|one| body(one)["OperationId"].to_string())
        .collect();
    operations.sort();
    operations.dedup();
    assert_eq!(operations.len(), 5);
}
