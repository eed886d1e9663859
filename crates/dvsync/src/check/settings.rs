//! App settings: missing, malformed, misspelt.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use sync_core::settings::{
    Lookup, Settings, SettingsError, TargetSettings, VaultSettings, rejected_queue, seconds,
};
use url::{Host, Url};

use super::finding::Report;
use super::near::nearest;
use super::package::{Package, SettingsFile};

/// Settings of the two apps, and those of the platform that are easy to misspell.
const KNOWN: [&str; 48] = [
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AzureWebJobsStorage",
    "DATAVERSE_CLIENT_CERTIFICATES",
    "DATAVERSE_CLIENT_IDS",
    "DATAVERSE_CLIENT_SECRETS",
    "DATAVERSE_MAX_WAIT_SECONDS",
    "DATAVERSE_MERGE_MS",
    "DATAVERSE_MERGE_ROWS",
    "DATAVERSE_REPORT_SECONDS",
    "DATAVERSE_TENANT_ID",
    "DATAVERSE_TIMEOUT_SECONDS",
    "DATAVERSE_URL",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_RUNTIME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "INBOUND_QUEUE",
    "INVOCATION_DEADLINE_SECONDS",
    "KEY_VAULT_URL",
    "KEY_VAULT_VERIFY_CHALLENGE",
    "LAG_OBJECTIVE_SECONDS",
    "LOG_LEVEL",
    "NO_PROXY",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OUTBOUND_QUEUE",
    "OUTBOUND_SUBSCRIPTION",
    "OUTBOUND_TOPIC",
    "REJECTED_QUEUE",
    "SECRET_REFRESH_SECONDS",
    "SESSIONS",
    "SWEEP_LEASE_SECONDS",
    "SWEEP_SCHEDULE",
    "SYNC_FILES",
    "ServiceBus",
    "ServiceBus__credential",
    "ServiceBus__fullyQualifiedNamespace",
    "TARGET_CA_FILE",
    "TARGET_SECRET_NAME",
    "TARGET_URL",
    "TELEMETRY_LOG_LEVEL",
    "TELEMETRY_METRICS_SECONDS",
    "TELEMETRY_SAMPLING_PERCENT",
];

/// The default of `INVOCATION_DEADLINE_SECONDS`.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long the work on one message may take, and where that is said.
pub(super) fn deadline(package: &Package) -> (Duration, &'static str) {
    const NAME: &str = "INVOCATION_DEADLINE_SECONDS";
    let set = package.setting(NAME).map(str::to_owned);
    match set {
        Some(text) => {
            let read = seconds(&|_| Some(text.clone()), NAME, "120", 120.0);
            (read.unwrap_or(DEADLINE), NAME)
        }
        None => (DEADLINE, "the default of INVOCATION_DEADLINE_SECONDS"),
    }
}

/// Judges the settings, if there is a file of them.
pub(super) fn check(package: &Package, report: &mut Report) {
    let Some(settings) = &package.settings else {
        return;
    };
    for name in settings.values.keys() {
        if KNOWN.contains(&name.as_str()) || name.starts_with("AzureWebJobs.") {
            continue;
        }
        if let Some(known) = nearest(name, KNOWN)
            && settings.get(known).is_none()
        {
            report.add(
                &settings.file,
                SettingsFile::key(name),
                "is no setting of these apps, which would pass over it in silence",
                format!("it is called {known}"),
            );
        }
    }
    let apps: [(bool, &Reader); 2] = [
        (package.has("Outbound"), &outbound),
        (
            package.has("Inbound") || package.has("OutboxSweep"),
            &inbound,
        ),
    ];
    for (there, read) in apps {
        if there {
            every(settings, read, report);
        }
    }
    for name in ["TARGET_URL", "DATAVERSE_URL"] {
        address(settings, name, report);
    }
}

