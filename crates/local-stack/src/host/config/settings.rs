//! App settings: lookup, `%NAME%` in function.json, and connections.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use service_bus::ConnectionString;

use super::AppError;

/// The app settings of one function app.
#[derive(Debug, Clone)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The setting of a Service Bus binding that names no connection.
    pub(crate) const DEFAULT_CONNECTION: &str = "AzureWebJobsServiceBus";

    pub(crate) fn new(settings: BTreeMap<String, String>) -> Self {
        Self(settings)
    }

    /// A setting that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Replaces each `%NAME%` by the setting of that name, as the host's name resolver does.
    ///
    /// The error is the name of the setting that is missing, or what is wrong with the text.
    pub(crate) fn resolve(&self, text: &str) -> Result<String, String> {
        let mut resolved = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            let (name, after) = after
                .split_once('%')
                .ok_or_else(|| format!("{text:?} has a % without a second one"))?;
            let value = self
                .get(name)
                .ok_or_else(|| format!("{text:?} needs app setting {name}, which is not set (for example {name}=orders)"))?;
            resolved.push_str(before);
            resolved.push_str(value);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    /// What names the app in storage: `AzureFunctionsWebHost__hostid`, the site's name, or else the
    /// folder's. (Core Tools makes it of the machine's name and the folder.) At most 32 letters, digits
    /// and dashes.
    pub(crate) fn host_id(&self, app_dir: &Path) -> String {
        let set = self
            .get("AzureFunctionsWebHost__hostid")
            .or_else(|| self.get("WEBSITE_SITE_NAME"));
        let folder = || {
            app_dir
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let name = set.map(str::to_owned).or_else(folder).unwrap_or_default();
        let plain = name.to_ascii_lowercase();
        let plain = plain.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let cut: String = plain.chars().take(32).collect();
        let id = cut.trim_matches('-');
        if id.is_empty() {
            "app".to_owned()
        } else {
            id.to_owned()
        }
    }

    /// The Service Bus connection of that name; empty means `AzureWebJobsServiceBus`.
    ///
    /// The plain name wins over the `__` form, which stands for an identity.
    pub(crate) fn connection(&self, name: &str) -> Result<Connection, AppError> {
        let name = if name.is_empty() {
            Self::DEFAULT_CONNECTION
        } else {
            name
        };
        let error = |name: String, reason: String| AppError::Setting { name, reason };
        if let Some(text) = self.get(name) {
            let parsed: ConnectionString =
                text.parse()
                    .map_err(|cause: service_bus::ConnectionStringError| {
                        error(name.to_owned(), cause.to_string())
                    })?;
            return Ok(Connection::Key(parsed));
        }
        let key = format!("{name}__fullyQualifiedNamespace");
        let Some(namespace) = self.get(&key) else {
            let example = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=...;SharedAccessKey=...";
            return Err(error(
                name.to_owned(),
                format!(
                    "is needed: a connection string such as {example}, or {key} such as contoso.servicebus.windows.net"
                ),
            ));
        };
        // Azure has but one port; a namespace on this machine may have another.
        let host = match namespace.rsplit_once(':') {
            Some(("localhost", port)) if port.parse::<u16>().is_ok() => "localhost",
            _ => namespace,
        };
        if host.contains(['/', ':', ';']) {
            let reason = "must be a host name such as contoso.servicebus.windows.net";
            return Err(error(key, reason.to_owned()));
        }
        Ok(Connection::Identity {
            namespace: namespace.to_owned(),
            identity: self.identity(name)?,
        })
    }

    /// The identity of the settings `<prefix>__credential` and so on.
    pub(crate) fn identity(&self, prefix: &str) -> Result<IdentityConfig, AppError> {
        let value = |key: &str| self.get(&format!("{prefix}__{key}")).map(str::to_owned);
        let client_id = value("clientId");
        match value("credential").as_deref() {
            Some(kind) if kind.eq_ignore_ascii_case("managedidentity") => {
                Ok(IdentityConfig::Managed { client_id })
            }
            Some(_) => Err(AppError::Setting {
                name: format!("{prefix}__credential"),
                reason: "must be managedidentity, or absent for the developer's own sign-in"
                    .to_owned(),
            }),
            None => match (value("tenantId"), client_id, value("clientSecret")) {
                (Some(tenant), Some(client_id), Some(secret)) => Ok(IdentityConfig::Secret {
                    tenant,
                    client_id,
                    secret,
                }),
                (_, client_id, _) => Ok(IdentityConfig::Default { client_id }),
            },
        }
    }
}

/// How to reach a namespace.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    /// By a connection string.
    Key(ConnectionString),
    /// By an identity.
    Identity {
        namespace: String,
        identity: IdentityConfig,
    },
}

