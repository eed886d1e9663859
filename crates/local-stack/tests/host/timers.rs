//! Timer functions.

use local_stack::host::Host;
use serde_json::{Value, json};

use crate::app::{App, eventually, seen};

fn ticks(host: &Host) -> Vec<Value> {
    let ticks = seen(host)
        .into_iter()
        .filter_map(|seen| seen.get("tick").cloned());
    ticks.collect()
}

#[tokio::test]
async fn a_failed_run_is_followed_by_the_next_occurrence() {
    let app = App::new().timer("Tick", "* * * * * *").set("TICK", "fail");
    let host = app.start().await;
    eventually("two runs", || host.invocations_of("Tick").failed >= 2).await;
    let ticks = ticks(&host);
    assert_eq!(ticks[0]["monitored"], json!(false));
    assert_eq!(ticks[0]["past_due"], json!(false));
    host.stop().await;
}

#[tokio::test]
async fn a_timer_runs_at_start_when_told_to_and_is_monitored_from_a_minute_on() {
    let binding = json!({"type": "timerTrigger", "direction": "in", "name": "tick",
                         "schedule": "%WHEN%", "runOnStartup": true});
    let app = App::new()
        .function("Tick", binding)
        .set("WHEN", "0 0 0 1 1 *");
    let host = app.start().await;
    eventually("the run at start", || host.invocations().succeeded == 1).await;
    assert_eq!(ticks(&host)[0]["monitored"], json!(true));
    host.stop().await;
}

#[tokio::test]
async fn an_occurrence_missed_while_no_host_ran_is_made_up_for_once() {
    let app = App::new().timer("Tick", "0 0 0 1 1 *");
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("timers");
    std::fs::create_dir(&folder).unwrap();
    let record = json!({"last": "2020-01-01T00:00:00Z", "next": "2021-01-01T00:00:00Z", "last_updated": "2020-01-01T00:00:00Z"});
    std::fs::write(folder.join("Tick.json"), record.to_string()).unwrap();
    let mut config = app.config();
    config.state_dir = Some(state.path().to_owned());
    let host = Host::start(config.clone()).await.unwrap();
    eventually("the missed run", || host.invocations().succeeded == 1).await;
    assert_eq!(ticks(&host)[0]["past_due"], json!(true));
    host.stop().await;

    let host = Host::start(config).await.unwrap();
    host.ready().await.unwrap();
    assert_eq!(host.invocations().started, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_retry_policy_repeats_the_invocation_under_its_id() {
    let function = json!({
        "bindings": [{"type": "timerTrigger", "direction": "in", "name": "tick", "schedule": "0 0 0 1 1 *", "runOnStartup": true}],
        "retry": {"strategy": "fixedDelay", "maxRetryCount": 2, "delayInterval": "00:00:00.01"}
    });
    let app = App::new()
        .function_json("Tick", &function)
        .set("TICK", "fail");
    let host = app.start().await;
    eventually("three attempts", || host.invocations().failed == 3).await;
    let ticks = ticks(&host);
    let retries: Vec<_> = ticks.iter().map(|tick| tick["retry"].clone()).collect();
    assert_eq!(retries, [json!(0), json!(1), json!(2)]);
    assert!(ticks.iter().all(|tick| tick["id"] == ticks[0]["id"]));
    host.stop().await;
}
