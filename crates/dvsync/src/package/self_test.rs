//! Runs what was packed: unpacks the zips, starts them under the host stand-in with the rest of the loop,
//! and waits until a change of a row has reached the target and its acknowledgement the row.
//!
//! The apps find Dataverse and the target by name (`localhost`), so that a handler whose name resolution
//! does not work without shared libraries is found here. Their sync file is the one of this project's
//! samples, since Dataverse's stand-in has the sample's tables; the packed one was judged before.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use local_stack::apps::{self, App, Form};
use local_stack::stack::{Ports, Stack, StackConfig, TelemetryConfig};
use serde_json::json;
use uuid::Uuid;

use super::{archive, contents};

/// For a machine that has much else to do; it takes two seconds otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the row that went all the way.
pub(super) async fn run(dist: &Path, topic: bool) -> anyhow::Result<Uuid> {
    let folder = tempfile::TempDir::with_prefix("dvsync-package-")?;
    for (zip, app) in [
        ("outbound.zip", App::Outbound),
        ("inbound.zip", App::Inbound),
    ] {
        let zip = dist.join(zip);
        let bytes = fs::read(&zip).with_context(|| zip.display().to_string())?;
        let to = folder.path().join(app.binary());
        for (name, entry) in archive::unpack(&bytes).with_context(|| zip.display().to_string())? {
            contents::write(&to, &name, &entry)?;
        }
        fs::write(to.join("sync.json"), apps::sync_json())?;
    }
    let stack = Stack::start(StackConfig {
        binaries: folder.path().to_owned(),
        packages: Some(folder.path().to_owned()),
        telemetry: Some(TelemetryConfig::default()),
        sync_json: apps::sync_json().to_owned(),
        further_targets: Vec::new(),
        rows: 1,
        seed: 1,
        form: if topic { Form::Topic } else { Form::Queue },
        ports: Ports::default(),
        target_key: None,
        settings: [("SYNC_FILES".to_owned(), "sync.json".to_owned())].into(),
        instances: 1,
        sessions: false,
        on_line: None,
    })
    .await
    .context("self-test")?;
    let row = travel(&stack).await;
    stack.shutdown().await;
    row.context("self-test")
}

async fn travel(stack: &Stack) -> anyhow::Result<Uuid> {
    let row = stack.dataverse.ids("account").into_iter().min();
    let row = row.context("the Dataverse stand-in has no account")?;
    stack
        .dataverse
        .save("account", Some(row), &json!({"telephone1": "555-0199"}))
        .map_err(|error| anyhow::anyhow!("the change could not be saved: {error:?}"))?;
    let arrived = async {
        loop {
            let acknowledged = stack
                .dataverse
                .ack_writes()
                .iter()
                .any(|ack| ack.row_id == row);
            if acknowledged && stack.is_drained() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
        bail!(
            "the change of account {row} was not acknowledged within {} s ({} calls reached the target); run `dvsync host` on the unpacked app to see what its handler says",
            PATIENCE.as_secs(),
            stack.target.calls().len()
        );
    }
    Ok(row)
}
