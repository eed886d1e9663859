//! The part on app settings, and that the table it is made from is the one that the apps read by.

use std::cell::RefCell;
use std::collections::BTreeSet;

use app_settings::{Absent, Reader, Setting};
use function_app::settings::{GROUPS, all};
use serde_json::Value;
use sync_core::settings::table::{
    INVOCATION_DEADLINE_SECONDS, LAG_OBJECTIVE_SECONDS, REJECTED_QUEUE, SWEEP_LEASE_SECONDS,
};
use sync_core::settings::{Settings, TargetSettings, rejected_queue};
use telemetry::TelemetrySettings;
use telemetry::settings::NAMES;

use super::markdown::{code, link, prose, table};
use super::{read, root};

pub(super) fn document() -> String {
    let mut text = String::from(
        "## App settings\n\n\
         Environment variables of both apps. In Azure [infra/](../infra/README.md) sets those that say so; locally they are `Values` of \
         `local.settings.json`, for which `local.settings.json.example` is the pattern. A setting that holds only blanks counts as not there. \
         No row of the table below needs a secret in Azure: identities take their place.\n\n",
    );
    let of = |settings: &[Setting]| {
        let links: Vec<_> = settings
            .iter()
            .map(|s| link(&code(s.name), s.name))
            .collect();
        links.join(", ")
    };
    let rows: Vec<_> = groups()
        .iter()
        .map(|(title, settings)| [link(title, title), of(settings)])
        .collect();
    text.push_str(&table(["", "settings"], &rows));
    let infra = ["infra/main.bicep", "infra/modules/function-app.bicep"]
        .map(read)
        .concat();
    for (title, settings) in groups() {
        text.push_str(&format!("\n### {title}\n"));
        for setting in settings {
            text.push_str(&one(&setting, &infra));
        }
    }
    text.push_str(
        "\n`AzureWebJobs.<Function>.Disabled=true` pauses a function, e.g. `AzureWebJobs.Outbound.Disabled`; its messages wait. \
         A value of `host.json` is overridden by `AzureFunctionsJobHost__`, e.g. \
         `AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls`.\n",
    );
    text
}

fn groups() -> Vec<(&'static str, Vec<Setting>)> {
    let mut groups: Vec<_> = GROUPS
        .iter()
        .map(|(title, list)| (*title, list.to_vec()))
        .collect();
    groups.last_mut().unwrap().1.extend_from_slice(NAMES);
    groups
}

fn one(setting: &Setting, infra: &str) -> String {
    let mut facts = vec![
        match setting.reader {
            Reader::Both => "both apps",
            Reader::Outbound => "outbound-fn",
            Reader::Inbound => "inbound-fn",
            Reader::Host => "the host, for both apps",
            Reader::SetByPlatform => "both apps, set by the platform",
        }
        .to_owned(),
    ];
    facts.push(setting.kind.to_string());
    facts.push(match setting.absent {
        Absent::Required => "**required**".into(),
        Absent::Default(value) => format!("default {}", code(value)),
        Absent::Means(then) => format!("without it: {then}"),
    });
    facts.push(format!("e.g. {}", code(setting.example)));
    if setting.secret {
        facts.push("**may hold a secret**".into());
    }
    let is_set = |line: &str| line.trim().starts_with(&format!("{}: ", setting.name));
    if infra.lines().any(is_set) {
        facts.push("set by `infra/`".into());
    }
    format!(
        "\n#### {}\n\n{}\n\n{}\n",
        code(setting.name),
        prose(setting.meaning),
        facts.join(" · ")
    )
}

pub(super) fn readme_table() -> String {
    let mut rows = Vec::new();
    for setting in all().filter(|s| !matches!(s.reader, Reader::Host | Reader::SetByPlatform)) {
        let app = match setting.reader {
            Reader::Outbound => " (outbound-fn)",
            Reader::Inbound => " (inbound-fn)",
            _ => "",
        };
        let absent = match setting.absent {
            Absent::Required => "required".into(),
            Absent::Default(value) => code(value),
            Absent::Means(then) => then.into(),
        };
        let example = match setting.example.len() {
            0..60 => setting.example.to_owned(),
            _ => format!("{}…", &setting.example[..40]),
        };
        rows.push([
            code(setting.name),
            format!("{}{app}", prose(setting.meaning).trim_end_matches('.')),
            absent,
            code(&example),
        ]);
    }
    table(["setting", "meaning", "without it", "example"], &rows)
}

/// Names that are asked for when the apps' own readers read.
fn asked_for(values: &dyn Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    let get = |name: &str| {
        names.borrow_mut().insert(name.to_owned());
        values(name)
    };
    // What they make of it is tested where they are.
    let _ = Settings::read(&get);
    let _ = TargetSettings::read(&get);
    let _ = TelemetrySettings::read(&get, "app");
    let _ = rejected_queue(&get);
    let _ = SWEEP_LEASE_SECONDS.duration(&get);
    let _ = LAG_OBJECTIVE_SECONDS.duration(&get);
    names.into_inner()
}

#[test]
fn the_table_is_what_the_apps_read() {
    let examples = |name: &str| {
        if name == "FUNCTIONS_APP_ROOT_PATH" {
            return Some(root().display().to_string());
        }
        // One of two forms, and what goes with it.
        let other = ["OUTBOUND_TOPIC", "OUTBOUND_SUBSCRIPTION", "TARGET_CA_FILE"].contains(&name);
        let setting = all().find(|s| s.name == name && !other)?;
        Some(setting.example.to_owned())
    };
    let mut asked = asked_for(&examples);
    asked.extend(asked_for(&|name| match name {
        "ServiceBus" => None,
        name => examples(name),
    }));
    asked.extend(asked_for(&|name| match name {
        "WEBSITE_INSTANCE_ID" => None,
        name => examples(name),
    }));
    // Read by libraries, and by the host in function.json.
    let elsewhere = [
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "SWEEP_SCHEDULE",
    ];
    let told: BTreeSet<String> = all()
        .filter(|s| s.reader != Reader::Host && !elsewhere.contains(&s.name))
        .map(|s| s.name.to_owned())
        .collect();
    assert_eq!(asked, told);
}

#[test]
fn every_default_and_every_example_fits_and_no_name_comes_twice() {
    let mut names = BTreeSet::new();
    for setting in all() {
        assert!(names.insert(setting.name), "{} comes twice", setting.name);
        setting.fits(setting.example).unwrap();
        if let Absent::Default(value) = setting.absent {
            setting.fits(value).unwrap();
        }
        assert!(setting.meaning.ends_with('.'), "{}", setting.name);
    }
    // It says so.
    assert_eq!(REJECTED_QUEUE.reader, Reader::Outbound);
    let spare = format!("At least {} s shorter", function_app::AFTERWARDS.as_secs());
    assert!(INVOCATION_DEADLINE_SECONDS.meaning.contains(&spare));
}

#[test]
fn the_example_of_local_settings_has_what_is_required_and_the_defaults() {
    let file: Value = serde_json::from_str(&read("local.settings.json.example")).unwrap();
    let values = file["Values"].as_object().unwrap();
    for (name, value) in values {
        let setting = all().find(|s| s.name == name);
        let setting = setting.unwrap_or_else(|| panic!("{name} is no setting"));
        if let Absent::Default(default) = setting.absent {
            assert_eq!(value, default, "{name}");
        }
        setting.fits(value.as_str().unwrap()).unwrap();
    }
    for setting in all().filter(|s| s.absent == Absent::Required) {
        assert!(
            values.contains_key(setting.name),
            "{} is missing",
            setting.name
        );
    }
}