/// Reads the settings of an app as the app does.
type Reader = dyn Fn(Lookup<'_>) -> Result<(), SettingsError>;

fn outbound(get: Lookup<'_>) -> Result<(), SettingsError> {
    Settings::check(get)?;
    TargetSettings::read(get)?;
    if VaultSettings::read(get)?.is_none() {
        return Err(VaultSettings::missing());
    }
    if get("SESSIONS").as_deref() == Some("true") {
        rejected_queue(get)?;
    }
    Ok(())
}

fn inbound(get: Lookup<'_>) -> Result<(), SettingsError> {
    Settings::check(get)?;
    seconds(get, "SWEEP_LEASE_SECONDS", "60", 60.0).map(drop)
}

/// The apps stop at the first wrong setting. Here each is replaced by a value that would do, and they
/// read on.
fn every(settings: &SettingsFile, read: &Reader, report: &mut Report) {
    let replaced: RefCell<BTreeMap<&'static str, Option<&'static str>>> = RefCell::default();
    let get = |name: &str| match replaced.borrow().get(name) {
        Some(value) => value.map(str::to_owned),
        None => settings.get(name).map(str::to_owned),
    };
    while let Err(error) = read(&get) {
        let mut replace = |name, example, problem: String, fix: String| {
            let path = SettingsFile::key(name);
            if !report.knows(&settings.file, &path) {
                report.add(&settings.file, path, problem, fix);
            }
            // The example of a file is not there.
            let value = (name != "TARGET_CA_FILE").then_some(example);
            replaced.borrow_mut().insert(name, value).is_none()
        };
        let new = match error {
            SettingsError::Missing { name, example } => replace(
                name,
                example,
                "is missing".into(),
                match misspelt(settings, name) {
                    Some(near) => format!("{near} is probably meant: call it {name}"),
                    None => format!("set it, e.g. {name}={example}"),
                },
            ),
            SettingsError::Invalid {
                name,
                problem,
                example,
            } => replace(
                name,
                example,
                format!("is not usable: {problem}"),
                format!("write it as in {name}={example}"),
            ),
            SettingsError::Outbound { problem } => {
                let mut names = replaced.borrow_mut();
                let name = [
                    "OUTBOUND_QUEUE",
                    "OUTBOUND_TOPIC",
                    "OUTBOUND_SUBSCRIPTION",
                    "SESSIONS",
                ];
                let new = names.insert(name[0], Some("outbound")).is_none();
                for name in &name[1..] {
                    names.insert(name, None);
                }
                report.add(
                    &settings.file,
                    SettingsFile::key("OUTBOUND_QUEUE"),
                    format!("and OUTBOUND_TOPIC, OUTBOUND_SUBSCRIPTION and SESSIONS do not go together: {problem}"),
                    "give either OUTBOUND_QUEUE=outbound, or OUTBOUND_TOPIC=outbound with OUTBOUND_SUBSCRIPTION=customer-api and without sessions",
                );
                new
            }
            SettingsError::Config(_) => false,
        };
        if !new {
            return;
        }
    }
}

fn misspelt<'a>(settings: &'a SettingsFile, name: &str) -> Option<&'a str> {
    let names = settings.values.keys().map(String::as_str);
    nearest(name, names.filter(|n| !KNOWN.contains(n)))
}

/// Rows, tokens and keys go there.
fn address(settings: &SettingsFile, name: &str, report: &mut Report) {
    let Some(url) = settings.get(name).and_then(|text| Url::parse(text).ok()) else {
        return;
    };
    let here = match url.host() {
        Some(Host::Domain(host)) => host == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => true,
    };
    if url.scheme() == "http" && !here {
        report.add(
            &settings.file,
            SettingsFile::key(name),
            "is http: rows and credentials would travel in clear text",
            format!(
                "use https, e.g. {name}=https://{}",
                url.host_str().unwrap_or("host")
            ),
        );
    }
    if url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
        report.add(
            &settings.file,
            SettingsFile::key(name),
            "holds more than an address: a user, a password or a query",
            "leave only scheme, host, port and path; the secret belongs into Key Vault",
        );
    }
}
