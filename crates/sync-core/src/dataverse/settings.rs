//! App settings of the Dataverse client.

use std::time::Duration;

use url::Url;

use super::{DataverseOptions, Merging};
use crate::settings::{Lookup, SettingsError, seconds, url};

/// What the Dataverse client is set up with.
#[derive(Debug, Clone)]
pub struct DataverseSettings {
    /// The environment (`DATAVERSE_URL`).
    pub url: Url,
    /// Client ids of user-assigned identities that share the requests out (`DATAVERSE_CLIENT_IDS`, a
    /// comma list); empty: the app's own identity alone.
    pub client_ids: Vec<String>,
    /// One request may take this long (`DATAVERSE_TIMEOUT_SECONDS`).
    pub timeout: Duration,
    /// A request waits this long for an identity that may send it (`DATAVERSE_MAX_WAIT_SECONDS`).
    pub longest_wait: Duration,
    /// While something is sent, the log tells how the identities fare this often
    /// (`DATAVERSE_REPORT_SECONDS`).
    pub report_every: Duration,
    /// How long a page waits for company, milliseconds (`DATAVERSE_MERGE_MS`), and how many rows it
    /// carries to begin with (`DATAVERSE_MERGE_ROWS`); with 1 nothing is merged.
    pub merging: Merging,
}

impl DataverseSettings {
    /// Reads them.
    ///
    /// # Errors
    /// [`SettingsError`] for the first setting that is missing or wrong.
    pub fn read(get: Lookup<'_>) -> Result<Self, SettingsError> {
        let merging = Merging {
            linger: Duration::from_millis(number(get, "DATAVERSE_MERGE_MS", "3", 3, 0..=1000)?),
            rows: number(get, "DATAVERSE_MERGE_ROWS", "50", 50, 1..=200)? as usize,
        };
        Ok(Self {
            url: url(get, "DATAVERSE_URL", "https://contoso.crm4.dynamics.com")?,
            client_ids: client_ids(get)?,
            timeout: seconds(get, "DATAVERSE_TIMEOUT_SECONDS", "30", 30.0)?,
            longest_wait: seconds(get, "DATAVERSE_MAX_WAIT_SECONDS", "10", 10.0)?,
            report_every: seconds(get, "DATAVERSE_REPORT_SECONDS", "60", 60.0)?,
            merging,
        })
    }

    /// The client's options.
    #[must_use]
    pub fn options(&self) -> DataverseOptions {
        DataverseOptions {
            timeout: self.timeout,
            longest_wait: self.longest_wait,
            merging: (self.merging.rows > 1).then_some(self.merging),
            ..DataverseOptions::default()
        }
    }
}

fn client_ids(get: Lookup<'_>) -> Result<Vec<String>, SettingsError> {
    let list = get("DATAVERSE_CLIENT_IDS").unwrap_or_default();
    let ids = list.split(',').map(str::trim).filter(|id| !id.is_empty());
    ids.map(|id| {
        uuid::Uuid::parse_str(id)
            .map(|id| id.to_string())
            .map_err(|_| SettingsError::Invalid {
                name: "DATAVERSE_CLIENT_IDS",
                problem: "it is not a comma list of client ids".into(),
                example: "11111111-2222-3333-4444-555555555555,66666666-7777-8888-9999-000000000000",
            })
    })
    .collect()
}

fn number(
    get: Lookup<'_>,
    name: &'static str,
    example: &'static str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, SettingsError> {
    let Some(text) = get(name) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(SettingsError::Invalid {
            name,
            problem: format!(
                "it is not a whole number from {} to {}",
                range.start(),
                range.end()
            ),
            example,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<DataverseSettings, SettingsError> {
        let url = ("DATAVERSE_URL", "https://contoso.crm4.dynamics.com");
        let pairs: std::collections::BTreeMap<_, _> = pairs.iter().copied().chain([url]).collect();
        DataverseSettings::read(&|name| pairs.get(name).map(|v| (*v).to_owned()))
    }

    #[test]
    fn several_identities_are_a_comma_list_and_merging_can_be_turned_off() {
        let settings = read(&[]).unwrap();
        assert!(settings.client_ids.is_empty());
        assert_eq!(settings.options().merging, Some(Merging::default()));
        let one = "11111111-2222-3333-4444-555555555555";
        let list = format!(" {one} ,66666666-7777-8888-9999-000000000000,");
        let settings = read(&[
            ("DATAVERSE_CLIENT_IDS", &list),
            ("DATAVERSE_MERGE_ROWS", "1"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.client_ids.len(), 2);
        assert_eq!(settings.client_ids[0], one);
        assert_eq!(settings.options().merging, None);
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("DATAVERSE_CLIENT_IDS", "sync-one"),
            ("DATAVERSE_MERGE_ROWS", "0"),
            ("DATAVERSE_MERGE_MS", "-1"),
            ("DATAVERSE_MAX_WAIT_SECONDS", "long"),
        ] {
            let text = read(&[(name, value)]).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
    }
}
