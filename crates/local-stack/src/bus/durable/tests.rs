//! What is there after a restart, and what a directory that cannot be used says.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use serde_amqp::Value;
use serde_amqp::primitives::Binary;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::journal::Disk;
use super::*;
use crate::bus::config::{BrokerConfig, QueueConfig};
use crate::bus::filter::Rule;
use crate::bus::queue::changes::Change;
use crate::bus::queue::entry::{Entry, State};
use crate::bus::queue::message::{GROUP_ID, Message};
use crate::bus::queue::settle::Settlement;
use crate::bus::queue::{Queue, SubQueue};
use crate::bus::server::entity::{Clock, Entity};
use crate::bus::server::hub::Hub;
use crate::bus::topic::{SubscriptionConfig, TopicConfig};
use crate::bus::wire::section;
use crate::bus::wire::values::{self, Map};

const START: OffsetDateTime = datetime!(2026-01-05 08:00 UTC);
const MAIN: SubQueue = SubQueue::Main;

/// A broker without sockets that can be restarted.
struct Stage {
    dir: TempDir,
    config: BrokerConfig,
    hub: Option<Hub>,
    now: Arc<Mutex<OffsetDateTime>>,
}

impl Stage {
    fn new(config: BrokerConfig) -> Self {
        let mut stage = Stage {
            dir: TempDir::new().unwrap(),
            config,
            hub: None,
            now: Arc::new(Mutex::new(START)),
        };
        stage.start().unwrap();
        stage
    }

    fn start(&mut self) -> Result<(), DataError> {
        let told = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || *told.lock().unwrap());
        let data = open(self.dir.path())?;
        self.hub = Some(Hub::new(self.config.clone(), &clock, Some(data))?);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(hub) = self.hub.take() {
            hub.journal.as_ref().unwrap().close();
        }
    }

    fn restart(&mut self) {
        self.stop();
        self.start().unwrap();
    }

    fn wait(&self, seconds: i64) {
        *self.now.lock().unwrap() += time::Duration::seconds(seconds);
    }

    fn entity(&self, name: &str) -> &Arc<Entity> {
        self.hub.as_ref().unwrap().entity(name).unwrap()
    }

    fn with<R>(&self, operate: impl FnOnce(&mut Queue, OffsetDateTime) -> R) -> R {
        self.entity("q").with(operate)
    }

    fn send(&self, message: Message) -> Option<i64> {
        self.with(|queue, now| queue.enqueue(message, now))
    }

    fn lock(&self) -> Uuid {
        let token = Uuid::new_v4();
        self.with(|queue, now| queue.lock_next(MAIN, token, now).unwrap());
        token
    }

    fn settle(&self, settlement: &Settlement) {
        let token = self.lock();
        self.with(|queue, now| queue.settle(MAIN, token, settlement, now))
            .unwrap();
    }

    fn entries(&self, name: &str, sub: SubQueue) -> Vec<Entry> {
        let entity = self.entity(name);
        entity.with(|queue, now| {
            queue.advance(now);
            queue.entries(sub).cloned().collect()
        })
    }

    fn ids(&self, name: &str, sub: SubQueue) -> Vec<String> {
        let entries = self.entries(name, sub);
        entries
            .iter()
            .map(|entry| entry.message.id.to_string())
            .collect()
    }
}

fn queue() -> QueueConfig {
    QueueConfig::named("Q")
}

fn message(id: &str) -> Message {
    in_session(id, "")
}

fn in_session(id: &str, session: &str) -> Message {
    let mut fields = vec![Value::String(id.to_owned())];
    fields.resize(GROUP_ID, Value::Null);
    fields.push(Value::String(session.to_owned()));
    let mut bytes = values::section(section::PROPERTIES, Value::List(fields)).unwrap();
    let mut map = Map::new();
    map.insert(
        Value::String("color".to_owned()),
        Value::String("blue".to_owned()),
    );
    bytes.extend(values::section(section::APPLICATION_PROPERTIES, Value::Map(map)).unwrap());
    let body = Value::Binary(Binary::from(id.as_bytes().to_vec()));
    bytes.extend(values::section(section::DATA, body).unwrap());
    Message::parse(&Bytes::from(bytes), &mut Uuid::new_v4).unwrap()
}

