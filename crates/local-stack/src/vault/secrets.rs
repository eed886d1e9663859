//! What the vault holds: versions of named secrets.

use std::collections::BTreeMap;
use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;

/// One version of one secret.
#[derive(Clone)]
pub struct SecretVersion {
    /// 32 hexadecimal digits.
    pub version: String,
    /// The secret itself.
    pub value: String,
    /// A disabled version is not handed out.
    pub enabled: bool,
    /// When it was set.
    pub created: OffsetDateTime,
}

impl fmt::Debug for SecretVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecretVersion")
            .field("version", &self.version)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Names are case-insensitive: kept in lower case.
    by_name: BTreeMap<String, Vec<SecretVersion>>,
}

impl Secrets {
    pub(super) fn set(&mut self, name: &str, value: &str, now: OffsetDateTime) -> String {
        let version = Uuid::new_v4().simple().to_string();
        self.by_name
            .entry(name.to_lowercase())
            .or_default()
            .push(SecretVersion {
                version: version.clone(),
                value: value.to_owned(),
                enabled: true,
                created: now,
            });
        version
    }

    pub(super) fn set_enabled(&mut self, name: &str, enabled: bool) {
        for version in self.by_name.entry(name.to_lowercase()).or_default() {
            version.enabled = enabled;
        }
    }

    /// The named version, or the newest when none is named.
    pub(super) fn get(&self, name: &str, version: Option<&str>) -> Option<&SecretVersion> {
        let versions = self.by_name.get(&name.to_lowercase())?;
        match version {
            None => versions.last(),
            Some(wanted) => versions.iter().find(|held| held.version == wanted),
        }
    }
}
