//! Who calls, and whether the token says so.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::dispatch::refused;
use super::message::{ApiRequest, ApiResponse};
use super::mishap::challenge;
use super::{Side, USER_HEADER};
use crate::dataverse::State;
use crate::dataverse::error::ApiError;

/// One caller of the Web API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) side: Side,
    /// Id of the user row behind the caller.
    pub(super) user_id: Uuid,
    /// Whose limits count: the token's client id.
    pub(super) identity: String,
}

/// Who calls. With authentication on, a token for this very environment is needed.
///
/// Impersonation headers are accepted and change nothing: the limits are the caller's own.
pub(super) fn caller(
    state: &State,
    request: &ApiRequest,
    url: &str,
    now: OffsetDateTime,
) -> Result<Caller, Box<ApiResponse>> {
    let caller = |side, oid: &str, identity: String| Caller {
        side,
        user_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, oid.as_bytes()),
        identity,
    };
    if let Some(user) = request.header(USER_HEADER) {
        return Ok(caller(Side::User, user, user.to_owned()));
    }
    let Some(key) = &state.auth else {
        let identity = unverified(request).unwrap_or_else(|| "integration".to_owned());
        return Ok(caller(Side::Integration, "integration", identity));
    };
    match key.verify_bearer(&request.headers, url, now) {
        Ok(claims) if !state.users().is_known(&claims.appid) => {
            Err(Box::new(refused(request, &ApiError::no_user())))
        }
        Ok(claims) => Ok(caller(Side::Integration, &claims.oid, claims.appid)),
        Err(_) => Err(Box::new(challenge(state.tenant, url))),
    }
}

/// Client id or subject of a token nobody checks; a text that is no token stands for itself, but
/// only as a hash, because it is a secret somewhere.
fn unverified(request: &ApiRequest) -> Option<String> {
    let (_, token) = request.header("authorization")?.split_once(' ')?;
    let claims = || -> Option<Value> {
        let body = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&body).ok()
    };
    let claims = claims().unwrap_or_default();
    let mut names = ["appid", "azp", "oid", "sub"].into_iter();
    let named = names.find_map(|name| claims[name].as_str());
    Some(
        named
            .map(str::to_owned)
            .unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, token.as_bytes()).to_string()),
    )
}
