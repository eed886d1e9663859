//! The official Key Vault client, unmodified, against the vault and identity stand-ins.
//!
//! The client reads `IDENTITY_ENDPOINT`, `IDENTITY_HEADER` and `SSL_CERT_FILE` from its process,
//! as a deployed function app does, so this binary starts itself again as that process.

use std::error::Error;

use azure_identity::ManagedIdentityCredential;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use local_stack::identity::{Identity, IdentityConfig};
use local_stack::tls::LocalCa;
use local_stack::vault::{Vault, VaultConfig};

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_key_vault_client_reads_a_secret_with_its_managed_identity() {
    let identity = Identity::start(IdentityConfig::default()).await.unwrap();
    let ca = LocalCa::new().unwrap();
    let vault = Vault::start(VaultConfig {
        port: 0,
        ca: &ca,
        key: identity.key().clone(),
        tenant: uuid::Uuid::new_v4(),
    })
    .await
    .unwrap();
    vault.set_secret("target-key", "s3cret");
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("ca.pem");
    ca.write_pem(&pem).unwrap();

    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "as_a_function_app_would",
            "--ignored",
            "--nocapture",
        ])
        .env("IDENTITY_ENDPOINT", identity.url())
        .env("IDENTITY_HEADER", identity.header())
        .env("SSL_CERT_FILE", &pem)
        .env("KEY_VAULT_URL", vault.url())
        .output()
        .await
        .unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("read: s3cret"), "{said}");
    let statuses: Vec<u16> = vault.requests().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [401, 200, 200], "one challenge, then two reads");
    assert_eq!(identity.requests().len(), 1, "one token for both reads");
}

#[tokio::test]
#[ignore = "started by the test above, with the environment of a function app"]
async fn as_a_function_app_would() -> Result<(), Box<dyn Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = SecretClientOptions {
        // The stand-in's host name does not end in vault.azure.net, as the challenge's resource does.
        verify_challenge_resource: Some(false),
        ..SecretClientOptions::default()
    };
    let credential = ManagedIdentityCredential::new(None)?;
    let url = std::env::var("KEY_VAULT_URL")?;
    let client = SecretClient::new(&url, credential, Some(options))?;
    for _ in 0..2 {
        let secret = client.get_secret("target-key", None).await?.into_model()?;
        println!("read: {}", secret.value.unwrap_or_default());
    }
    Ok(())
}
