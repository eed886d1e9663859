use local_stack::dataverse::{Dataverse, DataverseFaults, RequestKind};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{empty, request};

/// A part with one request; lines end in CRLF.
fn part(content_id: Option<u32>, request: &str, headers: &str, body: &str) -> String {
    let id = content_id.map_or(String::new(), |id| format!("Content-ID: {id}\r\n"));
    format!(
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n{id}\r\n\
         {request} HTTP/1.1\r\n{headers}\r\n{body}\r\n"
    )
}

fn body(boundary: &str, parts: &[String]) -> String {
    let parts = parts.iter().map(|part| format!("--{boundary}\r\n{part}"));
    format!("{}--{boundary}--\r\n", parts.collect::<String>())
}

fn change_set(parts: &[String]) -> String {
    let inner = body("changeset_1", parts);
    format!("Content-Type: multipart/mixed; boundary=changeset_1\r\n\r\n{inner}")
}

struct Batch {
    status: u16,
    content_type: String,
    text: String,
}

impl Batch {
    /// Statuses of the answers inside, in order.
    fn statuses(&self) -> Vec<u16> {
        let lines = self.text.lines();
        let lines = lines.filter_map(|line| line.strip_prefix("HTTP/1.1 "));
        lines.map(|line| line[..3].parse().unwrap()).collect()
    }
}

async fn send(dataverse: &Dataverse, go_on: bool, parts: &[String]) -> Batch {
    let mut post = request(dataverse, Method::POST, "$batch")
        .header("content-type", "multipart/mixed; boundary=\"batch_1\"")
        .body(body("batch_1", parts));
    if go_on {
        post = post.header("prefer", "odata.continue-on-error");
    }
    let response = post.send().await.unwrap();
    Batch {
        status: response.status().as_u16(),
        content_type: response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned(),
        text: response.text().await.unwrap(),
    }
}

fn accounts(dataverse: &Dataverse) -> [Uuid; 3] {
    ["A", "B", "C"].map(|name| {
        dataverse
            .save("account", None, &json!({"name": name}))
            .unwrap()
            .id
    })
}

