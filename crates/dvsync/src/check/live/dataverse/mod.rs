//! Dataverse: who the identities are there, what they may do, whether the sync files fit, and whether the
//! plug-in's steps do. By reading only.
//!
//! Wire format: Power Apps docs, "Use the Microsoft Dataverse Web API"; the functions and tables beyond
//! rows are named where they are asked for.

mod fit;
mod rights;
mod steps;

use serde_json::Value;
use sync_core::dataverse::DataverseOutbox;
use uuid::Uuid;

use super::identity::dataverse_scope;
use super::line::{Line, System};
use super::parts::Parts;
use super::reach::Peer;
use crate::dataverse::{Answer, Environment};

const DATAVERSE: System = System("Dataverse");
const PEER: Peer = Peer {
    system: DATAVERSE,
    setting: "DATAVERSE_URL",
    unreachable: "DataverseUnreachable",
    untrusted: "DataverseUntrusted",
    trust: "let nothing open the TLS of Dataverse; for a stand-in, set SSL_CERT_FILE to its authority",
};

/// One identity that Dataverse knows.
struct Caller {
    label: String,
    environment: Environment,
    user: Uuid,
}

pub(super) async fn check(parts: &Parts) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut callers = Vec::new();
    for source in parts.dataverse.iter().flatten() {
        let label = source.label();
        let check = format!("user of {label}");
        let Ok(token) = source.token(&dataverse_scope(parts)).await else {
            lines.push(DATAVERSE.not_checked(check, "there is no token for it"));
            continue;
        };
        let http = parts.http.clone();
        let url = &parts.settings.dataverse.url;
        let environment = Environment::with_token(http, url, token.secret().to_owned());
        match environment.ask("WhoAmI").await {
            Ok(answer) => match user(check, &answer) {
                Ok((user, line)) => {
                    lines.push(line);
                    callers.push(Caller {
                        label,
                        environment,
                        user,
                    });
                }
                Err(line) => lines.push(*line),
            },
            // The next identity would not get through either.
            Err(error) => {
                lines.push(PEER.lost("address", &error));
                return lines;
            }
        }
    }
    let Some(first) = callers.first() else {
        lines.push(DATAVERSE.not_checked("tables, rights, steps", "no identity gets in"));
        return lines;
    };
    let (fit, environment) = fit::check(parts, first).await;
    lines.extend(fit);
    for caller in &callers {
        lines.extend(rights::check(parts, caller).await);
    }
    if let Some(environment) = environment {
        lines.extend(steps::check(parts, first, &environment).await);
    }
    lines
}

/// Who Dataverse takes the caller for (`WhoAmI`), or why for nobody.
fn user(check: String, answer: &Answer) -> Result<(Uuid, Line), Box<Line>> {
    let json = answer.json();
    let (code, problem, fix) = match answer.status {
        200 => {
            let user = json["UserId"]
                .as_str()
                .and_then(|id| Uuid::parse_str(id).ok());
            if let Some(user) = user {
                let line = DATAVERSE.ok(check, format!("is {user} there"));
                return Ok((user, line));
            }
            (
                "NoDataverse",
                "the address answers, but not as Dataverse does".to_owned(),
                "set DATAVERSE_URL to the environment's address, e.g. https://contoso.crm4.dynamics.com, without a path",
            )
        }
        401 => (
            "DataverseRefusesToken",
            "the token is refused (401)".to_owned(),
            "check that DATAVERSE_URL is the environment's own address, character by character: the token is for it; and that the identity is of the environment's tenant",
        ),
        403 => (
            "NoDataverseUser",
            format!(
                "the identity has no enabled user in this environment: {}",
                said(&json)
            ),
            "create an application user for its client id, with the sync's security role: Power Platform admin center, or `pac admin assign-user --environment ... --user <client id> --role ... --application-user`",
        ),
        429 | 500.. => (
            "DataverseFailing",
            format!("Dataverse answers {}", answer.status),
            "try again in some minutes",
        ),
        status => (
            "NoDataverse",
            format!("the address answers {status} where Dataverse says who calls"),
            "set DATAVERSE_URL to the environment's address, e.g. https://contoso.crm4.dynamics.com, without a path",
        ),
    };
    Err(Box::new(DATAVERSE.wrong(check, code, problem, fix)))
}

/// What a refusal says, which names privileges and users, never values.
fn said(json: &Value) -> String {
    let error = &json["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    format!("{} {}", text("code"), text("message"))
}

/// The logical names of the tables that the apps work on.
fn tables(parts: &Parts) -> impl Iterator<Item = &str> {
    let outbox = parts.inbound && parts.sweep;
    let mut names: Vec<&str> = parts
        .files
        .iter()
        .flat_map(|file| file.config.tables.keys().map(String::as_str))
        .chain(outbox.then_some(DataverseOutbox::TABLE))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}
