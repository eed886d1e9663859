//! A handler behind a socket: what the host sees for success, failure, panic and shutdown.
#![allow(clippy::unwrap_used)] // a test that cannot go on should panic

use std::net::SocketAddr;
use std::sync::Arc;

use custom_handler::{HandlerApp, InFlight, Invocation, InvocationFailed, Reply, ServeError};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

const TIMER: &str = include_str!("golden/g5-timer-monitored.json");
const INVOCATION_ID: &str = "24ad4c06-24ad-4e5b-8294-3da9714877e9";

struct Handler {
    addr: SocketAddr,
    in_flight: InFlight,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

async fn start(app: HandlerApp) -> Handler {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (shutdown, asked) = oneshot::channel::<()>();
    let in_flight = app.in_flight();
    let served = tokio::spawn(app.serve(listener, async move {
        let _ = asked.await;
    }));
    Handler {
        addr,
        in_flight,
        shutdown,
        served,
    }
}

fn orders() -> HandlerApp {
    HandlerApp::new()
        .function("Orders", |invocation: Invocation| async move {
            invocation.timer("tick")?;
            assert_eq!(invocation.id, INVOCATION_ID);
            Err::<Reply, _>(InvocationFailed::new("the target is away"))
        })
        .function("Fine", |_| async { Ok(Reply::ok()) })
        .function("Panics", |_| async { panic!("boom") })
}

/// Sends raw bytes and returns status, content type and body.
async fn exchange(addr: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content_type = head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: "))
        .unwrap_or_default();
    (status, content_type.to_owned(), body.to_owned())
}

fn head(function: &str) -> String {
    format!(
        "POST /{function} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         X-Azure-Functions-InvocationId: {INVOCATION_ID}\r\nContent-Type: application/json; charset=utf-8\r\n"
    )
}

fn with_length(function: &str, body: &str) -> String {
    format!(
        "{}Content-Length: {}\r\n\r\n{body}",
        head(function),
        body.len()
    )
}

#[tokio::test]
async fn the_root_answers_at_once_and_not_empty() {
    let handler = start(HandlerApp::new()).await;
    let request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let (status, _, body) = exchange(handler.addr, request).await;
    assert_eq!((status, body.as_str()), (200, "ready"));
}

#[tokio::test]
async fn an_invocation_is_accepted_with_a_length_and_in_chunks() {
    let handler = start(orders()).await;
    let chunked = format!(
        "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{TIMER}\r\n0\r\n\r\n",
        head("Fine"),
        TIMER.len()
    );
    for request in [with_length("Fine", TIMER), chunked] {
        let (status, content_type, body) = exchange(handler.addr, &request).await;
        assert_eq!(
            (status, content_type.as_str(), body.as_str()),
            (200, "application/json", "{}")
        );
    }
}

#[tokio::test]
async fn a_failed_invocation_is_answered_with_500_and_a_problem() {
    let handler = start(orders()).await;
    let (status, content_type, body) = exchange(handler.addr, &with_length("Orders", TIMER)).await;
    assert_eq!(
        (status, content_type.as_str()),
        (500, "application/problem+json")
    );
    let golden: Value = serde_json::from_str(include_str!("golden/r5-problem.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), golden);
}

#[tokio::test]
async fn a_panic_fails_one_invocation_and_no_other() {
    let handler = start(orders()).await;
    let (status, content_type, _) = exchange(handler.addr, &with_length("Panics", TIMER)).await;
    assert_eq!(
        (status, content_type.as_str()),
        (500, "application/problem+json")
    );
    assert_eq!(handler.in_flight.current(), 0);
    assert_eq!(
        exchange(handler.addr, &with_length("Fine", TIMER)).await.0,
        200
    );
}

#[tokio::test]
async fn requests_that_cannot_be_served_are_refused_with_a_problem() {
    let handler = start(orders().body_limit(1000)).await;
    let too_large = "x".repeat(1001);
    for (expected, request) in [
        (404, with_length("orders", TIMER)),
        (404, with_length("Orders/extra", TIMER)),
        (400, with_length("Orders", "{}")),
        (413, with_length("Orders", &too_large)),
        (405, with_length("Orders", TIMER).replacen("POST", "PUT", 1)),
    ] {
        let (status, content_type, body) = exchange(handler.addr, &request).await;
        assert_eq!(
            (status, content_type.as_str()),
            (expected, "application/problem+json")
        );
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap()["status"],
            expected
        );
    }
}

#[tokio::test]
async fn shutdown_waits_for_the_invocation_in_flight() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = HandlerApp::new().function("Slow", {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        move |_| {
            let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
            async move {
                begun.notify_one();
                finish.notified().await;
                Ok(Reply::ok())
            }
        }
    });
    let handler = start(app).await;
    let addr = handler.addr;
    let slow = tokio::spawn(async move { exchange(addr, &with_length("Slow", TIMER)).await.0 });
    begun.notified().await;
    handler.shutdown.send(()).unwrap();
    tokio::task::yield_now().await;
    assert!(!handler.served.is_finished());
    assert_eq!(handler.in_flight.current(), 1);
    finish.notify_one();
    assert_eq!(slow.await.unwrap(), 200);
    handler.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn an_invocation_whose_connection_broke_still_runs_to_its_end_before_the_drain_is_over() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = HandlerApp::new().function("Slow", {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        move |_| {
            let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
            async move {
                begun.notify_one();
                finish.notified().await;
                Ok(Reply::ok())
            }
        }
    });
    let handler = start(app).await;
    let addr = handler.addr;
    let slow = tokio::spawn(async move { exchange(addr, &with_length("Slow", TIMER)).await });
    begun.notified().await;
    slow.abort();
    handler.shutdown.send(()).unwrap();
    tokio::task::yield_now().await;
    assert!(!handler.served.is_finished());
    finish.notify_one();
    handler.served.await.unwrap().unwrap();
    assert_eq!(handler.in_flight.current(), 0);
}
