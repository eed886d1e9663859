//! The life of the handler process.

use local_stack::host::{HostState, LineLevel, LineSource};
use serde_json::json;

use crate::app::{App, eventually, is_running, logged, seen};

/// An app with one function that never runs by itself.
fn idle() -> App {
    App::new().timer("Tick", "0 0 0 1 1 *")
}

#[tokio::test]
async fn the_handler_gets_the_hosts_five_variables_and_the_app_settings() {
    let app = idle().set("TARGET_URL", "http://localhost");
    let host = app.start().await;
    host.ready().await.unwrap();
    eventually("the handler speaks", || !seen(&host).is_empty()).await;
    let environment = seen(&host)[0]["environment"].clone();
    let port = host.handler_port().to_string();
    assert_eq!(environment["FUNCTIONS_CUSTOMHANDLER_PORT"], json!(port));
    assert_eq!(environment["FUNCTIONS_HTTPWORKER_PORT"], json!(port));
    let worker_id = environment["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"]
        .as_str()
        .unwrap();
    assert_eq!(worker_id.len(), 36);
    assert_eq!(environment["FUNCTIONS_HTTPWORKER_ID"], json!(worker_id));
    let root = app.dir.path().to_str().unwrap();
    assert_eq!(environment["FUNCTIONS_APP_ROOT_PATH"], json!(root));
    assert_eq!(environment["TARGET_URL"], json!("http://localhost"));
    // cargo sets this one where the test runs.
    assert_eq!(environment.get("CARGO_MANIFEST_DIR"), None);
    host.stop().await;
}

#[tokio::test]
async fn output_becomes_lines_with_the_level_of_their_stream() {
    let app = idle();
    let host = app.start().await;
    eventually("both streams speak", || {
        let lines = host.lines();
        let on_stderr = |level| {
            lines
                .iter()
                .any(|line| line.source == LineSource::Stderr && line.level == level)
        };
        let on_stdout = lines
            .iter()
            .any(|line| line.source == LineSource::Stdout && line.level == LineLevel::Information);
        on_stdout && on_stderr(LineLevel::Error)
    })
    .await;
}

#[tokio::test]
async fn any_answer_to_the_probe_means_ready() {
    let app = idle().set("HANDLER", "rude");
    let host = app.start().await;
    host.ready().await.unwrap();
    assert_eq!(host.state(), HostState::Ready);
}

#[tokio::test]
async fn a_handler_that_exits_with_zero_is_not_restarted_and_its_invocations_fail() {
    let app = App::new().timer("Tick", "* * * * * *").set("TICK", "exit");
    let host = app.start().await;
    host.ready().await.unwrap();
    eventually("the handler is gone", || {
        host.state() == HostState::HandlerGone
    })
    .await;
    let failed = host.invocations().failed;
    eventually("an invocation finds nobody", || {
        host.invocations().failed > failed
    })
    .await;
    assert_eq!((host.handler_restarts(), host.handler_pid()), (0, None));
    assert!(logged(&host, "exit code 0"));
    host.stop().await;
}

#[tokio::test]
async fn exit_code_200_restarts_the_handler_as_often_as_it_likes() {
    let app = idle().set("HANDLER", "exit:200");
    let host = app.start().await;
    eventually("five restarts", || host.handler_restarts() >= 5).await;
    assert_eq!(host.state(), HostState::Starting);
    host.stop().await;
}

#[tokio::test]
async fn the_third_crash_stops_the_host_and_quotes_the_last_words() {
    let app = idle().set("HANDLER", "exit:3");
    let host = app.start().await;
    let HostState::HostStopped { reason } = host.ready().await.unwrap_err() else {
        panic!("the host did not stop")
    };
    assert!(
        reason.contains("exit status: 3") && reason.contains("last words"),
        "{reason}"
    );
    assert_eq!((host.handler_restarts(), host.handler_pid()), (2, None));
}

#[tokio::test]
async fn the_platform_starts_a_new_host_after_one_has_stopped() {
    let app = idle().set("HANDLER", "exit:3");
    let mut config = app.config();
    config.restart_host = true;
    let host = local_stack::host::Host::start(config).await.unwrap();
    eventually("a second new host", || host.host_restarts() >= 2).await;
    assert!(host.handler_restarts() >= 6);
    host.stop().await;
}