fn scheduled(id: &str, seconds: i64) -> Message {
    Message {
        scheduled_for: Some(START + time::Duration::seconds(seconds)),
        ..message(id)
    }
}

#[test]
fn every_message_is_where_it_was_and_locks_are_not() {
    let mut stage = Stage::new(BrokerConfig::new([queue()]));
    for id in ["done", "failed", "deferred", "dead", "locked", "ready"] {
        stage.send(message(id));
    }
    stage.send(Message {
        ttl: Some(Duration::from_secs(100)),
        ..message("mortal")
    });
    stage.send(scheduled("later", 500));
    let none = Vec::new;
    stage.settle(&Settlement::Complete);
    // The one that failed is the next to be had, over and over.
    for _ in 0..2 {
        stage.settle(&Settlement::Abandon { properties: none() });
    }
    let failed = stage.lock();
    stage.settle(&Settlement::Defer { properties: none() });
    let reason = Some("why".to_owned());
    stage.settle(&Settlement::DeadLetter {
        reason,
        description: None,
        properties: none(),
    });
    stage.lock();
    let before = (
        stage.entries("q", MAIN),
        stage.entries("q", SubQueue::DeadLetter),
    );

    stage.restart();

    let after = (
        stage.entries("q", MAIN),
        stage.entries("q", SubQueue::DeadLetter),
    );
    let unlocked = |entries: &[Entry]| -> Vec<String> {
        let unlocked = entries.iter().map(|entry| Entry {
            lock: None,
            ..entry.clone()
        });
        unlocked.map(|entry| format!("{entry:?}")).collect()
    };
    assert_eq!(unlocked(&after.0), unlocked(&before.0));
    assert_eq!(unlocked(&after.1), unlocked(&before.1));
    assert!(after.0.iter().all(|entry| entry.lock.is_none()));
    let failed = stage.with(|queue, now| queue.settle(MAIN, failed, &Settlement::Complete, now));
    assert!(failed.is_err(), "a lock is not good after a restart");
    let [first, second, ..] = &after.0[..] else {
        panic!("{after:?}")
    };
    assert_eq!((&*first.message.id, first.delivery_count), ("failed", 2));
    assert_eq!(
        (&*second.message.id, second.state),
        ("deferred", State::Deferred)
    );
    // Time goes on for them.
    stage.wait(600);
    assert_eq!(
        stage.ids("q", MAIN),
        ["failed", "deferred", "locked", "ready", "later"]
    );
}

#[test]
fn sequence_numbers_go_on_where_they_were_even_when_nothing_is_left() {
    let mut stage = Stage::new(BrokerConfig::new([queue()]));
    stage.send(message("a"));
    assert_eq!(stage.send(message("b")), Some(2));
    stage.settle(&Settlement::Complete);
    stage.settle(&Settlement::Complete);
    stage.restart();
    assert_eq!(stage.ids("q", MAIN), Vec::<String>::new());
    assert_eq!(stage.send(message("c")), Some(3));
}

#[test]
fn a_sessions_state_and_order_are_kept_and_its_lock_is_not() {
    let sessions = QueueConfig {
        requires_session: true,
        ..queue()
    };
    let mut stage = Stage::new(BrokerConfig::new([sessions]));
    for id in ["a", "b"] {
        stage.send(in_session(id, "s"));
    }
    let (id, state) = ("s".into(), Some(Bytes::from_static(b"half way")));
    stage.with(|queue, now| {
        queue.accept_session(&id, 7, now).unwrap();
        queue
            .set_session_state("s", state.clone(), &[7], now)
            .unwrap();
        queue
            .next_in_session("s", 7, Some(Uuid::new_v4()), now)
            .unwrap();
    });
    stage.restart();
    stage.with(|queue, now| {
        queue.accept_session(&id, 8, now).unwrap();
        assert_eq!(queue.session_state("s", &[8], now).unwrap(), state);
        let first = queue.next_in_session("s", 8, None, now).unwrap();
        assert_eq!((&*first.message.id, first.delivery_count), ("a", 0));
        queue.set_session_state("s", None, &[8], now).unwrap();
    });
    stage.restart();
    stage.with(|queue, now| {
        queue.accept_session(&id, 9, now).unwrap();
        assert_eq!(queue.session_state("s", &[9], now).unwrap(), None);
    });
}

