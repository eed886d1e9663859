use std::sync::Arc;
use std::time::Duration;

use local_stack::dataverse::{Dataverse, DataverseConfig, PlugInTelemetry};
use local_stack::identity::{Claims, TokenKey};
use local_stack::insights::story::{self, Paint};
use local_stack::insights::{Insights, InsightsConfig, InsightsFaults, Item, Kind, Outage, Wanted};
use local_stack::tls::LocalCa;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::dataverse::posting::Recorder;

struct Bench {
    insights: Insights,
    client: reqwest::Client,
}

async fn bench(change: impl FnOnce(&mut InsightsConfig<'_>)) -> Bench {
    crate::client();
    let ca = LocalCa::new().unwrap();
    let mut config = InsightsConfig::new(&ca);
    change(&mut config);
    let insights = Insights::start(config).await.unwrap();
    let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    Bench { insights, client }
}

impl Bench {
    fn message(&self, text: &str) -> Value {
        json!({"name": "Microsoft.ApplicationInsights.Message", "time": "2026-03-02T10:00:00Z",
            "iKey": self.insights.instrumentation_key(),
            "tags": {"ai.operation.id": "0af7651916cd43dd8448eb211c80319c"},
            "data": {"baseType": "MessageData", "baseData": {"ver": 2, "message": text}}})
    }

    fn post(&self, body: String) -> reqwest::RequestBuilder {
        let url = format!("https://{}/v2.1/track", self.insights.addr());
        self.client.post(url).body(body)
    }

    async fn track(&self, items: &[Value]) -> (u16, Value) {
        let body = serde_json::to_string(items).unwrap();
        let response = self.post(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn lines(&self, query: &str) -> Vec<Value> {
        let url = format!("{}/items{query}", self.insights.items_url());
        let text = self
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn what_is_accepted_can_be_read_back_as_it_came() {
    let bench = bench(|_| {}).await;
    let item = bench.message("one");
    let (status, answer) = bench.track(std::slice::from_ref(&item)).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"itemsReceived": 1, "itemsAccepted": 1, "errors": []})
    );
    assert_eq!(bench.lines("").await, std::slice::from_ref(&item));
    let of = "?operation=0AF7651916CD43DD8448EB211C80319C";
    assert_eq!(bench.lines(of).await, [item]);
    assert!(bench.lines("?operation=1").await.is_empty());
}

#[tokio::test]
async fn an_item_that_is_not_whole_is_named_and_the_others_are_taken_in() {
    let bench = bench(|_| {}).await;
    let (good, mut bad) = (bench.message("one"), bench.message("two"));
    bad.as_object_mut().unwrap().remove("time");
    let (status, answer) = bench.track(&[good, bad.clone()]).await;
    assert_eq!((status, &answer["itemsAccepted"]), (206, &json!(1)));
    assert_eq!(answer["errors"][0]["index"], 1);
    assert_eq!(answer["errors"][0]["statusCode"], 400);
    let (status, answer) = bench.track(&[bad]).await;
    assert_eq!((status, &answer["itemsAccepted"]), (400, &json!(0)));
    let response = bench.post("[{".to_owned()).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(
        (
            bench.insights.counts().accepted,
            bench.insights.counts().refused
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn ingestion_throttles_fails_and_breaks_as_it_is_told_and_then_mends() {
    let bench = bench(|_| {}).await;
    bench.insights.set_faults(InsightsFaults {
        fail_with: Some(429),
        fail_next: Some(1),
        retry_after_s: Some(7),
        ..InsightsFaults::default()
    });
    let one = bench.message("one");
    let response = bench.post(one.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(bench.track(std::slice::from_ref(&one)).await.0, 200);

    bench.insights.set_faults(InsightsFaults {
        refuse_items_with: Some(503),
        refuse_next_items: Some(1),
        ..InsightsFaults::default()
    });
    let (status, answer) = bench.track(&[one.clone(), one.clone()]).await;
    assert_eq!(
        (status, &answer["errors"][0]["statusCode"]),
        (206, &json!(503))
    );

    for outage in [Outage::Cut, Outage::Silent] {
        bench.insights.set_faults(InsightsFaults {
            outage,
            ..InsightsFaults::default()
        });
        let sent = bench.post(one.to_string()).timeout(Duration::from_secs(1));
        assert!(sent.send().await.is_err(), "{outage:?}");
    }
    bench.insights.set_faults(InsightsFaults::default());
    assert_eq!(bench.track(&[one]).await.0, 200);
}

#[tokio::test]
async fn with_entra_only_a_token_for_azure_monitor_is_let_in() {
    let key = TokenKey::random();
    let bench = bench(|config| config.auth = Some(key.clone())).await;
    let token = |audience: &str| {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        key.issue(&Claims {
            aud: audience.to_owned(),
            appid: "app".to_owned(),
            oid: "object".to_owned(),
            uti: String::new(),
            iat: now,
            exp: now + 60,
        })
    };
    let item = bench.message("one").to_string();
    assert_eq!(bench.post(item.clone()).send().await.unwrap().status(), 401);
    for (audience, status) in [
        ("https://vault.azure.net", 401),
        ("https://monitor.azure.com/", 200),
    ] {
        let sent = bench.post(item.clone()).bearer_auth(token(audience));
        assert_eq!(sent.send().await.unwrap().status(), status, "{audience}");
    }
}

#[tokio::test]
async fn accepted_items_are_in_the_file_one_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.ndjson");
    let bench = bench(|config| config.file = Some(path.clone())).await;
    let items = [bench.message("one"), bench.message("two")];
    bench.track(&items).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, items);
}

async fn saving_to(bench: &Bench, refuses: bool) -> (Arc<Recorder>, Vec<Item>, String) {
    let recorder = Recorder::new(refuses, 10);
    let dataverse = Dataverse::start(DataverseConfig {
        sender: Some(recorder.clone()),
        telemetry: Some(PlugInTelemetry {
            sink: bench.insights.sink(),
            instrumentation_key: bench.insights.instrumentation_key(),
            target: "localhost/outbound".to_owned(),
        }),
        ..DataverseConfig::default()
    })
    .await
    .unwrap();
    let saved = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    let wanted = Wanted::parse(&format!("account:{}", saved.id)).unwrap();
    let items = bench.insights.items_of(&wanted);
    let story = story::of(&items, &wanted).unwrap();
    assert_eq!(
        story.operations,
        [saved.correlation_id.simple().to_string()]
    );
    assert_eq!(story.roots.len(), 1);
    (recorder, items, story::render(&story, Paint::Plain))
}

#[tokio::test]
async fn a_save_is_told_as_the_plug_in_s_request_and_its_message_continues_the_trace() {
    let bench = bench(|_| {}).await;
    let (recorder, items, text) = saving_to(&bench, false).await;
    for part in [
        "account Create",
        "├─ outbox row",
        "└─ send outbound to Service Bus",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let send = items
        .iter()
        .find(|item| item.name == "send outbound")
        .unwrap();
    let expected = format!("00-{}-{}-01", send.operation, send.id);
    assert_eq!(recorder.posted()[0].traceparent, expected);
    assert_eq!(bench.insights.counts().refused, 0);
}

#[tokio::test]
async fn a_post_that_fails_is_told_with_its_reason() {
    let bench = bench(|_| {}).await;
    let (_, items, text) = saving_to(&bench, true).await;
    assert!(text.contains("the namespace is unreachable"), "{text}");
    let exceptions = items.iter().filter(|item| item.kind == Kind::Exception);
    assert_eq!(exceptions.count(), 1);
    assert_eq!(bench.insights.counts().refused, 0);
}
