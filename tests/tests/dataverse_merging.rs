//! The Dataverse client against the Dataverse stand-in: merged reads and acknowledgement writes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use local_stack::dataverse::{Dataverse, DataverseConfig, DataverseFaults, RequestKind, Script};
use serde_json::{Map, Value, json};
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::credentials::{Secret, TokenSource};
use sync_core::dataverse::{DataverseClient, DataverseOptions};
use sync_core::failure::{Class, Failure};
use sync_core::ports::{AckWrite, Acknowledgements, Source};
use sync_core::snapshot::Latest;
use tokio::task::JoinSet;
use uuid::Uuid;

struct Anybody;

#[async_trait]
impl TokenSource for Anybody {
    async fn token(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::new("anybody"))
    }

    fn forget(&self, _: &str) {}
}

struct World {
    dataverse: Dataverse,
    client: DataverseClient,
    account: Arc<TableConfig>,
}

impl World {
    async fn start(faults: DataverseFaults) -> Self {
        // The tests of this binary share the process; one of them installs it.
        let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
        let config = DataverseConfig {
            sample_accounts: 60,
            faults,
            ..DataverseConfig::default()
        };
        let dataverse = Dataverse::start(config).await.unwrap();
        let url = dataverse.url().parse().unwrap();
        let options = DataverseOptions::default();
        let client = DataverseClient::new(&url, vec![Arc::new(Anybody)], options).unwrap();
        let sync = SyncConfig::parse(local_stack::apps::sync_json(), "sync.json").unwrap();
        Self {
            dataverse,
            client,
            account: Arc::clone(&sync.tables["account"]),
        }
    }

    fn requests(&self) -> u64 {
        self.dataverse.counters().integration.total()
    }

    /// Does something for many rows at once.
    async fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        ids: &[Uuid],
        work: impl Fn(DataverseClient, Arc<TableConfig>, Uuid) -> F,
    ) -> Vec<T> {
        let mut tasks = JoinSet::new();
        for (index, id) in ids.iter().enumerate() {
            let work = work(self.client.clone(), Arc::clone(&self.account), *id);
            tasks.spawn(async move { (index, work.await) });
        }
        let mut all = tasks.join_all().await;
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, result)| result).collect()
    }

    async fn latest(&self, ids: &[Uuid]) -> Vec<Result<Latest, Failure>> {
        self.each(ids, |c, t, id| async move { c.latest(&t, id, "c-1").await })
            .await
    }

    async fn read(&self, ids: &[Uuid]) -> Vec<String> {
        let read = self.each(ids, |c, t, id| async move { c.read(&t, id, "c-1").await });
        read.await
            .into_iter()
            .map(|state| state.unwrap().unwrap().etag)
            .collect()
    }

    async fn write(
        &self,
        ids: &[Uuid],
        etags: &[String],
        columns: Value,
    ) -> Vec<Result<AckWrite, Failure>> {
        let Value::Object(columns) = columns else {
            panic!("not an object")
        };
        let etags: std::collections::HashMap<_, _> =
            ids.iter().copied().zip(etags.iter().cloned()).collect();
        let write = move |c: DataverseClient, t: Arc<TableConfig>, id: Uuid| {
            let (etag, columns): (String, Map<_, _>) = (etags[&id].clone(), columns.clone());
            async move { c.write(&t, id, &etag, columns, "c-1").await }
        };
        self.each(ids, write).await
    }
}

#[tokio::test]
async fn many_rows_are_read_with_few_requests_and_each_caller_gets_its_own() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    for (id, latest) in ids.iter().zip(world.latest(&ids).await) {
        let Ok(Latest::Row(snapshot)) = latest else {
            panic!("{latest:?}")
        };
        let row = world.dataverse.row("account", *id).unwrap();
        assert_eq!(snapshot.columns["name"], row["name"]);
        assert_eq!(json!(snapshot.version.0), row["versionnumber"]);
    }
    assert!(
        world.requests() <= 5,
        "{:?}",
        world.dataverse.counters().integration
    );
}

