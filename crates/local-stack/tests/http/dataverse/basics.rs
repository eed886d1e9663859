use local_stack::dataverse::Operation;
use serde_json::json;

use super::{get, patch, sample, sampled};

#[tokio::test]
async fn a_row_is_read_with_the_columns_asked_for_and_its_key() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Adventure Works");
    let path = format!("accounts({id})?$select=name,revenue,description,_primarycontactid_value");
    let answer = get(&dataverse, &path).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["name"], "Adventure Works (sample)");
    assert_eq!(answer.body["accountid"], id.to_string());
    assert!(answer.body["description"].is_null());
    assert!(answer.body.as_object().unwrap().contains_key("description"));
    assert!(answer.body["_transactioncurrencyid_value"].is_string());
    assert!(answer.body["_primarycontactid_value"].is_string());
}

#[tokio::test]
async fn a_save_over_http_writes_the_outbox_row() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Adventure Works");
    let answer = patch(
        &dataverse,
        &format!("accounts({id})"),
        json!({"name": "New"}),
    )
    .await;
    assert_eq!(answer.status, 204);
    let changes = dataverse.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].operation, Operation::Update);
    let outbox = dataverse.outbox();
    assert_eq!(outbox.len(), 1);
    let notification: serde_json::Value =
        serde_json::from_str(outbox[0]["dvs_payload"].as_str().unwrap()).unwrap();
    assert_eq!(notification["rowVersion"], changes[0].version.to_string());
}
