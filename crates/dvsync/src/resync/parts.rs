//! What a resync works with: the app's settings, its sync file, and clients.

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use service_bus::{Client, ClientOptions};
use sync_core::config::SyncConfig;
use sync_core::dataverse::{DataverseClient, DataverseOptions};
use sync_core::settings::{OutboundSetting, Settings, SettingsError, environment};

use crate::app_settings;

pub(super) struct Parts {
    pub(super) config: Arc<SyncConfig>,
    pub(super) dataverse: DataverseClient,
    pub(super) bus: Client,
    /// Queue or topic.
    pub(super) entity: String,
    /// With a topic: whose notifications these are.
    pub(super) only_for: Option<String>,
    pub(super) sessions: bool,
}

impl Parts {
    pub(super) async fn read(dir: &Path, target: Option<&str>) -> anyhow::Result<Self> {
        let get = |name: &str| match name {
            "FUNCTIONS_APP_ROOT_PATH" => Some(dir.display().to_string()),
            name => environment(name),
        };
        let settings = Settings::read(&get).map_err(|error| match error {
            SettingsError::Config(_) => anyhow!(error).context("which folder? --dir"),
            _ => anyhow!(error).context(
                "the app's settings are needed, e.g. --settings settings.json (see --help)",
            ),
        })?;
        let config = config(&settings, target)?;
        let own = app_settings::signed_in(&settings.identity, &settings.bus).await?;
        // One reader needs no merging, and gets along on one identity.
        let options = DataverseOptions {
            merging: None,
            ..settings.dataverse.options()
        };
        let url = &settings.dataverse.url;
        let is_topic = matches!(settings.outbound, OutboundSetting::Topic { .. });
        Ok(Self {
            dataverse: DataverseClient::new(url, vec![Arc::clone(&own) as _], options)?,
            bus: settings.bus_client_with(&own, ClientOptions::default())?,
            entity: settings.outbound.entity().to_owned(),
            only_for: is_topic.then(|| config.target_system.clone()),
            sessions: settings.sessions,
            config,
        })
    }
}

fn config(settings: &Settings, target: Option<&str>) -> anyhow::Result<Arc<SyncConfig>> {
    let known = || {
        let names = settings.files.targets().map(|(target, _)| target);
        names.collect::<Vec<_>>().join(", ")
    };
    let config = match target {
        Some(target) => settings.files.of(target),
        None => settings.files.only(),
    };
    match (config, target) {
        (Some(config), _) => Ok(Arc::clone(config)),
        (None, Some(target)) => bail!("SYNC_FILES has no target {target}; it has {}", known()),
        (None, None) => bail!(
            "SYNC_FILES has several targets: which? --target, one of {}",
            known()
        ),
    }
}