impl Connection {
    /// The namespace's host name.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Key(parsed) => &parsed.endpoint.host,
            Self::Identity { namespace, .. } => namespace,
        }
    }
}

/// Whose tokens a connection by identity uses.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum IdentityConfig {
    /// `__credential=managedidentity`.
    Managed { client_id: Option<String> },
    /// `__tenantId`, `__clientId` and `__clientSecret`.
    Secret {
        tenant: String,
        client_id: String,
        secret: String,
    },
    /// Neither: whoever can sign in on this machine.
    Default { client_id: Option<String> },
}

impl fmt::Debug for IdentityConfig {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Managed { .. } => "Managed",
            Self::Secret { .. } => "Secret",
            Self::Default { .. } => "Default",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::new(pairs.iter().map(owned).collect())
    }

    #[test]
    fn every_placeholder_is_resolved_or_named() {
        let settings = settings(&[("QUEUE", "orders"), ("ENV", "test"), ("EMPTY", "")]);
        assert_eq!(settings.resolve("plain").unwrap(), "plain");
        assert_eq!(settings.resolve("%QUEUE%").unwrap(), "orders");
        assert_eq!(settings.resolve("%QUEUE%-%ENV%").unwrap(), "orders-test");
        assert!(settings.resolve("%EMPTY%").unwrap_err().contains("EMPTY"));
        assert!(settings.resolve("100%").is_err());
    }

    #[test]
    fn the_host_id_is_set_or_made_of_the_folder() {
        let dir = Path::new("/apps/Outbound_Fn.");
        assert_eq!(settings(&[]).host_id(dir), "outbound-fn");
        let site = (
            "WEBSITE_SITE_NAME",
            "a-site-with-a-name-of-more-than-32-letters",
        );
        let id = settings(&[site]).host_id(dir);
        assert_eq!(id, "a-site-with-a-name-of-more-than");
        let own = settings(&[site, ("AzureFunctionsWebHost__hostid", "mine")]);
        assert_eq!(own.host_id(dir), "mine");
    }

    #[test]
    fn a_connection_is_a_string_or_an_identity_and_errors_name_the_setting() {
        let text = "Endpoint=sb://localhost:5673;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true";
        let settings = settings(&[
            ("Bus", text),
            ("AzureWebJobsServiceBus", text),
            ("Wrong", "x"),
            (
                "Identity__fullyQualifiedNamespace",
                "contoso.servicebus.windows.net",
            ),
            ("Identity__credential", "managedidentity"),
            (
                "Odd__fullyQualifiedNamespace",
                "contoso.servicebus.windows.net",
            ),
            ("Odd__credential", "passport"),
            ("Url__fullyQualifiedNamespace", "sb://contoso/"),
        ]);
        assert!(settings.connection("").is_ok());
        let Connection::Key(parsed) = settings.connection("Bus").unwrap() else {
            panic!("not a key")
        };
        assert_eq!(parsed.endpoint.port, 5673);
        let Connection::Identity { identity, .. } = settings.connection("Identity").unwrap() else {
            panic!("not an identity")
        };
        assert_eq!(identity, IdentityConfig::Managed { client_id: None });
        for name in ["Wrong", "Odd", "Url", "Absent"] {
            let message = settings.connection(name).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        // Whoever reads it must know what to write.
        let absent = settings.connection("Absent").unwrap_err().to_string();
        assert!(absent.contains("Endpoint=sb://contoso"), "{absent}");
    }
}