#[tokio::test]
async fn a_killed_handler_comes_back_on_the_same_port_twice() {
    let app = idle();
    let host = app.start().await;
    host.ready().await.unwrap();
    let port = host.handler_port();
    for restarts in 1..=2 {
        let pid = host.handler_pid().unwrap();
        host.kill_handler();
        eventually("it is restarted", || host.handler_restarts() == restarts).await;
        host.ready().await.unwrap();
        assert!(!is_running(pid));
        assert_ne!(host.handler_pid(), Some(pid));
        assert_eq!(host.handler_port(), port);
    }
    host.kill_handler();
    eventually("the host stops", || {
        matches!(host.state(), HostState::HostStopped { .. })
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_never_listens_stops_the_host() {
    let app = idle()
        .set("HANDLER", "silent")
        .host("customHandler__initializationTimeout", "00:00:00.2");
    let host = app.start().await;
    let HostState::HostStopped { reason } = host.ready().await.unwrap_err() else {
        panic!("the host did not stop")
    };
    assert!(reason.contains("did not answer GET /"), "{reason}");
}

#[tokio::test]
async fn invocations_wait_while_the_handler_starts() {
    let app = App::new()
        .set("HANDLER", "slow:1500")
        .timer("Tick", "* * * * * *");
    let host = app.start().await;
    eventually("an invocation begins", || host.invocations().started > 0).await;
    eventually("it succeeds", || host.invocations().succeeded > 0).await;
    assert_eq!(host.invocations().failed, 0);
    host.stop().await;
}

#[tokio::test]
async fn an_empty_success_hangs_until_the_function_timeout_kills_the_handler() {
    tokio::join!(hangs("empty"), hangs("no-content"), hangs("null"));
}

async fn hangs(answer: &str) {
    let app = App::new()
        .timer("Tick", "* * * * * *")
        .set("HANDLER", "rude")
        .set("ANSWER", answer)
        .host("functionTimeout", "00:00:00.5");
    let host = app.start().await;
    host.ready().await.unwrap();
    let pid = host.handler_pid().unwrap();
    eventually("the hang is flagged", || {
        logged(&host, "THE INVOCATION HANGS")
    })
    .await;
    eventually("the handler is replaced", || host.handler_restarts() == 1).await;
    host.ready().await.unwrap();
    assert!(!is_running(pid));
    eventually("the invocation failed", || host.invocations().failed >= 1).await;
    assert!(logged(&host, "Timeout value of 500ms exceeded"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_is_not_json_fails_the_invocation_at_once() {
    for answer in ["text", "not-json"] {
        let app = App::new()
            .timer("Tick", "* * * * * *")
            .set("HANDLER", "rude")
            .set("ANSWER", answer);
        let host = app.start().await;
        eventually("an invocation fails", || host.invocations().failed > 0).await;
        assert_eq!(host.invocations().succeeded, 0);
        host.stop().await;
    }
}

#[tokio::test]
async fn the_end_of_the_host_is_the_end_of_the_handler() {
    let app = idle();
    let stopped = app.start().await;
    stopped.ready().await.unwrap();
    let pid = stopped.handler_pid().unwrap();
    stopped.stop().await;
    assert!(!is_running(pid));

    let app = idle();
    let dropped = app.start().await;
    dropped.ready().await.unwrap();
    let pid = dropped.handler_pid().unwrap();
    drop(dropped);
    eventually("the handler is gone", || !is_running(pid)).await;
}

#[tokio::test]
async fn an_app_that_no_host_could_run_is_refused_with_file_and_key() {
    let refused = |app: App| async move { app.try_start().await.unwrap_err().to_string() };
    let message = refused(App::new().timer("Tick", "now and then")).await;
    assert!(
        message.contains("Tick/function.json") && message.contains("schedule"),
        "{message}"
    );
    let trigger =
        json!({"type": "serviceBusTrigger", "direction": "in", "name": "my_msg", "queueName": "q"});
    let message = refused(App::new().function("Orders", trigger)).await;
    assert!(message.contains("my_msg"), "{message}");
    let trigger = json!({"type": "serviceBusTrigger", "direction": "in", "name": "msg", "queueName": "q", "connection": "Bus"});
    let message = refused(App::new().function("Orders", trigger)).await;
    assert!(message.contains("app setting Bus"), "{message}");
    assert!(refused(App::new()).await.contains("no function"));
}
