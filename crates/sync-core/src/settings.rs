//! App settings: read once at start, each wrong one named with an example.

mod bus;
pub mod table;

use std::path::PathBuf;
use std::time::Duration;

use app_settings::Setting;
pub use app_settings::{Lookup, SettingError, environment};
use service_bus::{Client, ClientOptions};
use std::sync::Arc;
use url::Url;

use crate::config::{ConfigError, SyncConfig, SyncFiles};
use crate::credentials::{CredentialKind, EntraTokens};
use crate::dataverse::DataverseSettings;
pub use bus::{BusSetting, OutboundSetting};
use table::{
    AZURE_CLIENT_ID, FUNCTIONS_APP_ROOT_PATH, IDENTITY_ENDPOINT, INBOUND_QUEUE,
    INVOCATION_DEADLINE_SECONDS, KEY_VAULT_URL, KEY_VAULT_VERIFY_CHALLENGE, REJECTED_QUEUE,
    SECRET_REFRESH_SECONDS, SESSIONS, SYNC_FILES, TARGET_CA_FILE, TARGET_SECRET_NAME, TARGET_URL,
};

/// A setting is missing or wrong, or one of the files that settings name.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// One setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The outbound queue or topic is named in neither of the two forms.
    #[error(
        "settings OUTBOUND_QUEUE, OUTBOUND_TOPIC and OUTBOUND_SUBSCRIPTION: {problem}; give either OUTBOUND_QUEUE=outbound or OUTBOUND_TOPIC=outbound with OUTBOUND_SUBSCRIPTION=customer-api"
    )]
    Outbound {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The sync files.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What both apps need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Service Bus, by connection string or by identity.
    pub bus: BusSetting,
    /// Queue or topic of the notifications.
    pub outbound: OutboundSetting,
    /// Queue of the acknowledgements.
    pub inbound_queue: String,
    /// Whether each row has a session on the outbound queue.
    pub sessions: bool,
    /// The Dataverse environment.
    pub dataverse: DataverseSettings,
    /// Which identity signs in.
    pub identity: CredentialKind,
    /// Key Vault, where one is set up.
    pub vault: Option<VaultSettings>,
    /// What travels: `sync.json`, or the files of `SYNC_FILES`.
    pub files: SyncFiles,
    /// The work on one message may take this long.
    pub deadline: Duration,
    /// The folder of the package: `host.json`, the sync files, the function folders.
    pub app_root: PathBuf,
}

/// The vault that holds the target's API key, and what app registrations sign in with.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    /// Its address.
    pub url: String,
    /// Off only for a vault stand-in.
    pub verify_challenge: bool,
    /// A secret is read again in the background after this.
    pub fresh_for: Duration,
}

/// What only the outbound side needs.
#[derive(Debug, Clone)]
pub struct TargetSettings {
    /// Base address of the target.
    pub url: Url,
    /// Name of the secret that the app proves itself to it with.
    pub secret_name: String,
    /// Authorities that are trusted beside the system's own.
    pub roots: Vec<reqwest::Certificate>,
}

impl Settings {
    /// Reads what both apps need.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is missing or wrong.
    pub fn read(get: Lookup<'_>) -> Result<Self, SettingsError> {
        let app_root = PathBuf::from(FUNCTIONS_APP_ROOT_PATH.required(get)?);
        let names = sync_files(get)?;
        let files = SyncFiles::load(&app_root, names.iter().map(String::as_str))?;
        let read = Read::all(get)?;
        Ok(Self {
            bus: read.bus,
            outbound: read.outbound,
            inbound_queue: read.inbound_queue,
            sessions: read.sessions,
            dataverse: read.dataverse,
            identity: identity(get),
            vault: read.vault,
            files,
            deadline: read.deadline,
            app_root,
        })
    }

    /// Reads them without the sync files, only to see whether they can be used.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is missing or wrong.
    pub fn check(get: Lookup<'_>) -> Result<(), SettingsError> {
        sync_files(get)?;
        Read::all(get).map(drop)
    }

