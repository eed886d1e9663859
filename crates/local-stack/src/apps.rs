//! The two function apps as the host wants them: built from this workspace, laid out as a package.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod sessions;

pub use sessions::enable_sessions;

const HOST_JSON: &str = include_str!("../../../host.json");
const SYNC_JSON: &str = include_str!("../../../sync.json");
const SYNC_WAREHOUSE_JSON: &str = include_str!("../../../sync.warehouse.json");
const OUTBOUND: &str = include_str!("../../../outbound-fn/Outbound/function.json");
const OUTBOUND_TOPIC: &str = include_str!("../../../outbound-fn/topic/Outbound/function.json");
const INBOUND: &str = include_str!("../../../inbound-fn/Inbound/function.json");
const OUTBOX_SWEEP: &str = include_str!("../../../inbound-fn/OutboxSweep/function.json");

/// Where the apps' notifications wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// On a queue, `OUTBOUND_QUEUE`.
    #[default]
    Queue,
    /// On a subscription, `OUTBOUND_TOPIC` and `OUTBOUND_SUBSCRIPTION`.
    Topic,
}

/// One of the two function apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// Faces the target.
    Outbound,
    /// Faces Dataverse.
    Inbound,
}

impl App {
    /// Name of its binary.
    #[must_use]
    pub fn binary(self) -> &'static str {
        match self {
            Self::Outbound => "outbound-fn",
            Self::Inbound => "inbound-fn",
        }
    }

    fn functions(self, form: Form) -> &'static [(&'static str, &'static str)] {
        match (self, form) {
            (Self::Outbound, Form::Queue) => &[("Outbound", OUTBOUND)],
            (Self::Outbound, Form::Topic) => &[("Outbound", OUTBOUND_TOPIC)],
            (Self::Inbound, _) => &[("Inbound", INBOUND), ("OutboxSweep", OUTBOX_SWEEP)],
        }
    }
}

/// Why an app cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The binaries are not beside this one, and this process was not started by cargo.
    #[error("there is no {0} beside this program; start it with `cargo run`, which builds it")]
    NotBuilt(&'static str),
    /// cargo failed; it has said why.
    #[error("building the function apps failed; see cargo's messages above")]
    Build,
    /// A file could not be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The shipped `sync.json`.
#[must_use]
pub fn sync_json() -> &'static str {
    SYNC_JSON
}

/// The shipped sync file of a second target.
#[must_use]
pub fn sync_warehouse_json() -> &'static str {
    SYNC_WAREHOUSE_JSON
}

/// A sync file of a package.
#[derive(Debug, Clone)]
pub struct SyncFile {
    /// Its name, as in `SYNC_FILES`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The folder that holds the binaries, up to date.
///
/// Under cargo (`cargo run`, `cargo test`) they are built first, in the same profile, so that an edit
/// is never run with yesterday's handler. Otherwise they are expected beside this program.
///
/// # Errors
/// See [`AppError`].
pub fn binaries() -> Result<PathBuf, AppError> {
    let here = std::env::current_exe().map_err(|source| AppError::File {
        path: "this program".into(),
        source,
    })?;
    // target/debug/dvsync, or target/debug/deps/some_test-1234
    let folder = here
        .ancestors()
        .skip(1)
        .find(|p| p.file_name().is_some_and(|n| n != "deps"))
        .unwrap_or(Path::new("."))
        .to_owned();
    let (cargo, manifest) = (
        std::env::var_os("CARGO"),
        std::env::var_os("CARGO_MANIFEST_DIR"),
    );
    if let (Some(cargo), Some(manifest)) = (cargo, manifest) {
        build(&cargo, Path::new(&manifest), folder.ends_with("release"))?;
    }
    for app in [App::Outbound, App::Inbound] {
        if !folder.join(app.binary()).is_file() {
            return Err(AppError::NotBuilt(app.binary()));
        }
    }
    Ok(folder)
}

fn build(cargo: &std::ffi::OsStr, manifest: &Path, release: bool) -> Result<(), AppError> {
    // The workspace's default members decide the features; from inside a member, cargo would select
    // that member alone, and compile shared dependencies a second time.
    let root = manifest
        .ancestors()
        .find(|p| p.join("host.json").is_file())
        .unwrap_or(manifest);
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--bin",
            "dvsync",
            "--bin",
            "outbound-fn",
            "--bin",
            "inbound-fn",
        ])
        .stdin(Stdio::null());
    if release {
        command.arg("--release");
    }
    let status = command.status().map_err(|source| AppError::File {
        path: cargo.into(),
        source,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(AppError::Build)
    }
}

/// Lays `app` out in `folder`: `host.json`, `handler`, `<Function>/function.json`, its sync files.
///
/// # Errors
/// [`AppError::File`].
pub fn lay_out(
    app: App,
    form: Form,
    binaries: &Path,
    folder: &Path,
    sync_files: &[&SyncFile],
) -> Result<(), AppError> {
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).map_err(|source| AppError::File { path, source })
    };
    let create =
        |path: PathBuf| fs::create_dir_all(&path).map_err(|source| AppError::File { path, source });
    create(folder.to_owned())?;
    write(folder.join("host.json"), HOST_JSON)?;
    for file in sync_files {
        write(folder.join(&file.name), &file.text)?;
    }
    for (name, text) in app.functions(form) {
        create(folder.join(name))?;
        write(folder.join(name).join("function.json"), text)?;
    }
    let (from, to) = (binaries.join(app.binary()), folder.join("handler"));
    let copied = fs::copy(&from, &to)
        .and_then(|_| fs::set_permissions(&to, fs::Permissions::from_mode(0o755)));
    copied.map_err(|source| AppError::File { path: from, source })
}
