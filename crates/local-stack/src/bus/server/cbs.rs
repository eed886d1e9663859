//! `$cbs`: clients put tokens here before they attach to entities (OASIS draft "AMQP Claims-based
//! Security", as in Azure doc "AMQP 1.0 protocol guide").

use serde_amqp::Value;

use super::address::Address;
use super::context::Context;
use super::request::{Reply, Request};
use crate::bus::security::{Refused, path};
use crate::bus::wire::Malformed;
use crate::bus::wire::values::{self, Map};

/// Token types clients send; the guide also lists the last two.
const TOKEN_TYPES: [&str; 4] = [
    "servicebus.windows.net:sastoken",
    "jwt",
    "amqp:jwt",
    "amqp:swt",
];

/// Answers a put-token request.
pub(super) fn answer(ctx: &mut Context, request: &Request) -> Result<Reply, Malformed> {
    let (status, description) = match put_token(ctx, request) {
        // 202 and no other number: fe2o3-amqp-cbs insists on it.
        Ok(()) => (202, "Accepted".to_owned()),
        Err(Refused(status, description)) => (status, description),
    };
    reply(request, status, description)
}

/// The answer with this status.
pub(super) fn reply(
    request: &Request,
    status: i32,
    description: String,
) -> Result<Reply, Malformed> {
    let mut properties = Map::new();
    // Hyphenated here, camel case on `$management`.
    properties.insert(Value::String("status-code".into()), Value::Int(status));
    properties.insert(
        Value::String("status-description".into()),
        Value::String(description),
    );
    request.reply(Address::Cbs, properties, Value::Null)
}

fn put_token(ctx: &mut Context, request: &Request) -> Result<(), Refused> {
    let refused = |status, text: &str| Refused(status, text.to_owned());
    if request.property("operation") != Some("put-token") {
        return Err(refused(501, "The operation is not put-token."));
    }
    let audience = request
        .property("name")
        .ok_or_else(|| refused(400, "The token names no audience."))?;
    let token =
        values::text(&request.body).ok_or_else(|| refused(400, "The body holds no token."))?;
    let kind = request.property("type").unwrap_or_default();
    check(kind, token).map_err(|(status, text)| refused(status, text))?;
    let grant = match &ctx.hub.security {
        Some(security) => Some(security.verify(token, audience, ctx.now())?),
        None => None,
    };
    // After the token: who may not know what there is does not learn it (azure-sdk-for-net#44734).
    let entity = path(audience);
    if !ctx.hub.has(&entity) {
        let text = format!(
            "The messaging entity 'sb://local-service-bus/{entity}' could not be found. To know \
             more visit https://aka.ms/sbResourceMgrExceptions."
        );
        return Err(Refused(404, text));
    }
    if let Some(grant) = grant {
        ctx.claims.add(grant);
    }
    Ok(())
}

/// Looks at a token's shape, which is all where the broker trusts everybody.
///
/// The shape decides, not the announced type: azure-servicebus for Python announces the shared
/// access signatures of a connection string as `jwt`.
fn check(kind: &str, token: &str) -> Result<(), (i32, &'static str)> {
    if !TOKEN_TYPES.contains(&kind) {
        return Err((400, "The token type is not known."));
    }
    let Some(fields) = token.strip_prefix("SharedAccessSignature ") else {
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err((401, "The token is malformed."));
        }
        return Ok(());
    };
    let has = |name: &str| {
        fields.split('&').any(|field| {
            field
                .split_once('=')
                .is_some_and(|(key, value)| key == name && !value.is_empty())
        })
    };
    if ["sr", "sig", "se", "skn"].into_iter().all(has) {
        Ok(())
    } else {
        Err((401, "The shared access signature lacks a field."))
    }
}
