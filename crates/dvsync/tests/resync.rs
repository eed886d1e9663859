//! `dvsync resync` on the whole loop: what the target missed is found, sent, and then nothing is left.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use local_stack::apps::{self, Form};
use local_stack::stack::{OUTBOUND, Stack, StackConfig, WITNESS};
use serde_json::{Value, json};
use uuid::Uuid;

struct World {
    stack: Stack,
    /// With a sync file and settings.
    folder: tempfile::TempDir,
}

impl World {
    async fn start(form: Form, rows: usize) -> Self {
        let binaries = tokio::task::spawn_blocking(apps::binaries).await;
        let stack = Stack::start(StackConfig {
            binaries: binaries.unwrap().unwrap(),
            packages: None,
            sync_json: apps::sync_json().to_owned(),
            further_targets: Vec::new(),
            rows,
            seed: 1,
            form,
            ports: Default::default(),
            target_key: None,
            instances: 1,
            sessions: false,
            telemetry: None,
            settings: Default::default(),
            on_line: None,
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let values = json!({ "IsEncrypted": false, "Values": stack.settings() });
        write("local.settings.json", &values.to_string());
        write("sync.json", apps::sync_json());
        Self { stack, folder }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dvsync"));
        command.arg("resync").args(arguments);
        command.arg("--dir").arg(self.folder.path());
        command.stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// What `--json` says of the one table.
    async fn table(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat()).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: Result<Value, _> = serde_json::from_slice(&output.stdout);
        let mut json = json.unwrap_or_else(|_| panic!("{told}"));
        json["tables"][0].take()
    }

    async fn drained(&self) {
        let started = Instant::now();
        while !self.stack.is_drained() {
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "never drained"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn save(&self, table: &str, id: Uuid, columns: Value) {
        let saved = self.stack.dataverse.save(table, Some(id), &columns);
        saved.unwrap();
    }

    fn delivered(&self) -> u64 {
        self.stack.target.counters().applied
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_missed_is_found_and_sent_and_then_nothing_is_left() {
    let world = World::start(Form::Queue, 10).await;
    // Ten rows that were there before the plug-in was.
    let looked = world
        .table(&["--table", "account", "--different", "--dry-run"])
        .await;
    assert_eq!(looked["standings"], json!({ "never acknowledged": 10 }));
    assert_eq!((&looked["rows"], &looked["sent"]), (&json!(10), &json!(0)));
    assert_eq!(world.stack.bus.counters(OUTBOUND).unwrap().sent, 0);

    let some = world
        .table(&["--table", "account", "--different", "--limit", "4"])
        .await;
    assert_eq!(some["sent"], 4);
    world.drained().await;
    let rest = world.table(&["--table", "account", "--different"]).await;
    assert_eq!(
        rest["standings"],
        json!({ "same": 4, "never acknowledged": 6 })
    );
    world.drained().await;
    assert_eq!(world.delivered(), 10);
    let none = world.table(&["--table", "account", "--different"]).await;
    assert_eq!(
        (&none["standings"], &none["sent"]),
        (&json!({ "same": 10 }), &json!(0))
    );

    // A mapped column of a related row: it raises no notification of this one.
    let accounts = world.stack.dataverse.ids("account");
    let related = |id: &Uuid| {
        let row = world.stack.dataverse.row("account", *id).unwrap();
        Some((
            *id,
            row["_primarycontactid_value"].as_str()?.parse().unwrap(),
        ))
    };
    let (account, contact): (Uuid, Uuid) = accounts.iter().find_map(related).unwrap();
    world.save(
        "contact",
        contact,
        json!({ "emailaddress1": "new@contoso.com" }),
    );
    world.drained().await;
    let missed = world.table(&["--table", "account", "--different"]).await;
    assert_eq!(missed["standings"]["different"], missed["sent"]);
    assert!(missed["sent"].as_u64().unwrap() >= 1, "{missed}");
    world.drained().await;
    let row = world
        .stack
        .target
        .row("customers", &account.to_string())
        .unwrap();
    assert_eq!(row.body["primaryContactEmail"], "new@contoso.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_asked_for_is_sent_whatever_was_acknowledged_and_over_a_topic_to_its_target_only()
 {
    let world = World::start(Form::Topic, 1_200).await;
    let id = world.stack.dataverse.ids("account")[0];
    world.save("account", id, json!({ "name": "Contoso" }));
    world.drained().await;
    assert_eq!(world.delivered(), 1);
    let row = id.to_string();
    let witnessed = || world.stack.bus.counts(WITNESS).unwrap().active;
    let before = witnessed();
    let sent = world.table(&["--table", "account", "--row", &row]).await;
    assert_eq!(
        (&sent["sent"], &sent["standings"]),
        (&json!(1), &json!({ "same": 1 }))
    );
    world.drained().await;
    assert_eq!(world.delivered(), 2);
    assert_eq!(witnessed(), before);

    // More than two pages.
    let all = world
        .table(&["--table", "account", "--different", "--dry-run"])
        .await;
    assert_eq!(all["rows"], 1_200);
    assert_eq!(
        all["standings"],
        json!({ "same": 1, "never acknowledged": 1_199 })
    );

    let gone = Uuid::from_u128(1).to_string();
    let missing = world
        .table(&[
            "--table",
            "account",
            "--row",
            &row,
            "--row",
            &gone,
            "--dry-run",
        ])
        .await;
    assert_eq!(
        (&missing["rows"], &missing["missing"]),
        (&json!(1), &json!([gone]))
    );

    for (arguments, said) in [
        (
            &["--table", "invoice", "--all"][..],
            "has no table invoice; it has account, contact",
        ),
        (&["--table", "account"], "--different"),
        (
            &["--table", "account", "--filter", "nocolumn eq 1"],
            "broken off after 0 notifications",
        ),
        (
            &["--table", "account", "--row", &row, "--since", "3d"],
            "cannot be used with",
        ),
        (
            &["--table", "account", "--table", "contact", "--row", &row],
            "--row takes one --table",
        ),
        (
            &["--table", "account", "--all", "--target", "erp"],
            "SYNC_FILES has no target erp",
        ),
    ] {
        let output = world.run(arguments).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains(said),
            "{arguments:?}: {told}"
        );
    }
}
