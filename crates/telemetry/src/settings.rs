//! The settings of telemetry.

use std::time::Duration;

use app_settings::{Kind, Lookup, Reader, Setting, SettingError, table};

use crate::logs::Level;

table! {
    /// What is told of the work, and to whom.
    TELEMETRY:

    /// What of the log is written to stdout, where the host reads it, by module where wanted: a line's `target` names it.
    LOG_LEVEL = Setting::text("log level, or levels by module", "info,sync_core::dataverse=debug")
        .default("info");

    /// Application Insights. Its key is no secret where only identities may write.
    APPLICATIONINSIGHTS_CONNECTION_STRING = Setting::text(
        "connection string",
        "InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/",
    )
    .without("nothing is sent there");

    /// Telemetry is sent with the token of an identity: of the user-assigned one that `ClientId` names, else of the
    /// app's own. Read by the host as well.
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = Setting::text(
        "`Authorization=AAD`, and `ClientId`",
        "Authorization=AAD;ClientId=11111111-2222-3333-4444-555555555555",
    )
    .without("sent without a token");

    /// Percent of the invocations whose telemetry is kept; failures, and changes that failed before, always are.
    TELEMETRY_SAMPLING_PERCENT = Setting::new(Kind::Decimal { unit: "percent", least: 0.0, most: 100.0 }, "20")
        .default("100");

    /// What of the log goes to Application Insights, by module where wanted.
    TELEMETRY_LOG_LEVEL = Setting::text("log level, or levels by module", "warn,sync_core::inbound=info").default("warn");

    /// Metrics are sent this often.
    TELEMETRY_METRICS_SECONDS = Setting::new(Kind::Decimal { unit: "seconds", least: 0.1, most: 3_600.0 }, "30")
        .default("60");

    /// An OpenTelemetry collector that gets telemetry as well.
    OTEL_EXPORTER_OTLP_ENDPOINT = Setting::text("address", "http://localhost:4318")
        .without("nothing is sent there");

    /// Headers for it. Read by the exporter itself, as are the other `OTEL_EXPORTER_OTLP_*` of its documentation.
    OTEL_EXPORTER_OTLP_HEADERS = Setting::text("comma list of `name=value`", "api-key=...")
        .without("none")
        .secret();
}

table! {
    /// Names of what runs, which the platform sets.
    NAMES:

    /// Name of the app on the Application Map.
    WEBSITE_SITE_NAME = Setting::text("name", "func-inbound-dvsync-dev")
        .without("`inbound-fn`, `outbound-fn`")
        .by(Reader::SetByPlatform);

    /// Name of the instance.
    WEBSITE_INSTANCE_ID = Setting::text("name", "3f2b7c")
        .without("`HOSTNAME` and the process id")
        .by(Reader::SetByPlatform);

    /// Name of the machine.
    HOSTNAME = Setting::text("name", "worker-1")
        .default("local")
        .by(Reader::SetByPlatform);
}

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

impl TelemetrySettings {
    /// Reads the app settings. `app` names an app that the platform gives no name.
    ///
    /// # Errors
    /// [`SettingError`], for the first one that is wrong.
    pub fn read(get: Lookup<'_>, app: &str) -> Result<Self, SettingError> {
        let instance = match WEBSITE_INSTANCE_ID.get(get) {
            Some(instance) => instance,
            None => format!("{}-{}", HOSTNAME.required(get)?, std::process::id()),
        };
        Ok(Self {
            connection_string: connection_string(get)?,
            identity: identity(get)?,
            otlp: OTEL_EXPORTER_OTLP_ENDPOINT.get(get).is_some(),
            sampling_percent: TELEMETRY_SAMPLING_PERCENT.number(get)?,
            metrics_every: TELEMETRY_METRICS_SECONDS.duration(get)?,
            log_level: level(&TELEMETRY_LOG_LEVEL, get)?,
            stdout_level: level(&LOG_LEVEL, get)?,
            role: WEBSITE_SITE_NAME.get(get).unwrap_or_else(|| app.to_owned()),
            instance,
        })
    }

    /// Whether anything is exported.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.connection_string.is_some() || self.otlp
    }
}

fn level(setting: &Setting, get: Lookup<'_>) -> Result<Level, SettingError> {
    Level::parse(&setting.required(get)?).map_err(|wrong| setting.invalid(wrong.to_string()))
}

fn identity(get: Lookup<'_>) -> Result<Option<SendAs>, SettingError> {
    let setting = APPLICATIONINSIGHTS_AUTHENTICATION_STRING;
    let Some(value) = setting.get(get) else {
        return Ok(None);
    };
    let (mut by_token, mut client_id) = (false, None);
    let mut unknown = false;
    for part in value.split(';').filter(|part| !part.trim().is_empty()) {
        let (name, text) = part.split_once('=').unwrap_or((part, ""));
        let text = text.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "authorization" => by_token = text.eq_ignore_ascii_case("AAD"),
            "clientid" if !text.is_empty() => client_id = Some(text.to_owned()),
            _ => unknown = true,
        }
    }
    if by_token && !unknown {
        return Ok(Some(SendAs { client_id }));
    }
    Err(setting.invalid(
        "it is not Authorization=AAD, with the ClientId of a user-assigned identity if it is one",
    ))
}

fn connection_string(get: Lookup<'_>) -> Result<Option<String>, SettingError> {
    let setting = APPLICATIONINSIGHTS_CONNECTION_STRING;
    let Some(value) = setting.get(get) else {
        return Ok(None);
    };
    let has_key = value.split(';').any(|part| {
        let part = part.trim().to_ascii_lowercase();
        part.strip_prefix("instrumentationkey=")
            .is_some_and(|key| !key.trim().is_empty())
    });
    if has_key {
        return Ok(Some(value));
    }
    Err(setting.invalid("it is not a connection string with an InstrumentationKey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_examples_can_be_read_and_a_wrong_value_is_named_and_not_repeated() {
        TelemetrySettings::read(&|_| None, "app").unwrap();
        for setting in TELEMETRY {
            let get = |name: &str| (name == setting.name).then(|| setting.example.to_owned());
            TelemetrySettings::read(&get, "app").unwrap();
        }
        for setting in [
            APPLICATIONINSIGHTS_CONNECTION_STRING,
            TELEMETRY_SAMPLING_PERCENT,
            TELEMETRY_METRICS_SECONDS,
            TELEMETRY_LOG_LEVEL,
            LOG_LEVEL,
        ] {
            let get = |name: &str| (name == setting.name).then(|| "a=secret=b".to_owned());
            let error = TelemetrySettings::read(&get, "app").err().unwrap();
            let text = error.to_string();
            assert!(
                text.contains(setting.name) && !text.contains("secret"),
                "{text}"
            );
        }
    }

    fn read(name: &str, value: &str) -> Result<TelemetrySettings, SettingError> {
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
    fn a_wrong_level_is_named_with_its_place_in_the_list() {
        let text = read("LOG_LEVEL", "info,sync_core::dataverse=loud").map(|_| ());
        let text = text.unwrap_err().to_string();
        assert!(
            text.contains("LOG_LEVEL") && text.contains("number 2 in the list"),
            "{text}"
        );
    }
}
