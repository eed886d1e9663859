use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use local_stack::dataverse::{
    Dataverse, DataverseConfig, DataverseFaults, NotificationSender, OutboundNotification,
    PostFailed,
};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;

use super::{request, send};

/// Keeps what it was given; refuses while told to; holds back while it has no permits.
pub(crate) struct Recorder {
    posted: Mutex<Vec<OutboundNotification>>,
    refuses: bool,
    gate: Semaphore,
}

impl Recorder {
    pub(crate) fn new(refuses: bool, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            posted: Mutex::default(),
            refuses,
            gate: Semaphore::new(permits),
        })
    }

    pub(crate) fn posted(&self) -> Vec<OutboundNotification> {
        self.posted.lock().unwrap().clone()
    }
}

#[async_trait]
impl NotificationSender for Recorder {
    async fn post(&self, notification: OutboundNotification) -> Result<(), PostFailed> {
        self.gate.acquire().await.unwrap().forget();
        if self.refuses {
            return Err(PostFailed("the namespace is unreachable".to_owned()));
        }
        self.posted.lock().unwrap().push(notification);
        Ok(())
    }
}

async fn posting_to(recorder: &Arc<Recorder>, faults: DataverseFaults) -> Dataverse {
    Dataverse::start(DataverseConfig {
        sender: Some(recorder.clone()),
        retry_wait: Duration::from_secs(300),
        faults,
        ..DataverseConfig::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_posted_notification_leaves_the_outbox() {
    let recorder = Recorder::new(false, 10);
    let dataverse = posting_to(&recorder, DataverseFaults::default()).await;
    let saved = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    assert_eq!(dataverse.outbox_len(), 0);
    assert_eq!(dataverse.counters().posted, 1);

    let posted = &recorder.posted()[0];
    assert_eq!(
        posted.message_id,
        saved.notification_id.unwrap().to_string()
    );
    assert_eq!(posted.correlation_id, saved.correlation_id.to_string());
    assert_eq!(posted.table, "account");
    let body: Value = serde_json::from_slice(&posted.body).unwrap();
    assert_eq!(body["sourceRowId"], saved.id.to_string());
}

#[tokio::test]
async fn the_trace_of_a_notification_is_its_correlation_id_whatever_the_caller_sent() {
    let recorder = Recorder::new(false, 10);
    let dataverse = posting_to(&recorder, DataverseFaults::default()).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let post = request(&dataverse, Method::POST, "accounts").header("traceparent", traceparent);
    send(post.json(&json!({"name": "A"}))).await;
    dataverse.posts_done().await;
    let posted = &recorder.posted()[0];
    let trace = posted.correlation_id.replace('-', "");
    assert!(posted.traceparent.starts_with(&format!("00-{trace}-")));
    for name in ["traceparent", "Diagnostic-Id"] {
        assert_eq!(posted.properties.get(name), Some(&posted.traceparent));
    }
}

#[tokio::test]
async fn a_save_returns_before_its_notification_is_posted() {
    let recorder = Recorder::new(false, 0);
    let dataverse = posting_to(&recorder, DataverseFaults::default()).await;
    for name in ["A", "B"] {
        let post = request(&dataverse, Method::POST, "accounts").json(&json!({"name": name}));
        assert_eq!(send(post).await.status, 204);
    }
    assert_eq!(dataverse.outbox_len(), 2);
    assert!(recorder.posted().is_empty());
    recorder.gate.add_permits(2);
    dataverse.posts_done().await;
    assert_eq!(dataverse.outbox_len(), 0);
}

#[tokio::test]
async fn a_notification_that_cannot_be_posted_waits_for_the_sweep_with_its_reason() {
    let recorder = Recorder::new(true, 10);
    let dataverse = posting_to(&recorder, DataverseFaults::default()).await;
    dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    let row = &dataverse.outbox()[0];
    assert_eq!(row["statuscode"], 3);
    assert_eq!(row["dvs_attempts"], 1);
    assert_eq!(row["dvs_lasterror"], "the namespace is unreachable");
    let next = row["dvs_nextattempton"].as_str().unwrap();
    let next = OffsetDateTime::parse(next, &Rfc3339).unwrap();
    assert!(next > OffsetDateTime::now_utc() + Duration::from_secs(200));
    assert_eq!(dataverse.counters().post_failures, 1);
}

#[tokio::test]
async fn a_worker_that_dies_after_posting_leaves_the_row_to_be_posted_again() {
    let recorder = Recorder::new(false, 10);
    let faults = DataverseFaults {
        rate_post_crash: 1.0,
        ..DataverseFaults::default()
    };
    let dataverse = posting_to(&recorder, faults).await;
    dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    assert_eq!(recorder.posted().len(), 1);
    assert_eq!(dataverse.outbox()[0]["statuscode"], 1);
}

#[tokio::test]
async fn an_outbox_row_that_somebody_creates_is_posted_too() {
    let recorder = Recorder::new(false, 10);
    let dataverse = posting_to(&recorder, DataverseFaults::default()).await;
    let columns = json!({"dvs_messageid": "m-1", "dvs_payload": "{}", "dvs_table": "account"});
    let post = request(&dataverse, Method::POST, "dvs_outboxes").json(&columns);
    assert_eq!(send(post).await.status, 204);
    dataverse.posts_done().await;
    assert_eq!(recorder.posted()[0].message_id, "m-1");
}

#[tokio::test]
async fn without_a_sender_the_outbox_fills_up() {
    let dataverse = super::empty().await;
    dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    assert_eq!(dataverse.outbox()[0]["statuscode"], 1);
}
