//! Entra tokens of app registrations that prove who they are by a client secret or a certificate, both
//! kept in Key Vault.
//!
//! `azure_identity` makes the token call; the cache is ours, for the reasons given in [`super::entra`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret as AzureSecret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientMethodOptions, ClientOptions, Transport};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions,
};
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use super::assertion::SigningCertificate;
use super::cache::Cache;
use super::entra::{ask, fetched, inner, retry_options, token_call};
use super::{Secret, SecretSource, TokenSource};
use crate::failure::{Failure, Stage};

/// By what an application proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A client secret.
    ClientSecret,
    /// A certificate with its private key.
    Certificate,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientSecret => "client secret",
            Self::Certificate => "certificate",
        })
    }
}

/// An app registration, and where its proof is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The directory it is registered in: an id or a domain.
    pub tenant: String,
    /// Its client id.
    pub client_id: String,
    /// The kind of proof.
    pub proof: Proof,
    /// Name of the Key Vault secret that holds the proof. A Key Vault certificate has a secret of the
    /// same name.
    pub secret_name: String,
}

/// Tokens of one application.
pub struct ApplicationTokens {
    inner: Arc<Inner>,
    cache: Cache<(Secret, OffsetDateTime)>,
}

struct Inner {
    application: Application,
    /// Entra ID, e.g. `https://login.microsoftonline.com`.
    authority: Url,
    secrets: Arc<dyn SecretSource>,
    transport: Option<Transport>,
}

impl fmt::Debug for ApplicationTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplicationTokens(..)")
    }
}

impl ApplicationTokens {
    /// Tokens that `authority` (an https address) gives to `application`. Nothing is fetched yet.
    #[must_use]
    pub fn new(application: Application, authority: Url, secrets: Arc<dyn SecretSource>) -> Self {
        let inner = Inner {
            application,
            authority,
            secrets,
            transport: None,
        };
        Self {
            inner: Arc::new(inner),
            cache: Cache::new(),
        }
    }

    /// Token calls go through `http`, e.g. a client that trusts a stand-in's certificate.
    #[must_use]
    pub fn through(mut self, http: reqwest::Client) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.transport = Some(Transport::new(Arc::new(http)));
        }
        self
    }
}

#[async_trait]
impl TokenSource for ApplicationTokens {
    async fn token(&self, scope: &str) -> Result<Secret, Failure> {
        let (inner, asked) = (Arc::clone(&self.inner), scope.to_owned());
        let fetch = move || async move { inner.fetch(&asked).await.map(fetched) };
        Ok(self.cache.get(scope, fetch).await?.0)
    }

    fn forget(&self, scope: &str) {
        self.cache.forget(scope, |_| true);
    }

    fn label(&self) -> String {
        self.inner.application.client_id.clone()
    }
}

/// Why there is no token.
enum Refusal {
    /// The secret or the certificate is not (any longer) this application's.
    Proof(Failure),
    Other(Failure),
}

impl Inner {
    async fn fetch(&self, scope: &str) -> Result<AccessToken, Failure> {
        let name = &self.application.secret_name;
        let proof = self.secrets.secret(name).await?;
        match self.exchange(&proof, scope).await {
            Ok(token) => Ok(token),
            Err(Refusal::Other(failure)) => Err(failure),
            Err(Refusal::Proof(failure)) => {
                // It may have been rotated since it was read: once more, with what the vault holds now.
                self.secrets.forget(name, &proof);
                let newer = self.secrets.secret(name).await?;
                if newer == proof {
                    return Err(failure);
                }
                match self.exchange(&newer, scope).await {
                    Ok(token) => Ok(token),
                    Err(Refusal::Proof(failure) | Refusal::Other(failure)) => Err(failure),
                }
            }
        }
    }

    async fn exchange(&self, proof: &Secret, scope: &str) -> Result<AccessToken, Refusal> {
        let credential = self.credential(proof)?;
        let span = token_call(self.authority.host_str().unwrap_or_default());
        match ask(&span, credential.as_ref(), scope).await {
            Some(Ok(token)) => Ok(token),
            Some(Err(e)) => Err(self.refused(&e)),
            None => Err(Refusal::Other(self.no_answer("did not answer in time"))),
        }
    }