    /// The one sync file of an app that serves one target.
    ///
    /// # Errors
    /// When `SYNC_FILES` names several.
    pub fn config(&self) -> Result<&Arc<SyncConfig>, SettingsError> {
        self.files.only().ok_or_else(|| {
            let example = &"sync.warehouse.json";
            let problem = "outbound-fn serves one target and takes one file; only inbound-fn takes several. Deploy one outbound-fn per target";
            Setting { example, ..SYNC_FILES }.invalid(problem).into()
        })
    }

    /// The Service Bus client these settings describe.
    ///
    /// # Errors
    /// When the connection string is malformed.
    pub fn bus_client(&self, tokens: &Arc<EntraTokens>) -> Result<Client, SettingsError> {
        self.bus_client_with(tokens, ClientOptions::default())
    }

    /// The same with other patience.
    ///
    /// # Errors
    /// When the connection string is malformed.
    pub fn bus_client_with(
        &self,
        tokens: &Arc<EntraTokens>,
        options: ClientOptions,
    ) -> Result<Client, SettingsError> {
        self.bus.client(tokens, options)
    }
}

/// What is read from settings alone.
struct Read {
    bus: BusSetting,
    outbound: OutboundSetting,
    inbound_queue: String,
    sessions: bool,
    dataverse: DataverseSettings,
    vault: Option<VaultSettings>,
    deadline: Duration,
}

impl Read {
    fn all(get: Lookup<'_>) -> Result<Self, SettingsError> {
        let bus = BusSetting::read(get)?;
        let outbound = OutboundSetting::read(get)?;
        let sessions = SESSIONS.flag(get)?;
        if sessions && matches!(outbound, OutboundSetting::Topic { .. }) {
            // Who resends from the rejected queue would send to every target.
            let problem = "SESSIONS=true goes with a queue only";
            return Err(SettingsError::Outbound { problem });
        }
        Ok(Self {
            bus,
            outbound,
            inbound_queue: INBOUND_QUEUE.required(get)?,
            sessions,
            dataverse: DataverseSettings::read(get)?,
            vault: VaultSettings::read(get)?,
            deadline: INVOCATION_DEADLINE_SECONDS.duration(get)?,
        })
    }
}

/// The package's sync files, by name.
///
/// # Errors
/// When `SYNC_FILES` is no list of different names.
pub fn sync_files(get: Lookup<'_>) -> Result<Vec<String>, SettingsError> {
    let text = SYNC_FILES.required(get)?;
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let twice = |(i, name): (usize, &String)| names[..i].contains(name);
    let problem = if names.iter().any(String::is_empty) {
        "a name between its commas is empty"
    } else if names.iter().enumerate().any(twice) {
        "it names a file twice"
    } else {
        return Ok(names);
    };
    Err(SYNC_FILES.invalid(problem).into())
}

impl VaultSettings {
    /// Reads them; `None` without `KEY_VAULT_URL`.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is wrong.
    pub fn read(get: Lookup<'_>) -> Result<Option<Self>, SettingsError> {
        if KEY_VAULT_URL.get(get).is_none() {
            return Ok(None);
        }
        let vault_url = KEY_VAULT_URL.url(get)?;
        if vault_url.scheme() != "https" {
            let problem = "Key Vault is only spoken to over https";
            return Err(KEY_VAULT_URL.invalid(problem).into());
        }
        let verify_challenge = KEY_VAULT_VERIFY_CHALLENGE.flag(get)?;
        Ok(Some(Self {
            url: vault_url.into(),
            verify_challenge,
            fresh_for: SECRET_REFRESH_SECONDS.duration(get)?,
        }))
    }

    /// What is said where one is needed and none is set up.
    #[must_use]
    pub fn missing() -> SettingsError {
        KEY_VAULT_URL.missing().into()
    }
}

impl TargetSettings {
    /// Reads what only the outbound side needs.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is missing or wrong.
    pub fn read(get: Lookup<'_>) -> Result<Self, SettingsError> {
        Ok(Self {
            url: TARGET_URL.url(get)?,
            secret_name: TARGET_SECRET_NAME.required(get)?,
            roots: match TARGET_CA_FILE.get(get) {
                Some(path) => roots(&path)?,
                None => Vec::new(),
            },
        })
    }
}

