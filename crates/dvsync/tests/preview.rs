//! `dvsync preview`: what it prints, against golden files; `UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use local_stack::dataverse::{Dataverse, DataverseConfig};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/preview");
const BASE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/broken/base/sync.json"
);

/// What it prints of the row in the golden folder, under the base's sync file.
fn preview(arguments: &[&str]) -> String {
    preview_with(Path::new(BASE), arguments)
}

fn preview_with(config: &Path, arguments: &[&str]) -> String {
    let row = Path::new(GOLDEN).join("row.json");
    let row = [
        "--target",
        "https://erp.contoso.com/api",
        "--row",
        row.to_str().unwrap(),
    ];
    run(config, &[&row[..], arguments].concat())
}

/// What `dvsync preview` of an account prints.
fn run(config: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dvsync"))
        .args(["preview", "--table", "account", "--config"])
        .arg(config)
        .args(arguments)
        .env("TARGET_SECRET_NAME", "erp-api-key")
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy")
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn is_golden(name: &str, text: &str) {
    let path = Path::new(GOLDEN).join(name);
    let version = concat!("dataverse-sync/", env!("CARGO_PKG_VERSION"));
    let text = text.replace(version, "dataverse-sync/VERSION");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{}", path.display());
}

#[test]
fn a_request_is_shown_with_the_secret_and_unlisted_columns_left_out() {
    let text = preview(&[]);
    for value in [
        "A. Datum",
        "Redmond",
        "someone@example.com",
        "922337203685477",
    ] {
        assert!(!text.contains(value), "{value} in {text}");
    }
    is_golden("request.txt", &text);
}

#[test]
fn values_are_shown_on_demand_and_to_a_file_only_by_force() {
    let refused = preview(&["--show-values"]);
    assert!(refused.contains("add --force"), "{refused}");
    assert!(!refused.contains("A. Datum"), "{refused}");
    is_golden("values.txt", &preview(&["--show-values", "--force"]));
}

#[test]
fn a_token_or_a_certificate_is_named_and_never_got_and_a_search_comes_before_a_create() {
    for (auth, expected) in [
        (
            r#"{"kind": "oauth2", "tokenUrl": "https://login.contoso.com/token", "clientId": "sync"}"#,
            "authorization: Bearer <token of https://login.contoso.com/token for sync, by secret erp-api-key>",
        ),
        (
            r#"{"kind": "basic", "user": "svc"}"#,
            "authorization: Basic <svc and secret erp-api-key>",
        ),
        (
            r#"{"kind": "bearer"}"#,
            "authorization: Bearer <secret erp-api-key>",
        ),
        (
            r#"{"kind": "clientCertificate"}"#,
            "(TLS): <certificate in secret erp-api-key>",
        ),
    ] {
        let text = fs::read_to_string(BASE).unwrap();
        let text = text
            .replacen(
                "\"timeoutSeconds\"",
                &format!("\"auth\": {auth}, \"timeoutSeconds\""),
                1,
            )
            .replacen(
                "\"path\": \"/customers/{sourceRowId}\"",
                r#""path": "/customers/{targetRowId}", "method": "PATCH", "create": {"path": "/customers"},
                   "find": {"path": "/customers?externalId={sourceRowId}", "id": "/items/0/id"}"#,
                1,
            );
        let config = tempfile::NamedTempFile::with_suffix(".json").unwrap();
        fs::write(config.path(), text).unwrap();
        let shown = preview_with(config.path(), &[]);
        assert_eq!(shown.matches(expected).count(), 2, "{shown}");
        let find = shown.find("GET https://erp.contoso.com/api/customers?externalId=");
        let create = shown.find("POST https://erp.contoso.com/api/customers\n");
        assert!(find.is_some() && find < create, "{shown}");
    }
}

#[test]
fn the_hash_is_compared_with_what_was_acknowledged() {
    is_golden("acknowledged.txt", &preview(&["--diff"]));
}

#[test]
fn another_sync_file_is_compared_field_by_field() {
    let other = Path::new(GOLDEN).join("other.json");
    let text = preview(&["--diff", other.to_str().unwrap()]);
    let text = text.replace(other.to_str().unwrap(), "other.json");
    is_golden("compared.txt", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_read_from_dataverse_with_what_its_mapping_reads() {
    let dataverse = Dataverse::start(DataverseConfig {
        sample_accounts: 1,
        ..DataverseConfig::default()
    });
    let dataverse = dataverse.await.unwrap();
    let (id, url) = (dataverse.ids("account")[0], dataverse.url().to_owned());
    let name = dataverse.row("account", id).unwrap()["name"].clone();
    let run = move |arguments: &[&str]| {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sync.json");
        let id = id.to_string();
        let target = ["--target", "https://erp.contoso.com/api/", "--id", &id];
        let from = ["--dataverse", url.as_str()];
        run(Path::new(config), &[&target[..], &from, arguments].concat())
    };
    tokio::task::spawn_blocking(move || {
        let text = run(&[]);
        let line = format!("PUT https://erp.contoso.com/api/customers/{id}\n");
        assert!(text.starts_with(&line), "{text}");
        assert!(text.contains("payload hash: "), "{text}");
        assert!(!text.contains(name.as_str().unwrap()), "{text}");
        let text = run(&["--diff"]);
        assert!(text.contains("nothing was acknowledged yet"), "{text}");
    })
    .await
    .unwrap();
    dataverse.shutdown().await;
}
