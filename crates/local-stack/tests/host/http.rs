//! HTTP functions.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::app::{App, calls, eventually, logged, seen};
use local_stack::host::{Host, HostState};

fn bindings(trigger: serde_json::Value) -> serde_json::Value {
    json!({"bindings": [trigger, {"type": "http", "direction": "out", "name": "res"}]})
}

fn app() -> App {
    let trigger = json!({"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "function",
                         "methods": ["post"], "route": "orders/{id:int}"});
    App::new()
        .function_json("Orders", &bindings(trigger))
        .set("HANDLER", "web")
}

/// A client that shows redirects instead of following them, and that no test waits for without end.
fn client() -> Client {
    // Which one does not matter over plain HTTP, but there must be one; another test may have it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redirect = reqwest::redirect::Policy::none();
    let client = Client::builder()
        .redirect(redirect)
        .timeout(Duration::from_secs(60));
    client.build().unwrap()
}

fn url(host: &Host, path: &str) -> String {
    format!("http://{}{path}", host.http_addr().unwrap())
}

#[tokio::test]
async fn a_request_becomes_an_invocation_and_its_output_the_answer() {
    // Kept: with it goes its folder.
    let app = app();
    let host = app.start().await;
    let post = |path: &str| client().post(url(&host, path));
    let request = post("/api/orders/7?dry=1&code=any").header("content-type", "application/json");
    let answer = request.body("{\"a\":1}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), "{\"ok\":true}");
    let calls = calls(&host);
    let request = &calls[0]["Data"]["req"];
    assert_eq!(request["Url"], url(&host, "/api/orders/7?dry=1&code=any"));
    assert_eq!(
        (&request["Method"], &request["Params"]["id"]),
        (&json!("POST"), &json!("7"))
    );
    assert_eq!(
        request["Headers"]["Content-Type"],
        json!(["application/json"])
    );
    assert_eq!(request["Body"], "{\"a\":1}");
    assert_eq!(calls[0]["Metadata"]["id"], "\"7\"");
    // Neither another method nor another path is the function's.
    let get = client()
        .get(url(&host, "/api/orders/7"))
        .send()
        .await
        .unwrap();
    assert_eq!(get.status(), StatusCode::NOT_FOUND);
    for path in ["/api/orders/seven", "/orders/7", "/api/orders"] {
        let status = post(path).send().await.unwrap().status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let said = format!(
        "Orders: [POST] http://localhost:{}/api/orders/{{id:int}}",
        host.http_addr().unwrap().port()
    );
    assert!(logged(&host, &said));
    host.stop().await;
}

#[tokio::test]
async fn a_failed_invocation_is_answered_with_500_and_nothing_else() {
    // Kept: with it goes its folder.
    let app = app();
    let host = app.start().await;
    let post = client().post(url(&host, "/api/orders/1"));
    let answer = post.body("fail").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.text().await.unwrap(), "");
    assert_eq!(host.invocations_of("Orders").failed, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_forwarded_request_reaches_the_handler_as_it_came_and_its_answer_goes_back_so() {
    let app = app().host("customHandler__enableForwardingHttpRequest", "true");
    let host = app.start().await;
    let post = client()
        .post(url(&host, "/api/orders/7?dry=1"))
        .header("x-mine", "yes");
    let answer = post.body("not json").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(answer.headers()["location"], "/elsewhere");
    assert_eq!(answer.text().await.unwrap(), "from the handler");
    eventually("the request is seen", || {
        seen(&host).iter().any(|seen| seen.get("raw").is_some())
    })
    .await;
    let raw = seen(&host)
        .into_iter()
        .find_map(|seen| seen.get("raw").cloned())
        .unwrap();
    assert_eq!(raw["uri"], "/api/orders/7?dry=1");
    assert_eq!(
        (&raw["mine"], &raw["body"]),
        (&json!("yes"), &json!("not json"))
    );
    assert!(raw["invocation"].is_string());
    assert_eq!(host.invocations_of("Orders").succeeded, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_when_the_host_is_gone() {
    // Kept: with it goes its folder.
    let app = app();
    let host = app.start().await;
    let post = client().post(url(&host, "/api/orders/1"));
    let answer = tokio::spawn(post.body("hang").send());
    eventually("the handler has it", || !calls(&host).is_empty()).await;
    drop(host);
    let answer = answer.await.unwrap().unwrap();
    // 503, unless the end of the handler, which is killed too, is noticed first.
    assert!(answer.status().is_server_error(), "{answer:?}");
}

#[tokio::test]
async fn nobody_waits_for_a_host_that_has_stopped_itself() {
    let app = app().set("HANDLER", "exit:7");
    let host = app.start().await;
    let url = url(&host, "/api/orders/1");
    // Comes while there still is a host, or just not any more.
    let early = client().post(&url).send().await;
    if let Ok(answer) = early {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let stopped = host.ready().await.unwrap_err();
    assert!(
        matches!(stopped, HostState::HostStopped { .. }),
        "{stopped:?}"
    );
    let late = client().post(&url).send().await.unwrap_err();
    assert!(late.is_connect(), "{late:?}");
}

#[tokio::test]
async fn a_function_with_another_output_is_not_forwarded() {
    let trigger = json!({"type": "httpTrigger", "direction": "in", "name": "req"});
    let queue = json!({"type": "serviceBus", "direction": "out", "name": "outq", "queueName": "q", "connection": "SB"});
    let output = json!({"type": "http", "direction": "out", "name": "res"});
    let app = App::new()
        .function_json("Orders", &json!({"bindings": [trigger, output, queue]}))
        .host("customHandler__enableForwardingHttpRequest", "true")
        .set("SB", "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true")
        .set("HANDLER", "web");
    let host = app.start().await;
    let answer = client()
        .get(url(&host, "/api/Orders"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(calls(&host).len(), 1);
    host.stop().await;
}