/// The certificates of a PEM file.
fn roots(path: &str) -> Result<Vec<reqwest::Certificate>, SettingsError> {
    let problem = match std::fs::read(path) {
        Err(e) => format!("the file cannot be read ({})", e.kind()),
        Ok(pem) => match reqwest::Certificate::from_pem_bundle(&pem) {
            Ok(roots) if !roots.is_empty() => return Ok(roots),
            _ => "the file holds no certificate in PEM".into(),
        },
    };
    Err(TARGET_CA_FILE.invalid(problem).into())
}

/// Who signs in.
#[must_use]
pub fn identity(get: Lookup<'_>) -> CredentialKind {
    // App Service sets this pair exactly where a managed identity can be had.
    if IDENTITY_ENDPOINT.get(get).is_some() {
        CredentialKind::ManagedIdentity {
            client_id: AZURE_CLIENT_ID.get(get),
        }
    } else {
        CredentialKind::Developer
    }
}

/// Queue of the messages that the outbound side gave up, which only sessions need.
///
/// # Errors
/// When it is not set.
pub fn rejected_queue(get: Lookup<'_>) -> Result<String, SettingsError> {
    Ok(REJECTED_QUEUE.required(get)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(
        pairs: &[(&str, &str)],
    ) -> Result<(TargetSettings, Option<VaultSettings>), SettingsError> {
        let pairs: std::collections::BTreeMap<_, _> = pairs.iter().copied().collect();
        let get = |name: &str| pairs.get(name).map(|v| (*v).to_owned());
        Ok((TargetSettings::read(&get)?, VaultSettings::read(&get)?))
    }

    const GOOD: [(&str, &str); 3] = [
        ("KEY_VAULT_URL", "https://v.vault.azure.net"),
        ("TARGET_URL", "http://localhost:1"),
        ("TARGET_SECRET_NAME", "erp"),
    ];

    #[test]
    fn a_missing_setting_is_named_with_an_example() {
        let error = target(&GOOD[..2]).unwrap_err();
        let expected = "setting TARGET_SECRET_NAME is missing, e.g. TARGET_SECRET_NAME=erp-api-key";
        assert_eq!(error.to_string(), expected);
        let (_, vault) = target(&GOOD).unwrap();
        assert!(vault.unwrap().verify_challenge);
        let (_, none) = target(&GOOD[1..]).unwrap();
        assert!(none.is_none());
    }

    #[test]
    fn sync_files_are_a_comma_list_without_gaps_and_repetitions() {
        let read = |text: Option<&str>| sync_files(&|_| text.map(str::to_owned));
        assert_eq!(read(None).unwrap(), ["sync.json"]);
        let two = read(Some("sync.json, sync.warehouse.json")).unwrap();
        assert_eq!(two, ["sync.json", "sync.warehouse.json"]);
        for (text, problem) in [("sync.json,", "is empty"), ("a.json,a.json", "twice")] {
            let error = read(Some(text)).unwrap_err().to_string();
            let example = &"e.g. SYNC_FILES=sync.json,sync.warehouse.json";
            assert!(
                error.contains(problem) && error.contains(example),
                "{error}"
            );
        }
    }

    #[test]
    fn a_wrong_setting_is_named_and_its_value_is_not_repeated() {
        for (name, value, expected) in [
            (
                "KEY_VAULT_URL",
                "http://v.vault.azure.net",
                "only spoken to over https",
            ),
            (
                "TARGET_URL",
                "erp.contoso.com:secret",
                "not an http(s) address",
            ),
            (
                "SECRET_REFRESH_SECONDS",
                "secret",
                "not a number of seconds",
            ),
            (
                "KEY_VAULT_VERIFY_CHALLENGE",
                "secret",
                "neither true nor false",
            ),
            ("TARGET_CA_FILE", "/no/secret.pem", "cannot be read"),
            (
                "TARGET_CA_FILE",
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                "no certificate in PEM",
            ),
        ] {
            let mut pairs = GOOD.to_vec();
            pairs.push((name, value));
            let text = target(&pairs).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(expected), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
