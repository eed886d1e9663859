//! The target system over HTTP and JSON.

mod answer;
mod auth;
mod call;
mod limits;
mod probe;

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use serde_json::Value;
use url::Url;

use crate::config::{Call, DeletePolicy, Find, Success, TableConfig, TargetAuth, TargetConfig};
use crate::credentials::SecretSource;
use crate::failure::{Failure, Stage};
use crate::ports::{Change, Delivery, Receipt, Target};
use answer::{Asked, Purpose, Taken};
use auth::Auth;
pub use call::tls as tls_error;
use call::{Answer, ClientSetup, NoAnswer, Request};
use limits::Limits;
pub use probe::NoProbe;

/// A target that is called as the sync file says.
pub struct HttpTarget {
    base: Url,
    config: TargetConfig,
    auth: Auth,
    limits: Limits,
}

/// What a target is called with.
pub struct HttpTargetParts {
    /// Its base address.
    pub base: Url,
    /// `target` of the sync file.
    pub config: TargetConfig,
    /// Where its secret is.
    pub secrets: Arc<dyn SecretSource>,
    /// What that is called there.
    pub secret_name: String,
    /// Authorities whose certificates are trusted beside the system's own.
    pub roots: Vec<reqwest::Certificate>,
}

/// Why a target cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum HttpTargetError {
    /// TLS of this machine, or a certificate of `TARGET_CA_FILE`, cannot be used.
    #[error(
        "TLS cannot be set up; check the certificates of TARGET_CA_FILE and of the system: {0}"
    )]
    Tls(#[from] reqwest::Error),
    /// Nobody would ask for the certificate.
    #[error(
        "target.auth is a clientCertificate, which is shown over https only: repair TARGET_URL, e.g. TARGET_URL=https://erp.contoso.com/api"
    )]
    NotHttps,
}

/// One call of a delivery.
struct Step<'a> {
    purpose: Purpose,
    method: &'a Method,
    path: String,
    route: String,
    success: &'a Success,
    body: Option<Value>,
}

impl HttpTarget {
    /// Nothing is fetched or connected yet.
    ///
    /// # Errors
    /// See [`HttpTargetError`].
    pub fn new(parts: HttpTargetParts) -> Result<Self, HttpTargetError> {
        let (base, config) = (parts.base, parts.config);
        if config.auth == TargetAuth::ClientCertificate && base.scheme() != "https" {
            return Err(HttpTargetError::NotHttps);
        }
        let setup = ClientSetup {
            timeout: config.timeout,
            roots: parts.roots,
        };
        let auth = Auth::new(config.auth.clone(), setup, parts.secrets, parts.secret_name)?;
        let limits = Limits::new(&config.limits);
        Ok(Self {
            base,
            config,
            auth,
            limits,
        })
    }

    /// Writes under the source row's id.
    async fn write(&self, table: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        let (call, purpose, body) = operation(table, &delivery.change);
        let step = Step::of(call, purpose, delivery, None, body);
        self.make(table, delivery, &step, None).await
    }

    /// Finds the row first, then changes, deletes or creates it.
    ///
    /// A create whose answer was lost is found by the next attempt, which then updates. What cannot be
    /// promised: that a target finds what it has only just created, which those with a search index of their
    /// own do not; that a create which the target applies after its caller gave up comes before the next
    /// attempt's find (the retry waits for as long as such a call is taken to last, no longer); and that two
    /// instances which both find nothing do not both create. In each case the target has to refuse the
    /// second row itself, by a unique key on the source row's id: a conflict (409) is tried again, and
    /// finds the row.
    async fn found(
        &self,
        find: &Find,
        table: &TableConfig,
        delivery: &Delivery,
    ) -> Result<Receipt, Failure> {
        let step = Step {
            purpose: Purpose::Find,
            method: &Method::GET,
            path: find.path.fill(delivery.row.id, None),
            route: find.path.route(),
            success: &Success::Any,
            body: None,
        };
        let answer = self.call(delivery, &step).await?;
        let id = match self.asked(table, delivery, &step).read(&answer)? {
            Taken::Done(body) => body.and_then(|body| find.id.id_in(body)),
            Taken::NoRow => None,
        };
        let (call, purpose, body) = operation(table, &delivery.change);
        let step = match (&id, purpose) {
            (Some(id), Purpose::Delete) => {
                Step::of(call, Purpose::Delete, delivery, Some(id), body)
            }
            (Some(id), _) => Step::of(call, Purpose::Update, delivery, Some(id), body),
            // Nothing to delete, or to deactivate: what is not there is gone.
            (None, _) if matches!(delivery.change, Change::Delete(_)) => {
                return Ok(Receipt::default());
            }
            (None, _) => Step::of(&find.create, Purpose::Create, delivery, None, body),
        };
        self.make(table, delivery, &step, id).await
    }

