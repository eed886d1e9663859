use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use local_stack::bus::{
    Broker, BrokerConfig, Disturbance, Fault, Operation, QueueConfig, Rule, Script,
    SubscriptionConfig, TopicConfig,
};
use service_bus::{
    ClientOptions, OutgoingMessage, Properties, ReceiveMode, Settlement, dead_letter_queue,
};
use sync_core::topic;

use super::*;
use crate::letter::RESEND_ID;

const Q: &str = "outbound";
const WAIT: Duration = Duration::from_secs(30);
/// The shortest that Azure has.
const SHORT: Duration = Duration::from_secs(5);

fn queue(lock_duration: Duration) -> QueueConfig {
    QueueConfig {
        lock_duration,
        duplicate_detection_window: Some(Duration::from_secs(600)),
        ..QueueConfig::named(Q)
    }
}

fn client(broker: &Broker) -> Client {
    let options = ClientOptions {
        operation_timeout: Duration::from_secs(4),
        try_timeout: Duration::from_secs(1),
        close_timeout: Duration::from_millis(200),
        ..ClientOptions::default()
    };
    Client::from_connection_string(&broker.connection_string(), options).unwrap()
}

fn notification(number: u64, table: &str) -> String {
    let row = Uuid::from_u128(number.into());
    serde_json::json!({
        "schemaVersion": 1, "notificationId": row, "correlationId": format!("c-{number}"), "table": table,
        "sourceRowId": row, "operation": "update", "occurredAt": "2026-03-02T09:15:30Z",
    })
    .to_string()
}

/// Has everything that is on `entity` given up.
async fn give_up(client: &Client, entity: &str, mut count: usize, reason: &str) {
    let mode = ReceiveMode::PeekLock;
    let mut receiver = client.receiver(entity, mode, 50).await.unwrap();
    while count > 0 {
        for message in receiver.receive(count.min(50), WAIT).await.unwrap() {
            let settlement = Settlement::DeadLetter {
                reason: reason.into(),
                description: "Repair it.".into(),
                properties: Properties::from([("FailureStage".into(), "deliver".into())]),
            };
            receiver.settle(&message, settlement).await.unwrap();
            count -= 1;
        }
    }
    receiver.close().await.unwrap();
}

/// A broker with so many letters; every third is about a contact, the others about accounts.
async fn with_letters(count: u64) -> (Broker, Client) {
    with_locked_letters(count, Duration::from_secs(60)).await
}

async fn with_locked_letters(count: u64, lock: Duration) -> (Broker, Client) {
    let config = BrokerConfig::new([queue(lock)]);
    let broker = Broker::start(config).await.unwrap();
    let client = client(&broker);
    let messages = (0..count).map(|number| {
        let table = if number % 3 == 0 {
            "contact"
        } else {
            "account"
        };
        OutgoingMessage {
            message_id: Some(format!("m-{number}")),
            ..OutgoingMessage::new(notification(number, table))
        }
    });
    client.send_batch(Q, messages.collect()).await.unwrap();
    give_up(
        &client,
        Q,
        usize::try_from(count).unwrap(),
        "RejectedByTarget",
    )
    .await;
    (broker, client)
}

fn work(id: u128) -> Work {
    Work::new(Uuid::from_u128(id))
}

async fn run(
    work: &Work,
    client: &Client,
    wanted: &Wanted,
) -> (Result<Outcome, WorkError>, Progress) {
    let mut last = Progress::default();
    let place = Place::queue(Q);
    let mut keep = |progress| last = progress;
    let end = work
        .run(client, &place, wanted, &mut Action::Resend, &mut keep)
        .await;
    (end, last)
}

