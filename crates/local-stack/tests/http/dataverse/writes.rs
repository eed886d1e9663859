use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, empty, get, patch, request, sample, sampled, send};
use local_stack::dataverse::Dataverse;

async fn account(dataverse: &Dataverse) -> Uuid {
    let body = json!({"name": "A", "accountnumber": "A1"});
    dataverse.save("account", None, &body).unwrap().id
}

async fn conditional(
    dataverse: &Dataverse,
    method: Method,
    path: &str,
    condition: (&str, &str),
) -> Answer {
    let mut write = request(dataverse, method.clone(), path).header(condition.0, condition.1);
    if method == Method::PATCH {
        write = write.json(&json!({"name": "B"}));
    }
    send(write).await
}

#[tokio::test]
async fn creating_a_row_answers_with_its_url() {
    let dataverse = empty().await;
    let post = request(&dataverse, Method::POST, "accounts").json(&json!({"name": "A"}));
    let answer = send(post).await;
    assert_eq!(answer.status, 204);
    let id = dataverse.ids("account")[0];
    let url = format!("{}/api/data/v9.2/accounts({id})", dataverse.url());
    assert_eq!(answer.header("odata-entityid"), url);
    assert_eq!(answer.header("location"), url);
    let row = dataverse.row("account", id).unwrap();
    assert_eq!(
        (&row["statecode"], &row["statuscode"]),
        (&json!(0), &json!(1))
    );
    assert!(row["createdon"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_patch_updates_what_is_there_and_creates_what_is_not() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    assert_eq!(
        patch(&dataverse, &format!("accounts({id})"), json!({"name": "B"}))
            .await
            .status,
        204
    );
    let absent = Uuid::new_v4();
    let answer = patch(
        &dataverse,
        &format!("accounts({absent})"),
        json!({"name": "C"}),
    )
    .await;
    assert_eq!(answer.status, 204);
    assert_eq!(dataverse.row("account", absent).unwrap()["name"], "C");
}

#[tokio::test]
async fn if_match_star_never_creates_a_row() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    for (id, status) in [(id, 204), (Uuid::new_v4(), 404)] {
        let path = format!("accounts({id})");
        let answer = conditional(&dataverse, Method::PATCH, &path, ("if-match", "*")).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(dataverse.ids("account").len(), 1);
}

#[tokio::test]
async fn if_none_match_star_never_updates_a_row() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    for (id, status) in [(id, 412), (Uuid::new_v4(), 204)] {
        let path = format!("accounts({id})");
        let answer = conditional(&dataverse, Method::PATCH, &path, ("if-none-match", "*")).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(dataverse.row("account", id).unwrap()["name"], "A");
}

#[tokio::test]
async fn an_etag_that_no_longer_matches_stops_a_write() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    let path = format!("accounts({id})");
    let etag = dataverse.row("account", id).unwrap()["@odata.etag"].clone();
    let etag = ("if-match", etag.as_str().unwrap());
    assert_eq!(
        conditional(&dataverse, Method::PATCH, &path, etag)
            .await
            .status,
        204
    );
    for method in [Method::PATCH, Method::DELETE] {
        let answer = conditional(&dataverse, method, &path, etag).await;
        assert_eq!((answer.status, answer.code()), (412, "0x80060882"));
    }
    let gone = format!("accounts({})", Uuid::new_v4());
    let answer = conditional(&dataverse, Method::PATCH, &gone, etag).await;
    assert_eq!((answer.status, answer.code()), (404, "0x80040217"));
}

#[tokio::test]
async fn a_row_is_upserted_by_its_alternate_key() {
    let dataverse = empty().await;
    let path = "accounts(accountnumber='A1')";
    let created = patch(&dataverse, path, json!({"name": "A"})).await;
    assert_eq!(created.status, 204);
    let url = format!("{}/api/data/v9.2/{path}", dataverse.url());
    assert_eq!(
        created.header("odata-entityid"),
        url,
        "by key, as it was asked"
    );
    patch(
        &dataverse,
        path,
        json!({"name": "B", "accountnumber": "ignored"}),
    )
    .await;
    let rows = dataverse.rows("account");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["name"], &rows[0]["accountnumber"]),
        (&json!("B"), &json!("A1"))
    );
    let missing = "accounts(accountnumber='A2')";
    let answer = conditional(&dataverse, Method::PATCH, missing, ("if-match", "*")).await;
    assert_eq!((answer.status, answer.code()), (404, "0x80060891"));
}

#[tokio::test]
async fn a_second_row_with_the_same_key_is_refused_and_names_the_first() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    let body = json!({"name": "B", "accountnumber": "a1"});
    let post = request(&dataverse, Method::POST, "accounts").json(&body);
    let answer = send(post).await;
    assert_eq!((answer.status, answer.code()), (412, "0x80060892"));
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&id.to_string()), "{message}");
    assert_eq!(dataverse.ids("account").len(), 1);
}

#[tokio::test]
async fn a_bad_payload_changes_nothing() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    let before = dataverse.row("account", id).unwrap();
    for (body, code) in [
        (json!({"name": "B", "nam": "x"}), "0x80048d19"),
        (json!({"name": 5}), "0x80048d19"),
        (
            json!({"primarycontact@odata.bind": "/contacts(1)"}),
            "0x80048d19",
        ),
        (
            json!({"_primarycontactid_value": Uuid::new_v4()}),
            "0x80048d19",
        ),
        (json!({"name": "x".repeat(161)}), "0x80044331"),
        (json!({"industrycode": 99}), "0x8004431A"),
        (json!([1]), "0x80048d19"),
    ] {
        let answer = patch(&dataverse, &format!("accounts({id})"), body.clone()).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{body}");
    }
    assert_eq!(dataverse.row("account", id).unwrap(), before);
}

