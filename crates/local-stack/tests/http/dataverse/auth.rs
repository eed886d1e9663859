use std::time::Duration;

use local_stack::dataverse::{Dataverse, DataverseConfig, USER_HEADER};
use local_stack::identity::{Claims, TokenKey};
use reqwest::Method;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Answer, request, send};

pub(super) async fn guarded(key: &TokenKey, tenant: Uuid) -> Dataverse {
    Dataverse::start(DataverseConfig {
        auth: Some(key.clone()),
        tenant,
        ..DataverseConfig::default()
    })
    .await
    .unwrap()
}

pub(super) fn token(key: &TokenKey, audience: &str, oid: &str, lifetime: Duration) -> String {
    let now = OffsetDateTime::now_utc();
    key.issue(&Claims {
        aud: audience.to_owned(),
        appid: "app".to_owned(),
        oid: oid.to_owned(),
        uti: String::new(),
        iat: now.unix_timestamp(),
        exp: (now + lifetime).unix_timestamp(),
    })
}

async fn who_am_i(dataverse: &Dataverse, token: &str) -> Answer {
    send(request(dataverse, Method::GET, "WhoAmI").bearer_auth(token)).await
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_token_for_this_environment_is_let_in() {
    let key = TokenKey::random();
    let dataverse = guarded(&key, Uuid::new_v4()).await;
    let one = who_am_i(&dataverse, &token(&key, dataverse.url(), "one", MINUTE)).await;
    let two = who_am_i(&dataverse, &token(&key, dataverse.url(), "two", MINUTE)).await;
    assert_eq!((one.status, two.status), (200, 200));
    assert_ne!(one.body["UserId"], two.body["UserId"]);
}

#[tokio::test]
async fn anything_else_gets_a_challenge() {
    let (key, tenant) = (TokenKey::random(), Uuid::new_v4());
    let dataverse = guarded(&key, tenant).await;
    for token in [
        token(&key, "https://vault.azure.net", "one", MINUTE),
        token(&key, dataverse.url(), "one", Duration::ZERO),
        token(&TokenKey::random(), dataverse.url(), "one", MINUTE),
        "opaque".to_owned(),
    ] {
        let answer = who_am_i(&dataverse, &token).await;
        assert_eq!(answer.status, 401);
        let challenge = answer.header("www-authenticate");
        let expected =
            format!("Bearer authorization_uri=https://login.microsoftonline.com/{tenant}/");
        assert!(challenge.starts_with(&expected), "{challenge}");
        assert!(challenge.contains("resource_id="), "{challenge}");
    }
    let without = send(request(&dataverse, Method::GET, "WhoAmI")).await;
    assert_eq!(without.status, 401);
}

#[tokio::test]
async fn a_local_user_needs_no_token() {
    let dataverse = guarded(&TokenKey::random(), Uuid::new_v4()).await;
    let post = request(&dataverse, Method::POST, "accounts").header(USER_HEADER, "ann");
    assert_eq!(send(post.json(&json!({"name": "A"}))).await.status, 204);
    assert_eq!(dataverse.counters().events, 1);
}
