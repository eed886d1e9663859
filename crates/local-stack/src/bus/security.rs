//! Who may do what in a namespace: shared access keys with rights, and identities with roles.
//!
//! Descriptions of refusals are the service's (azure-sdk-for-java#30723, azure-service-bus-java#354,
//! RedDog#4). An unknown key name is told apart from a wrong key by nobody, here as there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sha2::Sha256;
use time::OffsetDateTime;
use time::macros::format_description;

use super::server::address::Address;
use crate::identity::{TokenKey, TokenRejected};

/// The key of every connection string that [`Broker::connection_string`](super::Broker) gives.
pub const LOCAL_KEY: &str = "local";
/// The key in the connection string of Microsoft's own emulator.
const EMULATOR_KEY: &str = "SAS_KEY_VALUE";
/// The audience of Entra tokens for Service Bus.
const AUDIENCE: &str = "https://servicebus.azure.net";

/// Whom a broker trusts.
#[derive(Debug, Clone)]
pub struct Security {
    /// Shared access keys.
    pub rules: Vec<AuthorizationRule>,
    /// Tokens of an identity endpoint.
    pub identities: Option<Identities>,
}

/// A shared access key, as in Azure's `SharedAccessAuthorizationRules`.
#[derive(Clone)]
pub struct AuthorizationRule {
    /// Its name, `SharedAccessKeyName`.
    pub name: String,
    /// Keys that are good, usually a primary and a secondary one.
    pub keys: Vec<String>,
    /// What they allow.
    pub rights: Rights,
    /// The entity they belong to; `None` for the namespace.
    pub entity: Option<String>,
}

/// What a token allows. Manage includes the other two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// To send.
    pub send: bool,
    /// To receive, peek and settle.
    pub listen: bool,
}

/// The role of an identity, named as in Azure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Role {
    /// Azure Service Bus Data Owner.
    Owner,
    /// Azure Service Bus Data Sender.
    Sender,
    /// Azure Service Bus Data Receiver.
    Receiver,
}

/// Tokens that an identity endpoint signs, and what their bearers may do.
#[derive(Debug, Clone)]
pub struct Identities {
    /// The key with which the endpoint signs.
    pub key: TokenKey,
    /// Roles by client id or object id. Who has none gets a token accepted and every link refused.
    pub roles: BTreeMap<String, Role>,
}

impl Rights {
    /// Everything.
    pub const ALL: Rights = Rights {
        send: true,
        listen: true,
    };

    /// Sending only.
    pub const SEND: Rights = Rights {
        send: true,
        listen: false,
    };

    /// Receiving only.
    pub const LISTEN: Rights = Rights {
        send: false,
        listen: true,
    };

    pub(super) fn includes(self, needed: Right) -> bool {
        match needed {
            Right::Send => self.send,
            Right::Listen => self.listen,
            Right::Any => self.send || self.listen,
        }
    }
}

impl From<Role> for Rights {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Rights::ALL,
            Role::Sender => Rights::SEND,
            Role::Receiver => Rights::LISTEN,
        }
    }
}

impl Default for Security {
    /// The root key of the broker's own connection strings, and of those of Microsoft's emulator.
    fn default() -> Self {
        Security {
            rules: vec![AuthorizationRule {
                name: "RootManageSharedAccessKey".to_owned(),
                keys: vec![LOCAL_KEY.to_owned(), EMULATOR_KEY.to_owned()],
                rights: Rights::ALL,
                entity: None,
            }],
            identities: None,
        }
    }
}

impl std::fmt::Debug for AuthorizationRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationRule")
            .field("name", &self.name)
            .field("rights", &self.rights)
            .field("entity", &self.entity)
            .finish_non_exhaustive()
    }
}

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Send,
    Listen,
    /// Any at all: the management node, where each request needs its own.
    Any,
}

impl Right {
    /// The claim to name when it is missing.
    pub(super) fn claim(self) -> &'static str {
        match self {
            Right::Send => "Send",
            Right::Listen | Right::Any => "Listen",
        }
    }
}

/// What a token that was put allows from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The entity, in lower case, with everything below it; empty for the namespace.
    pub(super) path: String,
    pub(super) rights: Rights,
    pub(super) expires_at: OffsetDateTime,
}

/// A token that is refused: the status and its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused(pub(super) i32, pub(super) String);

impl Security {
    /// Checks a token that is put for `audience`.
    pub(super) fn verify(
        &self,
        token: &str,
        audience: &str,
        now: OffsetDateTime,
    ) -> Result<Grant, Refused> {
        let path = path(audience);
        let (rights, expires_at) = match token.strip_prefix("SharedAccessSignature ") {
            Some(fields) => self.shared_access(fields, &path, now)?,
            None => self.identity(token, now)?,
        };
        Ok(Grant {
            path,
            rights,
            expires_at,
        })
    }

