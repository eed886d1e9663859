//! App settings: lookup, `%NAME%` in function.json, and connections.

use std::collections::BTreeMap;

use service_bus::ConnectionString;

use super::AppError;

/// The app settings of one function app.
#[derive(Debug, Clone)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
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
                .ok_or_else(|| format!("{text:?} needs app setting {name}, which is not set"))?;
            resolved.push_str(before);
            resolved.push_str(value);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    /// The Service Bus connection of that name; empty means `AzureWebJobsServiceBus`.
    ///
    /// The plain name wins over the `__` form, which stands for an identity.
    pub(crate) fn connection(&self, name: &str) -> Result<ConnectionString, AppError> {
        let name = if name.is_empty() {
            "AzureWebJobsServiceBus"
        } else {
            name
        };
        let error = |reason: String| AppError::Setting {
            name: name.to_owned(),
            reason,
        };
        match self.get(name) {
            Some(text) => text
                .parse()
                .map_err(|cause: service_bus::ConnectionStringError| error(cause.to_string())),
            None if self
                .get(&format!("{name}__fullyQualifiedNamespace"))
                .is_some() =>
            {
                Err(error(
                    "only the identity form is set; the host stand-in connects by a connection string"
                        .to_owned(),
                ))
            }
            None => Err(error("a Service Bus connection string is needed".to_owned())),
        }
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
    fn a_connection_is_a_connection_string_and_errors_name_the_setting() {
        let text = "Endpoint=sb://localhost:5673;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true";
        let settings = settings(&[
            ("Bus", text),
            ("AzureWebJobsServiceBus", text),
            ("Wrong", "x"),
            (
                "Identity__fullyQualifiedNamespace",
                "contoso.servicebus.windows.net",
            ),
        ]);
        assert_eq!(settings.connection("Bus").unwrap().endpoint.port, 5673);
        assert!(settings.connection("").is_ok());
        for name in ["Wrong", "Identity", "Absent"] {
            let message = settings.connection(name).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