fn contacts() -> Wanted {
    Wanted {
        tables: vec!["contact".into()],
        ..Wanted::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_meant_are_sent_again_and_the_others_stay() {
    let (broker, client) = with_letters(120).await;
    let (end, progress) = run(&work(1), &client, &contacts()).await;
    assert_eq!(end.unwrap().end, End::All);
    assert_eq!(
        progress,
        Progress {
            meant: 40,
            done: 40,
            others: 80
        }
    );
    let queue = broker.snapshot(Q).unwrap();
    assert_eq!((queue.active.len(), queue.dead_letter.len()), (40, 80));
    assert!(queue.locked.is_empty());
    let copy = &queue.active[0];
    assert_eq!(copy.properties[RESEND_ID], Uuid::from_u128(1).to_string());
    assert_eq!(copy.properties["OriginalMessageId"], "m-0");
    // By this the app knows that its retries begin anew.
    assert_eq!(copy.dead_letter_reason.as_deref(), Some("RejectedByTarget"));
    assert_ne!(copy.message_id, "m-0");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_and_numbers_end_the_work_early() {
    let (broker, client) = with_letters(10).await;
    let limited = Work {
        limit: Some(3),
        ..work(1)
    };
    let (end, progress) = run(&limited, &client, &Wanted::default()).await;
    assert_eq!((end.unwrap().end, progress.done), (End::All, 3));
    let letters = broker.snapshot(Q).unwrap().dead_letter;
    assert_eq!(letters.len(), 7);
    let numbers = Wanted {
        numbers: [letters[5].sequence_number].into(),
        ..Wanted::default()
    };
    let (end, progress) = run(&work(2), &client, &numbers).await;
    assert_eq!((end.unwrap().end, progress.done), (End::All, 1));
    let queue = broker.snapshot(Q).unwrap();
    assert_eq!((queue.active.len(), queue.dead_letter.len()), (4, 6));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_stopped_gives_everything_back() {
    let (broker, client) = with_letters(30).await;
    let slow = Work {
        rate: NonZeroU32::new(20),
        ..work(1)
    };
    let stop = slow.stop.clone();
    let mut stopping = move |progress: Progress| {
        if progress.done >= 4 {
            stop.cancel();
        }
    };
    let (place, everything) = (Place::queue(Q), Wanted::default());
    let mut action = Action::Resend;
    let end = slow.run(&client, &place, &everything, &mut action, &mut stopping);
    assert_eq!(end.await.unwrap().end, End::Stopped);
    let queue = broker.snapshot(Q).unwrap();
    let (sent, left) = (queue.active.len(), queue.dead_letter.len());
    assert!((4..10).contains(&sent), "{sent}");
    assert_eq!(sent + left, 30);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_work_sent_and_was_given_up_again_is_sent_again_by_other_work_only() {
    let (broker, client) = with_letters(6).await;
    let (_, progress) = run(&work(1), &client, &Wanted::default()).await;
    assert_eq!(progress.done, 6);
    give_up(&client, Q, 6, "RejectedByTarget").await;
    let (end, progress) = run(&work(1), &client, &Wanted::default()).await;
    let outcome = end.unwrap();
    assert_eq!((outcome.end, outcome.returned), (End::All, 6));
    assert_eq!(progress.done, 0);
    let (_, progress) = run(&work(2), &client, &Wanted::default()).await;
    assert_eq!(progress.done, 6);
    assert_eq!(broker.counts(Q).unwrap().active, 6);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_whose_locks_end_before_those_behind_them_come_are_told_of() {
    let (broker, client) = with_letters(120).await;
    let always = Script {
        entity: Some(Q.into()),
        operation: Some(Operation::Deliver),
        request: None,
        skip: 0,
        times: u32::MAX,
        chance: None,
        after: false,
        fault: Fault::LoseLock,
    };
    broker.hooks().script(always).unwrap();
    // One that is behind all that are received at a time, and one that is not there.
    for (row, end) in [(119, End::OutOfReach), (999, End::All)] {
        let one = Wanted {
            rows: vec![Uuid::from_u128(row)],
            ..Wanted::default()
        };
        let (ended, progress) = run(&work(1), &client, &one).await;
        assert_eq!((ended.unwrap().end, progress.done), (end, 0));
    }
    assert_eq!(broker.counts(Q).unwrap().dead_letter, 120);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_somebody_else_has_are_told_of() {
    let (broker, client) = with_letters(3).await;
    let (dead, mode) = (dead_letter_queue(Q), ReceiveMode::PeekLock);
    let mut other = client.receiver(&dead, mode, 1).await.unwrap();
    other.receive(1, WAIT).await.unwrap();
    let (end, progress) = run(&work(1), &client, &Wanted::default()).await;
    assert_eq!((end.unwrap().end, progress.done), (End::Locked, 2));
    assert_eq!(broker.counts(Q).unwrap().active, 2);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_are_put_aside_are_in_the_file_before_they_are_gone() {
    let (broker, client) = with_letters(6).await;
    let (place, wanted) = (Place::queue(Q), contacts());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.jsonl");
    let mut action = Action::PutAside(Aside::open(&path).unwrap());
    let (work, mut told) = (work(1), |_| {});
    let end = work.run(&client, &place, &wanted, &mut action, &mut told);
    assert_eq!(end.await.unwrap().end, End::All);
    assert_eq!(broker.counts(Q).unwrap().dead_letter, 4);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["reason"], "RejectedByTarget");
    assert_eq!(lines[0]["messageId"], "m-0");
    assert_eq!(lines[0]["properties"]["FailureStage"], "deliver");
    assert_eq!(lines[0]["body"], notification(0, "contact"));

    // A full disk takes nothing from the broker.
    let mut action = Action::PutAside(Aside::open(Path::new("/dev/full")).unwrap());
    let everything = Wanted::default();
    let end = work.run(&client, &place, &everything, &mut action, &mut told);
    let error = end.await.unwrap_err().to_string();
    assert!(
        error.starts_with("/dev/full: a letter cannot be written"),
        "{error}"
    );
    assert_eq!(broker.counts(Q).unwrap().dead_letter, 4);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriptions_letter_comes_back_to_its_own_target_only() {
    let subscription = |name: &str, target: &str| SubscriptionConfig {
        rules: vec![Rule::sql("target", &topic::expression(target)).unwrap()],
        ..SubscriptionConfig::named(name)
    };
    let topic = TopicConfig {
        subscriptions: vec![
            subscription("north", "erp"),
            subscription("south", "warehouse"),
        ],
        ..TopicConfig::named(Q)
    };
    let config = BrokerConfig {
        topics: vec![topic],
        ..BrokerConfig::new([])
    };
    let broker = Broker::start(config).await.unwrap();
    let client = client(&broker);
    let north = format!("{Q}/Subscriptions/north");
    client.send(Q, OutgoingMessage::new("x")).await.unwrap();
    give_up(&client, &north, 1, "MaxDeliveryCountExceeded").await;
    let place = Place::find(&client, &north).await.unwrap();
    assert_eq!(place.target(), Some("erp"));
    let everything = Wanted::default();
    let (work, mut action, mut told) = (work(1), Action::Resend, |_| {});
    let end = work.run(&client, &place, &everything, &mut action, &mut told);
    assert_eq!(end.await.unwrap().end, End::All);
    let counts = |name: &str| broker.counts(&format!("{Q}/Subscriptions/{name}")).unwrap();
    assert_eq!(
        (counts("north").active, counts("north").dead_letter),
        (1, 0)
    );
    // The first message, which nobody has taken.
    assert_eq!(counts("south").active, 1);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_no_copy_can_hold_stays_is_named_and_keeps_nobody_back() {
    let config = BrokerConfig {
        max_message_size: 2_000,
        ..BrokerConfig::new([queue(Duration::from_secs(60))])
    };
    let broker = Broker::start(config).await.unwrap();
    let client = client(&broker);
    // Dead-lettering may make a message larger than anybody may send.
    for length in [10, 1_700, 10] {
        let message = OutgoingMessage::new("x".repeat(length));
        client.send(Q, message).await.unwrap();
    }
    give_up(&client, Q, 3, &"because ".repeat(40)).await;
    let large = broker.snapshot(Q).unwrap().dead_letter[1].sequence_number;
    for _ in 0..2 {
        let (outcome, _) = run(&work(1), &client, &Wanted::default()).await;
        let outcome = outcome.unwrap();
        assert_eq!((outcome.end, outcome.unfit), (End::All, vec![large]));
        let queue = broker.snapshot(Q).unwrap();
        assert_eq!((queue.active.len(), queue.dead_letter.len()), (2, 1));
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_no_copy_ends_the_work_and_every_letter_is_given_back() {
    let (broker, client) = with_letters(30).await;
    let refuse = Script {
        entity: Some(Q.into()),
        operation: Some(Operation::Send),
        request: None,
        skip: 5,
        times: u32::MAX,
        chance: None,
        after: false,
        fault: Fault::Refuse {
            condition: "amqp:unauthorized-access".into(),
            description: String::new(),
        },
    };
    broker.hooks().script(refuse).unwrap();
    let (outcome, progress) = run(&work(1), &client, &Wanted::default()).await;
    assert!(outcome.is_err());
    assert_eq!(progress.done, 5);
    // Nothing waits for a lock to end.
    broker.hooks().clear();
    let mut other = client
        .receiver(&dead_letter_queue(Q), ReceiveMode::PeekLock, 50)
        .await
        .unwrap();
    let mut taken = 0;
    while taken < 25 {
        taken += other.receive(50, WAIT).await.unwrap().len();
    }
    assert_eq!(broker.counts(Q).unwrap().active, 5);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_keep_coming_do_not_keep_the_work_going() {
    let (broker, client) = with_letters(10).await;
    let slow = Work {
        rate: NonZeroU32::new(10),
        ..work(1)
    };
    // Only once the work has begun.
    let begun = tokio::sync::Notify::new();
    let (late, mut last) = (client.clone(), Progress::default());
    let coming = async {
        begun.notified().await;
        for number in 100..103 {
            let message = OutgoingMessage::new(notification(number, "account"));
            late.send(Q, message).await.unwrap();
        }
        // The first three on the queue, whichever they are.
        give_up(&late, Q, 3, "RejectedByTarget").await;
    };
    let mut keep = |progress: Progress| {
        last = progress;
        begun.notify_one();
    };
    let (place, everything, mut action) = (Place::queue(Q), Wanted::default(), Action::Resend);
    let working = slow.run(&client, &place, &everything, &mut action, &mut keep);
    let (outcome, ()) = tokio::join!(working, coming);
    assert_eq!((outcome.unwrap().end, last.done), (End::All, 10));
    assert_eq!(broker.counts(Q).unwrap().dead_letter, 3);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_whose_locks_are_lost_as_they_are_ended_do_not_keep_the_work_going() {
    let (broker, client) = with_letters(3).await;
    let always = Script {
        entity: Some(Q.into()),
        operation: Some(Operation::Settle),
        request: None,
        skip: 0,
        times: u32::MAX,
        chance: None,
        after: false,
        fault: Fault::LoseLock,
    };
    broker.hooks().script(always).unwrap();
    let (outcome, progress) = run(&work(1), &client, &Wanted::default()).await;
    assert_eq!((outcome.unwrap().end, progress.done), (End::Locked, 0));
    // Each copy had the same id, however often it was sent.
    assert_eq!(broker.counts(Q).unwrap().active, 3);
    client.close().await;
}

/// Breaks each step of the work, the steps' answers included, and does it again under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_nothing_is_lost_and_to_do_it_again_sends_nothing_twice() {
    let faults = [
        Fault::Refuse {
            condition: "amqp:internal-error".into(),
            description: String::new(),
        },
        Fault::NoAnswer,
        Fault::LoseLock,
        Fault::Connection(Disturbance::Reset),
    ];
    let mut cases = Vec::new();
    for operation in [Operation::Deliver, Operation::Send, Operation::Settle] {
        for fault in &faults {
            for (after, skip) in [(false, 0), (true, 0), (true, 7)] {
                let script = Script {
                    entity: Some(Q.into()),
                    operation: Some(operation),
                    request: None,
                    skip,
                    times: 3,
                    chance: None,
                    after,
                    fault: fault.clone(),
                };
                // Not every step can fail in every way.
                if script.check().is_ok() {
                    cases.push(broken_by(script));
                }
            }
        }
    }
    assert!(cases.len() > 20, "{}", cases.len());
    join_all(cases).await;
}

async fn broken_by(script: Script) {
    let told = format!("{script:?}");
    let (broker, client) = with_locked_letters(12, SHORT).await;
    broker.hooks().script(script).unwrap();
    // How it ends is another matter for each fault.
    let _ = run(&work(1), &client, &Wanted::default()).await;
    broker.hooks().clear();
    let left = || broker.counts(Q).unwrap().dead_letter;
    for _ in 0..5 {
        if left() > 0 {
            let (end, _) = run(&work(1), &client, &Wanted::default()).await;
            end.unwrap_or_else(|error| panic!("{told}: {error}"));
        }
    }
    let queue = broker.snapshot(Q).unwrap();
    let mut bodies: Vec<_> = queue.active.iter().map(|it| it.body.clone()).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(left(), 0, "{told}");
    assert_eq!((queue.active.len(), bodies.len()), (12, 12), "{told}");
    client.close().await;
}
