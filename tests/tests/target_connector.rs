//! The target connector against the target stand-in: each way of proving who calls, limits, answers with
//! another meaning, targets without upsert.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use local_stack::identity::{Identity, IdentityConfig, TokenKey};
use local_stack::target::{Auth, Demand, Faults, Kind, Target as StandIn, TargetConfig};
use local_stack::tls::LocalCa;
use serde_json::{Value, json};
use sync_core::config::{DeletePolicy, SyncConfig};
use sync_core::credentials::{Secret, SecretSource};
use sync_core::failure::{Class, Failure};
use sync_core::mapping::Payload;
use sync_core::ports::{Change, Delivery, Receipt, Target};
use sync_core::snapshot::{RowKey, RowVersion};
use sync_core::target::{HttpTarget, HttpTargetError, HttpTargetParts};
use uuid::Uuid;

const OLD: &str = "canary-old-secret";
const NEW: &str = "canary-new-secret";
const ROW: Uuid = Uuid::from_u128(7);

/// A vault whose next version shows once the current one was refused.
struct Vault(Mutex<(VecDeque<String>, u32)>);

impl Vault {
    fn of(versions: &[&str]) -> Arc<Self> {
        let versions = versions.iter().map(|v| (*v).to_owned()).collect();
        Arc::new(Self(Mutex::new((versions, 0))))
    }

    fn reads(&self) -> u32 {
        self.0.lock().unwrap().1
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn secret(&self, name: &str) -> Result<Secret, Failure> {
        assert_eq!(name, "erp");
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        Ok(Secret::new(state.0[0].clone()))
    }

    fn forget(&self, _: &str, stale: &Secret) {
        let mut state = self.0.lock().unwrap();
        if state.0.len() > 1 && stale.secret() == state.0[0] {
            state.0.pop_front();
        }
    }
}

/// A target, and the connector that calls it.
struct World {
    target: StandIn,
    vault: Arc<Vault>,
    http: HttpTarget,
    config: SyncConfig,
}

/// The shipped file with `target` in the place of its own.
fn sync(target: Value) -> Value {
    let mut sync: Value = serde_json::from_str(local_stack::apps::sync_json()).unwrap();
    sync["target"] = target;
    sync
}

fn standing(auth: Auth) -> TargetConfig {
    TargetConfig {
        auth,
        api_key: NEW.into(),
        ..TargetConfig::default()
    }
}

impl World {
    async fn start(stand_in: TargetConfig, sync: Value, versions: &[&str]) -> Self {
        Self::trusting(stand_in, sync, versions, &[]).await
    }

    /// `roots`: PEM of authorities.
    async fn trusting(
        stand_in: TargetConfig,
        sync: Value,
        versions: &[&str],
        roots: &[String],
    ) -> Self {
        install();
        let target = StandIn::start(stand_in).await.unwrap();
        let config = SyncConfig::parse(&sync.to_string(), "sync.json").unwrap();
        let vault = Vault::of(versions);
        let certificate = |pem: &String| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        let http = HttpTarget::new(HttpTargetParts {
            base: target.url().parse().unwrap(),
            config: config.target.clone(),
            secrets: Arc::clone(&vault) as _,
            secret_name: "erp".into(),
            roots: roots.iter().map(certificate).collect(),
        });
        Self {
            target,
            vault,
            http: http.unwrap(),
            config,
        }
    }

    async fn deliver(&self, body: Value) -> Result<Receipt, Failure> {
        let Value::Object(body) = body else {
            panic!("a row is an object")
        };
        let hash = String::new();
        self.send(Change::Upsert(Payload { body, hash })).await
    }

    async fn send(&self, change: Change) -> Result<Receipt, Failure> {
        let delivery = Delivery {
            row: RowKey {
                table: "account".into(),
                id: ROW,
            },
            version: Some(RowVersion(5)),
            correlation_id: "c-1".into(),
            attempt: Uuid::new_v4(),
            change,
        };
        let result = self.http.deliver(&self.config.tables["account"], &delivery);
        let result = result.await;
        if let Err(failure) = &result {
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        }
        result
    }

