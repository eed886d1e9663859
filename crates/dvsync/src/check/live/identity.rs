//! A token for each scope, of each identity: what everything else starts with.

use futures_util::future::join_all;
use sync_core::credentials::{SERVICE_BUS_SCOPE, TokenSource, VAULT_SCOPE};
use sync_core::failure::Failure;
use sync_core::settings::{BusSetting, environment};

use super::line::{Line, System};
use super::parts::Parts;
use super::telemetry;

const IDENTITY: System = System("identity");

/// What an app's own identity needs tokens for, and those of Dataverse.
pub(super) async fn check(parts: &Parts) -> Vec<Line> {
    let settings = &parts.settings;
    let mut asked: Vec<(&str, String, &dyn TokenSource)> = Vec::new();
    let own: &dyn TokenSource = &*parts.own;
    if matches!(settings.bus, BusSetting::Namespace(_)) {
        asked.push(("Service Bus", SERVICE_BUS_SCOPE.into(), own));
    }
    if settings.vault.is_some() {
        asked.push(("Key Vault", VAULT_SCOPE.into(), own));
    }
    if telemetry::identity().is_some() {
        asked.push(("telemetry", ::telemetry::SCOPE.into(), &*parts.telemetry));
    }
    let mut lines = Vec::new();
    for identity in &parts.dataverse {
        match identity {
            Ok(identity) => asked.push(("Dataverse", dataverse_scope(parts), &**identity)),
            Err(error) => lines.push(IDENTITY.not_checked(
                "token for Dataverse",
                format!("{error:#}: a managed identity is there in its app only"),
            )),
        }
    }
    let tokens = asked.into_iter().map(|(what, scope, source)| async move {
        let check = format!("token for {what} ({})", source.label());
        match source.token(&scope).await {
            Ok(_) => IDENTITY.ok(check, "given"),
            Err(failure) => refused(check, &failure),
        }
    });
    let mut all = join_all(tokens).await;
    all.append(&mut lines);
    all
}

/// The scope that the apps ask tokens for Dataverse by.
pub(super) fn dataverse_scope(parts: &Parts) -> String {
    let url = parts.settings.dataverse.url.as_str();
    format!("{}/.default", url.trim_end_matches('/'))
}

fn refused(check: String, failure: &Failure) -> Line {
    // What app registrations are refused says itself what to do.
    let fix = if failure.code != "NoToken" {
        "do what the line says"
    } else if environment("IDENTITY_ENDPOINT").is_some() {
        "assign the identity to the app, and set AZURE_CLIENT_ID (or DATAVERSE_CLIENT_IDS) to its client id: `az functionapp identity show` lists what is assigned"
    } else {
        "sign in with `az login`, to the tenant that the resource is in"
    };
    IDENTITY.wrong(check, failure.code, failure.message.clone(), fix)
}
