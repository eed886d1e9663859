//! `dvsync dlq`, the program, on a broker with dead letters.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use local_stack::bus::{Broker, BrokerConfig, QueueConfig};
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage, Properties, ReceiveMode, Settlement};
use uuid::Uuid;

const LETTERS: usize = 200;

/// A broker with letters on `outbound`: every other about a contact, the others about accounts.
async fn with_letters() -> (Broker, Client) {
    let queue = |name: &str| QueueConfig {
        // The shortest that Azure has.
        lock_duration: Duration::from_secs(5),
        duplicate_detection_window: Some(Duration::from_secs(600)),
        ..QueueConfig::named(name)
    };
    let config = BrokerConfig::new([queue("outbound"), queue("inbound")]);
    let broker = Broker::start(config).await.unwrap();
    let options = ClientOptions::default();
    let client = Client::from_connection_string(&broker.connection_string(), options).unwrap();
    let messages = (0..LETTERS).map(|number| {
        let row = Uuid::from_u128(number as u128);
        let body = json!({
            "schemaVersion": 1, "notificationId": row, "correlationId": row, "sourceRowId": row, "operation": "update",
            "table": if number % 2 == 0 { "account" } else { "contact" }, "occurredAt": "2026-03-02T09:15:30Z",
        });
        OutgoingMessage {
            message_id: Some(row.to_string()),
            ..OutgoingMessage::new(body.to_string())
        }
    });
    let messages: Vec<_> = messages.collect();
    for few in messages.chunks(50) {
        client.send_batch("outbound", few.to_vec()).await.unwrap();
    }
    let mode = ReceiveMode::PeekLock;
    let mut receiver = client.receiver("outbound", mode, 50).await.unwrap();
    let mut left = LETTERS;
    while left > 0 {
        let wait = Duration::from_secs(30);
        for message in receiver.receive(50, wait).await.unwrap() {
            let settlement = Settlement::DeadLetter {
                reason: "RejectedByTarget".into(),
                description: "Correct the row.".into(),
                properties: Properties::from([("FailureStatus".to_owned(), 422.into())]),
            };
            receiver.settle(&message, settlement).await.unwrap();
            left -= 1;
        }
    }
    receiver.close().await.unwrap();
    (broker, client)
}

fn dlq(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvsync"));
    command.arg("dlq").args(arguments);
    command.env("ServiceBus", broker.connection_string());
    command
        .env("OUTBOUND_QUEUE", "outbound")
        .env("INBOUND_QUEUE", "inbound");
    command.stdin(Stdio::null());
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

async fn printed(command: Command) -> Value {
    let output = output(command).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_that_is_killed_goes_on_and_every_letter_is_sent_exactly_once() {
    let (broker, client) = with_letters().await;
    let mut killed = dlq(&broker, &["resend", "--rate", "100"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(killed.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    let (_, id) = first.split_once("--resume ").unwrap();
    let id: Uuid = id.split(' ').next().unwrap().parse().unwrap();
    let started = Instant::now();
    while broker.counts("outbound").unwrap().active < 40 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "nothing is resent"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // SIGKILL.
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = broker.counts("outbound").unwrap().dead_letter;
    assert!(left > 0);
    // They would end by themselves.
    broker.hooks().lose_locks("outbound");

    let again = dlq(
        &broker,
        &[
            "resend",
            "--rate",
            "1000",
            "--resume",
            &id.to_string(),
            "--json",
        ],
    );
    let result = printed(again).await;
    assert_eq!(result["queues"][0]["end"], "all", "{result}");
    let queue = broker.snapshot("outbound").unwrap();
    let bodies: BTreeSet<_> = queue.active.iter().map(|message| &message.body).collect();
    assert_eq!((queue.active.len(), bodies.len()), (LETTERS, LETTERS));
    assert_eq!(queue.dead_letter.len() + queue.locked.len(), 0);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_counted_shown_and_put_aside_by_what_is_asked_for() {
    let (broker, client) = with_letters().await;
    let list = printed(dlq(&broker, &["list", "--json"])).await;
    assert_eq!(list["letters"], LETTERS);
    let group = &list["groups"][0];
    assert_eq!(group["tables"], json!({"account": 100, "contact": 100}));
    assert_eq!(
        (&group["reason"], &group["status"]),
        (&json!("RejectedByTarget"), &json!(422))
    );

    let one = format!("{}", Uuid::from_u128(7));
    let shown = printed(dlq(&broker, &["show", "--json", "--row", &one])).await;
    assert_eq!(
        (&shown["table"], &shown["row"]),
        (&json!("contact"), &json!(one))
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    let file = file.to_str().unwrap();
    let aside = ["put-aside", "--table", "contact", "--file", file, "--json"];
    let result = printed(dlq(&broker, &aside)).await;
    assert_eq!(
        (&result["done"], &result["queues"][0]["notMeant"]),
        (&json!(100), &json!(100))
    );
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 100);
    assert_eq!(broker.counts("outbound").unwrap().dead_letter, 100);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_by_what_to_do() {
    let broker = Broker::start(BrokerConfig::with_queues(["outbound", "inbound"]))
        .await
        .unwrap();
    for (arguments, said) in [
        (
            &["list", "--queue", "nope"][..],
            "has no nope: name the queues with --queue",
        ),
        (&["show", "--number", "3"], "say which with --queue"),
        (&["list", "--since", "yesterday"], "90m, 12h, 3d"),
        (
            &["list", "--queue", "a", "--queue", "b", "--rejected", "c"],
            "--rejected goes with one --queue",
        ),
        (
            &["put-aside", "--file", "/nowhere/letters"],
            "/nowhere/letters cannot be written",
        ),
    ] {
        let output = output(dlq(&broker, arguments)).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{told}");
    }
    for (name, said) in [
        ("ServiceBus", "--namespace HOST, --settings FILE"),
        ("OUTBOUND_QUEUE", "--queue NAME, or the app's settings"),
    ] {
        let mut command = dlq(&broker, &["list"]);
        command.env_remove(name);
        let output = output(command).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{told}");
    }
}