    fn statuses(&self) -> Vec<Option<u16>> {
        self.target.calls().iter().map(|call| call.status).collect()
    }
}

fn install() {
    // The tests of this binary share the process; one of them installs it.
    let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
}

fn row() -> Value {
    json!({"name": "Contoso"})
}

/// By key, token, password: the stand-in's way, and the file's.
fn shared_secrets() -> [(Auth, Value); 3] {
    let header = "Ocp-Apim-Subscription-Key".to_owned();
    [
        (
            Auth::ApiKey {
                header: header.clone(),
            },
            json!({"kind": "apiKey", "header": header}),
        ),
        (Auth::Bearer, json!({"kind": "bearer"})),
        (
            Auth::Basic { user: "svc".into() },
            json!({"kind": "basic", "user": "svc"}),
        ),
    ]
}

#[tokio::test]
async fn a_row_gets_in_by_key_by_token_and_by_password() {
    for (auth, file) in shared_secrets() {
        let world = World::start(standing(auth), sync(json!({"auth": file})), &[NEW]).await;
        let receipt = world.deliver(row()).await.unwrap();
        assert_eq!(receipt.target_row_id.as_deref(), Some("C-000001"));
        assert_eq!(world.vault.reads(), 1);
    }
}

#[tokio::test]
async fn a_rotated_secret_costs_one_refused_call_and_one_read_of_the_vault() {
    for (auth, file) in shared_secrets() {
        let world = World::start(standing(auth), sync(json!({"auth": file})), &[OLD, NEW]).await;
        world.deliver(row()).await.unwrap();
        world.deliver(row()).await.unwrap();
        assert_eq!(world.statuses(), [Some(401), Some(201), Some(200)]);
    }
}

#[tokio::test]
async fn while_a_secret_is_rotated_the_target_may_take_both() {
    let world = World::start(
        standing(Auth::Bearer),
        sync(json!({"auth": {"kind": "bearer"}})),
        &[OLD],
    );
    let world = world.await;
    world.target.accept_secrets(&[OLD, NEW]);
    world.deliver(row()).await.unwrap();
    assert_eq!(world.statuses(), [Some(201)]);
}

#[tokio::test]
async fn a_secret_that_is_refused_and_has_no_successor_waits_for_a_person_after_one_call() {
    for (auth, file) in shared_secrets() {
        let world = World::start(standing(auth), sync(json!({"auth": file})), &[OLD]).await;
        let failure = world.deliver(row()).await.unwrap_err();
        assert_eq!(
            (failure.class, failure.code, failure.status),
            (Class::Config, "TargetUnauthorized", Some(401))
        );
        assert_eq!(world.statuses(), [Some(401)]);
    }
}

#[tokio::test]
async fn a_secret_that_no_header_may_have_is_told_with_where_it_is() {
    let world = World::start(standing(Auth::default()), sync(json!({})), &["canary\n"]).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Config, "SecretUnusable")
    );
    assert!(failure.message.contains("Key Vault secret \"erp\""));
}

/// A token endpoint, a target that takes its tokens, and the way to them.
struct Issuer {
    identity: Identity,
    client_id: Uuid,
    key: TokenKey,
}

impl Issuer {
    async fn start() -> Self {
        let key = TokenKey::random();
        let identity = Identity::start(IdentityConfig {
            key: key.clone(),
            ..IdentityConfig::default()
        });
        let (identity, client_id) = (identity.await.unwrap(), Uuid::new_v4());
        identity.set_client_secret(client_id, NEW);
        Self {
            identity,
            client_id,
            key,
        }
    }

    fn target(&self) -> TargetConfig {
        standing(Auth::OAuth2 {
            key: self.key.clone(),
            audience: "api://erp".into(),
        })
    }

    fn sync(&self, place: &str) -> Value {
        let (authority, tenant) = (self.identity.authority(), self.identity.tenant());
        sync(
            json!({"auth": {"kind": "oauth2", "tokenUrl": format!("{authority}/{tenant}/oauth2/v2.0/token"),
            "clientId": self.client_id, "scope": "api://erp/.default", "clientAuthentication": place}}),
        )
    }

