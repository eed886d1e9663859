//! `dvsync package`: what is deployed. Builds both handlers so that they need nothing of the machine they
//! run on, writes a zip for each app, and sends a change through what is in them.
//!
//! `build` starts cargo; `contents` says which files an app is made of; `archive` writes and reads the
//! zips; `elf` reads what a binary needs; `dist` lays an app out for `func start`; `self_test` runs it.

mod archive;
mod build;
mod contents;
mod dist;
mod elf;
mod self_test;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{check, out};
use contents::Contents;

/// Options of `dvsync package`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder with host.json, the sync files and the apps' folders.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Where the zips and the unpacked apps go. Without it `dist` in the root.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A target's sync file, below the root; once for each target. Each gets an outbound zip of its own,
    /// the first one `outbound.zip`; inbound.zip gets them all.
    #[arg(long = "sync", value_name = "FILE", default_value = "sync.json")]
    sync_files: Vec<String>,
    /// Outbound reads from a topic's subscription, not from a queue.
    #[arg(long)]
    topic: bool,
    /// cargo's profile; `dev` builds faster, and larger.
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Take outbound-fn and inbound-fn from here; build nothing.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Do not run what was packed.
    #[arg(long)]
    no_self_test: bool,
    /// Print what was packed as JSON.
    #[arg(long)]
    json: bool,
}

/// A zip that was written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Packed {
    file: String,
    bytes: usize,
    glibc: elf::Needs,
    sha256: String,
}

/// Builds, checks, packs, tries, and prints what there is.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let root = options
        .root
        .canonicalize()
        .with_context(|| options.root.display().to_string())?;
    if !root.join("host.json").is_file() {
        bail!(
            "{} has no host.json; start this in the folder of dataverse-sync, or name it with --root",
            root.display()
        );
    }
    let dist = options.out.clone().unwrap_or_else(|| root.join("dist"));
    // Before minutes of building.
    fs::create_dir_all(&dist)
        .and_then(|()| tempfile::tempfile_in(&dist))
        .with_context(|| format!("{} cannot be written to", dist.display()))?;
    let mut apps = contents::apps(&root, &options.sync_files, options.topic)?;
    for app in &apps {
        if !judged(&root, app)? {
            bail!(
                "{}.zip would not work: see above; nothing was packed",
                app.name
            );
        }
    }
    let binaries = match &options.binaries {
        Some(binaries) => binaries.clone(),
        None => build::both(&root, &options.profile)?,
    };
    let mut packed = Vec::new();
    for app in &mut apps {
        let path = binaries.join(app.app.binary());
        let handler = fs::read(&path).with_context(|| format!("the handler {}", path.display()))?;
        let glibc = elf::needs(&handler).with_context(|| path.display().to_string())?;
        app.add_handler(handler);
        let file = dist.join(format!("{}.zip", app.name));
        let zip = archive::pack(app)?;
        replace(&file, &zip)?;
        packed.push(Packed {
            file: file.display().to_string(),
            bytes: zip.len(),
            glibc,
            sha256: hex(&Sha256::digest(&zip)),
        });
        dist::lay_out(app, &dist.join(&app.name), &root)?;
    }
    show(&packed, options.json)?;
    if !options.no_self_test {
        let row = self_test::run(&dist, options.topic).await?;
        if !options.json {
            out::line(format_args!(
                "self-test: account {row} went from Dataverse to the target and back"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether `dvsync check` has nothing against the app; else it has said what.
fn judged(root: &Path, app: &Contents) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    app.write(folder.path())?;
    // In the place of the handler, which is built when all else is right.
    let handler = contents::Entry {
        bytes: Vec::new(),
        mode: 0o755,
    };
    contents::write(folder.path(), contents::HANDLER, &handler)?;
    let settings = ["local.settings.json", "local.settings.json.example"]
        .map(|name| root.join(name))
        .into_iter()
        .find(|path| path.is_file());
    // An example names the files of one target; the package says which ones this app has.
    check::package(folder.path(), settings.as_deref(), &app.settings())
}

/// Writes all of it or nothing: whoever deploys never takes half a zip.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let part = path.with_extension("zip.part");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| path.display().to_string())
}

fn show(packed: &[Packed], json: bool) -> anyhow::Result<()> {
    if json {
        out::line(serde_json::to_string_pretty(packed)?);
        return Ok(());
    }
    let width = packed.iter().map(|p| p.file.len()).max().unwrap_or(0);
    out::line(format_args!(
        "{:width$}  {:>10}  {:12}  sha256",
        "file", "bytes", "glibc"
    ));
    for Packed {
        file,
        bytes,
        glibc,
        sha256,
    } in packed
    {
        let glibc = glibc.to_string();
        out::line(format_args!(
            "{file:width$}  {bytes:>10}  {glibc:12}  {sha256}"
        ));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
