//! Every answer the Dataverse stand-in can be made to give, met over HTTP by the client that ships.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use local_stack::dataverse::{Dataverse, DataverseConfig, KNOWN_ANSWERS, Script, ScriptedFault};
use serde_json::{Map, json};
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::credentials::{Secret, TokenSource};
use sync_core::dataverse::{DataverseClient, DataverseOptions};
use sync_core::failure::{Class, Failure};
use sync_core::ports::{AckWrite, Acknowledgements, Source};
use sync_core::snapshot::Latest;
use uuid::Uuid;

struct Anybody;

#[async_trait]
impl TokenSource for Anybody {
    async fn token(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::new("anybody"))
    }

    fn forget(&self, _: &str) {}
}

/// What the client makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// A failure of this class.
    Failure(Class),
    /// The row does not exist.
    Gone,
    /// A read fails so; a conditional write has lost against somebody else.
    Conflict(Class),
}

const RETRY: Means = Means::Failure(Class::Transient);
const PERMANENT: Means = Means::Failure(Class::Permanent);
const CONFIG: Means = Means::Failure(Class::Config);

const fn throttled(seconds: u64) -> Means {
    Means::Failure(Class::Throttled {
        retry_after: Duration::from_secs(seconds),
    })
}

/// "Decide by code first, then by status", answer by answer.
const TABLE: &[(&str, Means)] = &[
    ("unauthorized", CONFIG),
    ("privilege_missing", PERMANENT),
    ("privilege_denied", PERMANENT),
    ("access_denied", PERMANENT),
    ("user_disabled", PERMANENT),
    ("row_missing", Means::Gone),
    ("key_missing", Means::Gone),
    ("segment_missing", CONFIG),
    ("segment_missing_as_documented", CONFIG),
    ("column_missing", CONFIG),
    ("column_missing_as_documented", CONFIG),
    ("bad_payload", PERMANENT),
    ("text_too_long", PERMANENT),
    ("choice_out_of_range", PERMANENT),
    ("bad_argument", PERMANENT),
    ("truncated", PERMANENT),
    ("plugin_threw", PERMANENT),
    ("concurrent_delete", RETRY),
    ("unexpected_as_client_error", RETRY),
    ("unexpected", RETRY),
    ("method_not_allowed", PERMANENT),
    ("request_timeout", RETRY),
    ("version_mismatch", Means::Conflict(Class::Transient)),
    ("optimistic_concurrency_off", CONFIG),
    ("version_not_provided", CONFIG),
    ("duplicate_key", PERMANENT),
    ("duplicate_found", PERMANENT),
    ("already_exists", PERMANENT),
    ("too_large", PERMANENT),
    ("throttled_requests", throttled(37)),
    ("throttled_execution_time", throttled(21)),
    ("throttled_concurrency", throttled(1)),
    ("solution_operation", throttled(120)),
    ("sql_deadlock", RETRY),
    ("sql_connection_lost", RETRY),
    ("sql_error", RETRY),
    ("sql_timeout", RETRY),
    ("transaction_rolled_back", RETRY),
    ("sandbox_crash", RETRY),
    ("sandbox_crash_as_server_error", RETRY),
    ("plugin_failed", RETRY),
    ("server_error", RETRY),
    ("unknown_client_error", PERMANENT),
    ("unknown_server_error", RETRY),
    ("not_implemented", PERMANENT),
    ("message_only", RETRY),
    ("bad_gateway", RETRY),
    ("unavailable", RETRY),
    ("unavailable_until", throttled(2)),
    ("gateway_timeout", RETRY),
    ("version_stamp_expired", PERMANENT),
];

struct World {
    dataverse: Dataverse,
    account: Arc<TableConfig>,
    row: Uuid,
}

impl World {
    async fn start() -> Self {
        // The tests of this binary share the process; one of them installs it.
        let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
        let config = DataverseConfig {
            sample_accounts: 10,
            ..DataverseConfig::default()
        };
        let dataverse = Dataverse::start(config).await.unwrap();
        let sync = SyncConfig::parse(local_stack::apps::sync_json(), "sync.json").unwrap();
        let row = dataverse.ids("account")[0];
        Self {
            dataverse,
            account: Arc::clone(&sync.tables["account"]),
            row,
        }
    }

    /// A client that has met no throttle yet.
    fn client(&self) -> DataverseClient {
        let options = DataverseOptions {
            timeout: Duration::from_secs(1),
            ..DataverseOptions::default()
        };
        DataverseClient::new(
            &self.dataverse.url().parse().unwrap(),
            vec![Arc::new(Anybody)],
            options,
        )
        .unwrap()
    }

