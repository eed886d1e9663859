//! `dvsync emulate service-bus --data DIR`, killed in the middle of everything and started again.

// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};
use service_bus::{
    Client, ClientOptions, OutgoingMessage, Properties, ReceiveMode, ReceivedMessage, Settlement,
};
use tempfile::TempDir;

/// Long enough for whatever is certain to happen, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(60);
/// What is there is handed out within it.
const NOTHING_MORE: Duration = Duration::from_secs(3);

/// The process, which does not outlive the test.
struct Emulator {
    child: Child,
    connection_string: String,
}

impl Emulator {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Emulator {
            child,
            connection_string: said["connectionString"].as_str().unwrap().to_owned(),
        }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn client(&self) -> Client {
        let options = ClientOptions::default();
        Client::from_connection_string(&self.connection_string, options).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvsync"));
    command.args(["emulate", "service-bus", "--json", "--config"]);
    command.arg(folder.join("config.json"));
    command.arg("--data").arg(folder.join("data"));
    command
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let lock = json!({ "LockDuration": "PT1M" });
    let config = json!({ "UserConfig": { "Namespaces": [{
        "Name": "ns",
        "Queues": [
            { "Name": "stream", "Properties": lock },
            { "Name": "work" },
            { "Name": "in-sessions", "Properties": { "RequiresSession": true } },
        ],
        "Topics": [{ "Name": "orders", "Subscriptions": [{ "Name": "one" }, { "Name": "two" }] }],
    }] } });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

fn message(id: &str) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Some(id.to_owned()),
        ..OutgoingMessage::new(format!("body of {id}"))
    }
}

fn id(message: &ReceivedMessage) -> String {
    message.message_id.clone().unwrap()
}

/// Everything that can be received now.
async fn drain(client: &Client, entity: &str) -> Vec<ReceivedMessage> {
    let receiver = client.receiver(entity, ReceiveMode::ReceiveAndDelete, 500);
    let mut receiver = receiver.await.unwrap();
    let mut all = Vec::new();
    loop {
        let more = receiver.receive(500, NOTHING_MORE).await.unwrap();
        if more.is_empty() {
            receiver.close().await.unwrap();
            return all;
        }
        all.extend(more);
    }
}

