//! What the vault holds: versions of named secrets, and what was deleted and can be recovered.

use std::collections::BTreeMap;
use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;

/// What is stored beside a value, and may be changed later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretProperties {
    /// A disabled version is not handed out.
    pub enabled: bool,
    /// `nbf`: not to be used before. The vault hands it out all the same.
    pub not_before: Option<OffsetDateTime>,
    /// `exp`: not to be used from then on. The vault hands it out all the same.
    pub expires: Option<OffsetDateTime>,
    /// What the value is, in the owner's words.
    pub content_type: Option<String>,
    /// Free names and values.
    pub tags: BTreeMap<String, String>,
}

impl Default for SecretProperties {
    fn default() -> Self {
        Self {
            enabled: true,
            not_before: None,
            expires: None,
            content_type: None,
            tags: BTreeMap::new(),
        }
    }
}

/// One version of one secret.
#[derive(Clone)]
pub struct SecretVersion {
    /// 32 hexadecimal digits.
    pub version: String,
    /// The secret itself.
    pub value: String,
    /// What is stored beside it.
    pub properties: SecretProperties,
    /// When it was set.
    pub created: OffsetDateTime,
    /// When its properties changed last.
    pub updated: OffsetDateTime,
}

impl fmt::Debug for SecretVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecretVersion")
            .field("version", &self.version)
            .field("enabled", &self.properties.enabled)
            .finish_non_exhaustive()
    }
}

/// A secret with all its versions, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// As it was first written.
    pub(super) name: String,
    pub(super) versions: Vec<SecretVersion>,
}

impl Named {
    /// The named version; the newest when none is named.
    pub(super) fn version(&self, version: Option<&str>) -> Option<&SecretVersion> {
        match version {
            None => self.versions.last(),
            Some(wanted) => self.versions.iter().find(|held| held.version == wanted),
        }
    }
}

/// A secret that was deleted, and when.
#[derive(Debug, Clone)]
pub(super) struct Deleted {
    pub(super) secret: Named,
    pub(super) at: OffsetDateTime,
}

/// A deleted secret of this name is still there to be recovered.
#[derive(Debug)]
pub(super) struct DeletedButRecoverable;

/// Names are case-insensitive: kept in lower case.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    held: BTreeMap<String, Named>,
    deleted: BTreeMap<String, Deleted>,
}

impl Secrets {
    /// Adds a version, and returns it.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: &str,
        properties: SecretProperties,
        now: OffsetDateTime,
    ) -> Result<SecretVersion, DeletedButRecoverable> {
        let key = name.to_lowercase();
        if self.deleted.contains_key(&key) {
            return Err(DeletedButRecoverable);
        }
        let version = SecretVersion {
            version: Uuid::new_v4().simple().to_string(),
            value: value.to_owned(),
            properties,
            created: now,
            updated: now,
        };
        let named = self.held.entry(key).or_insert_with(|| Named {
            name: name.to_owned(),
            versions: Vec::new(),
        });
        named.versions.push(version.clone());
        Ok(version)
    }

    /// Changes what is stored beside the values of those versions that `which` picks.
    pub(super) fn change(
        &mut self,
        name: &str,
        which: impl Fn(&SecretVersion) -> bool,
        now: OffsetDateTime,
        mut change: impl FnMut(&mut SecretProperties),
    ) {
        let named = self.held.get_mut(&name.to_lowercase());
        let versions = named.into_iter().flat_map(|named| &mut named.versions);
        for version in versions.filter(|version| which(version)) {
            change(&mut version.properties);
            version.updated = now;
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Named> {
        self.held.get(&name.to_lowercase())
    }

    /// In the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = &Named> {
        self.held.values()
    }

    /// Deletes all versions, to be recovered or purged.
    pub(super) fn delete(&mut self, name: &str, now: OffsetDateTime) -> Option<&Deleted> {
        let key = name.to_lowercase();
        let secret = self.held.remove(&key)?;
        let deleted = Deleted { secret, at: now };
        self.deleted.insert(key.clone(), deleted);
        self.deleted.get(&key)
    }

    pub(super) fn deleted(&self, name: &str) -> Option<&Deleted> {
        self.deleted.get(&name.to_lowercase())
    }

    /// In the order of their names.
    pub(super) fn all_deleted(&self) -> impl Iterator<Item = &Deleted> {
        self.deleted.values()
    }

    /// Brings a deleted secret back.
    pub(super) fn recover(&mut self, name: &str) -> Option<&Named> {
        let key = name.to_lowercase();
        let deleted = self.deleted.remove(&key)?;
        Some(self.held.entry(key).or_insert(deleted.secret))
    }

    /// Forgets a deleted secret for good; whether there was one.
    pub(super) fn purge(&mut self, name: &str) -> bool {
        self.deleted.remove(&name.to_lowercase()).is_some()
    }
}
