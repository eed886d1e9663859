//! Wire formats against golden files; `UPDATE_GOLDEN=1` writes them anew.

use local_stack::dataverse::Dataverse;
use reqwest::Method;
use serde_json::{Value, json};

use super::{empty, request, sample, sampled};

/// Compares with `golden/{name}`, with what differs from run to run replaced.
pub(super) fn assert_golden(name: &str, text: &str) {
    let path = format!(
        "{}/tests/http/dataverse/golden/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = steady(text);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden.replace("\r\n", "\n"), "{name}");
}

/// Replaces GUIDs, times, dates and ports, and CRLF by LF.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    let text = text.replace("\r\n", "\n");
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let word = |length: usize| rest.get(..length).unwrap_or_default();
        let (replacement, used) = if uuid::Uuid::parse_str(word(36)).is_ok() {
            ("<guid>", 36)
        } else if is_time(word(20)) {
            ("<time>", rest.find('Z').unwrap_or(19) + 1)
        } else if let Some(port) = rest.strip_prefix("127.0.0.1:") {
            let digits = port
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(port.len());
            ("<host>", 10 + digits)
        } else {
            steady.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        steady.push_str(replacement);
        rest = &rest[used..];
    }
    steady
}

fn is_time(word: &str) -> bool {
    let shape = word
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c });
    let shape: String = shape.collect();
    shape == "0000-00-00T00:00:00Z" || shape == "0000-00-00T00:00:00."
}

/// Status, headers (but the date) and body, as text.
async fn exchange(request: reqwest::RequestBuilder) -> String {
    let response = request.send().await.unwrap();
    let status = response.status();
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .filter(|(name, _)| *name != "date" && *name != "content-length")
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let body = response.text().await.unwrap();
    format!("{status}\n{}\n{body}", headers.concat())
}

fn payload(dataverse: &Dataverse, operation: &str) -> String {
    let outbox = dataverse.outbox();
    let row = outbox.iter().find(|row| row["dvs_operation"] == operation);
    let payload = row.unwrap()["dvs_payload"].as_str().unwrap().to_owned();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    serde_json::to_string_pretty(&payload).unwrap()
}

#[tokio::test]
async fn notifications_look_as_agreed() {
    let dataverse = empty().await;
    let body = json!({"name": "A", "accountnumber": "A1"});
    let id = dataverse.save("account", None, &body).unwrap().id;
    dataverse.delete("account", id).unwrap();
    assert_golden("notification-create.json", &payload(&dataverse, "create"));
    assert_golden("notification-delete.json", &payload(&dataverse, "delete"));
}

#[tokio::test]
async fn who_am_i_looks_as_in_the_documentation() {
    let dataverse = empty().await;
    let answer = exchange(request(&dataverse, Method::GET, "WhoAmI")).await;
    assert_golden("who-am-i.txt", &answer);
}

#[tokio::test]
async fn a_row_and_a_missing_row_look_as_in_the_documentation() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "A. Datum");
    let path = format!(
        "accounts({id})?$select=name,revenue,description,_primarycontactid_value,statuscode\
         &$expand=primarycontactid($select=fullname)"
    );
    let row = exchange(request(&dataverse, Method::GET, &path)).await;
    assert_golden("row.txt", &row);
    let path = format!("accounts({})", uuid::Uuid::nil());
    let missing = exchange(request(&dataverse, Method::GET, &path)).await;
    assert_golden("missing-row.txt", &missing);
}

#[tokio::test]
async fn a_batch_answer_looks_as_in_the_documentation() {
    let dataverse = empty().await;
    let batch = "--b\r\nContent-Type: multipart/mixed; boundary=\"c\"\r\n\r\n\
        --c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
        Content-ID: 1\r\n\r\nPOST accounts HTTP/1.1\r\nContent-Type: application/json\r\n\r\n\
        {\"name\":\"A\"}\r\n--c--\r\n\
        --b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
        GET accounts?$select=name HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n\
        --b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
        GET accounts?$select=nam HTTP/1.1\r\n\r\n--b--\r\n";
    let post = request(&dataverse, Method::POST, "$batch")
        .header("content-type", "multipart/mixed; boundary=b")
        .header("prefer", "odata.continue-on-error");
    let answer = exchange(post.body(batch)).await;
    assert_golden("batch.txt", &answer);
}
