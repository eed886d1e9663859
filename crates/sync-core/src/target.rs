//! The target system over HTTP and JSON.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use crate::config::{Call, DeletePolicy, TableConfig, TargetConfig};
use crate::credentials::{Secret, SecretSource};
use crate::failure::{Failure, Stage};
use crate::ports::{Change, Delivery, Receipt, Target};
use crate::retry_after;

/// A target that takes rows by `PUT` and `DELETE` under the source row's id.
pub struct HttpTarget {
    http: reqwest::Client,
    base: Url,
    config: TargetConfig,
    secrets: Arc<dyn SecretSource>,
    secret_name: String,
}

impl HttpTarget {
    /// The target at `base`, called with the API key that the vault holds under `secret_name`.
    ///
    /// # Errors
    /// When the TLS set-up of this machine cannot be used.
    pub fn new(
        base: Url,
        config: TargetConfig,
        secrets: Arc<dyn SecretSource>,
        secret_name: impl Into<String>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(config.timeout)
            .connect_timeout(Duration::from_secs(5).min(config.timeout))
            // A redirected PUT would arrive as a GET, and the key at a host nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dataverse-sync/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            base,
            config,
            secrets,
            secret_name: secret_name.into(),
        })
    }

    async fn call(
        &self,
        table: &TableConfig,
        delivery: &Delivery,
        key: &Secret,
    ) -> Result<(StatusCode, Option<Duration>, Option<Value>), Failure> {
        let operation = operation(table, &delivery.change);
        let below = operation.path.fill(delivery.row.id, None);
        let (path, query) = match below.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*below, None),
        };
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        let request = self.http.request(operation.method.clone(), url);
        let request = match &delivery.change {
            Change::Upsert(payload) => request.json(&payload.body),
            Change::Delete(DeletePolicy::Deactivate(members)) => request.json(members),
            Change::Delete(_) => request,
        };
        let mut request = request
            .header(&self.config.api_key_header, key.secret())
            .header("idempotency-key", delivery.idempotency_key())
            .header("x-correlation-id", &delivery.correlation_id);
        if let Some(version) = delivery.version {
            request = request.header("x-source-version", version.to_string());
        }
        let row = &delivery.row;
        let lost = |e: reqwest::Error| {
            if e.is_builder() {
                let text = format!("The call for {row} cannot be written as HTTP.");
                return Failure::permanent(Stage::Deliver, "UnsendableCall", text);
            }
            let what = if e.is_timeout() {
                format!("did not answer for {row} within {:?}", self.config.timeout)
            } else if e.is_connect() {
                "cannot be reached".to_owned()
            } else {
                format!("broke the connection off while taking {row}")
            };
            let text = format!("The target {what}.");
            let failure = Failure::transient(Stage::Deliver, "TargetUnreachable", text);
            if e.is_connect() {
                failure
            } else {
                failure.lingering(self.config.timeout)
            }
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|v| retry_after::read(v.to_str().ok()?, OffsetDateTime::now_utc()));
        let body = response.bytes().await.map_err(lost)?;
        Ok((status, retry_after, serde_json::from_slice(&body).ok()))
    }
}

#[async_trait]
impl Target for HttpTarget {
    async fn deliver(&self, table: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        let mut key = self.secrets.secret(&self.secret_name).await?;
        let mut answer = self.call(table, delivery, &key).await?;
        if answer.0 == StatusCode::UNAUTHORIZED {
            // The secret was probably rotated: once with what the vault holds now.
            self.secrets.forget(&self.secret_name, &key);
            key = self.secrets.secret(&self.secret_name).await?;
            answer = self.call(table, delivery, &key).await?;
        }
        let (status, retry_after, body) = answer;
        let timeout = self.config.timeout;
        read(table, delivery, status, retry_after, body.as_ref(), timeout)
    }
}

/// The call that a change is made by.
fn operation<'a>(table: &'a TableConfig, change: &Change) -> &'a Call {
    match change {
        Change::Upsert(_) => &table.target.write,
        Change::Delete(DeletePolicy::Deactivate(_)) => &table.target.deactivate,
        Change::Delete(_) => &table.target.delete,
    }
}

