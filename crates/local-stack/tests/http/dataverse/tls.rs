use local_stack::dataverse::{Dataverse, DataverseConfig, TlsPort};
use local_stack::tls::LocalCa;
use serde_json::json;

use super::{get, send};

#[tokio::test]
async fn the_same_environment_is_served_plain_and_over_tls_at_once() {
    let ca = LocalCa::new().unwrap();
    let dataverse = Dataverse::start(DataverseConfig {
        tls: Some(TlsPort {
            port: 0,
            config: ca.server_config().unwrap(),
        }),
        ..DataverseConfig::default()
    })
    .await
    .unwrap();
    let trusted = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .build()
        .unwrap();
    let accounts = format!("{}/api/data/v9.2/accounts", dataverse.tls_url().unwrap());
    let created = send(client.post(&accounts).json(&json!({"name": "A"}))).await;
    assert_eq!(created.status, 204);
    assert!(created.header("odata-entityid").starts_with(&accounts));
    let read = get(&dataverse, "accounts?$select=name").await;
    assert_eq!(read.values()[0]["name"], "A");
    assert!(
        client
            .get(dataverse.url().replace("http:", "https:"))
            .send()
            .await
            .is_err()
    );
}