    async fn make(
        &self,
        table: &TableConfig,
        delivery: &Delivery,
        step: &Step<'_>,
        known_id: Option<String>,
    ) -> Result<Receipt, Failure> {
        let answer = self.call(delivery, step).await?;
        let said = match self.asked(table, delivery, step).read(&answer)? {
            Taken::Done(body) => body.and_then(|body| table.target.id.id_in(body)),
            Taken::NoRow => None,
        };
        let target_row_id = said.or(known_id);
        Ok(Receipt { target_row_id })
    }

    fn asked<'a>(
        &'a self,
        table: &'a TableConfig,
        delivery: &'a Delivery,
        step: &'a Step<'_>,
    ) -> Asked<'a> {
        Asked {
            table,
            row: &delivery.row,
            purpose: step.purpose,
            success: step.success,
            answers: &self.config.answers,
            timeout: self.config.timeout,
            proof: self.auth.what(),
            sent: step.body.as_ref(),
        }
    }

    /// Makes a call, and makes it again where the target does not believe who calls and something newer to
    /// prove it with can be had.
    async fn call(&self, delivery: &Delivery, step: &Step<'_>) -> Result<Answer, Failure> {
        let request = Request {
            method: step.method.clone(),
            path: step.path.clone(),
            route: step.route.clone(),
            body: step.body.as_ref(),
            idempotency_key: step.idempotency_key(delivery),
            delivery,
        };
        let mut credential = self.auth.credential().await?;
        let mut refusals = 0;
        loop {
            self.limits.call().await?;
            let answer = request.send(&self.base, &self.config, &credential).await;
            let refused = match answer {
                Ok(answer) if answer.status == 401 => Ok(answer),
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Failed(failure)) => return Err(failure),
                Err(NoAnswer::BrokenOff(failure)) => {
                    self.auth.doubt(&credential);
                    return Err(failure);
                }
                Err(NoAnswer::CertificateRefused) => Err(certificate_refused()),
            };
            refusals += 1;
            match self.auth.after_refusal(&credential, refusals).await? {
                Some(newer) => credential = newer,
                None => return refused,
            }
        }
    }
}

fn certificate_refused() -> Failure {
    let text = "The target ended the TLS handshake over the client certificate. Check the secret in Key Vault, and target.auth in the sync file.";
    Failure::config(Stage::Deliver, "TargetUnauthorized", text)
}

impl<'a> Step<'a> {
    fn of(
        call: &'a Call,
        purpose: Purpose,
        delivery: &Delivery,
        id: Option<&str>,
        body: Option<Value>,
    ) -> Self {
        Self {
            purpose,
            method: &call.method,
            path: call.path.fill(delivery.row.id, id),
            route: call.path.route(),
            success: &call.success,
            body,
        }
    }

    /// Create and update of one delivery are different requests: a target that remembers keys must not
    /// answer the one with what it remembers of the other.
    fn idempotency_key(&self, delivery: &Delivery) -> Option<String> {
        let key = delivery.idempotency_key();
        match self.purpose {
            Purpose::Find => None,
            Purpose::Write | Purpose::Delete => Some(key),
            Purpose::Create => Some(format!("{key}:create")),
            Purpose::Update => Some(format!("{key}:update")),
        }
    }
}

#[async_trait]
impl Target for HttpTarget {
    async fn deliver(&self, table: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        let _slot = self.limits.slot().await?;
        match &table.target.find {
            Some(find) => self.found(find, table, delivery).await,
            None => self.write(table, delivery).await,
        }
    }
}

/// The call that a change is made by, and what it sends.
fn operation<'a>(table: &'a TableConfig, change: &Change) -> (&'a Call, Purpose, Option<Value>) {
    let target = &table.target;
    match change {
        Change::Upsert(payload) => {
            let body = Value::Object(payload.body.clone());
            (&target.write, Purpose::Write, Some(body))
        }
        Change::Delete(DeletePolicy::Deactivate(members)) => {
            let body = Value::Object(members.clone());
            (&target.deactivate, Purpose::Delete, Some(body))
        }
        Change::Delete(_) => (&target.delete, Purpose::Delete, None),
    }
}
