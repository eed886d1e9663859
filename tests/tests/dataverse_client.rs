//! The rest of the Dataverse client against the Dataverse stand-in: keys, lookups, pages, change
//! tracking, metadata, bulk updates.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use local_stack::dataverse::{Dataverse, DataverseConfig, RequestKind, Script};
use serde_json::{Value, json};
use sync_core::credentials::{Secret, TokenSource};
use sync_core::dataverse::{
    ChangePage, Changes, Columns, DataverseClient, DataverseOptions, Key, RowChange, Select, Since,
};
use sync_core::failure::{Class, Failure};
use uuid::Uuid;

struct Anybody;

#[async_trait]
impl TokenSource for Anybody {
    async fn token(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::new("anybody"))
    }

    fn forget(&self, _: &str) {}
}

async fn start(rows: usize) -> (Dataverse, DataverseClient) {
    // The tests of this binary share the process; one of them installs it.
    let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
    let config = DataverseConfig {
        sample_accounts: rows,
        ..DataverseConfig::default()
    };
    let dataverse = Dataverse::start(config).await.unwrap();
    let url = dataverse.url().parse().unwrap();
    let client =
        DataverseClient::new(&url, vec![Arc::new(Anybody)], DataverseOptions::default()).unwrap();
    (dataverse, client)
}

const NAME: Select<'static> = Select {
    columns: &["name"],
    expand: &[],
};

#[tokio::test]
async fn a_row_is_found_by_its_alternate_key_however_odd_the_key() {
    let (dataverse, client) = start(10).await;
    let id = dataverse.ids("account")[3];
    for number in ["A-1", "O'Neill & Sons", "50 % / ü?#"] {
        dataverse
            .save("account", Some(id), &json!({"accountnumber": number}))
            .unwrap();
        let key = [("accountnumber", number)];
        let row = client
            .fetch("accounts", Key::Alternate(&key), NAME, "c-1")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row["accountid"], json!(id), "{number}");
    }
    let nobody = [("accountnumber", "nobody")];
    assert_eq!(
        client
            .fetch("accounts", Key::Alternate(&nobody), NAME, "c-1")
            .await,
        Ok(None)
    );
}

#[tokio::test]
async fn a_lookup_is_read_along_and_null_is_told_from_absent() {
    let (dataverse, client) = start(10).await;
    let contact = dataverse.ids("contact")[0];
    let id = dataverse.ids("account")[0];
    let columns = json!({"primarycontactid@odata.bind": format!("/contacts({contact})"), "description": null});
    dataverse.save("account", Some(id), &columns).unwrap();
    let select = Select {
        columns: &["description", "_primarycontactid_value"],
        expand: &[("primarycontactid", &["fullname"])],
    };
    let row = client
        .fetch("accounts", Key::Id(id), select, "c-1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row["_primarycontactid_value"], json!(contact));
    assert_eq!(
        row["primarycontactid"]["fullname"],
        dataverse.row("contact", contact).unwrap()["fullname"]
    );
    assert_eq!(row.get("description"), Some(&Value::Null));
    assert_eq!(row.get("name"), None);
    let unknown = Select {
        columns: &["nam"],
        expand: &[],
    };
    let failure = client
        .fetch("accounts", Key::Id(id), unknown, "c-1")
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Config);
}

#[tokio::test]
async fn pages_together_are_all_the_rows_and_a_failed_page_is_asked_for_again() {
    let (dataverse, client) = start(25).await;
    let mut pages = client.pages("accounts", NAME, "name ne 'none'", 10, "c-1");
    let (mut sizes, mut ids) = (Vec::new(), BTreeSet::new());
    dataverse
        .script(Script {
            skip: 1,
            ..Script::known("bad_gateway")
        })
        .unwrap();
    let mut failures = 0;
    loop {
        match pages.next_page().await {
            Ok(None) => break,
            Ok(Some(rows)) => {
                sizes.push(rows.len());
                ids.extend(
                    rows.iter()
                        .map(|row| row["accountid"].as_str().unwrap().to_owned()),
                );
            }
            Err(failure) => {
                assert_eq!(failure.class, Class::Transient);
                failures += 1;
            }
        }
    }
    assert_eq!((sizes, ids.len(), failures), (vec![10, 10, 5], 25, 1));
}

async fn page(client: &DataverseClient, since: Since<'_>) -> ChangePage {
    match client.changes(since, "c-1").await.unwrap() {
        Changes::Page(page) => page,
        Changes::Expired => panic!("expired"),
    }
}

#[tokio::test]
async fn changes_and_deletes_since_a_link_are_found_and_an_old_link_says_so() {
    let (dataverse, client) = start(12).await;
    let everything = Since::Everything {
        entity_set: "accounts",
        columns: &["name"],
    };
    let first = page(&client, everything).await;
    assert_eq!((first.changes.len(), first.more), (12, false));
    let ids = dataverse.ids("account");
    dataverse
        .save("account", Some(ids[1]), &json!({"name": "Changed"}))
        .unwrap();
    dataverse.delete("account", ids[2]).unwrap();
    let second = page(&client, Since::Link(&first.next)).await;
    let [RowChange::Row(row), RowChange::Deleted(gone)] = &second.changes[..] else {
        panic!("{second:?}");
    };
    assert_eq!((&row["name"], *gone), (&json!("Changed"), ids[2]));
    assert!(
        page(&client, Since::Link(&second.next))
            .await
            .changes
            .is_empty()
    );
    dataverse.expire_delta_tokens();
    let late = client.changes(Since::Link(&first.next), "c-1").await;
    assert_eq!(late, Ok(Changes::Expired));
    let foreign = client
        .changes(Since::Link("https://elsewhere/x"), "c-1")
        .await;
    assert_eq!(foreign.unwrap_err().class, Class::Config);
}

#[tokio::test]
async fn names_of_a_table_are_looked_up_once_however_many_ask() {
    let (dataverse, client) = start(0).await;
    let lookups = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.table_names("account").await })
    });
    for lookup in lookups.collect::<Vec<_>>() {
        let names = lookup.await.unwrap().unwrap();
        assert_eq!(names.entity_set_name, "accounts");
        assert_eq!(names.primary_id_attribute, "accountid");
        assert!(names.is_optimistic_concurrency_enabled && names.change_tracking_enabled);
    }
    assert_eq!(dataverse.counters().integration.of(RequestKind::Other), 1);
    assert_eq!(
        client.table_names("acount").await.unwrap_err().class,
        Class::Config
    );
}

#[tokio::test]
async fn a_bulk_update_that_one_row_would_undo_updates_the_others() {
    let (dataverse, client) = start(40).await;
    let ids = dataverse.ids("account");
    dataverse.delete("account", ids[17]).unwrap();
    let mark = |id: &Uuid| {
        Columns::from_iter([
            ("accountid".into(), json!(id)),
            ("dvs_ackstate".into(), json!(1)),
        ])
    };
    let rows = ids.iter().map(mark).collect();
    let results = client
        .update_multiple("account", "accounts", rows, "c-1")
        .await;
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), index == 17, "{index}: {result:?}");
    }
    let marked = dataverse
        .rows("account")
        .iter()
        .filter(|row| row["dvs_ackstate"] == 1)
        .count();
    assert_eq!((marked, dataverse.ids("account").len()), (39, 39));
    assert!(dataverse.counters().integration.total() <= 14);
}
