//! `dvsync host` with a connection by identity: its own binary, the identity endpoint of App Service, and
//! a broker that verifies tokens, behind TLS as in Azure.

// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use custom_handler::{Bind, HandlerApp, Invocation, InvocationFailed, Reply};
use local_stack::bus::{Broker, BrokerConfig, Identities, Role, Security};
use local_stack::identity::{Identity, IdentityConfig, TokenKey};
use local_stack::tls::LocalCa;
use serde_json::json;
use service_bus::{Client, ClientOptions, OutgoingMessage, ReceiveMode, Settlement};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Long enough for whatever is certain to happen, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(60);

/// Not a test: does nothing unless a host started it, whose executable is this very binary.
#[test]
fn handler_process() {
    if std::env::var("FUNCTIONS_CUSTOMHANDLER_PORT").is_err() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = HandlerApp::new().function("Orders", order);
    let served = runtime.block_on(app.serve(Bind::Environment, std::future::pending()));
    panic!("{served:?}");
}

async fn order(invocation: Invocation) -> Result<Reply, InvocationFailed> {
    let message = invocation.service_bus_message("msg")?;
    let text = String::from_utf8_lossy(&message.body).into_owned();
    Ok(Reply::ok().output("outq", vec![format!("seen {text}")]))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Not SIGKILL, which would leave its handler behind.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.0.wait();
    }
}

fn lay_out(app: &Path) {
    let host = json!({
        "version": "2.0",
        "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
        "customHandler": {"description": {
            "defaultExecutablePath": std::env::current_exe().unwrap(),
            "arguments": ["--exact", "handler_process", "--nocapture"],
        }},
    });
    let function = json!({"bindings": [
        {"type": "serviceBusTrigger", "direction": "in", "name": "msg", "queueName": "orders", "connection": "SB", "dataType": "binary"},
        {"type": "serviceBus", "direction": "out", "name": "outq", "queueName": "replies", "connection": "SB"},
    ]});
    std::fs::write(app.join("host.json"), host.to_string()).unwrap();
    std::fs::create_dir(app.join("Orders")).unwrap();
    std::fs::write(app.join("Orders/function.json"), function.to_string()).unwrap();
}

/// What stands before a namespace in Azure: takes TLS off and passes everything on; its port.
async fn tls_in_front(broker: &Broker, ca: &LocalCa) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (acceptor, to) = (
        TlsAcceptor::from(ca.server_config().unwrap()),
        broker.addr(),
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await.unwrap();
                let mut inside = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn messages_are_received_settled_and_sent_with_the_tokens_of_an_identity() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path());
    let ca = LocalCa::new().unwrap();
    let ca_file = folder.path().join("ca.pem");
    ca.write_pem(&ca_file).unwrap();

    let key = TokenKey::random();
    let config = IdentityConfig {
        key: key.clone(),
        ..IdentityConfig::default()
    };
    let owner = config.client_id.to_string();
    let identity = Identity::start(config).await.unwrap();
    let security = Security {
        identities: Some(Identities {
            key,
            roles: BTreeMap::from([(owner, Role::Owner)]),
        }),
        ..Security::default()
    };
    let broker = BrokerConfig {
        security: Some(security),
        ..BrokerConfig::with_queues(["orders", "replies"])
    };
    let broker = Broker::start(broker).await.unwrap();
    let port = tls_in_front(&broker, &ca).await;

    let host = Command::new(env!("CARGO_BIN_EXE_dvsync"))
        .arg("host")
        .arg(folder.path())
        .args([
            "--port",
            "0",
            "--set",
            "SB__credential=managedidentity",
            "--set",
        ])
        .arg(format!("SB__fullyQualifiedNamespace=localhost:{port}"))
        .env("IDENTITY_ENDPOINT", identity.url())
        .env("IDENTITY_HEADER", identity.header())
        .env("SSL_CERT_FILE", &ca_file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _host = Running(host);

    let options = ClientOptions::default();
    let client = Client::from_connection_string(&broker.connection_string(), options).unwrap();
    client
        .send("orders", OutgoingMessage::new("42"))
        .await
        .unwrap();
    let receiver = client.receiver("replies", ReceiveMode::PeekLock, 1);
    let mut receiver = receiver.await.unwrap();
    let replies = receiver.receive(1, SOON).await.unwrap();
    assert_eq!(replies[0].body, "seen 42");
    receiver
        .settle(&replies[0], Settlement::Complete)
        .await
        .unwrap();
    let completed = async {
        while broker.counters("orders").unwrap().completed < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, completed)
        .await
        .expect("the order is not completed");
    let asked = identity.requests();
    let for_bus = |resource: &String| resource.starts_with("https://servicebus.azure.net");
    assert!(
        asked
            .iter()
            .any(|request| request.status == 200 && request.resource.as_ref().is_some_and(for_bus))
    );
}