    fn shared_access(
        &self,
        fields: &str,
        wanted: &str,
        now: OffsetDateTime,
    ) -> Result<(Rights, OffsetDateTime), Refused> {
        let field = |name: &str| {
            let mut fields = fields.split('&').filter_map(|field| field.split_once('='));
            fields
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .ok_or_else(|| malformed("a field of the shared access signature is missing"))
        };
        let (resource, expiry) = (field("sr")?, field("se")?);
        let (signature, name) = (decoded(field("sig")?), decoded(field("skn")?));
        let expires_at = expiry
            .parse()
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(|| malformed("the expiry is not a number of seconds"))?;
        let signature = BASE64_STANDARD
            .decode(signature)
            .map_err(|_| malformed("the signature is not base64"))?;
        let mut rules = self.rules.iter().filter(|rule| rule.name == name);
        let rule = rules
            .find(|rule| rule.signed(resource, expiry, &signature))
            .ok_or_else(invalid_signature)?;
        if expires_at <= now {
            return Err(expired(expires_at));
        }
        let granted = path(&decoded(resource));
        let of_rule = rule.entity.as_deref().map(str::to_lowercase);
        if !covers(&granted, wanted) || !covers(&of_rule.unwrap_or_default(), wanted) {
            let text = "InvalidAudience: The authorization header contains a token with a wrong \
                        audience.";
            return Err(Refused(401, text.to_owned()));
        }
        Ok((rule.rights, expires_at))
    }

