//! The vault's JSON: secrets with and without their values, lists in pages, errors.
//!
//! Contract: Azure Key Vault REST API, `SecretBundle`, `SecretItem`, `DeletedSecretItem`, `KeyVaultError`.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::secrets::{Deleted, Named, SecretVersion};

/// How long a deleted secret can be recovered.
const RECOVERABLE: Duration = Duration::days(90);

/// The parts of an address: `url` is the vault's.
#[derive(Clone, Copy)]
pub(super) struct Bodies<'a>(pub(super) &'a str);

impl Bodies<'_> {
    /// A version with its value.
    pub(super) fn bundle(self, name: &str, version: &SecretVersion) -> Value {
        let mut body = self.properties(name, version);
        body["value"] = json!(version.value);
        body
    }

    /// A version without its value.
    pub(super) fn properties(self, name: &str, version: &SecretVersion) -> Value {
        self.item(&format!("{name}/{}", version.version), version)
    }

    /// A secret in a list of secrets, which names no version.
    pub(super) fn listed(self, named: &Named) -> Value {
        let newest = named.version(None);
        newest.map_or(Value::Null, |version| self.item(&named.name, version))
    }

    /// A deleted secret.
    pub(super) fn deleted(self, deleted: &Deleted, with_version: bool) -> Value {
        let Named { name, versions } = &deleted.secret;
        let Some(newest) = versions.last() else {
            return Value::Null;
        };
        let mut body = if with_version {
            self.properties(name, newest)
        } else {
            self.item(name, newest)
        };
        body["recoveryId"] = json!(format!("{}/deletedsecrets/{name}", self.0));
        body["deletedDate"] = json!(deleted.at.unix_timestamp());
        body["scheduledPurgeDate"] = json!((deleted.at + RECOVERABLE).unix_timestamp());
        body
    }

    fn item(self, path: &str, version: &SecretVersion) -> Value {
        let held = &version.properties;
        let mut attributes = json!({
            "enabled": held.enabled,
            "created": version.created.unix_timestamp(),
            "updated": version.updated.unix_timestamp(),
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": RECOVERABLE.whole_days(),
        });
        for (name, time) in [("nbf", held.not_before), ("exp", held.expires)] {
            if let Some(time) = time {
                attributes[name] = json!(time.unix_timestamp());
            }
        }
        let id = format!("{}/secrets/{path}", self.0);
        let mut body = json!({"id": id, "attributes": attributes, "tags": held.tags});
        if let Some(content_type) = &held.content_type {
            body["contentType"] = json!(content_type);
        }
        body
    }

    /// A page of a list that is found under `path`, and where the next one is.
    pub(super) fn page(self, path: &str, items: Vec<Value>, from: usize, most: usize) -> Value {
        let url = self.0;
        let next = (items.len() > from + most).then(|| {
            let next = from + most;
            format!("{url}{path}?api-version=7.6&$skiptoken={next}&maxresults={most}")
        });
        let page: Vec<Value> = items.into_iter().skip(from).take(most).collect();
        json!({"value": page, "nextLink": next})
    }
}

/// An error's body.
pub(super) fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

/// An error's body with a closer reason.
pub(super) fn error_because(code: &str, message: &str, inner: &str) -> Value {
    let mut body = error(code, message);
    body["error"]["innererror"] = json!({"code": inner});
    body
}

/// A time as the vault takes it.
pub(super) fn time(unix: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(unix).ok()
}