    fn statuses(&self) -> Vec<u16> {
        let requests = self.identity.requests();
        requests.iter().map(|request| request.status).collect()
    }
}

#[tokio::test]
async fn a_row_gets_in_with_an_access_token_which_many_rows_share() {
    for place in ["body", "header"] {
        let issuer = Issuer::start().await;
        let world = World::start(issuer.target(), issuer.sync(place), &[NEW]).await;
        for _ in 0..5 {
            world.deliver(row()).await.unwrap();
        }
        assert_eq!(issuer.statuses(), [200], "{place}");
        assert_eq!(world.vault.reads(), 1);
    }
}

#[tokio::test]
async fn a_revoked_token_is_got_anew_without_another_secret() {
    let issuer = Issuer::start().await;
    let world = World::start(issuer.target(), issuer.sync("body"), &[NEW]).await;
    world.deliver(row()).await.unwrap();
    // Tokens of one second are alike.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.target.revoke_tokens();
    world.deliver(row()).await.unwrap();
    assert_eq!(world.statuses(), [Some(201), Some(401), Some(200)]);
    assert_eq!(issuer.statuses(), [200, 200]);
}

#[tokio::test]
async fn a_client_secret_that_was_rotated_is_read_anew_once() {
    let issuer = Issuer::start().await;
    let world = World::start(issuer.target(), issuer.sync("body"), &[OLD, NEW]).await;
    world.deliver(row()).await.unwrap();
    assert_eq!(issuer.statuses(), [401, 200]);
    assert_eq!(world.statuses(), [Some(201)]);
}

#[tokio::test]
async fn a_client_that_gets_no_token_waits_for_a_person_and_the_target_is_not_called() {
    let issuer = Issuer::start().await;
    let world = World::start(issuer.target(), issuer.sync("body"), &[OLD]).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Config, "ClientSecretRefused")
    );
    assert!(failure.message.contains("invalid_client"), "{failure}");
    assert!(world.statuses().is_empty());
    issuer.identity.fail_with(Some(503));
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
}

#[tokio::test]
async fn a_token_that_the_target_never_takes_waits_for_a_person() {
    let issuer = Issuer::start().await;
    let stranger = standing(Auth::OAuth2 {
        key: TokenKey::random(),
        audience: "api://erp".into(),
    });
    let world = World::start(stranger, issuer.sync("body"), &[NEW]).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(failure.class, Class::Config);
    assert!(failure.message.contains("access token"), "{failure}");
    // Once with a new token; the vault has no other secret.
    assert_eq!(world.statuses(), [Some(401), Some(401)]);
}

fn mutual(ca: &LocalCa) -> TargetConfig {
    TargetConfig {
        tls: Some(ca.mutual_server_config().unwrap()),
        ..standing(Auth::ClientCertificate)
    }
}

fn by_certificate() -> Value {
    sync(json!({"auth": {"kind": "clientCertificate"}}))
}

#[tokio::test]
async fn a_row_gets_in_with_a_client_certificate_and_one_that_was_replaced_is_read_anew() {
    install();
    let (ca, other) = (LocalCa::new().unwrap(), LocalCa::new().unwrap());
    let good = ca.client_pem("sync").unwrap();
    let stale = other.client_pem("sync").unwrap();
    let roots = [ca.pem()];
    let world = World::trusting(mutual(&ca), by_certificate(), &[&good], &roots).await;
    world.deliver(row()).await.unwrap();
    world.deliver(row()).await.unwrap();
    assert_eq!(world.statuses(), [Some(201), Some(200)]);

    // A refusal in TLS 1.3 may show as a broken connection only. Such a call is not repeated at once; the
    // next attempt has the new certificate.
    let versions: [&str; 2] = [&stale, &good];
    let world = World::trusting(mutual(&ca), by_certificate(), &versions, &roots).await;
    if let Err(failure) = world.deliver(row()).await {
        assert_eq!(failure.class, Class::Transient);
        world.deliver(row()).await.unwrap();
    }
    assert_eq!(world.statuses(), [Some(201)]);

    let world = World::trusting(mutual(&ca), by_certificate(), &[&stale], &roots).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert!(
        matches!(failure.class, Class::Config | Class::Transient),
        "{failure}"
    );
    assert!(world.statuses().is_empty());
}

