//! How calls prove who they are, and what follows when the target does not believe it.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::call::ClientSetup;
use crate::config::TargetAuth;
use crate::credentials::{ClientCredentials, Secret, SecretSource, tls_identity};
use crate::failure::{Failure, Stage};

/// Proves who the app is.
pub(super) struct Auth {
    kind: TargetAuth,
    setup: ClientSetup,
    http: reqwest::Client,
    secrets: Arc<dyn SecretSource>,
    secret_name: String,
    tokens: Option<ClientCredentials>,
    /// The client that shows the certificate made of this secret.
    identified: Mutex<Option<(Secret, reqwest::Client)>>,
}

/// What one call proves it with.
pub(super) struct Credential {
    /// Goes with the request.
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    /// Sends the request.
    pub(super) http: reqwest::Client,
    /// The secret, or the token, behind it.
    proof: Secret,
}

impl Auth {
    pub(super) fn new(
        kind: TargetAuth,
        setup: ClientSetup,
        secrets: Arc<dyn SecretSource>,
        secret_name: String,
    ) -> Result<Self, reqwest::Error> {
        let http = setup.builder().build()?;
        let tokens = match &kind {
            TargetAuth::OAuth2(settings) => Some(ClientCredentials::new(
                settings.clone(),
                http.clone(),
                Arc::clone(&secrets),
                secret_name.clone(),
            )),
            _ => None,
        };
        Ok(Self {
            kind,
            setup,
            http,
            secrets,
            secret_name,
            tokens,
            identified: Mutex::new(None),
        })
    }

    /// What a call made now proves itself with.
    pub(super) async fn credential(&self) -> Result<Credential, Failure> {
        let proof = match &self.tokens {
            Some(tokens) => tokens.token().await?,
            None => self.secrets.secret(&self.secret_name).await?,
        };
        let bearer = || format!("Bearer {}", proof.secret());
        let (name, value) = match &self.kind {
            TargetAuth::ApiKey { header } => (header.clone(), proof.secret().to_owned()),
            TargetAuth::Bearer | TargetAuth::OAuth2(_) => (AUTHORIZATION, bearer()),
            TargetAuth::Basic { user } => (AUTHORIZATION, basic(user, &proof)),
            TargetAuth::ClientCertificate => {
                let http = self.identified(&proof)?;
                return Ok(Credential {
                    header: None,
                    http,
                    proof,
                });
            }
        };
        let value = HeaderValue::from_str(&Zeroizing::new(value));
        let mut value = value.map_err(|_| {
            self.unusable("holds a character that no header may have, perhaps a line end")
        })?;
        value.set_sensitive(true);
        Ok(Credential {
            header: Some((name, value)),
            http: self.http.clone(),
            proof,
        })
    }

    /// The target refused `refused`, for the `times`th time with this row. What to try next; `None` when
    /// nothing newer can be had.
    ///
    /// The secret was probably rotated: once more, with what the vault holds now. A token is got anew first,
    /// since it may have been revoked while its secret is still good.
    pub(super) async fn after_refusal(
        &self,
        refused: &Credential,
        times: u32,
    ) -> Result<Option<Credential>, Failure> {
        match (&self.tokens, times) {
            (Some(tokens), 1) => {
                tokens.forget(&refused.proof);
                self.credential().await.map(Some)
            }
            (Some(tokens), 2) => {
                if !tokens.renew_secret().await? {
                    return Ok(None);
                }
                tokens.forget(&refused.proof);
                self.credential().await.map(Some)
            }
            (None, 1) => {
                self.secrets.forget(&self.secret_name, &refused.proof);
                let newer = self.credential().await?;
                Ok((newer.proof != refused.proof).then_some(newer))
            }
            _ => Ok(None),
        }
    }

    /// The connection broke, which is all that can be seen of some refusals of a certificate. The call may
    /// take effect yet and is not made again at once; the next one has what the vault holds then.
    pub(super) fn doubt(&self, credential: &Credential) {
        if self.kind == TargetAuth::ClientCertificate {
            self.secrets.forget(&self.secret_name, &credential.proof);
        }
    }

    /// What the target refuses, for people.
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            TargetAuth::ApiKey { .. } => "API key",
            TargetAuth::Bearer => "bearer token",
            TargetAuth::Basic { .. } => "user or the password",
            TargetAuth::OAuth2(_) => "access token",
            TargetAuth::ClientCertificate => "client certificate",
        }
    }

    /// A connection is bound to the certificate it was opened with, so each certificate has a client.
    fn identified(&self, secret: &Secret) -> Result<reqwest::Client, Failure> {
        let mut held = self
            .identified
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, http)) = held.as_ref().filter(|(of, _)| of == secret) {
            return Ok(http.clone());
        }
        let identity = tls_identity(secret.secret()).map_err(|e| self.unusable(&e.to_string()))?;
        let http = self.setup.builder().identity(identity).build();
        let http = http.map_err(|_| self.unusable("holds a certificate that TLS cannot use"))?;
        *held = Some((secret.clone(), http.clone()));
        Ok(http)
    }

    fn unusable(&self, problem: &str) -> Failure {
        let text = format!(
            "Key Vault secret {:?} {problem}. Store the target's {} there.",
            self.secret_name,
            self.what()
        );
        Failure::config(Stage::Credentials, "SecretUnusable", text)
    }
}

fn basic(user: &str, password: &Secret) -> String {
    let both = Zeroizing::new(format!("{user}:{}", password.secret()));
    format!("Basic {}", STANDARD.encode(both.as_bytes()))
}
