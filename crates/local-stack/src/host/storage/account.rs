//! Which storage account the settings name, and what is allowed to use it.

use azure_core::credentials::TokenCredential;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::host::config::{AppError, Settings};
use crate::host::identity;

const SETTING: &str = "AzureWebJobsStorage";
/// Account, key and address of every Azurite, as Microsoft's documentation gives them.
const DEVELOPMENT: (&str, &str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "http://127.0.0.1:10000/devstoreaccount1",
);
/// The newest version whose signature has no encryption scope; every Azurite knows it.
const SAS_VERSION: &str = "2019-12-12";

/// A storage account.
#[derive(Clone)]
pub(crate) struct Account {
    endpoint: Url,
    pub(super) auth: Auth,
}

#[derive(Clone)]
pub(super) enum Auth {
    /// Signs its own short-lived shared access signatures.
    Key {
        name: String,
        key: Vec<u8>,
    },
    /// A shared access signature, as a query.
    Sas(String),
    Token(Arc<dyn TokenCredential>),
}

impl fmt::Debug for Account {
    /// Without what opens it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

impl Account {
    /// The account of `AzureWebJobsStorage`, or of its identity form; `None` when neither is set.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Option<Self>, AppError> {
        let error = |name: &str, reason: String| AppError::Setting {
            name: name.to_owned(),
            reason,
        };
        if let Some(text) = settings.get(SETTING) {
            let parsed = Self::parse(text).map_err(|reason| error(SETTING, reason))?;
            return Ok(Some(parsed));
        }
        let (uri, name) = (
            format!("{SETTING}__blobServiceUri"),
            format!("{SETTING}__accountName"),
        );
        let (key, endpoint) = match (settings.get(&uri), settings.get(&name)) {
            (Some(endpoint), _) => (uri, endpoint.to_owned()),
            (None, Some(account)) => (name, format!("https://{account}.blob.core.windows.net")),
            (None, None) => return Ok(None),
        };
        let endpoint =
            Url::parse(&endpoint).map_err(|cause| error(&key, format!("is not a URL: {cause}")))?;
        let identity = settings.identity(SETTING)?;
        let credential =
            identity::credential(&identity).map_err(|cause| error(SETTING, cause.to_string()))?;
        Ok(Some(Self {
            endpoint,
            auth: Auth::Token(credential),
        }))
    }

    /// Reads a connection string. The error never shows it.
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = std::collections::BTreeMap::new();
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').ok_or(
                "is not a connection string: UseDevelopmentStorage=true, or AccountName=...;AccountKey=...",
            )?;
            parts.insert(name.to_ascii_lowercase(), value);
        }
        let part = |name: &str| parts.get(name).copied().filter(|value| !value.is_empty());
        let development =
            part("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let (name, key, endpoint) = if development {
            let (name, key, endpoint) = DEVELOPMENT;
            (Some(name), Some(key), Some(endpoint.to_owned()))
        } else {
            let name = part("accountname");
            let protocol = part("defaultendpointsprotocol").unwrap_or("https");
            let suffix = part("endpointsuffix").unwrap_or("core.windows.net");
            let usual = name.map(|name| format!("{protocol}://{name}.blob.{suffix}"));
            let endpoint = part("blobendpoint").map(str::to_owned).or(usual);
            (name, part("accountkey"), endpoint)
        };
        let endpoint = endpoint.ok_or("has neither AccountName nor BlobEndpoint")?;
        let endpoint =
            Url::parse(&endpoint).map_err(|cause| format!("BlobEndpoint is not a URL: {cause}"))?;
        let auth = match (name, key, part("sharedaccesssignature")) {
            (Some(name), Some(key), _) => Auth::Key {
                name: name.to_owned(),
                key: STANDARD
                    .decode(key)
                    .map_err(|_| "AccountKey is not base64")?,
            },
            (_, _, Some(sas)) => Auth::Sas(sas.trim_start_matches('?').to_owned()),
            _ => return Err("has neither AccountKey nor SharedAccessSignature".to_owned()),
        };
        Ok(Self { endpoint, auth })
    }

    /// The address of a blob (or, with an empty path, of the container), with its signature.
    pub(super) fn url(&self, container: &str, path: &str, now: OffsetDateTime) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(container);
            segments.extend(path.split('/').filter(|part| !part.is_empty()));
        }
        match &self.auth {
            Auth::Token(_) => {}
            Auth::Sas(query) => url.set_query(Some(query)),
            Auth::Key { name, key } => sign(&mut url, name, key, now),
        }
        url
    }
}

/// An account SAS for everything this host does with blobs and containers, good for an hour.
fn sign(url: &mut Url, account: &str, key: &[u8], now: OffsetDateTime) {
    const PERMISSIONS: &str = "rwdlac";
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    // A date of this century always formats.
    let expiry = (now + Duration::HOUR).format(format).unwrap_or_default();
    // Name, permissions, services, resource types, start, expiry, addresses, protocols, version.
    let text = format!("{account}\n{PERMISSIONS}\nb\nco\n\n{expiry}\n\n\n{SAS_VERSION}\n");
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return;
    };
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    url.query_pairs_mut()
        .append_pair("sv", SAS_VERSION)
        .append_pair("ss", "b")
        .append_pair("srt", "co")
        .append_pair("sp", PERMISSIONS)
        .append_pair("se", &expiry)
        .append_pair("sig", &signature);
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-02 09:15:30 UTC);

    fn settings(name: &str, value: &str) -> Settings {
        Settings::new([(name.to_owned(), value.to_owned())].into())
    }

    #[test]
    fn azurite_is_development_storage_and_gets_signed_addresses() {
        let account = Account::parse("UseDevelopmentStorage=true").unwrap();
        let url = account.url("azure-webjobs-hosts", "timers/h/t/status", NOW);
        assert_eq!(
            url.path(),
            "/devstoreaccount1/azure-webjobs-hosts/timers/h/t/status"
        );
        let query = url.query().unwrap();
        assert!(query.contains("se=2026-03-02T10%3A15%3A30Z"), "{query}");
        assert!(query.contains("sig="), "{query}");
    }

    #[test]
    fn a_connection_string_names_the_account_or_its_endpoint() {
        let account =
            Account::parse("AccountName=shop;AccountKey=a2V5;EndpointSuffix=core.windows.net")
                .unwrap();
        assert_eq!(
            account.url("c", "", NOW).host_str(),
            Some("shop.blob.core.windows.net")
        );
        let account =
            Account::parse("BlobEndpoint=http://127.0.0.1:5/x;SharedAccessSignature=?sv=1&sig=2")
                .unwrap();
        assert_eq!(
            account.url("c", "b", NOW).as_str(),
            "http://127.0.0.1:5/x/c/b?sv=1&sig=2"
        );
    }

    #[test]
    fn a_wrong_connection_string_is_refused_without_being_shown() {
        for text in [
            "hunter2",
            "AccountName=shop",
            "AccountName=shop;AccountKey=%hunter2%",
        ] {
            let settings = settings("AzureWebJobsStorage", text);
            let message = Account::from_settings(&settings).unwrap_err().to_string();
            assert!(message.contains("AzureWebJobsStorage"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(
            Account::from_settings(&settings("Other", "x"))
                .unwrap()
                .is_none()
        );
    }
}