#[tokio::test]
async fn a_secret_that_is_no_certificate_is_told_and_certificates_are_for_https_only() {
    install();
    let ca = LocalCa::new().unwrap();
    let world = World::trusting(mutual(&ca), by_certificate(), &["canary"], &[ca.pem()]).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Config, "SecretUnusable")
    );
    let refused = HttpTarget::new(HttpTargetParts {
        base: "http://localhost:1".parse().unwrap(),
        config: world.config.target.clone(),
        secrets: world.vault.clone(),
        secret_name: "erp".into(),
        roots: Vec::new(),
    });
    assert!(matches!(refused, Err(HttpTargetError::NotHttps)));
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named_and_not_otherwise() {
    install();
    let ca = LocalCa::new().unwrap();
    let stand_in = || TargetConfig {
        tls: Some(ca.server_config().unwrap()),
        ..standing(Auth::default())
    };
    let world = World::trusting(stand_in(), sync(json!({})), &[NEW], &[ca.pem()]).await;
    world.deliver(row()).await.unwrap();
    let world = World::start(stand_in(), sync(json!({})), &[NEW]).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("certificate"), "{failure}");
}

#[tokio::test]
async fn a_target_that_says_slow_down_is_obeyed_and_a_limit_of_our_own_keeps_calls_away() {
    let crowded = TargetConfig {
        calls_per_second: Some(0),
        ..standing(Auth::default())
    };
    let world = World::start(crowded, sync(json!({})), &[NEW]).await;
    let failure = world.deliver(row()).await.unwrap_err();
    assert!(
        matches!(failure.class, Class::Throttled { .. }),
        "{failure}"
    );
    assert_eq!(failure.code, "TargetThrottled");

    let rate = json!({"requestsPerSecond": 0.001, "maxWaitSeconds": 0.1});
    let world = World::start(standing(Auth::default()), sync(rate), &[NEW]).await;
    world.deliver(row()).await.unwrap();
    let failure = world.deliver(row()).await.unwrap_err();
    assert!(
        matches!(failure.class, Class::Throttled { .. }),
        "{failure}"
    );
    assert_eq!(failure.code, "TargetLimit");
    assert_eq!(world.statuses(), [Some(201)]);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_and_the_target_has_taken_the_row() {
    let world = World::start(
        standing(Auth::default()),
        sync(json!({"maxResponseBytes": 4096})),
        &[NEW],
    )
    .await;
    world.target.set_faults(Faults {
        padding_bytes: 10_000_000,
        ..Faults::default()
    });
    let failure = world.deliver(row()).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Config, "TargetAnswerTooLong")
    );
    assert!(world.target.row("customers", &ROW.to_string()).is_some());
}

#[tokio::test]
async fn a_row_that_breaks_the_targets_schema_is_refused_with_code_and_field() {
    let demand = Demand {
        required: true,
        kind: Some(Kind::String),
        max_length: Some(3),
        one_of: Vec::new(),
    };
    let stand_in = TargetConfig {
        schemas: BTreeMap::from([(
            "customers".into(),
            BTreeMap::from([("number".into(), demand)]),
        )]),
        ..standing(Auth::default())
    };
    let world = World::start(stand_in, sync(json!({})), &[NEW]).await;
    for (number, code) in [
        (json!(null), "missing-field"),
        (json!(7), "wrong-type"),
        (json!("canary"), "too-long"),
    ] {
        let body = json!({"name": "Contoso", "number": number});
        let failure = world.deliver(body).await.unwrap_err();
        assert_eq!(failure.class, Class::Permanent);
        let expected = format!("422, code {code}, field number");
        assert!(failure.message.contains(&expected), "{failure}");
    }
    world
        .deliver(json!({"name": "Contoso", "number": "A-1"}))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_can_be_given_another_meaning() {
    let answers = json!({"answers": {"422:invalid-name": "transient"}});
    let world = World::start(standing(Auth::default()), sync(answers), &[NEW]).await;
    let failure = world.deliver(json!({"name": "REJECT"})).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.status),
        (Class::Transient, Some(422))
    );
}

