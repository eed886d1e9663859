use std::time::Duration;

use local_stack::dataverse::{
    Costs, Dataverse, DataverseConfig, Limit, Limits, USER_HEADER, WebServers,
};
use local_stack::identity::{Claims, TokenKey};
use reqwest::Method;
use serde_json::json;
use time::OffsetDateTime;

use super::{Answer, request, send};

/// A window long enough for nothing to leave it during a test.
const LIMITS: Limits = Limits {
    requests: 4,
    execution_time: Duration::from_secs(10),
    concurrency: 52,
    window: Duration::from_secs(300),
};

async fn limited(count: usize, limits: Limits, costs: Costs) -> Dataverse {
    Dataverse::start(DataverseConfig {
        sample_accounts: 3,
        servers: WebServers {
            count,
            limits: Some(limits),
            costs,
            dop_hint: 7,
            ..WebServers::default()
        },
        ..DataverseConfig::default()
    })
    .await
    .unwrap()
}

async fn list(dataverse: &Dataverse, cookie: Option<&str>) -> Answer {
    let mut list = request(dataverse, Method::GET, "accounts?$select=name");
    if let Some(cookie) = cookie {
        list = list.header("cookie", cookie);
    }
    send(list).await
}

#[tokio::test]
async fn a_client_that_keeps_its_cookie_is_refused_sooner_than_one_that_does_not() {
    let dataverse = limited(3, LIMITS, Costs::default()).await;
    let first = list(&dataverse, None).await;
    let cookie = first.header("set-cookie").split(';').next().unwrap();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(list(&dataverse, Some(cookie)).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    for _ in 0..8 {
        list(&dataverse, None).await;
    }
    let counters = dataverse.counters();
    let by_server: Vec<u64> = counters.servers.values().map(|c| c.requests).collect();
    assert_eq!(by_server, [4, 3, 3]);
    assert_eq!(counters.refused(Limit::Requests), counters.refused_in_all());
}

#[tokio::test]
async fn a_refusal_looks_as_documented_and_its_wait_is_a_whole_number() {
    let dataverse = limited(1, LIMITS, Costs::default()).await;
    let allowed = list(&dataverse, None).await;
    assert_eq!(allowed.header("x-ms-dop-hint"), "7");
    assert_eq!(
        allowed.header("x-ms-ratelimit-burst-remaining-xrm-requests"),
        "3"
    );
    assert_eq!(
        allowed.header("x-ms-ratelimit-time-remaining-xrm-requests"),
        "10.00"
    );
    for _ in 0..3 {
        list(&dataverse, None).await;
    }
    let refused = list(&dataverse, None).await;
    assert_eq!((refused.status, refused.code()), (429, "0x80072322"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "Number of requests exceeded the limit of 4 over time window of 300 seconds."
    );
    dataverse.set_limits(None);
    assert_eq!(list(&dataverse, None).await.status, 200);
}

#[tokio::test]
async fn a_batch_is_one_request_with_the_execution_time_of_all_its_operations() {
    let costs = Costs {
        read: Duration::from_secs(5),
        ..Costs::default()
    };
    let dataverse = limited(1, LIMITS, costs).await;
    let id = dataverse.ids("account")[0];
    let read = format!(
        "--b\r\nContent-Type: application/http\r\n\r\nGET accounts({id}) HTTP/1.1\r\n\r\n\r\n"
    );
    let batch = request(&dataverse, Method::POST, "$batch")
        .header("content-type", "multipart/mixed; boundary=b")
        .body(format!("{read}{read}--b--\r\n"));
    assert_eq!(send(batch).await.status, 200);
    let counters = dataverse.counters();
    let server = counters.servers.values().next().unwrap();
    assert_eq!(
        (server.requests, server.execution_time),
        (1, Duration::from_secs(10))
    );
    let refused = list(&dataverse, None).await;
    assert_eq!((refused.status, refused.code()), (429, "0x80072321"));
}

#[tokio::test]
async fn more_requests_at_a_time_than_allowed_are_refused() {
    let limits = Limits {
        requests: 100,
        concurrency: 1,
        ..LIMITS
    };
    let costs = Costs {
        list: Duration::from_millis(500),
        slept: 1.0,
        ..Costs::default()
    };
    let dataverse = limited(1, limits, costs).await;
    let answers = tokio::join!(
        list(&dataverse, None),
        list(&dataverse, None),
        list(&dataverse, None)
    );
    let answers = [answers.0, answers.1, answers.2];
    let mut codes: Vec<&str> = answers.iter().map(Answer::code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["", "0x80072326", "0x80072326"]);
    assert_eq!(dataverse.counters().refused(Limit::Concurrency), 2);
}

#[tokio::test]
async fn the_client_id_of_the_token_decides_whose_limits_count_and_users_have_none() {
    let key = TokenKey::random();
    let dataverse = Dataverse::start(DataverseConfig {
        auth: Some(key.clone()),
        servers: WebServers {
            limits: Some(Limits {
                requests: 1,
                ..LIMITS
            }),
            ..WebServers::default()
        },
        ..DataverseConfig::default()
    })
    .await
    .unwrap();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let token = |appid: &str| {
        key.issue(&Claims {
            aud: dataverse.url().to_owned(),
            appid: appid.to_owned(),
            oid: "one and the same".to_owned(),
            uti: String::new(),
            iat: now,
            exp: now + 600,
        })
    };
    let who = async |appid: &str| {
        let who = request(&dataverse, Method::GET, "WhoAmI").bearer_auth(token(appid));
        send(who).await.status
    };
    assert_eq!((who("a").await, who("a").await), (200, 429));
    assert_eq!((who("b").await, who("b").await), (200, 429));
    let servers = dataverse.counters().servers;
    let identities: Vec<&str> = servers
        .keys()
        .map(|(identity, _)| identity.as_str())
        .collect();
    assert_eq!(identities, ["a", "b"]);
    for _ in 0..3 {
        let post = request(&dataverse, Method::POST, "accounts").header(USER_HEADER, "ann");
        assert_eq!(send(post.json(&json!({"name": "B"}))).await.status, 204);
    }
}
