//! Telemetry to any OpenTelemetry receiver, by its standard settings.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use local_stack::insights::Kind;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;

use crate::world::World;

/// What a receiver was sent: bodies by signal, and the headers that are asked for.
#[derive(Default)]
struct Received {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    logs: Vec<ExportLogsServiceRequest>,
    tenants: Vec<Option<String>>,
}

type Shared = Arc<Mutex<Received>>;

/// OTLP/HTTP in protobuf (OpenTelemetry Protocol 1.x, "OTLP/HTTP").
async fn take<T: Message + Default>(
    received: &Shared,
    headers: &HeaderMap,
    body: Bytes,
    list: impl FnOnce(&mut Received) -> &mut Vec<T>,
) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let tenant = headers
        .get("x-tenant")
        .map(|v| v.to_str().unwrap().to_owned());
    let mut received = received.lock().unwrap();
    list(&mut received).push(T::decode(body).unwrap());
    received.tenants.push(tenant);
    // An empty response: all was taken.
    [(header::CONTENT_TYPE, "application/x-protobuf")].into_response()
}

async fn receiver(received: Shared) -> String {
    let routes = Router::new()
        .route(
            "/v1/traces",
            post(
                |State(r): State<Shared>, h: HeaderMap, b: Bytes| async move {
                    take(&r, &h, b, |r| &mut r.traces).await
                },
            ),
        )
        .route(
            "/v1/metrics",
            post(
                |State(r): State<Shared>, h: HeaderMap, b: Bytes| async move {
                    take(&r, &h, b, |r| &mut r.metrics).await
                },
            ),
        )
        .route(
            "/v1/logs",
            post(
                |State(r): State<Shared>, h: HeaderMap, b: Bytes| async move {
                    take(&r, &h, b, |r| &mut r.logs).await
                },
            ),
        )
        .with_state(received);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    endpoint
}

fn text(value: Option<&AnyValue>) -> &str {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text,
        _ => "",
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    text(found.and_then(|attribute| attribute.value.as_ref()))
}

#[tokio::test]
async fn spans_metrics_and_logs_arrive_at_an_otlp_receiver_with_the_headers_that_are_set() {
    let received = Shared::default();
    let world = World::with_settings(&[
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            receiver(received.clone()).await,
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-tenant=contoso%20ltd,x-other=1".to_owned(),
        ),
        ("TELEMETRY_LOG_LEVEL", "info".to_owned()),
    ])
    .await;
    let id = world.account();
    world.save(id, json!({"name": "Told twice"}));
    let row = format!("account:{id}");
    // The trace of the row's request.
    let trace_id = || {
        let received = received.lock().unwrap();
        let resources = received.traces.iter().flat_map(|t| &t.resource_spans);
        let of_outbound = resources.filter(|r| {
            let resource = r.resource.as_ref().unwrap();
            attribute(&resource.attributes, "service.name") == "outbound-fn"
        });
        let mut spans = of_outbound
            .flat_map(|r| &r.scope_spans)
            .flat_map(|s| &s.spans);
        let request =
            spans.find(|span| span.name == "Outbound" && attribute(&span.attributes, "row") == row);
        request.map(|span| {
            span.trace_id
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        })
    };
    let metric = || {
        let received = received.lock().unwrap();
        let resources = received.metrics.iter().flat_map(|m| &m.resource_metrics);
        let mut metrics = resources
            .flat_map(|r| &r.scope_metrics)
            .flat_map(|s| &s.metrics);
        metrics.any(|metric| metric.name == "dvsync.deliveries")
    };
    let line = || {
        let received = received.lock().unwrap();
        let resources = received.logs.iter().flat_map(|l| &l.resource_logs);
        let mut records = resources
            .flat_map(|r| &r.scope_logs)
            .flat_map(|s| &s.log_records);
        records.any(|record| text(record.body.as_ref()) == format!("delivered {row}"))
    };
    world
        .until("span, metric and log line", |_| {
            trace_id().is_some() && metric() && line()
        })
        .await;
    let tenants = std::mem::take(&mut received.lock().unwrap().tenants);
    let sent = |tenant: &Option<String>| tenant.as_deref() == Some("contoso ltd");
    assert!(tenants.iter().all(sent), "{tenants:?}");
    // Application Insights has the same trace.
    let told = world.told();
    let request = told
        .iter()
        .find(|item| item.kind == Kind::Request && item.name == "Outbound");
    if let Some(request) = request {
        assert_eq!(Some(&request.operation), trace_id().as_ref());
    }
}

#[tokio::test]
async fn an_otlp_receiver_that_never_answers_holds_nothing_up_and_is_told_of_once() {
    // Connections are taken by the system, and nobody reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let world = World::with_settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).await;
    let ids = world.stack.dataverse.ids("account");
    for round in 0..3 {
        for id in &ids {
            world.save(*id, json!({"name": format!("Round {round}")}));
        }
        world.drained().await;
    }
    for id in &ids {
        assert!(
            world
                .stack
                .target
                .row("customers", &id.to_string())
                .is_some()
        );
    }
    // The other receiver gets everything meanwhile.
    let told = |stack: &local_stack::stack::Stack| {
        let items = crate::world::told(stack);
        let requests = items
            .iter()
            .filter(|i| i.kind == Kind::Request && i.name == "Outbound");
        requests.count() >= ids.len()
    };
    world.until("Application Insights has it", told).await;
    let silence = "telemetry does not reach the OTLP receiver";
    world
        .until("both apps say so", |_| world.logged(silence) >= 2)
        .await;
    assert_eq!(world.logged(silence), 2, "one each");
}
