//! How telemetry leaves the apps: as whom, and until when.

use std::process::Command;

use local_stack::insights::{Item, Kind};
use local_stack::stack::{Stack, TelemetryConfig};
use serde_json::json;

use crate::world::{World, told};

const IDENTITIES_ONLY: TelemetryConfig = TelemetryConfig {
    file: None,
    identities_only: true,
};

/// What the apps told; the plug-in's stand-in does not go through ingestion.
fn of_apps(stack: &Stack) -> Vec<Item> {
    let mut items = told(stack);
    items.retain(|item| item.role != "dataverse");
    items
}

fn has(items: &[Item], kind: Kind, name: &str) -> bool {
    let wanted = |i: &Item| i.kind == kind && i.name.starts_with(name);
    items.iter().any(wanted)
}

#[tokio::test]
async fn where_only_identities_may_send_telemetry_it_arrives_with_the_apps_token() {
    let authentication = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING";
    let settings = [(authentication, "Authorization=AAD".to_owned())];
    let world = World::with_telemetry(IDENTITIES_ONLY, &settings).await;
    world.save(world.account(), json!({"name": "Trusted"}));
    world
        .until("requests and metrics of both apps", |stack| {
            let items = of_apps(stack);
            has(&items, Kind::Request, "Outbound")
                && has(&items, Kind::Request, "Inbound")
                && has(&items, Kind::Metric, "dvsync.deliveries")
        })
        .await;
    let requests = world.stack.identity.requests();
    let monitor = |resource: &String| resource.starts_with("https://monitor.azure.com");
    assert!(
        requests
            .iter()
            .any(|r| r.resource.as_ref().is_some_and(monitor))
    );
    assert_eq!(world.logged("telemetry does not reach"), 0);
}

#[tokio::test]
async fn telemetry_that_is_refused_for_want_of_a_token_is_told_once_and_delays_nothing() {
    let world = World::with_telemetry(IDENTITIES_ONLY, &[]).await;
    for id in world.stack.dataverse.ids("account") {
        world.save(id, json!({"name": "Untold"}));
    }
    world.drained().await;
    let refused = |stack: &Stack| stack.insights.as_ref().unwrap().counts().requests >= 12;
    world.until("a dozen refused requests", refused).await;
    let told = "it answers 401 Unauthorized; set APPLICATIONINSIGHTS_AUTHENTICATION_STRING";
    world
        .until("both apps say so", |_| world.logged(told) >= 2)
        .await;
    assert_eq!(world.logged("telemetry does not reach"), 2, "one each");
    assert_eq!(of_apps(&world.stack).len(), 0);
}

#[tokio::test]
async fn what_a_handler_has_to_tell_arrives_when_it_is_sent_sigterm_right_after_a_message() {
    // Nothing leaves by the clock.
    let never = "3600000".to_owned();
    let world = World::with_settings(&[
        ("OTEL_BSP_SCHEDULE_DELAY", never.clone()),
        ("OTEL_BLRP_SCHEDULE_DELAY", never),
        ("TELEMETRY_METRICS_SECONDS", "3600".to_owned()),
        ("TELEMETRY_LOG_LEVEL", "info".to_owned()),
    ])
    .await;
    world.save(world.account(), json!({"name": "Last words"}));
    world.drained().await;
    assert_eq!(of_apps(&world.stack).len(), 0);
    let pid = world.stack.outbound.hosts()[0].handler_pid().unwrap();
    let sent = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
    world
        .until("span, log line and metric", |stack| {
            let items = of_apps(stack);
            has(&items, Kind::Request, "Outbound")
                && has(&items, Kind::Message, "delivered account:")
                && has(&items, Kind::Metric, "dvsync.deliveries")
        })
        .await;
}
