//! App settings: missing, malformed, misspelt.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use function_app::settings;
use sync_core::settings::table::{
    INVOCATION_DEADLINE_SECONDS, LAG_OBJECTIVE_SECONDS, SESSIONS, SWEEP_LEASE_SECONDS,
};
use sync_core::settings::{
    Lookup, SettingError, Settings, SettingsError, TargetSettings, VaultSettings, rejected_queue,
};
use telemetry::TelemetrySettings;
use url::{Host, Url};

use super::finding::Report;
use super::near::nearest;
use super::package::{Package, SettingsFile};

/// How long the work on one message may take, and where that is said.
pub(super) fn deadline(package: &Package) -> (Duration, &'static str) {
    let get = |name: &str| package.setting(name).map(str::to_owned);
    let default = INVOCATION_DEADLINE_SECONDS.duration(&|_| None);
    let default = default.unwrap_or_default();
    let name = INVOCATION_DEADLINE_SECONDS.name;
    if get(name).is_some() {
        let read = INVOCATION_DEADLINE_SECONDS.duration(&get);
        (read.unwrap_or(default), name)
    } else {
        (default, "the default of INVOCATION_DEADLINE_SECONDS")
    }
}

/// Whether anybody reads a setting of this name.
fn known(name: &str) -> bool {
    settings::all().any(|setting| setting.name == name)
}

/// Judges the settings, if there is a file of them.
pub(super) fn check(package: &Package, report: &mut Report) {
    let Some(settings) = &package.settings else {
        return;
    };
    for name in settings.values.keys() {
        if known(name) || name.starts_with("AzureWebJobs.") {
            continue;
        }
        if let Some(known) = nearest(name, settings::all().map(|setting| setting.name))
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
    if SESSIONS.flag(get)? {
        rejected_queue(get)?;
    }
    TelemetrySettings::read(get, "outbound-fn")?;
    Ok(())
}

fn inbound(get: Lookup<'_>) -> Result<(), SettingsError> {
    Settings::check(get)?;
    SWEEP_LEASE_SECONDS.duration(get)?;
    LAG_OBJECTIVE_SECONDS.duration(get)?;
    TelemetrySettings::read(get, "inbound-fn")?;
    Ok(())
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
            SettingsError::Setting(SettingError::Missing { name, example }) => replace(
                name,
                example,
                "is missing".into(),
                match misspelt(settings, name) {
                    Some(near) => format!("{near} is probably meant: call it {name}"),
                    None => format!("set it, e.g. {name}={example}"),
                },
            ),
            SettingsError::Setting(SettingError::Invalid {
                name,
                problem,
                example,
            }) => replace(
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
    nearest(name, names.filter(|n| !known(n)))
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
