//! Secrets in plain text in files that are committed.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::finding::Report;
use super::package::{Package, SettingsFile};

/// Looks into every file of the package that is committed, or is meant to be.
pub(super) fn check(package: &Package, sync_files: &[String], report: &mut Report) {
    if let Some(settings) = &package.settings {
        let example = settings.path.extension().is_some_and(|e| e == "example");
        if example || is_committed(&settings.path) {
            for (name, value) in &settings.values {
                if let Some(what) = secret(name, value) {
                    report.add(
                        &settings.file,
                        SettingsFile::key(name),
                        format!("holds {what}, in a file that is committed"),
                        "replace the secret, since it is known now; take the value out, and use an identity (ServiceBus__fullyQualifiedNamespace) or a Key Vault reference",
                    );
                }
            }
        }
    }
    for name in sync_files.iter().map(String::as_str).chain(["host.json"]) {
        let text = std::fs::read_to_string(package.root.join(name)).unwrap_or_default();
        if let Ok(json) = serde_json::from_str(&text) {
            values(name, "", &json, report);
        }
    }
}

fn values(file: &str, path: &str, json: &Value, report: &mut Report) {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    match json {
        Value::Object(members) => {
            for (key, value) in members {
                values(file, &below(key), value, report);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                values(file, &below(&place.to_string()), item, report);
            }
        }
        Value::String(text) => {
            let key = path.rsplit('.').next().unwrap_or_default();
            // Columns and members of payloads may be called anything.
            let name = if path.contains("onstantHeaders.") {
                key
            } else {
                ""
            };
            if let Some(what) = secret(name, text) {
                report.add(
                    file,
                    path,
                    format!("holds {what}, in a file that is committed"),
                    "replace the secret, since it is known now; keep it in Key Vault, under the name in TARGET_SECRET_NAME",
                );
            }
        }
        _ => {}
    }
}

/// What kind of secret a value holds, if it is one.
fn secret(name: &str, value: &str) -> Option<&'static str> {
    let reference = value.starts_with("@Microsoft.KeyVault(") || value.starts_with('%');
    let placeholder = value.is_empty() || value == "..." || value.starts_with('<');
    if reference || placeholder {
        return None;
    }
    if key_in(value, "SharedAccessKey=").is_some_and(|key| key != "SAS_KEY_VALUE") {
        return Some("a connection string with its key");
    }
    if key_in(value, "AccountKey=").is_some() {
        return Some("the key of a storage account");
    }
    if value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if ["Bearer ", "Basic "]
        .iter()
        .any(|scheme| value.starts_with(scheme))
    {
        return Some("a credential");
    }
    let name = name.to_ascii_lowercase();
    // Settings that hold the name of a secret, or where it is.
    let names = [
        "secret_name",
        "client_secrets",
        "client_certificates",
        "secret_refresh",
    ];
    if names.iter().any(|part| name.contains(part)) {
        return None;
    }
    let telling = [
        "password",
        "secret",
        "apikey",
        "api-key",
        "api_key",
        "accesskey",
        "access_key",
        "authorization",
    ];
    telling
        .iter()
        .any(|part| name.contains(part))
        .then_some("what its name says is a secret")
}

fn key_in<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    let key = rest.split(';').next().unwrap_or_default();
    (!key.is_empty() && key != "...").then_some(key)
}

/// Whether git keeps the file. Without git nobody commits anything.
fn is_committed(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let git = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["ls-files", "--error-unmatch", "--"])
        .arg(name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    git.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_their_names_and_from_references_to_them() {
        for (name, value) in [
            (
                "ServiceBus",
                "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=abc=",
            ),
            (
                "Store",
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc",
            ),
            ("TARGET_API_KEY", "abc"),
            ("AZURE_CLIENT_SECRET", "abc"),
            ("authorization", "abc"),
            ("any", "Bearer abc"),
        ] {
            assert!(secret(name, value).is_some(), "{name}");
        }
        for (name, value) in [
            (
                "ServiceBus",
                "Endpoint=sb://localhost;SharedAccessKeyName=R;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;",
            ),
            ("TARGET_SECRET_NAME", "erp-api-key"),
            ("DATAVERSE_CLIENT_SECRETS", "1111=dataverse-sync-two"),
            (
                "AZURE_CLIENT_SECRET",
                "@Microsoft.KeyVault(SecretUri=https://v/secrets/s)",
            ),
            ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ] {
            assert_eq!(secret(name, value), None, "{name}");
        }
    }
}
