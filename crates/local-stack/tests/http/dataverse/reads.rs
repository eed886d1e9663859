use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{empty, get, patch, request, sample, sampled, send};

#[tokio::test]
async fn a_row_comes_with_the_columns_asked_for_and_its_key_and_etag() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Adventure Works");
    let answer = get(
        &dataverse,
        &format!("accounts({id})?$select=name,telephone1"),
    )
    .await;
    assert_eq!(answer.status, 200);
    let columns: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
    let expected = [
        "@odata.context",
        "@odata.etag",
        "name",
        "telephone1",
        "accountid",
    ];
    assert_eq!(columns, expected);
    assert_eq!(answer.body["name"], "Adventure Works (sample)");
    assert_eq!(answer.body["accountid"], id.to_string());
    assert_eq!(
        answer.body["@odata.context"],
        format!(
            "{}/api/data/v9.2/$metadata#accounts(name,telephone1)/$entity",
            dataverse.url()
        )
    );
}

#[tokio::test]
async fn the_etag_is_the_version_number() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    let answer = get(&dataverse, &format!("accounts({id})?$select=versionnumber")).await;
    let version = answer.body["versionnumber"].as_i64().unwrap();
    assert_eq!(answer.body["@odata.etag"], format!("W/\"{version}\""));
}

#[tokio::test]
async fn a_column_without_a_value_is_returned_as_null() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    let answer = get(&dataverse, &format!("accounts({id})?$select=description")).await;
    assert_eq!(answer.body.get("description"), Some(&json!(null)));
}

#[tokio::test]
async fn a_money_column_brings_its_currency_along() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    let answer = get(&dataverse, &format!("accounts({id})?$select=revenue")).await;
    assert_eq!(answer.body["revenue"], json!(20_000.0));
    assert!(answer.body["_transactioncurrencyid_value"].is_string());
}

#[tokio::test]
async fn a_lookup_is_read_by_its_value_name_and_can_be_expanded() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Adventure Works");
    let contact = sample(&dataverse, "contact", "Nancy Anderson");
    let path = format!(
        "accounts({id})?$select=_primarycontactid_value&$expand=primarycontactid($select=fullname,jobtitle)"
    );
    let answer = get(&dataverse, &path).await;
    assert_eq!(answer.body["_primarycontactid_value"], contact.to_string());
    let expanded = &answer.body["primarycontactid"];
    assert_eq!(expanded["fullname"], "Nancy Anderson (sample)");
    assert_eq!(expanded["contactid"], contact.to_string());
    assert!(expanded["@odata.etag"].is_string());
    assert!(expanded.get("lastname").is_none());
}

#[tokio::test]
async fn an_empty_lookup_expands_to_null() {
    let dataverse = empty().await;
    let id = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap()
        .id;
    let path = format!("accounts({id})?$select=name&$expand=primarycontactid($select=fullname)");
    let answer = get(&dataverse, &path).await;
    assert_eq!(answer.body.get("primarycontactid"), Some(&json!(null)));
}

#[tokio::test]
async fn a_row_is_found_by_its_alternate_key() {
    let dataverse = empty().await;
    let body = json!({"name": "A", "accountnumber": "O'1/2"});
    let id = dataverse.save("account", None, &body).unwrap().id;
    for path in [
        "accounts(accountnumber='O''1/2')",
        "accounts(accountnumber=%27O%27%271%2F2%27)",
    ] {
        let answer = get(&dataverse, &format!("{path}?$select=name")).await;
        assert_eq!(answer.body["accountid"], id.to_string(), "{path}");
    }
    let by_column = get(&dataverse, "accounts(name='A')").await;
    assert_eq!(by_column.status, 400, "name is no key");
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_from_what_is_named_wrongly() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    let absent = Uuid::new_v4();
    for (path, status, code) in [
        (format!("accounts({absent})"), 404, "0x80040217"),
        (
            "accounts(accountnumber='none')".to_owned(),
            404,
            "0x80060891",
        ),
        (format!("acounts({id})"), 404, "0x80060888"),
        (format!("accounts({id})?$select=nam"), 400, "0x80060888"),
        (
            format!("accounts({id})?$select=primarycontactid"),
            400,
            "0x80060888",
        ),
        (
            format!("accounts({id})?$expand=owner($select=name)"),
            400,
            "0x80060888",
        ),
    ] {
        let answer = get(&dataverse, &path).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
    }
    let answer = get(&dataverse, &format!("accounts({absent})")).await;
    assert_eq!(
        answer.body["error"]["message"],
        format!("account With Id = {absent} Does Not Exist")
    );
    let answer = get(&dataverse, "acounts").await;
    assert_eq!(
        answer.body["error"]["message"],
        "Resource not found for the segment 'acounts'."
    );
}

#[tokio::test]
async fn a_query_option_that_is_not_played_is_refused() {
    let dataverse = sampled().await;
    for query in [
        "$skip=1",
        "$apply=x",
        "fetchXml=x",
        "utm=1",
        "$top=0",
        "$count=yes",
        "$top=1&$top=2",
    ] {
        let answer = get(&dataverse, &format!("accounts?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn an_unchanged_row_is_answered_with_304() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    let path = format!("accounts({id})?$select=name");
    let etag = get(&dataverse, &path).await.body["@odata.etag"].clone();
    let again = || request(&dataverse, Method::GET, &path);
    let conditional = again().header("if-none-match", etag.as_str().unwrap());
    assert_eq!(send(conditional).await.status, 304);
    let literal = again().header("if-none-match", "null");
    assert_eq!(send(literal).await.status, 200);

    patch(
        &dataverse,
        &format!("accounts({id})"),
        json!({"name": "New"}),
    )
    .await;
    let conditional = again().header("if-none-match", etag.as_str().unwrap());
    assert_eq!(send(conditional).await.status, 200);
}

#[tokio::test]
async fn one_column_can_be_read_alone() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "Litware");
    let answer = get(&dataverse, &format!("accounts({id})/name")).await;
    assert_eq!(answer.body["value"], "Litware, Inc. (sample)");
    let answer = get(&dataverse, &format!("accounts({id})/description")).await;
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn every_answer_carries_the_headers_of_dataverse_with_their_quirks() {
    let dataverse = sampled().await;
    for path in ["WhoAmI", "accounts(0)", "accounts?$top=1"] {
        let answer = get(&dataverse, path).await;
        let ids: Vec<_> = answer
            .headers
            .get_all("x-ms-service-request-id")
            .iter()
            .collect();
        assert_eq!(ids.len(), 2, "{path}");
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[1], &answer.headers["req_id"]);
        assert_eq!(
            answer.header("x-ms-ratelimit-time-remaining-xrm-requests"),
            "1,200.00"
        );
        assert_eq!(answer.header("odata-version"), "4.0");
        let content_type = answer.header("content-type");
        assert!(
            content_type.starts_with("application/json"),
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn who_am_i_answers_with_and_without_parentheses() {
    let dataverse = empty().await;
    let one = get(&dataverse, "WhoAmI").await;
    let other = get(&dataverse, "WhoAmI()").await;
    assert_eq!(one.body, other.body);
    for id in ["UserId", "BusinessUnitId", "OrganizationId"] {
        assert!(Uuid::parse_str(one.body[id].as_str().unwrap()).is_ok());
    }
}
