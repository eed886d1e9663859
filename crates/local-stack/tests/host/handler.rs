//! The handler process that these tests start.
//!
//! It is this very test binary, told by its arguments to run one "test" only, because no other
//! executable is at hand. What it does is up to the app setting `HANDLER` and to what it is sent.

use std::io::Write;
use std::process::exit;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use custom_handler::{Bind, HandlerApp, Invocation, InvocationFailed, Reply};
use serde_json::{Value, json};

/// Not a test: does nothing unless a host started it.
#[test]
fn handler_process() {
    let Ok(port) = std::env::var("FUNCTIONS_CUSTOMHANDLER_PORT") else {
        return;
    };
    let mode = std::env::var("HANDLER").unwrap();
    let (mode, argument) = mode.split_once(':').unwrap_or((&mode, ""));
    let number = || argument.parse().unwrap();
    // libtest has begun a line.
    println!();
    say("environment", environment());
    eprintln!("the handler's last words");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match mode {
        "exit" => exit(number()),
        "silent" => std::thread::sleep(Duration::from_secs(3600)),
        "rude" => runtime.block_on(rude(&port)),
        "record" => runtime.block_on(record(&port)),
        "web" => runtime.block_on(web(&port)),
        "slow" => std::thread::sleep(Duration::from_millis(number().unsigned_abs().into())),
        _ => {}
    }
    let app = HandlerApp::new()
        .function("Tick", tick)
        .function("Orders", order);
    let served = runtime.block_on(app.serve(Bind::Environment, std::future::pending()));
    panic!("{served:?}");
}

fn say(key: &str, value: Value) {
    // In one write, or lines of concurrent invocations would mix.
    let line = format!("saw {}\n", json!({ key: value }));
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn environment() -> Value {
    let variables = std::env::vars().map(|(name, value)| (name, Value::from(value)));
    Value::Object(variables.collect())
}

async fn tick(invocation: Invocation) -> Result<Reply, InvocationFailed> {
    let timer = invocation.timer("tick")?;
    let retry = invocation.retry_context()?.map(|retry| retry.retry_count);
    say(
        "tick",
        json!({"past_due": timer.is_past_due, "monitored": timer.schedule_status.is_some(), "retry": retry,
               "id": invocation.id}),
    );
    match std::env::var("TICK").as_deref() {
        Ok("fail") => Err(InvocationFailed::new("told to")),
        Ok("exit") => exit(0),
        Ok("crash") => exit(7),
        _ => Ok(Reply::ok()),
    }
}

/// Does what the message's body says.
async fn order(invocation: Invocation) -> Result<Reply, InvocationFailed> {
    let message = invocation.service_bus_message("msg")?;
    let text = String::from_utf8_lossy(&message.body).into_owned();
    say(
        "order",
        json!({"text": text, "delivery": message.delivery_count, "message_id": message.message_id,
               "lock": message.lock_token, "properties": message.application_properties}),
    );
    let (what, argument) = text.split_once(':').unwrap_or((&text, ""));
    match what {
        "fail" => return Err(InvocationFailed::new("told to")),
        "exit" => exit(argument.parse().unwrap()),
        "sleep" => tokio::time::sleep(Duration::from_millis(argument.parse().unwrap())).await,
        "send" => {
            return Ok(Reply::ok().output("outq", vec![argument.to_owned(), "second".to_owned()]));
        }
        "log" => return Ok(Reply::ok().log(argument)),
        "once" if message.delivery_count == 1 => {
            return Err(InvocationFailed::new("told to, once"));
        }
        "hang-once" if message.delivery_count == 1 => std::future::pending().await,
        _ => {}
    }
    Ok(Reply::ok())
}

/// A handler that breaks the contract: it answers the readiness probe with 404, and an invocation with
/// whatever `ANSWER` names.
async fn rude(port: &str) {
    let answer = std::env::var("ANSWER").unwrap_or_default();
    let app = Router::new()
        .route(
            "/{function}",
            post(move |_: Bytes| async move { rude_answer(&answer) }),
        )
        .fallback(any(|| async { StatusCode::NOT_FOUND }));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    axum::serve(listener, app).await.unwrap();
}

/// A handler that prints the whole of each invocation, and fails when `fail` occurs in its data.
async fn record(port: &str) {
    let app = Router::new().route(
        "/{function}",
        post(|body: Bytes| async move {
            let body: Value = serde_json::from_slice(&body).unwrap();
            say("call", body.clone());
            let failed = body["Data"].to_string().contains("fail");
            let status = if failed { 500 } else { 200 };
            let json = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::from_u16(status).unwrap(), json, "{}")
        }),
    );
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    axum::serve(listener, app).await.unwrap();
}

/// A handler of HTTP functions: answers invocations with an output, and forwarded requests itself.
async fn web(port: &str) {
    let invoked = |body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).unwrap();
        say("call", body.clone());
        let what = &body["Data"]["req"]["Body"];
        if what == "hang" {
            std::future::pending::<()>().await;
        }
        let failed = what == "fail";
        let status = if failed { 500 } else { 200 };
        let headers = json!({"Content-Type": "application/json"});
        let output = json!({"statusCode": "202", "headers": headers, "body": {"ok": true}});
        let answer = axum::Json(json!({"Outputs": {"res": output}}));
        (StatusCode::from_u16(status).unwrap(), answer)
    };
    let forwarded = |uri: Uri, headers: HeaderMap, body: String| async move {
        let text = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (mine, id) = (text("x-mine"), text("x-azure-functions-invocationid"));
        say(
            "raw",
            json!({"uri": uri.to_string(), "mine": mine, "invocation": id, "body": body}),
        );
        let location = [(header::LOCATION, "/elsewhere")];
        (StatusCode::FOUND, location, "from the handler")
    };
    let app = Router::new()
        // The readiness probe must not look like a request.
        .route("/", get(|| async { StatusCode::NOT_FOUND }))
        .route("/{function}", post(invoked))
        .fallback(forwarded);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    axum::serve(listener, app).await.unwrap();
}

fn rude_answer(answer: &str) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match answer {
        "empty" => StatusCode::OK.into_response(),
        "no-content" => StatusCode::NO_CONTENT.into_response(),
        "null" => (json, "null").into_response(),
        "text" => "ok".into_response(),
        _ => (json, "not-json").into_response(),
    }
}