#[tokio::test]
async fn a_lookup_is_bound_by_id_or_url_and_cleared_with_null() {
    let dataverse = sampled().await;
    let account = sample(&dataverse, "account", "Litware");
    let contact = sample(&dataverse, "contact", "Jim Glynn");
    let path = format!("accounts({account})");
    let root = format!("{}/api/data/v9.2", dataverse.url());
    for reference in [
        format!("/contacts({contact})"),
        format!("contacts({contact})"),
        format!("{root}/contacts({contact})"),
    ] {
        for value in [json!(reference), Value::Null] {
            let body = json!({"primarycontactid@odata.bind": value});
            assert_eq!(patch(&dataverse, &path, body).await.status, 204);
            let held = dataverse.row("account", account).unwrap();
            let expected = if value.is_null() {
                Value::Null
            } else {
                json!(contact)
            };
            assert_eq!(held["_primarycontactid_value"], expected, "{reference}");
        }
    }
    let absent = format!("/contacts({})", Uuid::new_v4());
    let answer = patch(
        &dataverse,
        &path,
        json!({"primarycontactid@odata.bind": absent}),
    )
    .await;
    assert_eq!((answer.status, answer.code()), (404, "0x80040217"));
    let wrong = json!({"primarycontactid@odata.bind": format!("/accounts({account})")});
    assert_eq!(patch(&dataverse, &path, wrong).await.code(), "0x80048d19");
}

#[tokio::test]
async fn the_written_row_is_returned_on_request() {
    let dataverse = empty().await;
    let body = json!({"firstname": "Ada", "lastname": "L"});
    let post = request(&dataverse, Method::POST, "contacts?$select=fullname")
        .header("prefer", "return=representation")
        .json(&body);
    let created = send(post).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.body["fullname"], "Ada L");
    assert_eq!(
        created.header("preference-applied"),
        "return=representation"
    );
    let path = format!("contacts({})", created.body["contactid"].as_str().unwrap());
    let update = request(&dataverse, Method::PATCH, &path)
        .header("prefer", "return=representation")
        .json(&json!({"lastname": ""}));
    let updated = send(update).await;
    assert_eq!(updated.status, 200);
    assert_eq!(updated.body["fullname"], "Ada");
    assert!(
        updated.body["lastname"].is_null(),
        "an empty text is stored as null"
    );
}

#[tokio::test]
async fn one_column_can_be_set_and_cleared_alone() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    let put = request(&dataverse, Method::PUT, &format!("accounts({id})/name"));
    assert_eq!(send(put.json(&json!({"value": "B"}))).await.status, 204);
    assert_eq!(dataverse.row("account", id).unwrap()["name"], "B");
    let delete = request(&dataverse, Method::DELETE, &format!("accounts({id})/name"));
    assert_eq!(send(delete).await.status, 204);
    assert!(dataverse.row("account", id).unwrap()["name"].is_null());
}

#[tokio::test]
async fn a_deleted_row_is_gone_and_deleting_it_again_says_so() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    let path = format!("accounts({id})");
    assert_eq!(
        send(request(&dataverse, Method::DELETE, &path))
            .await
            .status,
        204
    );
    let again = send(request(&dataverse, Method::DELETE, &path)).await;
    assert_eq!((again.status, again.code()), (404, "0x80040217"));
    assert_eq!(get(&dataverse, &path).await.status, 404);
}

#[tokio::test]
async fn versions_rise_over_all_tables() {
    let dataverse = empty().await;
    let saves = [
        ("account", "name"),
        ("contact", "lastname"),
        ("account", "name"),
    ];
    let versions = saves.map(|(table, column)| {
        let saved = dataverse.save(table, None, &json!({column: "x"}));
        saved.unwrap().version
    });
    assert!(versions[0] < versions[1] && versions[1] < versions[2]);
}

#[tokio::test]
async fn a_bypass_of_business_logic_is_refused_rather_than_ignored() {
    let dataverse = empty().await;
    let id = account(&dataverse).await;
    let path = format!("accounts({id})");
    let bypass = ("MSCRM.BypassBusinessLogicExecution", "CustomSync");
    let answer = conditional(&dataverse, Method::PATCH, &path, bypass).await;
    assert_eq!(answer.status, 501);
}

#[tokio::test]
async fn a_lookup_is_set_and_cleared_by_reference() {
    let dataverse = sampled().await;
    let account = sample(&dataverse, "account", "Litware");
    let contact = sample(&dataverse, "contact", "Jim Glynn");
    let path = format!("accounts({account})/primarycontactid/$ref");
    let url = format!("{}/api/data/v9.2/contacts({contact})", dataverse.url());
    let put = request(&dataverse, Method::PUT, &path).json(&json!({"@odata.id": url}));
    assert_eq!(send(put).await.status, 204);
    let held = || dataverse.row("account", account).unwrap()["_primarycontactid_value"].clone();
    assert_eq!(held(), json!(contact));
    assert_eq!(
        send(request(&dataverse, Method::DELETE, &path))
            .await
            .status,
        204
    );
    assert_eq!(held(), Value::Null);
}
