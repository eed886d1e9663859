//! Who may come in: each way of proving who one is, and a limit on how often.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use time::OffsetDateTime;

use crate::identity::TokenKey;

/// How callers prove who they are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// By a secret in this header.
    ApiKey {
        /// The header.
        header: String,
    },
    /// By a secret as bearer token.
    Bearer,
    /// By this user's password, which is a secret.
    Basic {
        /// The user.
        user: String,
    },
    /// By an access token.
    OAuth2 {
        /// Signs the tokens.
        key: TokenKey,
        /// Whom they must be for.
        audience: String,
    },
    /// By a certificate, which [`TargetConfig::tls`](super::TargetConfig::tls) has to demand.
    ClientCertificate,
}

impl Default for Auth {
    fn default() -> Self {
        Self::ApiKey {
            header: "x-api-key".into(),
        }
    }
}

/// The door: what is accepted now, and who came lately.
#[derive(Debug)]
pub(super) struct Door {
    auth: Auth,
    /// Old and new side by side while a secret is rotated.
    pub(super) secrets: Vec<String>,
    /// Calls a second beyond which callers are told to slow down.
    pub(super) calls_per_second: Option<u32>,
    window: Option<(Instant, u32)>,
    seen: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

impl Door {
    pub(super) fn new(auth: Auth, secret: String, calls_per_second: Option<u32>) -> Self {
        Self {
            auth,
            secrets: vec![secret],
            calls_per_second,
            window: None,
            seen: BTreeSet::new(),
            revoked: BTreeSet::new(),
        }
    }

    /// Access tokens that came so far are worth nothing any more.
    pub(super) fn revoke_tokens(&mut self) {
        self.revoked.append(&mut self.seen);
    }

    /// Whether the caller is who it should be.
    pub(super) fn trusts(&mut self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let after = |scheme: &str| {
            let (found, rest) = text(AUTHORIZATION.as_str())?.split_once(' ')?;
            found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
        };
        let known = |secret: &str| self.secrets.iter().any(|known| known == secret);
        match &self.auth {
            Auth::ApiKey { header } => text(header).is_some_and(known),
            Auth::Bearer => after("bearer").is_some_and(known),
            Auth::Basic { user } => {
                let pair = after("basic").and_then(|pair| STANDARD.decode(pair).ok());
                let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
                let pair = pair.unwrap_or_default();
                let password = pair.strip_prefix(user.as_str());
                let password = password.and_then(|rest| rest.strip_prefix(':'));
                password.is_some_and(known)
            }
            Auth::OAuth2 { key, audience } => {
                let token = after("bearer").unwrap_or_default().to_owned();
                let valid = key.verify(&token, audience, OffsetDateTime::now_utc());
                let valid = valid.is_ok() && !self.revoked.contains(&token);
                self.seen.insert(token);
                valid
            }
            // Nobody comes this far without one.
            Auth::ClientCertificate => true,
        }
    }

    /// Whether this call is one too many within its second.
    pub(super) fn is_crowded(&mut self, now: Instant) -> bool {
        let Some(most) = self.calls_per_second else {
            return false;
        };
        let (since, calls) = match self.window {
            Some((since, calls)) if now - since < Duration::from_secs(1) => (since, calls + 1),
            _ => (now, 1),
        };
        self.window = Some((since, calls));
        calls > most
    }
}