fn ack(id: Uuid, condition: &str) -> String {
    let request = format!("PATCH /api/data/v9.2/accounts({id})?tag=dataverse-sync");
    let headers = format!("Content-Type: application/json\r\nIf-Match: {condition}\r\n");
    part(None, &request, &headers, r#"{"dvs_ackstate":1}"#)
}

#[tokio::test]
async fn with_continue_on_error_rows_fail_independently() {
    let dataverse = empty().await;
    let ids = accounts(&dataverse);
    let parts = [
        ack(ids[0], "*"),
        ack(Uuid::new_v4(), "*"),
        ack(ids[1], "W/\"1\""),
        ack(ids[2], "*"),
    ];
    let batch = send(&dataverse, true, &parts).await;
    assert_eq!(batch.status, 200);
    assert_eq!(batch.statuses(), [204, 404, 412, 204]);
    assert!(
        batch
            .content_type
            .starts_with("multipart/mixed; boundary=batchresponse_")
    );
    assert!(batch.text.contains("0x80060882"));
    assert!(
        batch.text.contains("\r\nOData-EntityId: "),
        "{}",
        batch.text
    );
    assert_eq!(dataverse.ack_writes().len(), 2);
    assert_eq!(
        dataverse.counters().events,
        3,
        "no acknowledgement is an event"
    );
}

#[tokio::test]
async fn without_it_the_batch_ends_at_the_first_failure() {
    let dataverse = empty().await;
    let ids = accounts(&dataverse);
    let parts = [ack(ids[0], "*"), ack(Uuid::new_v4(), "*"), ack(ids[2], "*")];
    let batch = send(&dataverse, false, &parts).await;
    assert_eq!(batch.status, 404);
    assert_eq!(batch.statuses(), [204, 404]);
    assert_eq!(dataverse.ack_writes().len(), 1);
}

#[tokio::test]
async fn a_batch_counts_as_one_request() {
    let dataverse = empty().await;
    let ids = accounts(&dataverse);
    let parts = ids.map(|id| ack(id, "*"));
    send(&dataverse, true, &parts).await;
    let counts = dataverse.counters().integration;
    assert_eq!(counts.total(), 1);
    assert_eq!(counts.of(RequestKind::Batch), 1);
    assert_eq!(counts.batch_operations, 3);
}

#[tokio::test]
async fn reads_take_part_with_relative_and_absolute_urls() {
    let dataverse = empty().await;
    accounts(&dataverse);
    let absolute = format!(
        "GET {}/api/data/v9.2/accounts?$select=name&$top=1",
        dataverse.url()
    );
    let parts = [
        part(
            None,
            "GET accounts?$filter=name%20eq%20'B'&$select=name",
            "",
            "",
        ),
        part(None, &absolute, "Accept: application/json\r\n", ""),
    ];
    let batch = send(&dataverse, false, &parts).await;
    assert_eq!(batch.statuses(), [200, 200]);
    assert!(batch.text.contains("\"name\":\"B\""));
}

#[tokio::test]
async fn a_change_set_is_undone_as_a_whole() {
    let dataverse = empty().await;
    let ids = accounts(&dataverse);
    let json = "Content-Type: application/json\r\n";
    let create = |id| part(Some(id), "POST accounts", json, r#"{"name":"D"}"#);
    let missing = format!("PATCH accounts({})", Uuid::new_v4());
    let missing = part(Some(2), &missing, &format!("{json}If-Match: *\r\n"), "{}");
    let parts = [change_set(&[create(1), missing]), ack(ids[0], "*")];
    let batch = send(&dataverse, true, &parts).await;
    assert_eq!(batch.statuses(), [404, 204]);
    assert!(batch.text.contains("--changesetresponse_"));
    assert!(batch.text.contains("Content-ID: 2\r\n"));
    assert_eq!(dataverse.ids("account").len(), 3);
    assert_eq!(
        dataverse.outbox_len(),
        3,
        "the notification went with its row"
    );
}

#[tokio::test]
async fn a_change_set_can_point_at_what_it_just_created() {
    let dataverse = empty().await;
    let json = "Content-Type: application/json\r\n";
    let contact = part(Some(1), "POST contacts", json, r#"{"lastname":"L"}"#);
    let bound = r#"{"name":"D","primarycontactid@odata.bind":"$1"}"#;
    let account = part(Some(2), "POST accounts", json, bound);
    let patched = part(Some(3), "PATCH $1", json, r#"{"firstname":"Ada"}"#);
    let batch = send(
        &dataverse,
        false,
        &[change_set(&[contact, account, patched])],
    )
    .await;
    assert_eq!(batch.statuses(), [204, 204, 204], "{}", batch.text);
    let contact = &dataverse.rows("contact")[0];
    assert_eq!(contact["fullname"], "Ada L");
    let account = &dataverse.rows("account")[0];
    assert_eq!(account["_primarycontactid_value"], contact["contactid"]);

    let forward = part(Some(1), "PATCH $2", json, "{}");
    let batch = send(&dataverse, false, &[change_set(&[forward])]).await;
    assert_eq!(batch.status, 400);
    assert!(batch.text.contains("does not exist in the batch context"));
}

#[tokio::test]
async fn a_read_in_a_change_set_and_a_broken_body_are_refused() {
    let dataverse = empty().await;
    let read = change_set(&[part(Some(1), "GET accounts", "", "")]);
    assert_eq!(send(&dataverse, true, &[read]).await.status, 400);
    let without_id = change_set(&[part(None, "POST accounts", "", "{}")]);
    assert_eq!(send(&dataverse, true, &[without_id]).await.status, 400);

    let unix_lines = body("batch_1", &[part(None, "GET accounts", "", "")]).replace("\r\n", "\n");
    let post = request(&dataverse, Method::POST, "$batch")
        .header("content-type", "multipart/mixed; boundary=batch_1")
        .body(unix_lines);
    let answer = super::send(post).await;
    assert_eq!((answer.status, answer.code()), (400, "0x80048d19"));
}

#[tokio::test]
async fn single_operations_of_a_batch_can_be_throttled() {
    let dataverse = empty().await;
    let ids = accounts(&dataverse);
    dataverse.set_faults(DataverseFaults {
        rate_batch_part_429: 1.0,
        retry_after_s: 5,
        ..DataverseFaults::default()
    });
    let batch = send(&dataverse, true, &[ack(ids[0], "*")]).await;
    assert_eq!((batch.status, batch.statuses()), (200, vec![429]));
    assert!(batch.text.contains("Retry-After: 5\r\n"));
    assert!(dataverse.ack_writes().is_empty());
}
