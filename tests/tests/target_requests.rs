//! The requests that the shipped `sync.json` makes of rows, byte for byte, against golden files;
//! `UPDATE_GOLDEN=1` writes them anew. The secret and what differs from run to run are left out.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use sync_core::config::{DeletePolicy, SyncConfig};
use sync_core::credentials::{Secret, SecretSource};
use sync_core::failure::Failure;
use sync_core::mapping;
use sync_core::ports::{Change, Delivery, Target};
use sync_core::snapshot::{RowKey, RowVersion};
use sync_core::target::{HttpTarget, HttpTargetParts};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use uuid::Uuid;

struct Key;

#[async_trait]
impl SecretSource for Key {
    async fn secret(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::new("top-secret"))
    }

    fn forget(&self, _: &str, _: &Secret) {}
}

/// Answers one request, and tells it.
async fn overhear(listener: TcpListener) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("content-length: ") {
            length = given.parse().unwrap();
        }
        let (name, _) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "host" | "user-agent" | "accept" | "accept-encoding" | "content-length" => {}
            _ => head.push(line.replace("top-secret", "(the secret)")),
        }
    }
    // The request line stays first; the order of headers says nothing.
    head[1..].sort();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"id\":\"C1\"}";
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut text = head.join("\n") + "\n";
    if !body.is_empty() {
        let body: Value = serde_json::from_slice(&body).unwrap();
        text.push_str(&format!(
            "\n{}\n",
            serde_json::to_string_pretty(&body).unwrap()
        ));
    }
    text
}

/// What is sent for a row of this table; without columns the row is gone.
async fn request(config: &SyncConfig, table: &str, columns: Option<Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let heard = tokio::spawn(overhear(listener));
    let table = &config.tables[table];
    let change = match columns {
        Some(columns) => Change::Upsert(mapping::map(table, columns.as_object().unwrap()).unwrap()),
        None => Change::Delete(table.on_delete.clone()),
    };
    let delivery = Delivery {
        row: RowKey {
            table: table.name.clone(),
            id: Uuid::from_u128(7),
        },
        version: Some(RowVersion(502_186)),
        correlation_id: "c-1".into(),
        attempt: Uuid::from_u128(9),
        change,
    };
    // The first to install wins; all install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let target = HttpTarget::new(HttpTargetParts {
        base: base.parse().unwrap(),
        config: config.target.clone(),
        secrets: Arc::new(Key),
        secret_name: "target-key".into(),
        roots: Vec::new(),
    })
    .unwrap();
    let receipt = target.deliver(table, &delivery).await.unwrap();
    assert_eq!(receipt.target_row_id.as_deref(), Some("C1"));
    heard.await.unwrap()
}

fn assert_golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}.http", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden.replace("\r\n", "\n"), "{name}");
}

#[tokio::test]
async fn each_request_of_the_shipped_file_is_the_one_in_its_golden_file() {
    let config = SyncConfig::parse(local_stack::apps::sync_json(), "sync.json").unwrap();
    let account = json!({"accountid": Uuid::from_u128(7), "name": "Fourth Coffee", "accountnumber": "ACC-00001",
        "telephone1": "555-0150", "emailaddress1": "someone@example.com", "websiteurl": null,
        "address1_line1": "100 Sample Street", "address1_city": "Renton", "address1_postalcode": "98055",
        "address1_country": "U.S.", "revenue": 100_000.125, "numberofemployees": 1000, "creditonhold": false,
        "industrycode": 7, "new_languages": "100,101", "createdon": "2026-03-02T23:15:30Z",
        "_primarycontactid_value": Uuid::from_u128(8), "primarycontactid": {"emailaddress1": "yvonne@example.com"},
        "statecode": 0, "versionnumber": 502_186, "dvs_ackversion": null});
    let contact = json!({"firstname": "Yvonne", "lastname": "McKay", "emailaddress1": "yvonne@example.com",
        "telephone1": null, "jobtitle": null, "_parentcustomerid_value": Uuid::from_u128(7),
        "versionnumber": 502_186, "dvs_ackversion": null});
    let mut deactivating = config.clone();
    let mut table = (*config.tables["account"]).clone();
    table.on_delete =
        DeletePolicy::Deactivate(json!({"state": "inactive"}).as_object().unwrap().clone());
    deactivating
        .tables
        .insert("account".into(), Arc::new(table));
    for (name, config, table, columns) in [
        ("account-upsert", &config, "account", Some(account)),
        ("account-delete", &config, "account", None),
        ("account-deactivate", &deactivating, "account", None),
        ("contact-upsert", &config, "contact", Some(contact)),
        ("contact-delete", &config, "contact", None),
    ] {
        assert_golden(name, &request(config, table, columns).await);
    }
}
