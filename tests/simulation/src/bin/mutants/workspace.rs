//! A copy of the workspace, with as much of it as the simulation needs, where mutants are built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::child::{Ended, run};
use crate::mutant::Mutant;

/// What is copied.
const PARTS: [&str; 10] = [
    "Cargo.lock",
    "sync.json",
    "sync.schema.json",
    "sync.warehouse.json",
    "docs/mapping.md",
    "crates/amqp-walk",
    "crates/app-settings",
    "crates/service-bus",
    "crates/sync-core",
    "tests/simulation",
];

/// The copy.
pub(crate) struct Workspace {
    original: PathBuf,
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Copies the workspace at `original` below its target folder. Files that did not change keep their
    /// time, so that only what changed is built again.
    pub(crate) fn copy(original: &Path) -> anyhow::Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| original.join("target"), PathBuf::from);
        let root = target.join("mutants/workspace");
        for part in PARTS {
            copy(&original.join(part), &root.join(part))?;
        }
        let manifest = std::fs::read_to_string(original.join("Cargo.toml"))?;
        write(&root.join("Cargo.toml"), &members_replaced(&manifest))?;
        Ok(Self {
            original: original.to_owned(),
            root,
            target: target.join("mutants/target"),
        })
    }

    /// Makes a mutant's replacements.
    pub(crate) fn apply(&self, mutant: &Mutant) -> anyhow::Result<()> {
        self.restore(mutant)?;
        for edit in &mutant.edits {
            let path = self.root.join(&edit.path);
            let text = std::fs::read_to_string(&path)?;
            let text = edit
                .apply(&text)
                .with_context(|| format!("mutant {}", mutant.name))?;
            write(&path, &text)?;
        }
        Ok(())
    }

    /// Takes them back.
    pub(crate) fn restore(&self, mutant: &Mutant) -> anyhow::Result<()> {
        for edit in &mutant.edits {
            copy(&self.original.join(&edit.path), &self.root.join(&edit.path))?;
        }
        Ok(())
    }

    /// Runs cargo in the copy.
    pub(crate) fn cargo(&self, arguments: &[&str], longest: Duration) -> anyhow::Result<Ended> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(arguments)
            // The dependencies are built once, so let them be fast.
            .args([
                "--offline",
                "--config",
                r#"profile.dev.package."*".opt-level=3"#,
            ])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        run(
            &mut command,
            &self.target.with_file_name("cargo.log"),
            longest,
        )
    }

    /// Runs the simulation that was built there.
    pub(crate) fn simulation(
        &self,
        arguments: &[&str],
        longest: Duration,
    ) -> anyhow::Result<Ended> {
        let mut command = Command::new(self.target.join("debug/simulation"));
        let log = self.target.with_file_name("simulation.log");
        run(command.args(arguments), &log, longest)
    }
}

/// The manifest with the members that were copied. What else it declares is not used by them.
fn members_replaced(manifest: &str) -> String {
    let lines = manifest.lines().filter_map(|line| {
        let members = r#"members = ["crates/*", "tests/simulation"]"#;
        match line.split_once(" = ") {
            Some(("members", _)) => Some(members),
            Some(("default-members", _)) => None,
            _ => Some(line),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Makes `to` what `from` is.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        let present = std::fs::read_dir(to).into_iter().flatten();
        for entry in present.collect::<Result<Vec<_>, _>>()? {
            if !from.join(entry.file_name()).exists() {
                remove(&entry.path())?;
            }
        }
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write_bytes(to, &bytes)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    write_bytes(path, text.as_bytes())
}

fn write_bytes(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
