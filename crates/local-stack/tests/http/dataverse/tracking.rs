use local_stack::dataverse::Dataverse;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, empty, get, sampled, send};

async fn tracked(url: String, page: Option<usize>) -> Answer {
    let page = page.map(|size| format!(",odata.maxpagesize={size}"));
    let prefer = format!("odata.track-changes{}", page.unwrap_or_default());
    send(crate::client().get(url).header("prefer", prefer)).await
}

async fn begin(dataverse: &Dataverse) -> Answer {
    let url = format!("{}/api/data/v9.2/accounts?$select=name", dataverse.url());
    tracked(url, None).await
}

fn link(answer: &Answer) -> String {
    let link = answer.body["@odata.deltaLink"].as_str();
    link.unwrap_or_else(|| panic!("no delta link: {}", answer.body))
        .to_owned()
}

fn create(dataverse: &Dataverse, name: &str) -> Uuid {
    let body = json!({"name": name});
    dataverse.save("account", None, &body).unwrap().id
}

#[tokio::test]
async fn a_delta_tells_changed_rows_then_deleted_ones_in_their_last_state() {
    let dataverse = empty().await;
    let [kept, changed, deleted, both] =
        ["kept", "changed", "deleted", "both"].map(|name| create(&dataverse, name));
    let first = begin(&dataverse).await;
    assert_eq!(first.values().len(), 4);
    assert_eq!(first.header("preference-applied"), "odata.track-changes");

    let new = create(&dataverse, "new");
    for (id, name) in [(changed, "once"), (changed, "twice"), (both, "changed")] {
        let body = json!({"name": name});
        dataverse.save("account", Some(id), &body).unwrap();
    }
    for id in [deleted, both] {
        dataverse.delete("account", id).unwrap();
    }
    let passing = create(&dataverse, "passing");
    dataverse.delete("account", passing).unwrap();

    let delta = get_link(&link(&first)).await;
    let context = delta.body["@odata.context"].as_str().unwrap();
    assert!(
        context.ends_with("$metadata#accounts(name)/$delta"),
        "{context}"
    );
    let rows: Vec<&Value> = delta
        .values()
        .iter()
        .filter(|row| row.get("reason").is_none())
        .collect();
    let mut told: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| {
            (
                row["accountid"].as_str().unwrap(),
                row["name"].as_str().unwrap(),
            )
        })
        .collect();
    told.sort_unstable_by_key(|(_, name)| *name);
    let expected = [(new.to_string(), "new"), (changed.to_string(), "twice")];
    assert_eq!(
        told,
        expected.each_ref().map(|(id, name)| (id.as_str(), *name))
    );
    assert!(!told.iter().any(|(id, _)| *id == kept.to_string()));

    let gone = &delta.values()[rows.len()..];
    let mut ids: Vec<&str> = gone.iter().map(|one| one["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut expected = [deleted, both, passing].map(|id| id.to_string());
    expected.sort();
    assert_eq!(ids, expected);
    assert_eq!(gone[0]["reason"], "deleted");
    let context = gone[0]["@odata.context"].as_str().unwrap();
    assert!(
        context.ends_with("$metadata#accounts/$deletedEntity"),
        "{context}"
    );

    let quiet = get_link(&link(&delta)).await;
    assert!(quiet.values().is_empty());
}

/// A delta link needs no preference.
async fn get_link(link: &str) -> Answer {
    send(crate::client().get(link)).await
}

#[tokio::test]
async fn an_undone_delete_is_not_told() {
    let dataverse = sampled().await;
    let first = begin(&dataverse).await;
    let account = dataverse.ids("account")[0];
    // A change set: the second operation undoes the first.
    let part = |line: &str, body: &str| {
        format!(
            "--c\r\nContent-Type: application/http\r\nContent-ID: {}\r\n\r\n{line} HTTP/1.1\r\n\
             Content-Type: application/json\r\n\r\n{body}\r\n",
            line.len()
        )
    };
    let batch = format!(
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{}{}--c--\r\n--b--\r\n",
        part(&format!("DELETE accounts({account})"), ""),
        part("POST accounts", r#"{"nam":"x"}"#)
    );
    let post = super::request(&dataverse, reqwest::Method::POST, "$batch")
        .header("content-type", "multipart/mixed; boundary=b");
    assert_eq!(send(post.body(batch)).await.status, 400);
    assert!(get_link(&link(&first)).await.values().is_empty());
}

#[tokio::test]
async fn a_long_delta_comes_in_pages_and_nothing_changed_meanwhile_is_lost() {
    let dataverse = empty().await;
    let first = begin(&dataverse).await;
    let ids: Vec<Uuid> = (0..5)
        .map(|n| create(&dataverse, &format!("{n}")))
        .collect();
    for id in &ids[..2] {
        dataverse.delete("account", *id).unwrap();
    }
    let mut sizes = Vec::new();
    let mut told = Vec::new();
    let mut url = link(&first);
    let last = loop {
        let page = tracked(url, Some(2)).await;
        sizes.push(page.values().len());
        for one in page.values() {
            let id = one.get("accountid").or_else(|| one.get("id"));
            told.push(id.unwrap().as_str().unwrap().to_owned());
        }
        match page.body["@odata.nextLink"].as_str() {
            Some(next) => url = next.to_owned(),
            None => break page,
        }
        if sizes.len() == 1 {
            create(&dataverse, "meanwhile");
        }
    };
    assert_eq!(sizes, [2, 2, 1]);
    told.sort();
    let mut expected: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    expected.sort();
    assert_eq!(told, expected);
    let next = get_link(&link(&last)).await;
    assert_eq!(next.values()[0]["name"], "meanwhile");
}

#[tokio::test]
async fn a_delta_token_expires_and_a_new_one_works() {
    let dataverse = sampled().await;
    let first = begin(&dataverse).await;
    dataverse.expire_delta_tokens();
    let expired = get_link(&link(&first)).await;
    assert_eq!((expired.status, expired.code()), (400, "0x80044352"));
    let again = begin(&dataverse).await;
    assert_eq!(get_link(&link(&again)).await.status, 200);
}

#[tokio::test]
async fn tracking_takes_no_filter_order_top_or_expand() {
    let dataverse = sampled().await;
    for option in [
        "$filter=name eq 'x'",
        "$orderby=name",
        "$top=3",
        "$expand=primarycontactid",
    ] {
        let url = format!("{}/api/data/v9.2/accounts?{option}", dataverse.url());
        assert_eq!(tracked(url, None).await.status, 400, "{option}");
    }
    let odd = get(&dataverse, "accounts?$deltatoken=odd").await;
    assert_eq!(odd.status, 400);
}