    fn identity(
        &self,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<(Rights, OffsetDateTime), Refused> {
        let issuer_unknown = || Refused(401, "InvalidIssuer: Token issuer is invalid.".to_owned());
        let identities = self.identities.as_ref().ok_or_else(issuer_unknown)?;
        let claims =
            identities
                .key
                .verify(token, AUDIENCE, now)
                .map_err(|reason| match reason {
                    TokenRejected::Signature => issuer_unknown(),
                    TokenRejected::Expired => {
                        Refused(401, "ExpiredToken: The token is expired.".to_owned())
                    }
                    TokenRejected::Audience { .. } => {
                        Refused(401, format!("InvalidAudience: {reason}."))
                    }
                    TokenRejected::Missing | TokenRejected::Malformed => {
                        malformed("it is neither a shared access signature nor a JSON web token")
                    }
                })?;
        let expires_at = OffsetDateTime::from_unix_timestamp(claims.exp)
            .map_err(|_| malformed("the expiry is out of range"))?;
        let role = [&claims.appid, &claims.oid]
            .into_iter()
            .find_map(|id| identities.roles.get(id));
        Ok((
            role.map_or(Rights::default(), |role| Rights::from(*role)),
            expires_at,
        ))
    }
}

impl AuthorizationRule {
    /// Whether one of the keys made this signature. What is signed is the resource as it stands in
    /// the token, still encoded, a line feed and the expiry.
    fn signed(&self, resource: &str, expiry: &str, signature: &[u8]) -> bool {
        self.keys.iter().any(|key| {
            Hmac::<Sha256>::new_from_slice(key.as_bytes()).is_ok_and(|mut mac| {
                mac.update(resource.as_bytes());
                mac.update(b"\n");
                mac.update(expiry.as_bytes());
                mac.verify_slice(signature).is_ok()
            })
        })
    }
}

/// Whether a grant for `granted` is one for `path` too: the same entity, or one above it.
pub(super) fn covers(granted: &str, path: &str) -> bool {
    granted.is_empty()
        || path
            .strip_prefix(granted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The entity an audience or address names, in lower case and without its sub-queue. Which
/// namespace is meant does not matter: there is one.
pub(super) fn path(audience: &str) -> String {
    match Address::parse(audience) {
        Address::Entity { name, .. } => name,
        Address::Cbs => String::new(),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn invalid_signature() -> Refused {
    let text = "InvalidSignature: The token has an invalid signature.";
    Refused(401, text.to_owned())
}

fn malformed(why: &str) -> Refused {
    Refused(400, format!("MalformedToken: {why}."))
}

fn expired(at: OffsetDateTime) -> Refused {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let at = at.format(format).unwrap_or_default();
    Refused(
        401,
        format!("ExpiredToken: The token is expired. Expiration time: '{at}'"),
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::identity::Claims;

    const NOW: OffsetDateTime = datetime!(2026-01-05 08:00 UTC);
    const LATER: i64 = 1_800_000_000;

    fn sas(resource: &str, key: &str, name: &str, expiry: i64) -> String {
        let resource: String =
            percent_encoding::utf8_percent_encode(resource, percent_encoding::NON_ALPHANUMERIC)
                .collect();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{resource}\n{expiry}").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let signature: String =
            percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC)
                .collect();
        format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={name}")
    }

    fn security() -> Security {
        let mut security = Security::default();
        security.rules.push(AuthorizationRule {
            name: "sender".to_owned(),
            keys: vec!["s3nder".to_owned()],
            rights: Rights::SEND,
            entity: Some("Orders".to_owned()),
        });
        security
    }

    fn put(token: &str, audience: &str) -> Result<Grant, Refused> {
        security().verify(token, audience, NOW)
    }

    /// The code in front of a refusal's description.
    fn code(result: Result<Grant, Refused>) -> (i32, String) {
        let Refused(status, text) = result.unwrap_err();
        (status, text.split(':').next().unwrap().to_owned())
    }

    #[test]
    fn the_local_key_and_that_of_microsofts_emulator_open_everything() {
        for key in ["local", "SAS_KEY_VALUE"] {
            let token = sas("sb://h:5673/q", key, "RootManageSharedAccessKey", LATER);
            let grant = put(&token, "sb://h:5673/q").unwrap();
            assert_eq!((grant.path.as_str(), grant.rights), ("q", Rights::ALL));
        }
    }

    #[test]
    fn a_wrong_key_and_an_unknown_key_name_are_refused_alike() {
        let wrong = sas("sb://h/q", "other", "RootManageSharedAccessKey", LATER);
        let unknown = sas("sb://h/q", "local", "Somebody", LATER);
        for token in [wrong, unknown] {
            let refused = code(put(&token, "sb://h/q"));
            assert_eq!(refused, (401, "InvalidSignature".to_owned()));
        }
    }

    #[test]
    fn a_token_is_good_until_the_second_in_which_it_expires() {
        let at = NOW.unix_timestamp();
        let token = |expiry| sas("sb://h/q", "local", "RootManageSharedAccessKey", expiry);
        assert!(put(&token(at + 1), "sb://h/q").is_ok());
        let refused = put(&token(at), "sb://h/q").unwrap_err();
        assert_eq!(
            refused.1,
            "ExpiredToken: The token is expired. Expiration time: '2026-01-05 08:00:00Z'"
        );
    }

    #[test]
    fn a_token_is_good_for_its_entity_and_what_is_below_it() {
        let token = |resource| sas(resource, "local", "RootManageSharedAccessKey", LATER);
        assert!(put(&token("sb://h/a"), "sb://h/a/b").is_ok());
        assert!(put(&token("sb://h/"), "sb://h/a").is_ok());
        assert!(put(&token("sb://h/a"), "sb://h/a/$DeadLetterQueue").is_ok());
        for (resource, audience) in [("sb://h/a", "sb://h/ab"), ("sb://h/a/b", "sb://h/a")] {
            let refused = code(put(&token(resource), audience));
            assert_eq!(refused, (401, "InvalidAudience".to_owned()));
        }
    }

    #[test]
    fn the_key_of_an_entity_opens_no_other() {
        let token = |entity: &str| sas(&format!("sb://h/{entity}"), "s3nder", "sender", LATER);
        assert_eq!(
            put(&token("orders"), "sb://h/orders").unwrap().rights,
            Rights::SEND
        );
        let refused = code(put(&token("others"), "sb://h/others"));
        assert_eq!(refused, (401, "InvalidAudience".to_owned()));
    }

    #[test]
    fn an_identitys_rights_are_those_of_its_role() {
        let key = TokenKey::random();
        let mut security = security();
        security.identities = Some(Identities {
            key: key.clone(),
            roles: BTreeMap::from([("app".to_owned(), Role::Receiver)]),
        });
        let token = |aud: &str, appid: &str, exp| {
            key.issue(&Claims {
                aud: aud.to_owned(),
                appid: appid.to_owned(),
                oid: "object".to_owned(),
                uti: String::new(),
                iat: 0,
                exp,
            })
        };
        let verify = |token: &str| security.verify(token, "sb://h/q", NOW);
        let grant = verify(&token(AUDIENCE, "app", LATER)).unwrap();
        assert_eq!(grant.rights, Rights::LISTEN);
        // Known, and without any role.
        let grant = verify(&token(AUDIENCE, "other", LATER)).unwrap();
        assert!(!grant.rights.includes(Right::Any));
        let cases = [
            (
                token("https://vault.azure.net", "app", LATER),
                401,
                "InvalidAudience",
            ),
            (token(AUDIENCE, "app", 1), 401, "ExpiredToken"),
            ("no-token".to_owned(), 400, "MalformedToken"),
        ];
        for (token, status, name) in cases {
            assert_eq!(code(verify(&token)), (status, name.to_owned()));
        }
        let stranger = TokenKey::random().issue(&Claims {
            aud: AUDIENCE.to_owned(),
            appid: "app".to_owned(),
            oid: String::new(),
            uti: String::new(),
            iat: 0,
            exp: LATER,
        });
        assert_eq!(code(verify(&stranger)), (401, "InvalidIssuer".to_owned()));
    }
}
