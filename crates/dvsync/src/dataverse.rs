//! Reading from a Dataverse environment as whoever is signed in: for commands, not for the apps.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use sync_core::credentials::{CredentialKind, EntraTokens, TokenSource};
use sync_core::settings::environment;
use url::Url;

/// An environment that was signed in to.
pub(crate) struct Environment {
    http: reqwest::Client,
    root: String,
    /// None for a stand-in on this machine, where nobody can sign in.
    token: Option<String>,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Its body; null where that is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Environment {
    /// Signs in with the app's identity, or the developer's; a stand-in on this machine is told a name.
    pub(crate) async fn sign_in(address: &str) -> anyhow::Result<Self> {
        let base = Url::parse(address).with_context(|| format!("{address} is no address"))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            root: base.as_str().trim_end_matches('/').to_owned(),
            token: token(&base).await?,
        })
    }

    /// The environment as whoever holds this token.
    pub(crate) fn with_token(http: reqwest::Client, address: &Url, token: String) -> Self {
        Self {
            http,
            root: address.as_str().trim_end_matches('/').to_owned(),
            token: Some(token),
        }
    }

    /// What `GET` of a path below `/api/data/v9.2/` answers, whatever it is.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn ask(&self, path: &str) -> reqwest::Result<Answer> {
        let request = self.http.get(format!("{}/api/data/v9.2/{path}", self.root));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request.header(local_stack::dataverse::USER_HEADER, "dvsync"),
        };
        let answer = request.header("accept", "application/json").send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            body: answer.bytes().await?.to_vec(),
        })
    }

    /// What `GET` of a path below `/api/data/v9.2/` answers; `None` for what is not there.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let root = &self.root;
        let answer = self.ask(path).await;
        let answer = answer.with_context(|| format!("{root} does not answer"))?;
        let asked = path.split('?').next().unwrap_or_default();
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            status @ (401 | 403) => bail!(
                "{root} refused {asked} ({status}): sign in as somebody who may read it, or use a saved file"
            ),
            400 => bail!(
                "{root} refused {asked} (400): a column or lookup of the sync file is not there; `dvsync check --metadata {root}` names it"
            ),
            status => bail!("{root} refused {asked} ({status})"),
        }
    }
}

async fn token(base: &Url) -> anyhow::Result<Option<String>> {
    if base.scheme() == "http" {
        if !matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            bail!("{base}: a token is only sent over https");
        }
        return Ok(None);
    }
    let kind = if environment("IDENTITY_ENDPOINT").is_some() {
        CredentialKind::ManagedIdentity {
            client_id: environment("AZURE_CLIENT_ID"),
        }
    } else {
        CredentialKind::Developer
    };
    let tokens = EntraTokens::new(&kind).context("nobody is signed in; run `az login`")?;
    let scope = format!("{}/.default", base.as_str().trim_end_matches('/'));
    let token = tokens.token(&scope).await;
    let token = token.map_err(|failure| anyhow::anyhow!(failure.message))?;
    Ok(Some(token.secret().to_owned()))
}
