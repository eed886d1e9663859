//! Builds the handlers: static, and the same bytes wherever the sources lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// What Azure Functions on Linux runs on.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Between rustc's arguments in `CARGO_ENCODED_RUSTFLAGS`, which allows for blanks in a path.
const BETWEEN: &str = "\x1f";

/// Builds both; returns the folder that they are in.
pub(super) fn both(root: &Path, profile: &str) -> anyhow::Result<PathBuf> {
    // Its own: other flags for rustc would have the ordinary builds start from nothing, each time.
    let target = root.join("target").join("package");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .current_dir(root)
        .args([
            "build",
            "--locked",
            "--bin",
            "outbound-fn",
            "--bin",
            "inbound-fn",
        ])
        .args(["--profile", profile, "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?)
        // As in the release profile: what a debugger would need names the folder of the sources.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .stdin(Stdio::null())
        // What this program prints may be read by another.
        .stdout(Stdio::null());
    let status = command.status().with_context(|| {
        format!(
            "{} cannot be started; install Rust (https://rustup.rs), or name built handlers with --binaries",
            cargo.display()
        )
    })?;
    if !status.success() {
        bail!("building the handlers failed; see cargo's messages above");
    }
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(TARGET).join(folder))
}

fn flags(root: &Path) -> anyhow::Result<OsString> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()
            .context("neither CARGO_HOME nor HOME is set")?
            .join(".cargo"),
    };
    let mut flags = OsString::from("-C");
    flags.push(BETWEEN);
    flags.push("target-feature=+crt-static");
    for (from, to) in [(root, "/dataverse-sync"), (&home, "/cargo")] {
        flags.push(BETWEEN);
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    Ok(flags)
}