#[test]
fn duplicates_are_known_after_a_restart_for_as_long_as_before() {
    let detecting = QueueConfig {
        duplicate_detection_window: Some(Duration::from_secs(60)),
        ..queue()
    };
    let mut stage = Stage::new(BrokerConfig::new([detecting]));
    stage.send(message("a"));
    stage.wait(50);
    stage.restart();
    assert_eq!(stage.send(message("a")), None);
    stage.wait(20);
    assert_eq!(stage.send(message("a")), Some(2));
    stage.restart();
    assert_eq!(stage.send(message("a")), None);
}

#[test]
fn a_topics_scheduled_message_reaches_its_subscriptions_after_a_restart_once() {
    let topic = TopicConfig::with_subscriptions("q", ["one", "two"]);
    let config = BrokerConfig {
        topics: vec![topic],
        ..BrokerConfig::new([])
    };
    let mut stage = Stage::new(config);
    stage.send(message("now"));
    stage.send(scheduled("later", 10));
    stage.restart();
    stage.wait(20);
    stage.with(|queue, now| queue.advance(now));
    stage.restart();
    for name in ["one", "two"] {
        let path = format!("q/subscriptions/{name}");
        assert_eq!(stage.ids(&path, MAIN), ["now", "later"]);
    }
    assert_eq!(stage.ids("q", MAIN), Vec::<String>::new());
}

#[test]
fn rules_that_clients_set_are_kept_until_the_configuration_says_something_new() {
    let ruled = |expression: &str| {
        let subscription = SubscriptionConfig {
            rules: vec![Rule::sql("first", expression).unwrap()],
            ..SubscriptionConfig::named("s")
        };
        BrokerConfig {
            topics: vec![TopicConfig {
                subscriptions: vec![subscription],
                ..TopicConfig::named("q")
            }],
            ..BrokerConfig::new([])
        }
    };
    let names = |stage: &Stage| -> Vec<String> {
        let rules = stage.entity("q/subscriptions/s").rules().unwrap();
        rules.with(|rules| rules.iter().map(|rule| rule.name().to_owned()).collect())
    };
    let mut stage = Stage::new(ruled("color = 'blue'"));
    let second = Rule::sql("second", "a > 1").unwrap();
    let second = second.with_action("SET b = 2").unwrap();
    let path = "q/subscriptions/s";
    stage
        .entity(path)
        .change_rules(|rules| rules.add(second.clone()))
        .unwrap();
    stage.restart();
    assert_eq!(names(&stage), ["first", "second"]);
    let rules = stage.entity(path).rules().unwrap();
    assert!(rules.with(|rules| rules.iter().any(|rule| *rule == second)));
    stage
        .entity(path)
        .change_rules(|rules| rules.remove("first"))
        .unwrap();
    stage.restart();
    assert_eq!(names(&stage), ["second"]);
    stage.config = ruled("color = 'red'");
    stage.restart();
    assert_eq!(names(&stage), ["first"]);
}

