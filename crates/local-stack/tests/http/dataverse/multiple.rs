use local_stack::dataverse::Dataverse;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, empty, request, sampled, send};

async fn run(dataverse: &Dataverse, action: &str, targets: Value) -> Answer {
    let path = format!("accounts/Microsoft.Dynamics.CRM.{action}");
    let post = request(dataverse, Method::POST, &path);
    send(post.json(&json!({"Targets": targets}))).await
}

const TYPE: &str = "Microsoft.Dynamics.CRM.account";

fn two(dataverse: &Dataverse) -> [Uuid; 2] {
    ["A", "B"].map(|name| {
        dataverse
            .save("account", None, &json!({"name": name}))
            .unwrap()
            .id
    })
}

#[tokio::test]
async fn many_rows_are_updated_at_once_each_with_its_event() {
    let dataverse = empty().await;
    let ids = two(&dataverse);
    let targets = ids.map(|id| json!({"@odata.type": TYPE, "accountid": id, "name": "C"}));
    assert_eq!(
        run(&dataverse, "UpdateMultiple", json!(targets))
            .await
            .status,
        204
    );
    for id in ids {
        assert_eq!(dataverse.row("account", id).unwrap()["name"], "C");
    }
    assert_eq!(dataverse.counters().events, 4);
    use local_stack::dataverse::RequestKind::Action;
    assert_eq!(dataverse.counters().integration.of(Action), 1);
}

#[tokio::test]
async fn one_bad_row_undoes_all() {
    let dataverse = empty().await;
    let ids = two(&dataverse);
    let before = dataverse.rows("account");
    for bad in [
        json!({"@odata.type": TYPE, "accountid": Uuid::new_v4(), "name": "C"}),
        json!({"@odata.type": TYPE, "accountid": ids[1], "nam": "C"}),
        json!({"@odata.type": TYPE, "name": "C"}),
        json!({"accountid": ids[1], "name": "C"}),
    ] {
        let targets = json!([{"@odata.type": TYPE, "accountid": ids[0], "name": "C"}, bad]);
        let answer = run(&dataverse, "UpdateMultiple", targets).await;
        assert!(answer.status >= 400);
        assert_eq!(dataverse.rows("account"), before);
    }
    assert_eq!(dataverse.counters().events, 2);
    assert_eq!(dataverse.outbox_len(), 2);
}

#[tokio::test]
async fn many_rows_are_created_at_once() {
    let dataverse = empty().await;
    let targets = json!([{"@odata.type": TYPE, "name": "A"}, {"@odata.type": TYPE, "name": "B"}]);
    let answer = run(&dataverse, "CreateMultiple", targets).await;
    assert_eq!(answer.status, 200);
    let ids: Vec<Uuid> = serde_json::from_value(answer.body["Ids"].clone()).unwrap();
    assert_eq!(dataverse.row("account", ids[1]).unwrap()["name"], "B");
}

#[tokio::test]
async fn many_rows_are_upserted_by_key() {
    let dataverse = empty().await;
    dataverse
        .save("account", None, &json!({"accountnumber": "A1"}))
        .unwrap();
    let targets = ["A1", "A2"].map(|number| {
        let reference = format!("accounts(accountnumber='{number}')");
        json!({"@odata.type": TYPE, "@odata.id": reference, "name": "C"})
    });
    assert_eq!(
        run(&dataverse, "UpsertMultiple", json!(targets))
            .await
            .status,
        204
    );
    let rows = dataverse.rows("account");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["name"] == "C"));
}

#[tokio::test]
async fn an_unknown_action_is_a_wrong_name() {
    let dataverse = empty().await;
    let answer = run(&dataverse, "DeleteMultiple", json!([])).await;
    assert_eq!((answer.status, answer.code()), (404, "0x80060888"));
}

#[tokio::test]
async fn a_bulk_delete_by_ids_deletes_them_and_causes_an_event_each() {
    let dataverse = sampled().await;
    let ids = dataverse.ids("account");
    let condition = |attribute: &str| {
        json!({"QuerySet": [{
            "EntityName": "account",
            "Criteria": {"Conditions": [{
                "AttributeName": attribute,
                "Operator": "In",
                "Values": [{"Value": ids[0]}, {"Value": ids[1]}, {"Value": uuid::Uuid::new_v4()}],
            }]},
        }]})
    };
    let post =
        |body: serde_json::Value| send(request(&dataverse, Method::POST, "BulkDelete").json(&body));
    let other = post(condition("primarycontactid")).await;
    assert_eq!(other.status, 501);
    let answer = post(condition("accountid")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body["JobId"].is_string());
    assert_eq!(dataverse.ids("account"), ids[2..]);
    let deletes = dataverse.outbox();
    let deletes = deletes.iter().filter(|row| row["dvs_table"] == "account");
    assert_eq!(deletes.count(), 2);
}
