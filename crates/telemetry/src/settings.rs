//! The settings of telemetry.

use std::borrow::Cow;
use std::time::Duration;

use crate::logs::Level;

/// What is exported, and where to.
#[derive(Clone)]
pub struct TelemetrySettings {
    /// Application Insights; nothing is exported there without it.
    pub connection_string: Option<String>,
    /// Who sends, where it takes telemetry from identities only.
    pub identity: Option<SendAs>,
    /// Whether an OTLP endpoint is named by `OTEL_EXPORTER_OTLP_ENDPOINT`, which the exporter itself reads.
    pub otlp: bool,
    /// Invocations that are kept by chance, in percent; what failed is always kept.
    pub sampling_percent: f64,
    /// How often metrics are exported.
    pub metrics_every: Duration,
    /// What of the log is exported.
    pub log_level: Level,
    /// What of the log is written to stdout.
    pub stdout_level: Level,
    /// Name of the app on the Application Map.
    pub role: String,
    /// Name of the instance.
    pub instance: String,
}

/// The identity that telemetry is sent as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendAs {
    /// Client id of a user-assigned identity; the app's own without it.
    pub client_id: Option<String>,
}

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name} is {value:?}, which is not {expected}; use for example {name}={example}")]
pub struct WrongSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    expected: Cow<'static, str>,
    example: &'static str,
}

impl TelemetrySettings {
    /// Reads the app settings. `app` names an app that the platform gives no name.
    ///
    /// # Errors
    /// [`WrongSetting`], for the first one.
    pub fn read(
        settings: &dyn Fn(&str) -> Option<String>,
        app: &str,
    ) -> Result<Self, WrongSetting> {
        let given = |name: &str| settings(name).filter(|value| !value.trim().is_empty());
        let instance = given("WEBSITE_INSTANCE_ID").unwrap_or_else(|| {
            let host = given("HOSTNAME").unwrap_or_else(|| "local".into());
            format!("{host}-{}", std::process::id())
        });
        Ok(Self {
            connection_string: connection_string(given("APPLICATIONINSIGHTS_CONNECTION_STRING"))?,
            identity: identity(given("APPLICATIONINSIGHTS_AUTHENTICATION_STRING"))?,
            otlp: given("OTEL_EXPORTER_OTLP_ENDPOINT").is_some(),
            sampling_percent: number(&given, "TELEMETRY_SAMPLING_PERCENT", "100", 0.0, 100.0)?,
            metrics_every: Duration::from_secs_f64(number(
                &given,
                "TELEMETRY_METRICS_SECONDS",
                "60",
                0.1,
                3_600.0,
            )?),
            log_level: level(&given, "TELEMETRY_LOG_LEVEL", "warn")?,
            stdout_level: level(&given, "LOG_LEVEL", "info")?,
            role: given("WEBSITE_SITE_NAME").unwrap_or_else(|| app.to_owned()),
            instance,
        })
    }

    /// Whether anything is exported.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.connection_string.is_some() || self.otlp
    }
}

type Given<'a> = &'a dyn Fn(&str) -> Option<String>;

fn number(
    given: Given<'_>,
    name: &'static str,
    example: &'static str,
    least: f64,
    most: f64,
) -> Result<f64, WrongSetting> {
    let value = given(name).unwrap_or_else(|| example.to_owned());
    let number = value.trim().parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or(WrongSetting {
        name,
        value,
        expected: format!("a number from {least} to {most}").into(),
        example,
    })
}

fn level(
    given: Given<'_>,
    name: &'static str,
    default: &'static str,
) -> Result<Level, WrongSetting> {
    let value = given(name).unwrap_or_else(|| default.to_owned());
    Level::parse(&value).map_err(|wrong| WrongSetting {
        name,
        value,
        expected: wrong.to_string().into(),
        example: "info,sync_core::dataverse=debug",
    })
}

fn identity(value: Option<String>) -> Result<Option<SendAs>, WrongSetting> {
    let Some(value) = value else { return Ok(None) };
    let (mut by_token, mut client_id) = (false, None);
    for part in value.split(';').filter(|part| !part.trim().is_empty()) {
        let (name, text) = part.split_once('=').unwrap_or((part, ""));
        let text = text.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "authorization" => by_token = text.eq_ignore_ascii_case("AAD"),
            "clientid" if !text.is_empty() => client_id = Some(text.to_owned()),
            _ => by_token = false,
        }
    }
    if by_token {
        return Ok(Some(SendAs { client_id }));
    }
    Err(WrongSetting {
        name: "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        value,
        expected: "Authorization=AAD, with the ClientId of a user-assigned identity if it is one"
            .into(),
        example: "Authorization=AAD",
    })
}

fn connection_string(value: Option<String>) -> Result<Option<String>, WrongSetting> {
    const NAME: &str = "APPLICATIONINSIGHTS_CONNECTION_STRING";
    let Some(value) = value else { return Ok(None) };
    let has_key = value.split(';').any(|part| {
        let part = part.trim().to_ascii_lowercase();
        part.strip_prefix("instrumentationkey=")
            .is_some_and(|key| !key.trim().is_empty())
    });
    if has_key {
        return Ok(Some(value));
    }
    Err(WrongSetting {
        name: NAME,
        // Its key is no secret where identities are asked for, but it is nobody's business in a log.
        value: format!("{} characters", value.len()),
        expected: "a connection string with an InstrumentationKey".into(),
        example: "InstrumentationKey=…;IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<TelemetrySettings, WrongSetting> {
        let given = |asked: &str| (asked == name).then(|| value.to_owned());
        TelemetrySettings::read(&given, "outbound-fn")
    }

    #[test]
    fn telemetry_is_sent_as_the_identity_that_the_authentication_string_names() {
        const NAME: &str = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING";
        let sent_as = |value| read(NAME, value).map(|settings| settings.identity);
        let named = |client_id: Option<&str>| {
            let client_id = client_id.map(ToOwned::to_owned);
            Ok(Some(SendAs { client_id }))
        };
        assert_eq!(sent_as(" "), Ok(None));
        assert_eq!(sent_as("Authorization=AAD"), named(None));
        assert_eq!(
            sent_as("ClientId=ab-1;authorization=aad;"),
            named(Some("ab-1"))
        );
        for wrong in [
            "AAD",
            "Authorization=Key",
            "ClientId=ab-1",
            "Authorization=AAD;Client=1",
        ] {
            let text = sent_as(wrong).unwrap_err().to_string();
            assert!(text.contains(NAME) && text.contains("=AAD"), "{text}");
        }
    }

    #[test]
    fn a_wrong_level_is_named_with_the_directive_at_fault() {
        let text = read("LOG_LEVEL", "info,sync_core::dataverse=loud").map(|_| ());
        assert_eq!(
            text.unwrap_err().to_string(),
            "setting LOG_LEVEL is \"info,sync_core::dataverse=loud\", which is not a level (off, error, warn, info, \
             debug, trace), or levels by module: \"sync_core::dataverse=loud\" is neither; use for example \
             LOG_LEVEL=info,sync_core::dataverse=debug"
        );
    }
}