#[test]
fn an_entity_of_another_kind_is_refused_and_one_that_is_gone_is_kept() {
    let mut stage = Stage::new(BrokerConfig::new([queue()]));
    stage.send(message("a"));
    stage.stop();
    stage.config = BrokerConfig::new([QueueConfig {
        requires_session: true,
        ..queue()
    }]);
    let refused = stage.start().unwrap_err().to_string();
    let expected = r#""q" is a queue with sessions in the configuration and a queue in the data"#;
    assert!(refused.contains(expected), "{refused}");
    stage.config = BrokerConfig::new([QueueConfig::named("other")]);
    stage.start().unwrap();
    stage.config = BrokerConfig::new([queue()]);
    stage.restart();
    assert_eq!(stage.ids("q", MAIN), ["a"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_by_name_with_the_way_out() {
    let refused = |dir: &Path| {
        let error = open(dir).err().unwrap().to_string();
        assert!(error.contains(&dir.display().to_string()), "{error}");
        error
    };
    let dir = TempDir::new().unwrap();
    let held = open(dir.path()).unwrap();
    let error = refused(dir.path());
    assert!(error.contains("is in use by another broker"), "{error}");
    held.journal.close();

    let file = dir.path().join("service-bus.redb");
    let error = refused(&file);
    assert!(error.contains("name a directory"), "{error}");

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for place in [middle, written, 4_096, 9_000] {
        bytes[place] ^= 0x5a;
    }
    std::fs::write(&file, &bytes).unwrap();
    let error = refused(dir.path());
    assert!(error.contains("is damaged"), "{error}");
    std::fs::write(&file, b"something else entirely").unwrap();
    let error = refused(dir.path());
    assert!(error.contains("is damaged"), "{error}");

    let foreign = TempDir::new().unwrap();
    std::fs::write(foreign.path().join("letter.txt"), b"").unwrap();
    let error = refused(foreign.path());
    assert!(
        error.contains("name a new or an empty directory"),
        "{error}"
    );
}

/// A disk that commits when it is told to, and says what.
struct Slow {
    go: mpsc::Receiver<bool>,
    done: mpsc::Sender<usize>,
}

impl Disk for Slow {
    fn commit(&mut self, items: Vec<(Arc<str>, Item)>) -> Result<(), DataError> {
        let is_sound = self.go.recv().unwrap_or(true);
        let _ = self.done.send(items.len());
        match is_sound {
            true => Ok(()),
            false => Err(DataError::Write {
                file: "disk".into(),
                problem: "it is full".to_owned(),
            }),
        }
    }
}

fn slow() -> (Journal, mpsc::Sender<bool>, mpsc::Receiver<usize>) {
    let (go, may_go) = mpsc::channel();
    let (tell, done) = mpsc::channel();
    let disk = Slow {
        go: may_go,
        done: tell,
    };
    (Journal::start(disk).unwrap(), go, done)
}

fn append(journal: &Journal, count: i64) {
    let entity: Arc<str> = "q".into();
    let items = (0..count).map(|number| Item::Change(Change::LastSequence(number)));
    journal.append(&entity, items);
}

#[tokio::test]
async fn what_comes_while_the_disk_is_busy_is_committed_at_once_and_not_in_the_middle_of_a_unit() {
    let (journal, go, done) = slow();
    let mut progress = journal.progress();
    let unit = journal.unit();
    append(&journal, 1);
    go.send(true).unwrap();
    // The unit is not over: nothing is written, however long one waits.
    assert!(done.recv_timeout(Duration::from_millis(50)).is_err());
    append(&journal, 1);
    drop(unit);
    assert_eq!(done.recv_timeout(Duration::from_secs(60)).unwrap(), 2);
    progress
        .wait_for(|progress| progress.durable == 2)
        .await
        .unwrap();
    for _ in 0..100 {
        append(&journal, 3);
    }
    let position = journal.position();
    assert!(progress.borrow().durable < position);
    go.send(true).unwrap();
    go.send(true).unwrap();
    progress
        .wait_for(|progress| progress.durable == position)
        .await
        .unwrap();
    assert_eq!(done.try_iter().sum::<usize>(), 300);
}

#[tokio::test]
async fn nothing_is_durable_after_the_disk_has_failed() {
    let (journal, go, _done) = slow();
    let mut progress = journal.progress();
    append(&journal, 1);
    go.send(false).unwrap();
    progress
        .wait_for(|progress| progress.is_broken)
        .await
        .unwrap();
    append(&journal, 1);
    assert_eq!(progress.borrow().durable, 0);
    assert_eq!(journal.position(), 2);
}
