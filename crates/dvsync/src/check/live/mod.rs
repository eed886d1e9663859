//! `dvsync check --live`: whether everything outside the apps is as they need it, by asking and by trying.
//!
//! It reads what the apps read and makes the clients they make. Nothing that it tries takes a message,
//! changes a row or calls the target with anything but `GET`; each module says how. A system that is not
//! reached says so once, and what could not be tried because of it is not repeated.

mod dataverse;
mod identity;
mod line;
mod parts;
mod reach;
mod service_bus;
mod show;
mod target;
mod telemetry;
mod vault;

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::{app_settings, out};
use line::Line;
use parts::Parts;

/// Checks, prints, and fails if anything is wrong.
pub(super) async fn run(
    dir: &Path,
    settings: Option<&Path>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    app_settings::into_environment(dir, settings)?;
    let lines = match Parts::read(dir) {
        Ok(parts) => check(&parts).await,
        Err(wrong) => vec![*wrong],
    };
    let usable = !lines.iter().any(|line| line.outcome.is_wrong());
    if as_json {
        out::line(json!({"usable": usable, "checks": lines}));
    } else {
        show::lines(&lines);
    }
    Ok(if usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn check(parts: &Parts) -> Vec<Line> {
    // First, since the others use the tokens.
    let mut lines = identity::check(parts).await;
    let (bus, dataverse, vault, target, telemetry) = tokio::join!(
        service_bus::check(parts),
        dataverse::check(parts),
        vault::check(parts),
        target::check(parts),
        telemetry::check(parts),
    );
    for of_system in [bus, dataverse, vault, target, telemetry] {
        lines.extend(of_system);
    }
    lines
}
