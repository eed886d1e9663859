//! `target.auth`: how the app proves to the target who it is.

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::super::finding::Findings;

/// How the app proves to the target who it is.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(super) enum AuthFile {
    /// The secret is a key, sent in a header of its own.
    ApiKey {
        /// The header.
        #[serde(default = "x_api_key")]
        header: String,
    },
    /// The secret is a token, sent as `Authorization: Bearer`.
    Bearer {},
    /// The secret is a password, sent with the user's name as `Authorization: Basic`.
    Basic {
        /// The user.
        #[schemars(example = &"svc")]
        user: String,
    },
    /// The secret is a client secret, for which the token endpoint gives access tokens.
    #[serde(rename = "oauth2")]
    OAuth2 {
        /// The token endpoint, over https.
        #[schemars(example = &"https://login.contoso.com/oauth2/token")]
        token_url: String,
        /// The app's client id there.
        #[schemars(example = &"dataverse-sync")]
        client_id: String,
        /// What access is asked for.
        #[schemars(example = &"https://erp.contoso.com/.default")]
        scope: Option<String>,
        /// The API that the token is for, where the token endpoint wants to know it.
        #[schemars(example = &"https://erp.contoso.com")]
        audience: Option<String>,
        /// Where the client secret goes.
        #[serde(default)]
        client_authentication: ClientAuthentication,
    },
    /// The secret is a certificate with its private key, PEM or base64 PKCS#12 without a password, for
    /// mutual TLS.
    ClientCertificate {},
}

/// Where the client secret goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum ClientAuthentication {
    /// Into the request's body.
    #[default]
    Body,
    /// Into a header, as basic authentication.
    Header,
}

fn x_api_key() -> String {
    "x-api-key".into()
}

impl Default for AuthFile {
    fn default() -> Self {
        Self::ApiKey {
            header: x_api_key(),
        }
    }
}

/// How the app proves to the target who it is. The secret is in Key Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAuth {
    /// The secret is sent in this header.
    ApiKey {
        /// The header.
        header: HeaderName,
    },
    /// The secret is a bearer token.
    Bearer,
    /// The secret is the password of this user.
    Basic {
        /// The user.
        user: String,
    },
    /// The secret is a client secret; tokens come from a token endpoint.
    OAuth2(OAuth2),
    /// The secret is a certificate with its key.
    ClientCertificate,
}

/// The client-credentials grant of OAuth 2.0 (RFC 6749, 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token_url: Url,
    /// The app's client id there.
    pub client_id: String,
    /// What access is asked for.
    pub scope: Option<String>,
    /// The API that the token is for; an extension that several servers want.
    pub audience: Option<String>,
    /// Whether the client secret goes into the `Authorization` header and not into the body.
    pub secret_in_header: bool,
}

impl AuthFile {
    pub(super) fn check(&self, findings: &mut Findings<'_>) -> Option<TargetAuth> {
        match self {
            Self::ApiKey { header } => {
                let name = super::headers::name(header, "header", "x-api-key", findings);
                Some(TargetAuth::ApiKey { header: name? })
            }
            Self::Bearer {} => Some(TargetAuth::Bearer),
            // RFC 7617: a colon would end the user's name.
            Self::Basic { user } if user.is_empty() || user.contains(':') => {
                let text = format!("is {user:?}, but must be a name without a colon, e.g. \"svc\"");
                findings.add("user", text);
                None
            }
            Self::Basic { user } => Some(TargetAuth::Basic { user: user.clone() }),
            Self::OAuth2 {
                token_url,
                client_id,
                scope,
                audience,
                client_authentication,
            } => {
                if client_id.is_empty() {
                    findings.add("clientId", "is empty, e.g. \"dataverse-sync\"");
                }
                Some(TargetAuth::OAuth2(OAuth2 {
                    token_url: token_address(token_url, findings)?,
                    client_id: client_id.clone(),
                    scope: scope.clone(),
                    audience: audience.clone(),
                    secret_in_header: *client_authentication == ClientAuthentication::Header,
                }))
            }
            Self::ClientCertificate {} => Some(TargetAuth::ClientCertificate),
        }
    }
}

/// The client secret goes there: in clear text only as far as this machine.
fn token_address(text: &str, findings: &mut Findings<'_>) -> Option<Url> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(Host::Ipv6(ip))) => ip.is_loopback(),
        _ => false,
    });
    if url.is_none() {
        findings.add(
            "tokenUrl",
            "must be https, since the client secret goes there, e.g. \"https://login.contoso.com/oauth2/token\"",
        );
    }
    url
}
