//! The target: its address, its certificate, and whether it believes who calls. By reading a row that
//! cannot be there; nothing is written.

use std::sync::Arc;

use sync_core::settings::{TargetSettings, environment};
use sync_core::target::{HttpTarget, HttpTargetParts, NoProbe, tls_error};

use super::line::{Line, System};
use super::parts::Parts;
use super::reach::Peer;

const TARGET: System = System("target");
const PEER: Peer = Peer {
    system: TARGET,
    setting: "TARGET_URL",
    unreachable: "TargetUnreachable",
    untrusted: "TargetUntrusted",
    trust: "set TARGET_CA_FILE to a PEM file of the authority that signed its certificate, in the package or mounted; a certificate for another name or out of date is for the target's owner to replace",
};

pub(super) async fn check(parts: &Parts) -> Vec<Line> {
    if !parts.outbound {
        return Vec::new();
    }
    let settings = match TargetSettings::read(&environment) {
        Ok(settings) => settings,
        Err(error) => {
            let fix = "set it as the README's table of settings has it";
            return vec![TARGET.wrong("settings", "TargetSetting", error.to_string(), fix)];
        }
    };
    let Some(vault) = &parts.vault else {
        return vec![TARGET.not_checked("answer", "its secret is in a vault, and none is set up")];
    };
    let mut lines = Vec::new();
    // outbound-fn has one; of a folder of several apps the first one's is looked at.
    let file = parts.files.first();
    let first = file.and_then(|file| Some((file, file.config.tables.values().next()?)));
    if let Some((file, table)) = first {
        let target = HttpTarget::new(HttpTargetParts {
            base: settings.url,
            config: file.config.target.clone(),
            secrets: Arc::clone(vault) as _,
            secret_name: settings.secret_name,
            roots: settings.roots,
        });
        lines.push(match target {
            Ok(target) => judge(target.probe(table).await),
            Err(error) => {
                let fix = "correct TARGET_URL or TARGET_CA_FILE";
                TARGET.wrong("settings", "TargetSetting", error.to_string(), fix)
            }
        });
    }
    if parts.files.len() > 1 {
        let why = "each target has an outbound-fn with settings of its own: check with each";
        lines.push(TARGET.not_checked("further targets", why));
    }
    lines
}

const CREDENTIAL: &str = "put what the target takes now into the vault under TARGET_SECRET_NAME, and compare target.auth in the sync file (kind, header, scope) with what its owner says";

fn judge(answer: Result<u16, NoProbe>) -> Line {
    const CHECK: &str = "answer";
    let status = match answer {
        Ok(status) => status,
        Err(NoProbe::Credential(failure)) => {
            let why = format!("there is nothing to call it with: {}", failure.message);
            return TARGET.not_checked(CHECK, why);
        }
        Err(NoProbe::Unreached(error)) => {
            return match tls_error(&error) {
                Some(rustls::Error::AlertReceived(alert)) => {
                    let problem = format!("it ends the TLS handshake: {alert:?}");
                    TARGET.wrong(CHECK, "TargetRefusesCredential", problem, CREDENTIAL)
                }
                _ => PEER.lost(CHECK, &error),
            };
        }
    };
    match status {
        401 | 403 => TARGET.wrong(
            CHECK,
            "TargetRefusesCredential",
            format!("it does not believe who calls ({status})"),
            CREDENTIAL,
        ),
        300..=399 => TARGET.wrong(
            CHECK,
            "TargetRedirects",
            format!("it sends callers elsewhere ({status}), which the app does not follow"),
            "set TARGET_URL to where it leads",
        ),
        429 => TARGET.ok(CHECK, "asks to slow down (429)"),
        500.. => TARGET.wrong(
            CHECK,
            "TargetFailing",
            format!("it answers {status}"),
            "ask its owner; the apps wait and try again, but nothing is delivered meanwhile",
        ),
        405 => TARGET.ok(
            CHECK,
            "reads no rows (405): it may not have looked at the credential",
        ),
        _ => TARGET.ok(
            CHECK,
            format!("takes the credential ({status} for a row that cannot be there)"),
        ),
    }
}