/// What an answer of the target means. Pure. `timeout` is how long a call may take that a gateway gave
/// up waiting for.
fn read(
    table: &TableConfig,
    delivery: &Delivery,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Option<&Value>,
    timeout: Duration,
) -> Result<Receipt, Failure> {
    let row = &delivery.row;
    let deleting = matches!(delivery.change, Change::Delete(_));
    let said = said(body);
    let failure = match status.as_u16() {
        status if operation(table, &delivery.change).success.is(status) => {
            let target_row_id = body.and_then(|body| table.target.id.id_in(body));
            return Ok(Receipt { target_row_id });
        }
        // It is gone, which is what was asked for.
        404 | 410 if deleting => return Ok(Receipt::default()),
        // The version guard of the target: it holds something newer, so there is nothing to add. The
        // look after the delivery finds the newer version and delivers that.
        409 if said.code.as_deref() == Some("older-version") => return Ok(Receipt::default()),
        429 => {
            let wait = retry_after.unwrap_or(Duration::from_secs(5));
            let text = format!("The target asked to slow down while taking {row}.");
            Failure::throttled(Stage::Deliver, "TargetThrottled", wait, text)
        }
        401 | 403 => {
            let text = format!(
                "The target refused the API key ({}). Check the secret in Key Vault and target.apiKeyHeader in sync.json.",
                status.as_u16()
            );
            Failure::config(Stage::Deliver, "TargetUnauthorized", text)
        }
        300..=399 | 404 | 405 | 407 => {
            let text = format!(
                "The target does not answer at this address ({}). Check TARGET_URL and tables.{}.target.path in sync.json.",
                status.as_u16(),
                table.name
            );
            Failure::config(Stage::Deliver, "TargetUnknownAddress", text)
        }
        408 | 409 | 425 => {
            let text = format!(
                "The target could not take {row} right now ({}).",
                status.as_u16()
            );
            Failure::transient(Stage::Deliver, "TargetBusy", text)
        }
        503 if retry_after.is_some() => {
            let text =
                format!("The target is unavailable while taking {row}, and said for how long.");
            let wait = retry_after.unwrap_or_default();
            Failure::throttled(Stage::Deliver, "TargetUnavailable", wait, text)
        }
        500..=599 => {
            let text = format!(
                "The target failed while taking {row} ({}).",
                status.as_u16()
            );
            Failure::transient(Stage::Deliver, "TargetFailed", text)
        }
        other => {
            let text = format!(
                "The target refused {row} ({other}{said}). Correct the row in Dynamics 365 and save it, which sends it again; or correct the target's rule, then resend this message.",
            );
            Failure::permanent(Stage::Deliver, "RejectedByTarget", text)
        }
    };
    let failure = failure.with_status(status.as_u16());
    // A gateway gave up, the system behind it perhaps not: as good as no answer.
    Err(match status.as_u16() {
        408 | 502 | 504 => failure.lingering(timeout),
        _ => failure,
    })
}

/// The machine-readable part of a refusal: its `code` and `field`. Its prose may quote the row.
#[derive(Default)]
struct Said {
    code: Option<String>,
    field: Option<String>,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in [("code", &self.code), ("field", &self.field)] {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

fn said(body: Option<&Value>) -> Said {
    // Only what looks like a name: free text in a member called code may be anything.
    let name = |key| {
        let text = body?.get(key)?.as_str()?;
        let is_name = !text.is_empty()
            && text.len() <= 64
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-/[]".contains(c));
        is_name.then(|| text.to_owned())
    };
    Said {
        code: name("code"),
        field: name("field"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::config::SyncConfig;
    use crate::failure::Class;
    use crate::snapshot::{RowKey, RowVersion};

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn answer(status: u16, body: Value, change: Change) -> Result<Receipt, Failure> {
        let config = SyncConfig::parse(include_str!("../../../sync.json"), "sync.json").unwrap();
        let delivery = Delivery {
            row: RowKey {
                table: "account".into(),
                id: Uuid::nil(),
            },
            version: Some(RowVersion(5)),
            correlation_id: "c".into(),
            attempt: Uuid::nil(),
            change,
        };
        let status = StatusCode::from_u16(status).unwrap();
        read(
            &config.tables["account"],
            &delivery,
            status,
            None,
            Some(&body),
            TIMEOUT,
        )
    }

    fn upsert() -> Change {
        Change::Upsert(crate::mapping::Payload {
            body: serde_json::Map::new(),
            hash: String::new(),
        })
    }

    #[test]
    fn a_rejection_is_permanent_and_names_code_and_field_but_not_the_prose() {
        let body = json!({"code": "name-empty", "field": "name", "message": "SECRET is bad"});
        let failure = answer(422, body, upsert()).unwrap_err();
        assert_eq!(
            (failure.class, failure.status),
            (Class::Permanent, Some(422))
        );
        assert!(
            failure
                .message
                .contains("(422, code name-empty, field name)"),
            "{failure}"
        );
        assert!(!failure.message.contains("SECRET"));
        let failure =
            answer(400, json!({"code": "SECRET text with blanks"}), upsert()).unwrap_err();
        assert!(!failure.message.contains("SECRET"));
    }

    #[test]
    fn a_row_that_is_already_gone_is_a_delivered_delete() {
        let delete = Change::Delete(DeletePolicy::Delete);
        assert_eq!(answer(404, Value::Null, delete), Ok(Receipt::default()));
        assert_eq!(
            answer(404, Value::Null, upsert()).unwrap_err().class,
            Class::Config
        );
    }

    #[test]
    fn a_target_that_holds_something_newer_is_no_failure_but_another_conflict_is_retried() {
        assert!(answer(409, json!({"code": "older-version"}), upsert()).is_ok());
        assert_eq!(
            answer(409, Value::Null, upsert()).unwrap_err().class,
            Class::Transient
        );
    }

    #[test]
    fn what_a_gateway_gave_up_on_may_still_take_effect_and_what_the_target_answered_may_not() {
        let lingers = |status| answer(status, Value::Null, upsert()).unwrap_err().lingers;
        assert_eq!(lingers(504), Some(TIMEOUT));
        assert_eq!(lingers(502), Some(TIMEOUT));
        assert_eq!(lingers(500), None);
        assert_eq!(lingers(409), None);
    }

    #[test]
    fn ids_may_be_text_or_numbers() {
        let id = |v| {
            answer(200, json!({ "id": v }), upsert())
                .unwrap()
                .target_row_id
        };
        assert_eq!(id(json!("C-1")).as_deref(), Some("C-1"));
        assert_eq!(id(json!(7)).as_deref(), Some("7"));
    }
}
