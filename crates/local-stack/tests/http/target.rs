use std::time::Duration;

use local_stack::target::{Down, Faults, Target, TargetConfig};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client;

async fn target() -> Target {
    Target::start(TargetConfig::default()).await.unwrap()
}

async fn guarded() -> Target {
    Target::start(TargetConfig {
        version_guard: true,
        ..TargetConfig::default()
    })
    .await
    .unwrap()
}

fn request(target: &Target, method: Method, path: &str) -> reqwest::RequestBuilder {
    client()
        .request(method, format!("{}{path}", target.url()))
        .header("x-api-key", target.api_key())
}

async fn put(target: &Target, path: &str, version: &str, body: Value) -> (u16, Value) {
    let response = request(target, Method::PUT, path)
        .header("x-source-version", version)
        .header("idempotency-key", format!("account:1:{version}"))
        .json(&body)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_row_gets_its_own_id_once_and_keeps_it_over_updates() {
    let target = target().await;
    let (status, created) = put(&target, "/customers/a", "1", json!({"name": "One"})).await;
    assert_eq!((status, &created["id"]), (201, &json!("C-000001")));
    let (status, updated) = put(&target, "/customers/a", "2", json!({"name": "Two"})).await;
    assert_eq!((status, &updated["id"]), (200, &json!("C-000001")));
    let (status, contact) = put(&target, "/contacts/b", "3", json!({"fullName": "B"})).await;
    assert_eq!((status, &contact["id"]), (201, &json!("P-000002")));

    let row = target.row("customers", "a").unwrap();
    assert_eq!(row.body["name"], "Two");
    assert_eq!(row.writes, 2);
    assert_eq!(target.rows().len(), 2);
}

#[tokio::test]
async fn every_call_is_recorded_with_its_version_and_key() {
    let target = target().await;
    put(&target, "/customers/a", "7", json!({"name": "One"})).await;
    let call = &target.calls()[0];
    assert_eq!(call.method, "PUT");
    assert_eq!(call.external_id, "a");
    assert_eq!(call.source_version.as_deref(), Some("7"));
    assert_eq!(call.idempotency_key.as_deref(), Some("account:1:7"));
    assert_eq!(call.status, Some(201));
    assert!(call.applied);
    assert_eq!(call.body_hash.as_ref().unwrap().len(), 64);
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_still_recorded() {
    let target = target().await;
    let response = client()
        .put(format!("{}/customers/a", target.url()))
        .header("x-api-key", "wrong")
        .json(&json!({"name": "One"}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(target.calls()[0].status, Some(401));
    assert!(target.rows().is_empty());
}

#[tokio::test]
async fn a_broken_business_rule_is_refused_for_good() {
    let target = target().await;
    for name in ["", "please REJECT me"] {
        let (status, body) = put(&target, "/customers/a", "1", json!({"name": name})).await;
        assert_eq!((status, &body["code"]), (422, &json!("invalid-name")));
    }
    assert_eq!(target.counters().refused, 2);
    assert!(target.rows().is_empty());
}

#[tokio::test]
async fn a_plain_target_takes_an_older_version_and_a_guarded_one_does_not() {
    let plain = target().await;
    put(&plain, "/customers/a", "20", json!({"name": "New"})).await;
    put(&plain, "/customers/a", "3", json!({"name": "Old"})).await;
    assert_eq!(plain.row("customers", "a").unwrap().body["name"], "Old");

    let guarded = guarded().await;
    put(&guarded, "/customers/a", "20", json!({"name": "New"})).await;
    let (status, body) = put(&guarded, "/customers/a", "3", json!({"name": "Old"})).await;
    assert_eq!((status, &body["code"]), (409, &json!("older-version")));
    let (status, _) = put(&guarded, "/customers/a", "20", json!({"name": "New"})).await;
    assert_eq!(status, 200, "the same version again is no conflict");
}

#[tokio::test]
async fn a_guarded_target_does_not_let_an_older_write_bring_a_deleted_row_back() {
    let target = guarded().await;
    put(&target, "/customers/a", "5", json!({"name": "One"})).await;
    let delete = request(&target, Method::DELETE, "/customers/a").header("x-source-version", "9");
    assert_eq!(delete.send().await.unwrap().status(), 204);
    let (status, _) = put(&target, "/customers/a", "8", json!({"name": "One"})).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn deleting_what_is_not_there_says_so() {
    let target = target().await;
    let delete = request(&target, Method::DELETE, "/customers/a");
    assert_eq!(delete.send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_throttled_call_names_its_wait_and_changes_nothing() {
    let target = target().await;
    target.set_faults(Faults {
        rate_429: 1.0,
        retry_after_s: 7,
        ..Faults::default()
    });
    let put = request(&target, Method::PUT, "/customers/a").json(&json!({"name": "One"}));
    let response = put.send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    assert!(target.rows().is_empty());
    assert_eq!(target.counters().faulted, 1);
}

#[tokio::test]
async fn an_answer_lost_after_the_work_was_done_leaves_the_work_done() {
    let target = target().await;
    target.set_faults(Faults {
        rate_reset_after_apply: 1.0,
        ..Faults::default()
    });
    let put = request(&target, Method::PUT, "/customers/a").json(&json!({"name": "One"}));
    assert!(put.send().await.is_err());
    assert_eq!(target.rows().len(), 1);
    let call = &target.calls()[0];
    assert_eq!((call.status, call.applied), (None, true));

    target.set_faults(Faults {
        rate_timeout_after_apply: 1.0,
        ..Faults::default()
    });
    let put = request(&target, Method::PUT, "/customers/b")
        .timeout(Duration::from_millis(300))
        .json(&json!({"name": "Two"}));
    assert!(put.send().await.unwrap_err().is_timeout());
    assert_eq!(target.rows().len(), 2);
}

#[tokio::test]
async fn faults_are_switched_while_it_runs_and_over_http() {
    let target = target().await;
    target.set_down(true);
    let (status, _) = put(&target, "/customers/a", "1", json!({"name": "One"})).await;
    assert_eq!(status, 503);

    let admin = format!("{}/_admin/faults", target.url());
    let change = client().post(&admin).json(&json!({"down": "reset"}));
    assert_eq!(change.send().await.unwrap().status(), 200);
    assert_eq!(target.faults().down, Down::Reset);
    let put_while_down = request(&target, Method::PUT, "/customers/a").body("{}");
    assert!(put_while_down.send().await.is_err());

    let change = client().post(&admin).json(&json!({"down": "no"}));
    assert_eq!(change.send().await.unwrap().status(), 200);
    let (status, _) = put(&target, "/customers/a", "1", json!({"name": "One"})).await;
    assert_eq!(status, 201);

    let change = client().post(&admin).json(&json!({"rate_5OO": 1.0}));
    let refused = change.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("rate_5OO"));
}

#[tokio::test]
async fn rows_can_be_looked_at_over_http() {
    let target = target().await;
    put(&target, "/customers/a", "1", json!({"name": "One"})).await;
    let list = request(&target, Method::GET, "/customers").send().await;
    let list: Value = list.unwrap().json().await.unwrap();
    assert_eq!(list["value"][0]["data"]["name"], "One");
    let one = request(&target, Method::GET, "/customers/a").send().await;
    assert_eq!(one.unwrap().status(), 200);
    let none = request(&target, Method::GET, "/customers/b").send().await;
    assert_eq!(none.unwrap().status(), 404);
}