#[tokio::test]
async fn a_deleted_row_is_gone_and_its_neighbours_are_not() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    for id in &ids[20..25] {
        world.dataverse.delete("account", *id).unwrap();
    }
    world.latest(&ids).await;
    for (index, latest) in world.latest(&ids).await.into_iter().enumerate() {
        assert_eq!(
            latest.unwrap() == Latest::Gone,
            (20..25).contains(&index),
            "{index}"
        );
    }
    // The absence of five rows is confirmed by one batch, not believed.
    assert!(
        world
            .dataverse
            .counters()
            .integration
            .of(RequestKind::Batch)
            >= 1
    );
    let looks = world
        .each(
            &ids,
            |c, t, id| async move { c.version(&t, id, "c-1").await },
        )
        .await;
    for (index, look) in looks.into_iter().enumerate() {
        assert_eq!(
            look.unwrap().is_none(),
            (20..25).contains(&index),
            "{index}"
        );
    }
}

#[tokio::test]
async fn acknowledgements_share_a_batch_and_each_has_its_own_result() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    let etags = world.read(&ids).await;
    world
        .dataverse
        .save(
            "account",
            Some(ids[7]),
            &json!({"name": "Somebody was quicker"}),
        )
        .unwrap();
    world.dataverse.delete("account", ids[9]).unwrap();
    let before = world.requests();
    let written = world
        .write(
            &ids,
            &etags,
            json!({"dvs_ackstate": 1, "dvs_ackversion": "5"}),
        )
        .await;
    for (index, written) in written.into_iter().enumerate() {
        let expected = match index {
            7 => AckWrite::Conflict,
            9 => AckWrite::Gone,
            _ => AckWrite::Written,
        };
        assert_eq!(written.unwrap(), expected, "{index}");
    }
    assert!(
        world.requests() - before <= 4,
        "{:?}",
        world.dataverse.counters().integration
    );
    assert_eq!(world.dataverse.ack_writes().len(), ids.len() - 2);
    assert!(
        world
            .dataverse
            .ack_writes()
            .iter()
            .all(|w| w.tag.as_deref() == Some("dataverse-sync"))
    );
    assert_eq!(
        world.dataverse.row("account", ids[7]).unwrap()["dvs_ackversion"],
        Value::Null
    );
}

#[tokio::test]
async fn a_column_that_does_not_exist_fails_each_write_on_its_own() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    let etags = world.read(&ids).await;
    for written in world.write(&ids, &etags, json!({"dvs_nonsense": 1})).await {
        assert_eq!(written.unwrap_err().class, Class::Permanent);
    }
}

#[tokio::test]
async fn two_writers_of_one_row_in_one_batch_do_not_both_win() {
    let world = World::start(DataverseFaults::default()).await;
    let id = world.dataverse.ids("account")[0];
    let etag = world.read(&[id]).await.remove(0);
    let written = world
        .write(&[id; 5], &vec![etag; 5], json!({"dvs_ackstate": 1}))
        .await;
    let won = written
        .iter()
        .filter(|w| **w == Ok(AckWrite::Written))
        .count();
    let lost = written
        .iter()
        .filter(|w| **w == Ok(AckWrite::Conflict))
        .count();
    assert_eq!((won, lost), (1, 4));
}

#[tokio::test]
async fn a_throttled_operation_is_its_rows_failure_alone() {
    let world = World::start(DataverseFaults {
        rate_batch_part_429: 0.3,
        ..DataverseFaults::default()
    })
    .await;
    let ids = world.dataverse.ids("account");
    let etags = world.read(&ids).await;
    let written = world.write(&ids, &etags, json!({"dvs_ackstate": 1})).await;
    let throttled = |w: &Result<AckWrite, Failure>| matches!(w, Err(f) if f.class == Class::Throttled { retry_after: Duration::from_secs(1) });
    let (refused, done): (Vec<_>, Vec<_>) = written.iter().partition(|w| throttled(w));
    assert!(
        !refused.is_empty() && done.len() > ids.len() / 3,
        "{written:?}"
    );
    assert!(done.iter().all(|w| **w == Ok(AckWrite::Written)));
    assert_eq!(world.dataverse.ack_writes().len(), done.len());
}

