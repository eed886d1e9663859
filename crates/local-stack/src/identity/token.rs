//! Access tokens of the local stack: shaped like Entra's, signed with a key the stand-ins share.
//!
//! A stand-in that is given the key can check what the real service checks: that the token is
//! genuine, not expired, and issued for *its* audience.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::OffsetDateTime;

/// The key with which one local stack signs its tokens.
#[derive(Clone)]
pub struct TokenKey(Arc<[u8; 64]>);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The resource the token is for.
    pub aud: String,
    /// Client id of the application or managed identity.
    pub appid: String,
    /// Object id of its service principal.
    pub oid: String,
    /// Which token this is; no two are the same.
    #[serde(default)]
    pub uti: String,
    /// Issued at, unix seconds.
    pub iat: i64,
    /// Expires at, unix seconds.
    pub exp: i64,
}

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejected {
    /// There was none.
    #[error("the request carries no bearer token")]
    Missing,
    /// Not a token of this shape.
    #[error("the token is malformed")]
    Malformed,
    /// Not signed by this stack.
    #[error("the token's signature is not valid")]
    Signature,
    /// Issued for another resource.
    #[error("the token's audience is {found}, not {expected}")]
    Audience {
        /// What this service wants.
        expected: String,
        /// What the token says.
        found: String,
    },
    /// Too old.
    #[error("the token has expired")]
    Expired,
}

// {"alg":"HS256","typ":"JWT"}
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

impl TokenKey {
    /// A new key, different on every call.
    pub fn random() -> Self {
        let mut key = [0; 64];
        for part in key.chunks_mut(16) {
            part.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        Self(Arc::new(key))
    }

    /// Signs `claims` into a token.
    pub fn issue(&self, claims: &Claims) -> String {
        // Claims hold strings and integers only, which always serialize.
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&body).finalize().into_bytes());
        format!("{HEADER}.{body}.{signature}")
    }

    /// Checks a token for `audience` (a trailing slash makes no difference).
    ///
    /// # Errors
    /// [`TokenRejected`], in the order in which Entra-protected services look.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        now: OffsetDateTime,
    ) -> Result<Claims, TokenRejected> {
        let mut parts = token.split('.');
        let (Some(HEADER), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenRejected::Malformed);
        };
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenRejected::Malformed)?;
        self.mac(body)
            .verify_slice(&signature)
            .map_err(|_| TokenRejected::Signature)?;
        let claims: Claims = URL_SAFE_NO_PAD
            .decode(body)
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok())
            .ok_or(TokenRejected::Malformed)?;
        if claims.aud.trim_end_matches('/') != audience.trim_end_matches('/') {
            return Err(TokenRejected::Audience {
                expected: audience.to_owned(),
                found: claims.aud,
            });
        }
        if claims.exp <= now.unix_timestamp() {
            return Err(TokenRejected::Expired);
        }
        Ok(claims)
    }

    /// Checks the bearer token of a request for `audience`.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`TokenRejected::Missing`].
    pub fn verify_bearer(
        &self,
        headers: &http::HeaderMap,
        audience: &str,
        now: OffsetDateTime,
    ) -> Result<Claims, TokenRejected> {
        let value = headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .ok_or(TokenRejected::Missing)?;
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.verify(token.trim(), audience, now)
            }
            _ => Err(TokenRejected::Missing),
        }
    }

    fn mac(&self, body: &str) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new((&*self.0).into());
        mac.update(HEADER.as_bytes());
        mac.update(b".");
        mac.update(body.as_bytes());
        mac
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: "https://vault.azure.net".to_owned(),
            appid: "app".to_owned(),
            oid: "object".to_owned(),
            uti: "one".to_owned(),
            iat: 1_000,
            exp: 2_000,
        }
    }

    fn at(unix: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(unix).unwrap()
    }

    #[test]
    fn a_token_is_accepted_for_its_audience_until_it_expires() {
        let key = TokenKey::random();
        let token = key.issue(&claims());
        assert_eq!(
            key.verify(&token, "https://vault.azure.net/", at(1_999)),
            Ok(claims())
        );
        assert_eq!(
            key.verify(&token, "https://vault.azure.net", at(2_000)),
            Err(TokenRejected::Expired)
        );
    }

    #[test]
    fn a_token_for_another_audience_is_refused() {
        let key = TokenKey::random();
        let token = key.issue(&claims());
        assert!(matches!(
            key.verify(&token, "https://servicebus.azure.net", at(1_500)),
            Err(TokenRejected::Audience { .. })
        ));
    }

    #[test]
    fn a_token_of_another_stack_or_a_changed_one_is_refused() {
        let key = TokenKey::random();
        let token = TokenKey::random().issue(&claims());
        let audience = "https://vault.azure.net";
        assert_eq!(
            key.verify(&token, audience, at(1_500)),
            Err(TokenRejected::Signature)
        );
        assert_eq!(
            key.verify("opaque", audience, at(1_500)),
            Err(TokenRejected::Malformed)
        );
    }
}
