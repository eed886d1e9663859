use local_stack::dataverse::{Dataverse, DataverseConfig, Operation, Step, USER_HEADER};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{empty, patch, request, sample, sampled, send};

fn notifications(dataverse: &Dataverse) -> Vec<Value> {
    let rows = dataverse.outbox().into_iter();
    rows.map(|row| serde_json::from_str(row["dvs_payload"].as_str().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_save_leaves_its_notification_in_the_outbox() {
    let dataverse = empty().await;
    let saved = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();

    let row = &dataverse.outbox()[0];
    let id = saved.notification_id.unwrap().to_string();
    assert_eq!(row["dvs_outboxid"], id);
    assert_eq!(row["dvs_messageid"], id);
    assert_eq!(row["dvs_table"], "account");
    assert_eq!(row["dvs_rowid"], saved.id.to_string());
    assert_eq!(row["dvs_operation"], "create");
    assert_eq!(row["dvs_rowversion"], saved.version.to_string());
    assert_eq!(
        (&row["statuscode"], &row["dvs_attempts"]),
        (&json!(1), &json!(0))
    );

    let notification = &notifications(&dataverse)[0];
    assert_eq!(notification["schemaVersion"], 1);
    assert_eq!(notification["notificationId"], id);
    assert_eq!(
        notification["correlationId"],
        saved.correlation_id.to_string()
    );
    assert_eq!(notification["sourceRowId"], saved.id.to_string());
    assert_eq!(notification["rowVersion"], saved.version.to_string());
    assert!(notification.get("preImage").is_none());
}

#[tokio::test]
async fn the_outbox_row_is_found_by_its_message_id() {
    let dataverse = empty().await;
    let saved = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    let id = saved.notification_id.unwrap();
    let path = format!("dvs_outboxes(dvs_messageid='{id}')?$select=dvs_table");
    let answer = super::get(&dataverse, &path).await;
    assert_eq!(answer.body["dvs_outboxid"], id.to_string());
}

#[tokio::test]
async fn a_delete_carries_what_the_target_needs_of_the_row() {
    let dataverse = empty().await;
    let body = json!({"name": "A", "accountnumber": "A1"});
    let created = dataverse.save("account", None, &body).unwrap();
    let deleted = dataverse.delete("account", created.id).unwrap();
    let outbox = notifications(&dataverse);
    let notification = outbox
        .iter()
        .find(|one| one["operation"] == "delete")
        .unwrap();
    assert_eq!(
        notification["preImage"],
        json!({"accountnumber": "A1", "name": "A", "dvs_targetid": null})
    );
    assert_eq!(notification["rowVersion"], created.version.to_string());
    assert_eq!(deleted.version, created.version);
}

#[tokio::test]
async fn a_listed_column_in_the_payload_is_an_event_even_when_its_value_stays() {
    let dataverse = empty().await;
    let id = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap()
        .id;
    let same = dataverse
        .save("account", Some(id), &json!({"name": "A"}))
        .unwrap();
    assert!(same.notification_id.is_some());
    assert_eq!(dataverse.counters().events, 2);
}

#[tokio::test]
async fn a_column_that_is_not_listed_is_a_change_but_no_event() {
    let mut steps = Step::defaults();
    steps[0].filtering_attributes = vec!["name".to_owned()];
    let config = DataverseConfig {
        steps,
        ..DataverseConfig::default()
    };
    let dataverse = Dataverse::start(config).await.unwrap();
    let id = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap()
        .id;
    let saved = dataverse
        .save("account", Some(id), &json!({"telephone1": "1"}))
        .unwrap();
    assert_eq!(saved.notification_id, None);
    assert_eq!(dataverse.counters().events, 1);
    assert_eq!(dataverse.changes()[1].notification_id, None);
}

#[tokio::test]
async fn an_acknowledgement_is_no_event_and_no_change() {
    let dataverse = empty().await;
    let id = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap()
        .id;
    let columns = json!({"dvs_ackstate": 1, "dvs_ackversion": "500002"});
    for path in [
        format!("accounts({id})?tag=dataverse-sync"),
        format!("accounts({id})"),
    ] {
        assert_eq!(patch(&dataverse, &path, columns.clone()).await.status, 204);
    }
    assert_eq!(dataverse.counters().events, 1);
    assert_eq!(dataverse.changes().len(), 1);
    let acks = dataverse.ack_writes();
    assert_eq!(acks.len(), 2);
    assert_eq!(acks[0].tag.as_deref(), Some("dataverse-sync"));
    assert_eq!(acks[0].columns["dvs_ackversion"], "500002");
    assert_eq!(acks[1].tag, None);
}

#[tokio::test]
async fn the_integrations_tag_silences_a_listed_column_and_another_tag_does_not() {
    let dataverse = empty().await;
    let id = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap()
        .id;
    for (tag, events) in [("dataverse-sync", 1), ("other", 2)] {
        patch(
            &dataverse,
            &format!("accounts({id})?tag={tag}"),
            json!({"name": "B"}),
        )
        .await;
        assert_eq!(dataverse.counters().events, events, "{tag}");
    }
}

#[tokio::test]
async fn a_save_that_fails_leaves_neither_row_nor_notification() {
    let dataverse = empty().await;
    dataverse
        .save("account", None, &json!({"accountnumber": "A1"}))
        .unwrap();
    let refused = dataverse.save("account", None, &json!({"accountnumber": "A1"}));
    assert_eq!(refused.unwrap_err().code, "0x80060892");
    assert_eq!(dataverse.outbox_len(), 1);
    assert_eq!(dataverse.changes().len(), 1);
}

#[tokio::test]
async fn deleting_an_account_deletes_its_contacts_with_events_under_one_correlation() {
    let dataverse = sampled().await;
    let account = sample(&dataverse, "account", "A. Datum");
    let deleted = dataverse.delete("account", account).unwrap();
    let changes = dataverse.changes();
    assert_eq!(changes.len(), 3, "the account, Rene Valdes, Susan Burk");
    for change in &changes {
        assert_eq!(change.operation, Operation::Delete);
        assert_eq!(change.correlation_id, deleted.correlation_id);
        assert!(change.notification_id.is_some());
    }
    assert_eq!(dataverse.rows("contact").len(), 10);
}

#[tokio::test]
async fn deleting_a_primary_contact_clears_the_lookup_without_an_event() {
    let dataverse = sampled().await;
    let account = sample(&dataverse, "account", "Adventure Works");
    let before = dataverse.row("account", account).unwrap();
    let contact = sample(&dataverse, "contact", "Nancy Anderson");
    dataverse.delete("contact", contact).unwrap();
    let after = dataverse.row("account", account).unwrap();
    assert!(after["_primarycontactid_value"].is_null());
    assert!(after["versionnumber"].as_i64() > before["versionnumber"].as_i64());
    assert_eq!(dataverse.counters().events, 1, "the delete's own");
}

#[tokio::test]
async fn a_save_keeps_the_correlation_id_it_was_sent() {
    let dataverse = empty().await;
    let correlation = Uuid::new_v4();
    let post = request(&dataverse, Method::POST, "accounts")
        .header("x-ms-correlation-id", correlation.to_string())
        .json(&json!({"name": "A"}));
    send(post).await;
    assert_eq!(dataverse.changes()[0].correlation_id, correlation);
    assert_eq!(
        notifications(&dataverse)[0]["correlationId"],
        correlation.to_string()
    );
}

#[tokio::test]
async fn a_step_that_could_loop_is_not_registered() {
    for (column, problem) in [
        ("dvs_ackstate", "must not trigger"),
        ("nam", "no column nam"),
    ] {
        let mut steps = Step::defaults();
        steps[1].filtering_attributes.push(column.to_owned());
        let config = DataverseConfig {
            steps,
            ..DataverseConfig::default()
        };
        let error = Dataverse::start(config).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_kind_and_side() {
    use local_stack::dataverse::RequestKind::{Create, GetCollection, GetSingle, Other, Update};
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    super::get(&dataverse, "accounts?$top=1").await;
    super::get(&dataverse, &format!("accounts({id})")).await;
    super::get(&dataverse, &format!("accounts({})", Uuid::new_v4())).await;
    super::get(&dataverse, "WhoAmI").await;
    patch(&dataverse, &format!("accounts({id})"), json!({"name": "B"})).await;
    let post = request(&dataverse, Method::POST, "accounts").header(USER_HEADER, "ann");
    send(post.json(&json!({"name": "C"}))).await;

    let counters = dataverse.counters();
    let kinds = [GetCollection, GetSingle, Other, Update, Create];
    assert_eq!(
        kinds.map(|kind| counters.integration.of(kind)),
        [1, 2, 1, 1, 0]
    );
    assert_eq!(counters.integration.total(), 5);
    assert_eq!(counters.users.of(Create), 1);
    assert_eq!(counters.rows_changed, 2);
}
