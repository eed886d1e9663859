//! The settings of telemetry.

use std::time::Duration;

use crate::logs::Level;

/// What is exported, and where to.
#[derive(Clone)]
pub struct TelemetrySettings {
    /// Application Insights; nothing is exported there without it.
    pub connection_string: Option<String>,
    /// Whether it takes telemetry from identities only.
    pub by_identity: bool,
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

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {name} is {value:?}, which is not {expected}; use for example {name}={example}")]
pub struct WrongSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    expected: &'static str,
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
        let authentication = given("APPLICATIONINSIGHTS_AUTHENTICATION_STRING");
        let instance = given("WEBSITE_INSTANCE_ID").unwrap_or_else(|| {
            let host = given("HOSTNAME").unwrap_or_else(|| "local".into());
            format!("{host}-{}", std::process::id())
        });
        Ok(Self {
            connection_string: connection_string(given("APPLICATIONINSIGHTS_CONNECTION_STRING"))?,
            by_identity: authentication.is_some(),
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
        expected: "a number in its range",
        example,
    })
}

fn level(
    given: Given<'_>,
    name: &'static str,
    example: &'static str,
) -> Result<Level, WrongSetting> {
    let value = given(name).unwrap_or_else(|| example.to_owned());
    Level::parse(&value).ok_or(WrongSetting {
        name,
        value,
        expected: "a log level, or levels by target",
        example,
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
        expected: "a connection string with an InstrumentationKey",
        example: "InstrumentationKey=…;IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/",
    })
}
