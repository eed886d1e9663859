use std::time::Duration;

use local_stack::identity::{Identity, IdentityConfig, TokenRejected};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::client;

async fn ask(identity: &Identity, header: &str, query: &str) -> (u16, Value) {
    let response = client()
        .get(format!("{}?{query}", identity.url()))
        .header("x-identity-header", header)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

const VAULT: &str = "api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net";

#[tokio::test]
async fn a_token_names_its_audience_and_expires_when_it_says() {
    let identity = Identity::start(IdentityConfig {
        lifetime: Duration::from_secs(600),
        ..IdentityConfig::default()
    })
    .await
    .unwrap();

    let (status, body) = ask(&identity, identity.header(), VAULT).await;

    assert_eq!(status, 200);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["resource"], "https://vault.azure.net");
    let expires_on: i64 = body["expires_on"].as_str().unwrap().parse().unwrap();
    let token = body["access_token"].as_str().unwrap();
    let key = identity.key();
    let now = OffsetDateTime::now_utc();
    let claims = key.verify(token, "https://vault.azure.net", now).unwrap();
    assert_eq!(claims.exp, expires_on);
    assert_eq!(claims.exp - claims.iat, 600);
    assert_eq!(claims.appid, identity.client_id().to_string());
    assert!(matches!(
        key.verify(token, "https://servicebus.azure.net", now),
        Err(TokenRejected::Audience { .. })
    ));
}

#[tokio::test]
async fn a_caller_without_the_secret_header_gets_no_token() {
    let identity = Identity::start(IdentityConfig::default()).await.unwrap();
    let (status, body) = ask(&identity, "wrong", VAULT).await;
    assert_eq!(status, 401);
    assert!(body["access_token"].is_null());
    assert_eq!(identity.requests()[0].status, 401);
}

#[tokio::test]
async fn an_identity_that_is_not_assigned_is_refused() {
    let assigned = Uuid::new_v4();
    let identity = Identity::start(IdentityConfig {
        user_assigned: vec![assigned],
        ..IdentityConfig::default()
    })
    .await
    .unwrap();
    let with = |id: Uuid| format!("{VAULT}&client_id={id}");

    let (status, body) = ask(&identity, identity.header(), &with(assigned)).await;
    assert_eq!(
        (status, &body["client_id"]),
        (200, &assigned.to_string().into())
    );
    let (status, _) = ask(&identity, identity.header(), &with(Uuid::new_v4())).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_missing_resource_or_another_api_version_is_refused() {
    let identity = Identity::start(IdentityConfig::default()).await.unwrap();
    for query in [
        "api-version=2019-08-01",
        "api-version=2017-09-01&resource=x",
    ] {
        let (status, _) = ask(&identity, identity.header(), query).await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test]
async fn an_endpoint_told_to_fail_fails_until_told_otherwise() {
    let identity = Identity::start(IdentityConfig::default()).await.unwrap();
    identity.fail_with(Some(503));
    assert_eq!(ask(&identity, identity.header(), VAULT).await.0, 503);
    identity.fail_with(None);
    assert_eq!(ask(&identity, identity.header(), VAULT).await.0, 200);
    assert_eq!(identity.requests().len(), 2);
}