#[tokio::test]
async fn a_lost_answer_is_everybodys_own_transient_failure() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    let etags = world.read(&ids).await;
    world.dataverse.set_faults(DataverseFaults {
        rate_reset_after: 1.0,
        ..DataverseFaults::default()
    });
    for written in world.write(&ids, &etags, json!({"dvs_ackstate": 1})).await {
        assert_eq!(written.unwrap_err().class, Class::Transient);
    }
    // It was written all the same: the same write again meets a conflict, so that nobody is fooled.
    world.dataverse.set_faults(DataverseFaults::default());
    for written in world.write(&ids, &etags, json!({"dvs_ackstate": 1})).await {
        assert_eq!(written.unwrap(), AckWrite::Conflict);
    }
}

#[tokio::test]
async fn a_row_that_may_not_be_read_is_a_failure_and_never_gone() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    // A query leaves it out like a deleted one; only asking by id tells them apart.
    for id in [ids[20], ids[21]] {
        world.dataverse.delete("account", id).unwrap();
    }
    let hidden = Script::known("access_denied").on("GET", &ids[20].to_string());
    let script = Script {
        in_batch: true,
        ..hidden
    };
    world.dataverse.script(script).unwrap();
    let latest = world.latest(&ids).await;
    assert_eq!(latest[20].as_ref().unwrap_err().class, Class::Permanent);
    assert_eq!(latest[21], Ok(Latest::Gone));
    assert!(latest.iter().enumerate().all(|(n, l)| n == 20 || l.is_ok()));
}

#[tokio::test]
async fn a_row_that_makes_its_page_fail_fails_alone() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    let script = Script::known("plugin_threw").on("GET", &ids[33].to_string());
    let script = Script {
        times: 100,
        ..script
    };
    world.dataverse.script(script).unwrap();
    for (index, latest) in world.latest(&ids).await.into_iter().enumerate() {
        match latest {
            Ok(Latest::Row(_)) if index != 33 => {}
            Err(failure) if index == 33 => assert_eq!(failure.class, Class::Permanent),
            other => panic!("{index}: {other:?}"),
        }
    }
    assert!(world.requests() <= 20, "{}", world.requests());
}

#[tokio::test]
async fn a_lookup_of_sync_json_is_followed_in_merged_reads_and_alone() {
    let world = World::start(DataverseFaults::default()).await;
    let ids = world.dataverse.ids("account");
    let bare = world
        .dataverse
        .save("account", None, &json!({"name": "Bare"}));
    let bare = bare.unwrap().id;
    let mut rows = ids.clone();
    rows.push(bare);
    let before = world.requests();
    let merged = world.latest(&rows).await;
    assert!(world.requests() - before <= 4);
    let alone = world.client.latest(&world.account, bare, "c-1").await;
    let mut with_email = 0;
    for (id, latest) in rows
        .iter()
        .chain([&bare])
        .zip(merged.into_iter().chain([alone]))
    {
        let Ok(Latest::Row(snapshot)) = latest else {
            panic!("{latest:?}")
        };
        let contact = world.dataverse.related("account", *id, "primarycontactid");
        let expected = contact.map_or(Value::Null, |contact| contact["emailaddress1"].clone());
        with_email += u32::from(!expected.is_null());
        let payload = sync_core::mapping::map(&world.account, &snapshot.columns).unwrap();
        assert_eq!(payload.body["primaryContactEmail"], expected, "{id}");
    }
    assert!(with_email > 5, "{with_email}");
}
