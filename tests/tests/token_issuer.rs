//! Our client-credentials grant against a token issuer that others wrote: `tests/conformance/tokens/run`
//! starts it and runs these.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sync_core::config::SyncConfig;
use sync_core::credentials::{Secret, SecretSource};
use sync_core::failure::{Class, Failure};
use sync_core::mapping::Payload;
use sync_core::ports::{Change, Delivery, Receipt, Target};
use sync_core::snapshot::{RowKey, RowVersion};
use sync_core::target::{HttpTarget, HttpTargetParts};
use uuid::Uuid;

const SECRET: &str = "canary-new-secret";

/// A vault with one secret.
struct Vault(&'static str);

#[async_trait]
impl SecretSource for Vault {
    async fn secret(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::new(self.0))
    }

    fn forget(&self, _: &str, _: &Secret) {}
}

struct World {
    url: String,
    http: HttpTarget,
    config: SyncConfig,
}

impl World {
    /// `auth` on top of the issuer's address and a scope.
    fn start(secret: &'static str, auth: Value) -> Self {
        let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
        let url = std::env::var("TOKEN_ISSUER").unwrap();
        let mut sync: Value = serde_json::from_str(local_stack::apps::sync_json()).unwrap();
        let mut whole =
            json!({"kind": "oauth2", "tokenUrl": format!("{url}/token"), "scope": "erp.write"});
        let members = auth.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(members);
        sync["target"] = json!({"auth": whole});
        let config = SyncConfig::parse(&sync.to_string(), "sync.json").unwrap();
        let http = HttpTarget::new(HttpTargetParts {
            base: url.parse().unwrap(),
            config: config.target.clone(),
            secrets: Arc::new(Vault(secret)),
            secret_name: "erp".into(),
            roots: Vec::new(),
        });
        let http = http.unwrap();
        Self { url, http, config }
    }

    async fn deliver(&self) -> Result<Receipt, Failure> {
        let body = json!({"name": "Contoso"}).as_object().unwrap().clone();
        let delivery = Delivery {
            row: RowKey {
                table: "account".into(),
                id: Uuid::from_u128(7),
            },
            version: Some(RowVersion(1)),
            correlation_id: "c".into(),
            attempt: Uuid::nil(),
            change: Change::Upsert(Payload {
                body,
                hash: String::new(),
            }),
        };
        let table = &self.config.tables["account"];
        self.http.deliver(table, &delivery).await
    }

    /// Token calls of this client so far.
    async fn calls(&self, client: &str) -> Vec<Value> {
        let seen = reqwest::get(format!("{}/_seen", self.url)).await.unwrap();
        let seen: Vec<Value> = seen.json().await.unwrap();
        seen.into_iter()
            .filter(|call| call["id"] == client)
            .collect()
    }
}

#[tokio::test]
#[ignore = "needs the issuer that tests/conformance/tokens/run starts"]
async fn its_token_is_taken_by_a_target_that_trusts_the_issuer_and_many_rows_share_it() {
    for place in ["body", "header"] {
        // What has to be encoded once more in a header.
        let client = format!("sync {place}+%");
        let auth =
            json!({"clientId": client, "clientAuthentication": place, "audience": "api://erp"});
        let world = World::start(SECRET, auth);
        for _ in 0..5 {
            let receipt = world.deliver().await.unwrap();
            assert_eq!(receipt.target_row_id.as_deref(), Some("scope erp.write"));
        }
        let calls = world.calls(&client).await;
        let expected = json!({"id": client, "place": place, "scope": "erp.write", "audience": "api://erp", "status": 200});
        assert_eq!(calls, [expected]);
    }
}

#[tokio::test]
#[ignore = "needs the issuer that tests/conformance/tokens/run starts"]
async fn a_token_is_got_anew_before_its_life_is_over() {
    let world = World::start(SECRET, json!({"clientId": "short"}));
    for _ in 0..10 {
        world.deliver().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let calls = world.calls("short").await.len();
    assert!(
        (2..=10).contains(&calls),
        "{calls} for at least five seconds"
    );
}

#[tokio::test]
#[ignore = "needs the issuer that tests/conformance/tokens/run starts"]
async fn a_wrong_secret_waits_for_a_person_and_is_not_repeated() {
    let world = World::start("canary-old-secret", json!({"clientId": "wrong"}));
    let failure = world.deliver().await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Config, "ClientSecretRefused")
    );
    assert!(!failure.to_string().contains("canary"), "{failure}");
    assert_eq!(world.calls("wrong").await.len(), 1);
}

#[tokio::test]
#[ignore = "needs the issuer that tests/conformance/tokens/run starts"]
async fn an_issuer_that_is_busy_is_asked_again_later() {
    let world = World::start(SECRET, json!({"clientId": "busy"}));
    let failure = world.deliver().await.unwrap_err();
    assert_eq!(
        (failure.class, failure.status),
        (Class::Transient, Some(503))
    );
}
