use local_stack::dataverse::{
    BodyShape, Dataverse, KNOWN_ANSWERS, Script, ScriptedAnswer, ScriptedFault, USER_HEADER,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{get, patch, request, sampled, send};

fn id(dataverse: &Dataverse) -> String {
    format!("accounts({})", dataverse.ids("account")[0])
}

#[tokio::test]
async fn every_known_answer_can_be_provoked_and_hits_one_request() {
    let dataverse = sampled().await;
    let path = id(&dataverse);
    for known in KNOWN_ANSWERS {
        dataverse.script(Script::known(known.name)).unwrap();
        let answer = patch(&dataverse, &path, json!({"telephone1": "1"})).await;
        assert_eq!(
            (answer.status, answer.code()),
            (known.status, known.code),
            "{}",
            known.name
        );
        assert_eq!(
            answer.header("retry-after"),
            known.retry_after.unwrap_or_default(),
            "{}",
            known.name
        );
        let html = answer.header("content-type").starts_with("text/html");
        assert_eq!(html, known.body == BodyShape::Html, "{}", known.name);
    }
    let next = patch(&dataverse, &path, json!({"telephone1": "2"})).await;
    assert_eq!(next.status, 204);
    let faulted = dataverse.counters().integration.faulted;
    assert_eq!(faulted, KNOWN_ANSWERS.len() as u64);
}

#[tokio::test]
async fn only_the_matching_request_is_hit_and_never_a_users() {
    let dataverse = sampled().await;
    let script = Script::known("bad_gateway").on("PATCH", "accounts(");
    dataverse.script(script).unwrap();
    assert_eq!(get(&dataverse, "accounts?$top=1").await.status, 200);
    let path = id(&dataverse);
    let user = request(&dataverse, Method::PATCH, &path).header(USER_HEADER, "ann");
    let user = send(user.json(&json!({"name": "B"}))).await;
    assert_eq!(user.status, 204);
    let hit = patch(&dataverse, &path, json!({"name": "C"})).await;
    assert_eq!(hit.status, 502);
    assert!(dataverse.scripts().is_empty());
}

#[tokio::test]
async fn a_failure_after_the_commit_leaves_the_row_written() {
    let dataverse = sampled().await;
    let row = dataverse.ids("account")[0];
    let path = format!("accounts({row})");
    for (after_commit, phone) in [(false, "1"), (true, "2")] {
        for fault in [
            ScriptedFault::Reset,
            ScriptedFault::Known("gateway_timeout".to_owned()),
        ] {
            let before = dataverse.row("account", row).unwrap();
            let reset = fault == ScriptedFault::Reset;
            let script = Script {
                after_commit,
                ..Script::once(fault)
            };
            dataverse.script(script).unwrap();
            let phone = format!("{phone}{reset}");
            let patch = request(&dataverse, Method::PATCH, &path);
            let answer = patch.json(&json!({"telephone1": phone})).send().await;
            assert_eq!(answer.is_err(), reset);
            let after = dataverse.row("account", row).unwrap();
            assert_eq!(after["telephone1"] == phone.as_str(), after_commit);
            assert_eq!(
                after["versionnumber"] != before["versionnumber"],
                after_commit
            );
        }
    }
}

#[tokio::test]
async fn a_single_operation_of_a_batch_can_be_hit() {
    let dataverse = sampled().await;
    let ids = dataverse.ids("account");
    dataverse
        .script(Script {
            in_batch: true,
            ..Script::known("throttled_requests").on("PATCH", &ids[1].to_string())
        })
        .unwrap();
    let operation = |id| {
        format!(
            "--b\r\nContent-Type: application/http\r\n\r\nPATCH accounts({id}) HTTP/1.1\r\n\
             Content-Type: application/json\r\n\r\n{{\"telephone1\":\"9\"}}\r\n"
        )
    };
    let batch = request(&dataverse, Method::POST, "$batch")
        .header("content-type", "multipart/mixed; boundary=b")
        .header("prefer", "odata.continue-on-error")
        .body(format!(
            "{}{}{}--b--\r\n",
            operation(ids[0]),
            operation(ids[1]),
            operation(ids[2])
        ));
    let text = batch.send().await.unwrap().text().await.unwrap();
    assert_eq!(text.matches("HTTP/1.1 204").count(), 2);
    assert_eq!(text.matches("HTTP/1.1 429").count(), 1);
    assert!(text.contains("Retry-After: 37"));
}

#[tokio::test]
async fn scripts_are_given_read_and_cleared_over_http() {
    let dataverse = sampled().await;
    let admin = format!("{}/_admin/script", dataverse.url());
    let client = crate::client();
    let post = async |body: Value| {
        client
            .post(&admin)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
    };
    let answer = json!({"status": 429, "code": "0x80072326", "message": "x", "retry_after": "5"});
    assert_eq!(
        post(json!({"times": 2, "fault": {"answer": answer}})).await,
        200
    );
    assert_eq!(post(json!({"fault": {"known": "no such"}})).await, 400);
    let hit = get(&dataverse, "accounts?$top=1").await;
    assert_eq!((hit.status, hit.header("retry-after")), (429, "5"));
    let left: Value = client
        .get(&admin)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(left[0]["times"], 1);
    assert_eq!(client.delete(&admin).send().await.unwrap().status(), 204);
    assert_eq!(get(&dataverse, "accounts?$top=1").await.status, 200);
    let counters = format!("{}/_admin/counters", dataverse.url());
    let counters: Value = client
        .get(counters)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&counters["requests"], &counters["faulted"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn an_answer_may_be_worded_freely() {
    let dataverse = sampled().await;
    let answer = ScriptedAnswer {
        status: 503,
        message: "later".to_owned(),
        body: BodyShape::Message,
        retry_after: Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
        ..ScriptedAnswer::default()
    };
    let fault = ScriptedFault::Answer(answer);
    dataverse.script(Script::once(fault)).unwrap();
    let hit = get(&dataverse, "accounts?$top=1").await;
    assert_eq!((hit.status, &hit.body["Message"]), (503, &json!("later")));
    assert!(hit.header("retry-after").ends_with("GMT"));
}
