use std::time::Duration;

use local_stack::identity::{Claims, TokenKey};
use local_stack::tls::LocalCa;
use local_stack::vault::{Vault, VaultConfig};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

struct Bench {
    vault: Vault,
    key: TokenKey,
    client: reqwest::Client,
    tenant: Uuid,
}

async fn bench() -> Bench {
    crate::client();
    let (ca, key, tenant) = (LocalCa::new().unwrap(), TokenKey::random(), Uuid::new_v4());
    let vault = Vault::start(VaultConfig {
        port: 0,
        ca: &ca,
        key: key.clone(),
        tenant,
    })
    .await
    .unwrap();
    let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    Bench {
        vault,
        key,
        client,
        tenant,
    }
}

impl Bench {
    fn token(&self, audience: &str) -> String {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        self.key.issue(&Claims {
            aud: audience.to_owned(),
            appid: "app".to_owned(),
            oid: "object".to_owned(),
            uti: String::new(),
            iat: now,
            exp: now + 60,
        })
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (u16, Option<String>, Value) {
        let mut request = self
            .client
            .get(format!("{}{path}?api-version=2025-07-01", self.vault.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        (status, challenge, response.json().await.unwrap())
    }
}

const VAULT: &str = "https://vault.azure.net";

#[tokio::test]
async fn a_call_without_a_token_is_told_where_to_get_one() {
    let bench = bench().await;
    let (status, challenge, body) = bench.get("/secrets/target-key/", None).await;
    assert_eq!(status, 401);
    assert_eq!(
        challenge.unwrap(),
        format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{}\", resource=\"{VAULT}\"",
            bench.tenant
        )
    );
    assert_eq!(body["error"]["code"], "Unauthorized");
}

#[tokio::test]
async fn a_token_for_another_service_opens_nothing() {
    let bench = bench().await;
    bench.vault.set_secret("target-key", "s3cret");
    let token = bench.token("https://servicebus.azure.net");
    let (status, challenge, _) = bench.get("/secrets/target-key/", Some(&token)).await;
    assert_eq!(status, 401);
    assert!(challenge.is_some());
    assert_eq!(bench.vault.reads(), 0);
}

#[tokio::test]
async fn the_newest_version_answers_and_an_old_one_stays_readable_by_its_id() {
    let bench = bench().await;
    let token = bench.token(VAULT);
    let old = bench.vault.set_secret("target-key", "old");
    let new = bench.vault.set_secret("target-key", "new");

    let (status, _, body) = bench.get("/secrets/target-key/", Some(&token)).await;
    assert_eq!(status, 200);
    assert_eq!(body["value"], "new");
    assert_eq!(
        body["id"],
        format!("{}/secrets/target-key/{new}", bench.vault.url())
    );
    assert_eq!(body["attributes"]["enabled"], true);

    let (_, _, body) = bench
        .get(&format!("/secrets/target-key/{old}"), Some(&token))
        .await;
    assert_eq!(body["value"], "old");
}

#[tokio::test]
async fn an_unknown_secret_and_a_disabled_one_are_told_apart() {
    let bench = bench().await;
    let token = bench.token(VAULT);
    let (status, _, body) = bench.get("/secrets/absent/", Some(&token)).await;
    assert_eq!(status, 404);
    assert_eq!(body["error"]["code"], "SecretNotFound");

    bench.vault.set_secret("target-key", "s3cret");
    bench.vault.set_enabled("target-key", false);
    let (status, _, body) = bench.get("/secrets/target-key/", Some(&token)).await;
    assert_eq!(status, 403);
    assert_eq!(body["error"]["innererror"]["code"], "SecretDisabled");
}
