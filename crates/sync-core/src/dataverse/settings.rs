//! App settings of the Dataverse client.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::{DataverseOptions, Merging};
use crate::credentials::{Application, Proof};
use crate::settings::table::{
    AZURE_AUTHORITY_HOST, DATAVERSE_CLIENT_CERTIFICATES, DATAVERSE_CLIENT_IDS,
    DATAVERSE_CLIENT_SECRETS, DATAVERSE_MAX_WAIT_SECONDS, DATAVERSE_MERGE_MS, DATAVERSE_MERGE_ROWS,
    DATAVERSE_REPORT_SECONDS, DATAVERSE_TENANT_ID, DATAVERSE_TIMEOUT_SECONDS, DATAVERSE_URL,
};
use crate::settings::{Lookup, SettingError};

/// What the Dataverse client is set up with.
#[derive(Debug, Clone)]
pub struct DataverseSettings {
    /// The environment (`DATAVERSE_URL`).
    pub url: Url,
    /// Client ids of user-assigned identities that share the requests out (`DATAVERSE_CLIENT_IDS`, a
    /// comma list).
    pub client_ids: Vec<String>,
    /// App registrations that do, too (`DATAVERSE_CLIENT_SECRETS`, `DATAVERSE_CLIENT_CERTIFICATES`, comma
    /// lists of `client id=name of a Key Vault secret`, registered in `DATAVERSE_TENANT_ID`). With neither
    /// these nor client ids, the app's own identity sends everything.
    pub applications: Vec<Application>,
    /// Entra ID (`AZURE_AUTHORITY_HOST`); another one in sovereign clouds.
    pub authority: Url,
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
    /// [`SettingError`] for the first setting that is missing or wrong.
    pub fn read(get: Lookup<'_>) -> Result<Self, SettingError> {
        let merging = Merging {
            linger: Duration::from_millis(DATAVERSE_MERGE_MS.whole(get)?),
            rows: DATAVERSE_MERGE_ROWS.whole(get)? as usize,
        };
        let client_ids = client_ids(get)?;
        let applications = applications(get)?;
        once_each(&client_ids, &applications)?;
        Ok(Self {
            authority: authority(get)?,
            applications,
            url: DATAVERSE_URL.url(get)?,
            client_ids,
            timeout: DATAVERSE_TIMEOUT_SECONDS.duration(get)?,
            longest_wait: DATAVERSE_MAX_WAIT_SECONDS.duration(get)?,
            report_every: DATAVERSE_REPORT_SECONDS.duration(get)?,
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

fn client_ids(get: Lookup<'_>) -> Result<Vec<String>, SettingError> {
    let list = DATAVERSE_CLIENT_IDS.get(get).unwrap_or_default();
    let ids = list.split(',').map(str::trim).filter(|id| !id.is_empty());
    ids.map(|id| {
        uuid::Uuid::parse_str(id)
            .map(|id| id.to_string())
            .map_err(|_| DATAVERSE_CLIENT_IDS.invalid("it is not a comma list of client ids"))
    })
    .collect()
}

fn applications(get: Lookup<'_>) -> Result<Vec<Application>, SettingError> {
    let mut applications = Vec::new();
    for (setting, proof) in [
        (DATAVERSE_CLIENT_SECRETS, Proof::ClientSecret),
        (DATAVERSE_CLIENT_CERTIFICATES, Proof::Certificate),
    ] {
        let list = setting.get(get).unwrap_or_default();
        for item in list.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (client_id, secret_name) =
                application(item).map_err(|problem| setting.invalid(problem))?;
            applications.push(Application {
                tenant: tenant(get)?,
                client_id,
                proof,
                secret_name,
            });
        }
    }
    Ok(applications)
}

fn application(item: &str) -> Result<(String, String), &'static str> {
    const SHAPE: &str = "it is not a comma list of client id=name of a Key Vault secret";
    let (client_id, secret) = item.split_once('=').ok_or(SHAPE)?;
    let client_id = uuid::Uuid::parse_str(client_id.trim()).map_err(|_| SHAPE)?;
    let secret = secret.trim();
    // Key Vault's rule for names. Somebody may have put the secret itself here.
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if secret.is_empty() || secret.len() > 127 || !secret.chars().all(named) {
        return Err(
            "after the = belongs the name of a Key Vault secret (letters, digits, hyphens), never the secret itself",
        );
    }
    Ok((client_id.to_string(), secret.to_owned()))
}

fn tenant(get: Lookup<'_>) -> Result<String, SettingError> {
    let tenant = DATAVERSE_TENANT_ID.required(get)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if tenant.chars().all(fits) {
        return Ok(tenant);
    }
    Err(DATAVERSE_TENANT_ID.invalid("it is neither the id nor a domain of a directory"))
}

fn authority(get: Lookup<'_>) -> Result<Url, SettingError> {
    let authority = AZURE_AUTHORITY_HOST.url(get)?;
    if authority.scheme() == "https" {
        return Ok(authority);
    }
    Err(AZURE_AUTHORITY_HOST.invalid("secrets are only sent over https"))
}

/// Twice the same identity would be two governors for one budget.
fn once_each(client_ids: &[String], applications: &[Application]) -> Result<(), SettingError> {
    let mut seen = BTreeSet::new();
    let of_applications = applications.iter().map(|a| &a.client_id);
    for client_id in client_ids.iter().chain(of_applications) {
        if !seen.insert(client_id) {
            return Err(DATAVERSE_CLIENT_SECRETS.invalid(format!(
                "{client_id} is listed twice in DATAVERSE_CLIENT_IDS, DATAVERSE_CLIENT_SECRETS and DATAVERSE_CLIENT_CERTIFICATES together"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<DataverseSettings, SettingError> {
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

    const TENANT: (&str, &str) = ("DATAVERSE_TENANT_ID", "contoso.onmicrosoft.com");

    #[test]
    fn applications_name_their_client_id_and_where_their_proof_is() {
        let settings = read(&[
            TENANT,
            (
                "DATAVERSE_CLIENT_SECRETS",
                "11111111-2222-3333-4444-555555555555=sync-two, 22222222-2222-3333-4444-555555555555=sync-three",
            ),
            (
                "DATAVERSE_CLIENT_CERTIFICATES",
                "33333333-2222-3333-4444-555555555555=sync-four",
            ),
        ])
        .unwrap();
        assert_eq!(
            settings.authority.host_str(),
            Some("login.microsoftonline.com")
        );
        let names: Vec<_> = settings
            .applications
            .iter()
            .map(|a| (a.secret_name.as_str(), a.proof, a.tenant.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("sync-two", Proof::ClientSecret, TENANT.1),
                ("sync-three", Proof::ClientSecret, TENANT.1),
                ("sync-four", Proof::Certificate, TENANT.1),
            ]
        );
    }

    #[test]
    fn an_application_without_a_tenant_or_twice_is_refused_and_a_secret_in_a_setting_not_repeated()
    {
        let id = "11111111-2222-3333-4444-555555555555";
        let one = format!("{id}=sync-two");
        let missing = read(&[("DATAVERSE_CLIENT_SECRETS", &one)]).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("setting DATAVERSE_TENANT_ID is missing")
        );
        let twice = [
            TENANT,
            ("DATAVERSE_CLIENT_SECRETS", &one),
            ("DATAVERSE_CLIENT_IDS", id),
        ];
        let twice = read(&twice).unwrap_err().to_string();
        assert!(twice.contains("is listed twice"), "{twice}");
        let secret = format!("{id}=pa~ss.word");
        let leaked = read(&[TENANT, ("DATAVERSE_CLIENT_SECRETS", &secret)]).unwrap_err();
        let leaked = leaked.to_string();
        assert!(
            leaked.contains("never the secret itself") && !leaked.contains("pa~ss"),
            "{leaked}"
        );
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("DATAVERSE_CLIENT_SECRETS", "sync-two"),
            ("DATAVERSE_CLIENT_CERTIFICATES", "sync=two"),
            ("AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com"),
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
