use local_stack::dataverse::{Dataverse, DataverseFaults, USER_HEADER};
use reqwest::Method;
use serde_json::{Value, json};

use super::{empty, get, request, sampled, send};

async fn faulty(faults: DataverseFaults) -> Dataverse {
    let dataverse = sampled().await;
    dataverse.set_faults(faults);
    dataverse
}

#[tokio::test]
async fn a_throttled_request_names_its_wait_and_one_of_the_three_codes() {
    let dataverse = faulty(DataverseFaults {
        rate_429: 1.0,
        retry_after_s: 37,
        ..DataverseFaults::default()
    })
    .await;
    let mut codes = Vec::new();
    for _ in 0..30 {
        let answer = get(&dataverse, "accounts?$top=1").await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, "37"));
        codes.push(answer.code().to_owned());
    }
    codes.sort();
    codes.dedup();
    assert_eq!(codes, ["0x80072321", "0x80072322", "0x80072326"]);
    assert_eq!(dataverse.counters().integration.faulted, 30);
}

#[tokio::test]
async fn the_gateway_answers_503_with_html() {
    let dataverse = faulty(DataverseFaults {
        rate_503: 1.0,
        ..DataverseFaults::default()
    })
    .await;
    let answer = get(&dataverse, "accounts?$top=1").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn any_known_answer_can_be_made_likely() {
    let rates = [("sql_deadlock", 0.5), ("bad_gateway", 0.5)];
    let rates = rates.map(|(name, rate)| (name.to_owned(), rate));
    let dataverse = faulty(DataverseFaults {
        rate_known: rates.into(),
        ..DataverseFaults::default()
    })
    .await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(get(&dataverse, "accounts?$top=1").await.status);
    }
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [500, 502]);
    let admin = format!("{}/_admin/faults", dataverse.url());
    let unknown = json!({"rate_known": {"sql_deadlok": 0.1}});
    let answer = crate::client().post(&admin).json(&unknown).send().await;
    assert_eq!(answer.unwrap().status(), 400);
}

#[tokio::test]
async fn a_users_save_is_never_hit() {
    let dataverse = faulty(DataverseFaults {
        rate_503: 1.0,
        ..DataverseFaults::default()
    })
    .await;
    dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    let post = request(&dataverse, Method::POST, "accounts").header(USER_HEADER, "ann");
    assert_eq!(send(post.json(&json!({"name": "B"}))).await.status, 204);
}

#[tokio::test]
async fn an_answer_lost_after_the_commit_leaves_the_row_written() {
    for (faults, rows) in [
        (
            DataverseFaults {
                rate_reset_before: 1.0,
                ..DataverseFaults::default()
            },
            0,
        ),
        (
            DataverseFaults {
                rate_reset_after: 1.0,
                ..DataverseFaults::default()
            },
            1,
        ),
    ] {
        let dataverse = empty().await;
        dataverse.set_faults(faults);
        let post = request(&dataverse, Method::POST, "accounts").json(&json!({"name": "A"}));
        assert!(post.send().await.is_err());
        assert_eq!(dataverse.ids("account").len(), rows);
    }
}

#[tokio::test]
async fn faults_are_changed_over_http_while_it_runs() {
    let dataverse = sampled().await;
    let admin = format!("{}/_admin/faults", dataverse.url());
    let change = crate::client()
        .post(&admin)
        .json(&json!({"rate_503": 1.0, "seed": 7}));
    let now: Value = change.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&now["rate_503"], &now["rate_429"]),
        (&json!(1.0), &json!(0.0))
    );
    assert_eq!(get(&dataverse, "accounts?$top=1").await.status, 503);
    let wrong = crate::client().post(&admin).json(&json!({"rate_5O3": 1.0}));
    assert_eq!(wrong.send().await.unwrap().status(), 400);
}