    /// A fresh one each time: it would answer from its own cache.
    fn credential(&self, proof: &Secret) -> Result<Arc<dyn TokenCredential>, Refusal> {
        let app = &self.application;
        let client_options = ClientOptions {
            retry: retry_options(),
            transport: self.transport.clone(),
            cloud: Some(Arc::new(self.cloud())),
            ..ClientOptions::default()
        };
        let credential: azure_core::Result<Arc<dyn TokenCredential>> = match app.proof {
            Proof::ClientSecret => ClientSecretCredential::new(
                &app.tenant,
                app.client_id.clone(),
                AzureSecret::new(proof.secret().to_owned()),
                Some(ClientSecretCredentialOptions { client_options }),
            )
            .map(|c| c as _),
            Proof::Certificate => {
                let certificate = SigningCertificate::read(proof.secret())
                    .map_err(|e| Refusal::Proof(self.unusable(&e.to_string())))?;
                let assertion = Assertion {
                    certificate,
                    audience: self.endpoint(),
                    client_id: app.client_id.clone(),
                };
                ClientAssertionCredential::new(
                    app.tenant.clone(),
                    app.client_id.clone(),
                    assertion,
                    Some(ClientAssertionCredentialOptions { client_options }),
                )
                .map(|c| c as _)
            }
        };
        // What it refuses (an empty secret) is wrong in the vault.
        credential.map_err(|_| Refusal::Proof(self.unusable("cannot be used, or is empty")))
    }

    fn cloud(&self) -> CloudConfiguration {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority.to_string();
        CloudConfiguration::Custom(cloud)
    }

    fn endpoint(&self) -> String {
        let path = format!("/{}/oauth2/v2.0/token", self.application.tenant);
        self.authority
            .join(&path)
            .map_or_else(|_| path.clone(), |url| url.to_string())
    }

    fn unusable(&self, problem: &str) -> Failure {
        let Application {
            client_id,
            proof,
            secret_name,
            ..
        } = &self.application;
        Failure::config(
            Stage::Credentials,
            "ProofUnusable",
            format!(
                "Key Vault secret {secret_name:?} {problem}. Store the {proof} of application {client_id} there."
            ),
        )
    }

    fn no_answer(&self, problem: &str) -> Failure {
        let text = format!(
            "Entra ID {problem} when application {} asked for a token.",
            self.application.client_id
        );
        Failure::transient(Stage::Credentials, "NoToken", text)
    }

    /// Entra's answer, by status and numbers; its text may hold more than a log should.
    fn refused(&self, error: &azure_core::Error) -> Refusal {
        let error = inner(error);
        let ErrorKind::HttpResponse {
            status,
            error_code,
            raw_response,
        } = error.kind()
        else {
            return Refusal::Other(self.no_answer(&format!("failed ({})", error.kind())));
        };
        let status = u16::from(*status);
        if status == 408 || status == 429 || status >= 500 {
            let failure = self.no_answer(&format!("answered {status}"));
            return Refusal::Other(failure.with_status(status));
        }
        let numbers: String = error_code.as_deref().unwrap_or_default().to_owned();
        let numbers = numbers.trim_matches(|c: char| !c.is_ascii_digit());
        let Application {
            tenant,
            client_id,
            proof,
            secret_name,
        } = &self.application;
        let body = raw_response.as_ref().map(|r| r.body());
        if status == 401 || body.is_some_and(|body| is_invalid_client(body)) {
            let text = format!(
                "Entra ID refused the {proof} of application {client_id} ({status}, AADSTS{numbers}). Put a valid one into Key Vault secret {secret_name:?}, and register it with the application."
            );
            let failure = Failure::config(Stage::Credentials, "ProofRefused", text);
            return Refusal::Proof(failure.with_status(status));
        }
        let text = format!(
            "Entra ID gave application {client_id} of tenant {tenant} no token ({status}, AADSTS{numbers}). Check DATAVERSE_TENANT_ID, the client id, and DATAVERSE_URL."
        );
        let failure = Failure::config(Stage::Credentials, "ApplicationRefused", text);
        Refusal::Other(failure.with_status(status))
    }
}

/// Whether the answer's `error` says that the secret or the assertion is to blame (RFC 6749, 5.2).
fn is_invalid_client(body: &[u8]) -> bool {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.is_some_and(|body| body["error"] == "invalid_client")
}

#[derive(Debug)]
struct Assertion {
    certificate: SigningCertificate,
    audience: String,
    client_id: String,
}

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let now = OffsetDateTime::now_utc();
        self.certificate
            .assertion(&self.audience, &self.client_id, now, Uuid::new_v4())
            .ok_or_else(|| {
                azure_core::Error::with_message(
                    ErrorKind::Credential,
                    "the assertion was not signed",
                )
            })
    }
}
