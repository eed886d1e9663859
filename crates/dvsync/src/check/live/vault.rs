//! Key Vault: each secret that a setting names can be read, and is in force. Values are not looked at.

use serde_json::Value;
use sync_core::credentials::{TokenSource, VAULT_SCOPE};
use sync_core::settings::environment;
use time::OffsetDateTime;
use url::Url;

use super::line::{Line, System};
use super::parts::Parts;
use super::reach::Peer;

const VAULT: System = System("Key Vault");
const PEER: Peer = Peer {
    system: VAULT,
    setting: "KEY_VAULT_URL",
    unreachable: "VaultUnreachable",
    untrusted: "VaultUntrusted",
    trust: "let nothing open the TLS of Key Vault; for a stand-in, set SSL_CERT_FILE to its authority",
};

pub(super) async fn check(parts: &Parts) -> Vec<Line> {
    let names = names(parts);
    let Some(vault) = &parts.settings.vault else {
        return match names.is_empty() {
            true => Vec::new(),
            false => vec![VAULT.wrong(
                "address",
                "VaultMissing",
                "secrets are named, but no vault",
                "set KEY_VAULT_URL, e.g. KEY_VAULT_URL=https://contoso-sync.vault.azure.net",
            )],
        };
    };
    let Ok(token) = parts.own.token(VAULT_SCOPE).await else {
        return vec![VAULT.not_checked("secrets", "there is no token for it")];
    };
    let mut lines = Vec::new();
    for (name, setting) in names {
        let check = format!("secret {name}");
        let Some(url) = address(&vault.url, &name) else {
            continue;
        };
        let answer = parts.http.get(url).bearer_auth(token.secret()).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            // The next would not get through either.
            Err(error) => {
                lines.push(PEER.lost("address", &error));
                break;
            }
        };
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        lines.push(judge(
            check,
            setting,
            status,
            &body,
            OffsetDateTime::now_utc(),
        ));
    }
    lines
}

/// The secrets that are read, each with the setting that names it.
fn names(parts: &Parts) -> Vec<(String, &'static str)> {
    let target = parts.outbound.then(|| environment("TARGET_SECRET_NAME"));
    let target = target.flatten().map(|name| (name, "TARGET_SECRET_NAME"));
    let applications = parts.settings.dataverse.applications.iter();
    let applications = applications.map(|application| {
        let setting = "DATAVERSE_CLIENT_SECRETS or DATAVERSE_CLIENT_CERTIFICATES";
        (application.secret_name.clone(), setting)
    });
    target.into_iter().chain(applications).collect()
}

fn address(vault: &str, name: &str) -> Option<Url> {
    let mut url = Url::parse(vault).ok()?;
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend(["secrets", name]);
    url.set_query(Some("api-version=7.4"));
    Some(url)
}

fn judge(check: String, setting: &str, status: u16, body: &Value, now: OffsetDateTime) -> Line {
    let error = &body["error"];
    // Spelt in both ways by the service.
    let inner = ["innererror", "innerError"]
        .iter()
        .find_map(|key| error[key]["code"].as_str())
        .unwrap_or_default();
    let attributes = &body["attributes"];
    let at = |key: &str| {
        let seconds = attributes[key].as_i64()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    };
    let (code, problem, fix) = match status {
        200 => match (at("exp"), at("nbf")) {
            (Some(expires), _) if expires <= now => (
                "SecretExpired",
                format!("expired on {}", expires.date()),
                "set a new version: `az keyvault secret set`; the vault still hands this one out, but whoever checks it refuses it".to_owned(),
            ),
            (_, Some(from)) if from > now => (
                "SecretNotYetValid",
                format!("is not to be used before {}", from.date()),
                "set a version that is in force now: `az keyvault secret set`".to_owned(),
            ),
            (expires, _) => {
                let until = expires.map(|at| format!(", in force until {}", at.date()));
                return VAULT.ok(check, format!("can be read{}", until.unwrap_or_default()));
            }
        },
        404 => (
            "SecretMissing",
            "is not in the vault".to_owned(),
            format!("create it with `az keyvault secret set`, or correct {setting}"),
        ),
        403 if inner == "SecretDisabled" => (
            "SecretDisabled",
            "is disabled in its newest version".to_owned(),
            "enable it with `az keyvault secret set-attributes --enabled true`, or set a new version".to_owned(),
        ),
        403 if inner == "ForbiddenByFirewall" => (
            "VaultFirewall",
            "the vault's firewall does not let this machine in".to_owned(),
            "run the check from the app's network, or add this address to the vault's firewall".to_owned(),
        ),
        401 | 403 => (
            "NoVaultRight",
            format!("may not be read ({status})"),
            "give the identity the role Key Vault Secrets User on the vault; a new assignment takes some minutes".to_owned(),
        ),
        429 | 500.. => (
            "VaultFailing",
            format!("was not given: the vault answers {status}"),
            "try again in a minute; if it stays, look at the vault's health in the portal".to_owned(),
        ),
        _ => (
            "VaultUnexpected",
            format!("was not given: the vault answers {status}"),
            "check that KEY_VAULT_URL is the address of a vault".to_owned(),
        ),
    };
    VAULT.wrong(check, code, problem, fix)
}
