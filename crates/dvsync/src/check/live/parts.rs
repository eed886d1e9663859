//! What there is to check: the apps of the folder, their settings, and the clients they would make.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use function_app::{dataverse_identities, telemetry_tokens};
use sync_core::credentials::{EntraTokens, KeyVault, TokenSource};
use sync_core::settings::{SettingError, Settings, SettingsError, environment};

use super::line::{Line, System};
use super::telemetry;
use crate::check::files::SyncFile;
use crate::check::finding::Report;
use crate::check::package::Package;

/// One answer may take this long.
const PATIENCE: Duration = Duration::from_secs(15);
const SETTINGS: System = System("settings");

/// Everything the checks work with.
pub(super) struct Parts {
    pub(super) settings: Settings,
    /// Which apps' needs are looked at.
    pub(super) outbound: bool,
    pub(super) inbound: bool,
    /// Whether inbound-fn sweeps the outbox.
    pub(super) sweep: bool,
    pub(super) files: Vec<SyncFile>,
    /// The app's own identity.
    pub(super) own: Arc<EntraTokens>,
    /// The identity that telemetry is sent as; elsewhere than in Azure, where that is not there, the app's own.
    pub(super) telemetry: Arc<EntraTokens>,
    pub(super) vault: Option<Arc<KeyVault>>,
    /// Who shares the requests to Dataverse out.
    pub(super) dataverse: Vec<anyhow::Result<Arc<dyn TokenSource>>>,
    pub(super) http: reqwest::Client,
}

impl Parts {
    /// Reads the environment, and the sync files below `dir`.
    ///
    /// # Errors
    /// The line that says what of it cannot be used.
    pub(super) fn read(dir: &Path) -> Result<Self, Box<Line>> {
        let get = |name: &str| match name {
            "FUNCTIONS_APP_ROOT_PATH" => Some(dir.display().to_string()),
            name => environment(name),
        };
        let settings = Settings::read(&get).map_err(|error| Box::new(unusable(&error)))?;
        let package = Package::read(dir, None, &mut Report::default());
        let sweep = package.has("OutboxSweep");
        let (outbound, inbound) = (package.has("Outbound"), package.has("Inbound") || sweep);
        // A folder with sync files only says nothing of apps: both are meant.
        let both = !outbound && !inbound;
        let files = settings.files.targets().filter_map(|(target, name)| {
            let config = Arc::clone(settings.files.of(target)?);
            let name = name.to_owned();
            Some(SyncFile { name, config })
        });
        let files = files.collect();
        let failed = |error: &dyn std::fmt::Display| {
            Box::new(SETTINGS.wrong(
                "clients",
                "ClientUnusable",
                error.to_string(),
                "locally, sign in with `az login`; in Azure, assign an identity to the app",
            ))
        };
        let own = EntraTokens::new(&settings.identity).map_err(|error| failed(&error))?;
        let own = Arc::new(own);
        let telemetry = match telemetry::identity() {
            Some(send_as) if environment("IDENTITY_ENDPOINT").is_some() => {
                telemetry_tokens(&send_as, &own).map_err(|error| failed(&error))?
            }
            _ => Arc::clone(&own),
        };
        let vault = settings.vault.as_ref().map(|vault| {
            let tokens = Arc::clone(&own);
            KeyVault::new(&vault.url, tokens, vault.verify_challenge, vault.fresh_for).map(Arc::new)
        });
        let vault = vault.transpose().map_err(|error| failed(&error))?;
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self {
            outbound: outbound || both,
            inbound: inbound || both,
            sweep: sweep || both,
            files,
            dataverse: identities(&settings, &own, vault.as_ref()),
            http: http.map_err(|error| failed(&error))?,
            own,
            telemetry,
            vault,
            settings,
        })
    }
}

/// Managed identities of their own are there in Azure only; elsewhere the SDK would look for another one.
fn identities(
    settings: &Settings,
    own: &Arc<EntraTokens>,
    vault: Option<&Arc<KeyVault>>,
) -> Vec<anyhow::Result<Arc<dyn TokenSource>>> {
    let mut identities = dataverse_identities(settings, own, vault);
    if environment("IDENTITY_ENDPOINT").is_none() {
        let managed = settings.dataverse.client_ids.iter();
        for (identity, id) in identities.iter_mut().zip(managed) {
            *identity = Err(anyhow::anyhow!("{id} of DATAVERSE_CLIENT_IDS"));
        }
    }
    identities
}

fn unusable(error: &SettingsError) -> Line {
    let (check, code, fix) = match error {
        SettingsError::Setting(SettingError::Missing { name, .. }) => {
            ((*name).to_owned(), "SettingMissing", "set it")
        }
        SettingsError::Setting(SettingError::Invalid { name, .. }) => {
            ((*name).to_owned(), "SettingUnusable", "correct it")
        }
        SettingsError::Outbound { .. } => (
            "OUTBOUND_QUEUE".to_owned(),
            "SettingUnusable",
            "give the queue, or the topic with its subscription",
        ),
        SettingsError::Config(_) => (
            "SYNC_FILES".to_owned(),
            "SyncFileUnusable",
            "correct the file, or name the right ones in SYNC_FILES",
        ),
    };
    let fix =
        format!("{fix}; `dvsync check` names everything that is wrong with settings and files");
    SETTINGS.wrong(check, code, error.to_string(), fix)
}