#[tokio::test]
async fn what_was_confirmed_before_a_kill_is_there_after_it_once() {
    let folder = folder();
    let mut emulator = Emulator::start(folder.path());
    let client = emulator.client();

    // One queue where something of every kind has happened.
    for id in ["done", "deferred", "dead", "failed", "locked", "ready"] {
        client.send("work", message(id)).await.unwrap();
    }
    let receiver = client.receiver("work", ReceiveMode::PeekLock, 5);
    let mut receiver = receiver.await.unwrap();
    let mut taken = BTreeMap::new();
    while taken.len() < 5 {
        for message in receiver.receive(5 - taken.len(), SOON).await.unwrap() {
            taken.insert(id(&message), message);
        }
    }
    let properties = Properties::new;
    for (id, settlement) in [
        ("done", Settlement::Complete),
        (
            "deferred",
            Settlement::Defer {
                properties: properties(),
            },
        ),
        (
            "dead",
            Settlement::DeadLetter {
                reason: "why".into(),
                description: "because".into(),
                properties: properties(),
            },
        ),
        (
            "failed",
            Settlement::Abandon {
                properties: properties(),
            },
        ),
    ] {
        receiver.settle(&taken[id], settlement).await.unwrap();
    }
    let soon = SystemTime::now() + Duration::from_secs(8);
    let later = OutgoingMessage {
        scheduled_enqueue_time: Some(soon.into()),
        ..message("later")
    };
    let scheduled = client.schedule("work", vec![later]).await.unwrap();

    let in_session = OutgoingMessage {
        session_id: Some("s".into()),
        ..message("first")
    };
    client.send("in-sessions", in_session).await.unwrap();
    let session = client.accept_session("in-sessions", "s", 1).await.unwrap();
    let state = Some(Bytes::from_static(b"half way"));
    session.set_state(state.clone()).await.unwrap();

    // Streams of sends to a queue and to a topic, and of settlements, that go on until the end.
    let confirmed: [Arc<Mutex<BTreeSet<String>>>; 2] = Default::default();
    let completed = Arc::new(Mutex::new(BTreeSet::new()));
    let mut streams = Vec::new();
    for (stream, (entity, confirmed)) in ["stream", "stream", "orders"]
        .into_iter()
        .zip([&confirmed[0], &confirmed[0], &confirmed[1]])
        .enumerate()
    {
        let (client, confirmed) = (client.clone(), Arc::clone(confirmed));
        streams.push(tokio::spawn(async move {
            for n in 0.. {
                let id = format!("{stream}-{n}");
                if client.send(entity, message(&id)).await.is_err() {
                    return;
                }
                confirmed.lock().unwrap().insert(id);
            }
        }));
    }
    streams.push(tokio::spawn({
        let (client, completed) = (client.clone(), Arc::clone(&completed));
        async move {
            let receiver = client.receiver("stream", ReceiveMode::PeekLock, 1);
            let mut receiver = receiver.await.unwrap();
            while let Ok(messages) = receiver.receive(1, SOON).await {
                for message in messages {
                    if receiver
                        .settle(&message, Settlement::Complete)
                        .await
                        .is_err()
                    {
                        return;
                    }
                    completed.lock().unwrap().insert(id(&message));
                }
            }
        }
    }));
    let enough = async {
        loop {
            let sent = confirmed.iter().map(|ids| ids.lock().unwrap().len());
            if sent.min() >= Some(60) && completed.lock().unwrap().len() >= 20 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON * 2, enough)
        .await
        .expect("nothing is confirmed");
    emulator.kill();
    // What comes to an end now was not confirmed.
    for stream in streams {
        stream.abort();
        let _ = stream.await;
    }
    drop((receiver, session, client));

    let emulator = Emulator::start(folder.path());
    let client = emulator.client();

    // The streams.
    let completed = completed.lock().unwrap().clone();
    let [to_queue, to_topic] = confirmed.map(|ids| ids.lock().unwrap().clone());
    let left = drain(&client, "stream").await;
    let ids: BTreeSet<String> = left.iter().map(id).collect();
    assert_eq!(ids.len(), left.len(), "nothing is there twice");
    let lost: Vec<_> = to_queue
        .iter()
        .filter(|id| !ids.contains(*id) && !completed.contains(*id))
        .collect();
    // The one whose completion was under way may be gone or not.
    assert!(lost.len() <= 1, "confirmed and gone: {lost:?}");
    let back: Vec<_> = completed.intersection(&ids).collect();
    assert!(back.is_empty(), "settled and back: {back:?}");
    for subscription in ["one", "two"] {
        let path = format!("orders/Subscriptions/{subscription}");
        let left = drain(&client, &path).await;
        let ids: BTreeSet<String> = left.iter().map(id).collect();
        assert_eq!(ids.len(), left.len(), "nothing is there twice");
        assert!(ids.is_superset(&to_topic), "{subscription} lacks some");
    }

    // Numbers go on.
    client.send("stream", message("new")).await.unwrap();
    let highest = left
        .iter()
        .map(|message| message.sequence_number)
        .max()
        .unwrap();
    let new = drain(&client, "stream").await.remove(0);
    assert!(new.sequence_number > highest);

    // The queue where everything happened, the lock of one of its messages gone.
    let peeked = client.peek("work", 1, 10).await.unwrap();
    let deferred = peeked
        .iter()
        .find(|message| id(message) == "deferred")
        .unwrap();
    let deferred = [deferred.sequence_number];
    let deferred = client
        .receive_deferred("work", &deferred, ReceiveMode::PeekLock)
        .await
        .unwrap();
    assert_eq!(id(&deferred[0]), "deferred");
    let mut found = BTreeMap::new();
    let all = async {
        while found.len() < 4 {
            for message in drain(&client, "work").await {
                found.insert(id(&message), message);
            }
        }
    };
    tokio::time::timeout(SOON, all)
        .await
        .expect("some are lost");
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["failed", "later", "locked", "ready"]);
    assert_eq!(found["failed"].delivery_count, 1);
    assert_eq!(found["locked"].delivery_count, 0);
    assert_eq!(found["later"].enqueued_sequence_number, scheduled[0]);
    let dead = drain(&client, "work/$DeadLetterQueue").await;
    assert_eq!(dead.iter().map(id).collect::<Vec<_>>(), ["dead"]);
    assert_eq!(dead[0].dead_letter_reason(), Some("why"));

    // The session.
    let mut session = client.accept_session("in-sessions", "s", 1).await.unwrap();
    assert_eq!(session.state().await.unwrap(), state);
    let first = session.receive(1, SOON).await.unwrap();
    assert_eq!(id(&first[0]), "first");
}

#[test]
fn a_foreign_directory_is_refused_with_its_name() {
    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("photo.jpg"), b"").unwrap();
    let output = command(folder.path()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&data.display().to_string()), "{said}");
    assert!(said.contains("name a new or an empty directory"), "{said}");
}