    fn script(&self, method: &str, fault: ScriptedFault, after_commit: bool) {
        // Twice: a refused token is tried once more.
        let script = Script {
            times: 2,
            after_commit,
            ..Script::once(fault).on(method, "accounts")
        };
        self.dataverse.script(script).unwrap();
    }

    async fn latest(&self) -> Result<Latest, Failure> {
        self.client().latest(&self.account, self.row, "c-1").await
    }

    async fn write(&self) -> Result<AckWrite, Failure> {
        let etag = self
            .client()
            .read(&self.account, self.row, "c-1")
            .await?
            .unwrap()
            .etag;
        let columns = Map::from_iter([("dvs_ackstate".to_owned(), json!(1))]);
        self.client()
            .write(&self.account, self.row, &etag, columns, "c-1")
            .await
    }
}

#[tokio::test]
async fn each_known_answer_means_what_the_table_says() {
    for known in KNOWN_ANSWERS {
        let (_, means) = TABLE
            .iter()
            .find(|(name, _)| *name == known.name)
            .unwrap_or_else(|| {
                panic!("{} is not in the table", known.name);
            });
        let known_fault = || ScriptedFault::Known(known.name.to_owned());

        let world = World::start().await;
        world.script("GET", known_fault(), false);
        let read = world.latest().await;
        match means {
            Means::Gone => assert_eq!(read, Ok(Latest::Gone), "{}", known.name),
            Means::Failure(class) | Means::Conflict(class) => {
                let failure = read.expect_err(known.name);
                assert_eq!(failure.class, *class, "{}", known.name);
                assert_eq!(failure.status, Some(known.status), "{}", known.name);
                assert!(known.message.is_empty() || !failure.message.contains(known.message));
            }
        }

        let world = World::start().await;
        world.script("PATCH", known_fault(), false);
        let write = world.write().await;
        match means {
            Means::Gone => assert_eq!(write, Ok(AckWrite::Gone), "{}", known.name),
            Means::Conflict(_) => assert_eq!(write, Ok(AckWrite::Conflict), "{}", known.name),
            Means::Failure(class) => {
                assert_eq!(write.expect_err(known.name).class, *class, "{}", known.name)
            }
        }
        assert!(world.dataverse.ack_writes().is_empty(), "{}", known.name);
    }
    assert_eq!(TABLE.len(), KNOWN_ANSWERS.len());
}

#[tokio::test]
async fn what_got_no_answer_may_be_tried_again_and_a_write_that_happened_shows_as_a_conflict() {
    for fault in [ScriptedFault::Reset, ScriptedFault::SlowMs(3_000)] {
        for after_commit in [false, true] {
            let world = World::start().await;
            world.script("GET", fault.clone(), after_commit);
            assert_eq!(world.latest().await.unwrap_err().class, Class::Transient);

            let world = World::start().await;
            let etag = world
                .client()
                .read(&world.account, world.row, "c-1")
                .await
                .unwrap()
                .unwrap()
                .etag;
            let columns = Map::from_iter([("dvs_ackstate".to_owned(), json!(1))]);
            let client = world.client();
            let write = || client.write(&world.account, world.row, &etag, columns.clone(), "c-1");
            let script = Script {
                after_commit,
                ..Script::once(fault.clone()).on("PATCH", "accounts")
            };
            world.dataverse.script(script).unwrap();
            assert_eq!(write().await.unwrap_err().class, Class::Transient);
            // A slow request goes on although nobody waits for it any more.
            let happened = after_commit || matches!(fault, ScriptedFault::SlowMs(_));
            if matches!(fault, ScriptedFault::SlowMs(_)) {
                tokio::time::sleep(Duration::from_millis(2_500)).await;
            }
            let expected = if happened {
                AckWrite::Conflict
            } else {
                AckWrite::Written
            };
            assert_eq!(write().await.unwrap(), expected, "{fault:?} {after_commit}");
        }
    }
}

#[tokio::test]
async fn nobody_listening_is_worth_another_try() {
    let world = World::start().await;
    let client = world.client();
    let (account, row) = (Arc::clone(&world.account), world.row);
    world.dataverse.shutdown().await;
    assert_eq!(
        client.latest(&account, row, "c-1").await.unwrap_err().class,
        Class::Transient
    );
}