#[tokio::test]
async fn headers_are_called_as_the_file_says_or_left_out() {
    let target = json!({"headers": {"idempotencyKey": null, "version": "x-source-version"},
        "constantHeaders": {"traceparent": "00-fixed"}});
    let world = World::start(standing(Auth::default()), sync(target), &[NEW]).await;
    world.deliver(row()).await.unwrap();
    let call = &world.target.calls()[0];
    assert_eq!(call.idempotency_key, None);
    assert_eq!(call.source_version.as_deref(), Some("5"));
    assert_eq!(call.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(call.traceparent.as_deref(), Some("00-fixed"));
}

/// A target that knows rows by ids of its own only.
async fn without_upsert() -> World {
    let mut sync = sync(json!({}));
    sync["tables"]["account"]["target"] = json!({
        "path": "/customers/{targetRowId}", "method": "PATCH",
        "find": {"path": "/customers?externalId={sourceRowId}", "id": "/items/0/id"},
        "create": {"path": "/customers"},
    });
    let stand_in = TargetConfig {
        upsert: false,
        ..standing(Auth::default())
    };
    World::start(stand_in, sync, &[NEW]).await
}

fn whole() -> Value {
    json!({"name": "Contoso", "externalId": ROW})
}

#[tokio::test]
async fn a_row_that_is_not_found_is_created_then_updated_then_deleted() {
    let world = without_upsert().await;
    let id = |receipt: Receipt| receipt.target_row_id;
    let created = id(world.deliver(whole()).await.unwrap());
    assert_eq!(created.as_deref(), Some("C-000001"));
    let updated = json!({"name": "Contoso Ltd", "externalId": ROW});
    assert_eq!(id(world.deliver(updated).await.unwrap()), created);
    let calls = world.target.calls();
    let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["GET", "POST", "GET", "PATCH"]);
    let held = world.target.row("customers", &ROW.to_string()).unwrap();
    assert_eq!(held.body["name"], "Contoso Ltd");
    // A question changes nothing and has no key; create and update never share one.
    let keys: Vec<_> = calls.iter().map(|c| c.idempotency_key.as_deref()).collect();
    assert_eq!((keys[0], keys[2]), (None, None));
    assert!(keys[1].unwrap().ends_with(":create"), "{keys:?}");
    assert!(keys[3].unwrap().ends_with(":update"), "{keys:?}");

    let delete = || Change::Delete(DeletePolicy::Delete);
    world.send(delete()).await.unwrap();
    assert!(world.target.rows().is_empty());
    // Nothing to delete is as good as deleted, and costs a question only.
    world.send(delete()).await.unwrap();
    assert_eq!(world.target.calls().last().unwrap().method, "GET");
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_found_by_the_next_attempt() {
    let world = without_upsert().await;
    world.target.set_faults(Faults {
        rate_reset_after_apply: 1.0,
        writes_only: true,
        ..Faults::default()
    });
    let failure = world.deliver(whole()).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.lingers.is_some(), "it may still take effect");
    world.target.set_faults(Faults::default());
    let receipt = world.deliver(whole()).await.unwrap();
    assert_eq!(receipt.target_row_id.as_deref(), Some("C-000001"));
    assert_eq!(world.target.rows().len(), 1);
}

#[tokio::test]
async fn whoever_creates_second_is_told_of_a_conflict_and_finds_the_row_next_time() {
    let world = without_upsert().await;
    // Both asked before either created.
    let client = reqwest::Client::new();
    let other = client
        .post(format!("{}/customers", world.target.url()))
        .header("x-api-key", NEW)
        .json(&whole());
    other.try_clone().unwrap().send().await.unwrap();
    let conflict = other.send().await.unwrap();
    assert_eq!(conflict.status(), 409);
    world.deliver(whole()).await.unwrap();
    assert_eq!(world.target.rows().len(), 1);
}
