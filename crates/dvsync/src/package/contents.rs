//! Which files an app is made of. Only these: a settings file, or whatever else lies about, stays out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use sync_core::config::SyncConfig;

/// The name that `host.json` has for the binary.
pub(super) const HANDLER: &str = "handler";

/// One of the two function apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    /// Faces the target.
    Outbound,
    /// Faces Dataverse.
    Inbound,
}

impl App {
    /// Its binary, and the folder of its sources.
    pub(super) fn binary(self) -> &'static str {
        match self {
            Self::Outbound => "outbound-fn",
            Self::Inbound => "inbound-fn",
        }
    }
}

/// A file of a package.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    /// Unix permissions.
    pub(super) mode: u32,
}

/// A package, its files by name, which is the order that they are packed in.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) app: App,
    /// What its zip is called, without the ending.
    pub(super) name: String,
    pub(super) entries: BTreeMap<String, Entry>,
    sync_files: Vec<String>,
    /// The subscription of an app that reads from a topic.
    subscription: Option<String>,
}

/// An outbound app for each sync file, and the inbound app.
pub(super) fn apps(root: &Path, files: &[String], topic: bool) -> anyhow::Result<Vec<Contents>> {
    let mut apps = Vec::new();
    let functions = if topic {
        "outbound-fn/topic"
    } else {
        "outbound-fn"
    };
    for (place, file) in files.iter().enumerate() {
        // The first one is judged with all the rest, and needs its target's name for a topic only.
        let target = if place == 0 && !topic {
            None
        } else {
            Some(
                SyncConfig::load(&root.join(file))?
                    .target_system
                    .to_string(),
            )
        };
        let name = match &target {
            Some(target) if place > 0 => format!("outbound-{target}"),
            _ => "outbound".to_owned(),
        };
        let own = std::slice::from_ref(file);
        let mut app = Contents::read(root, App::Outbound, name, functions, own)?;
        app.subscription = target.filter(|_| topic);
        apps.push(app);
    }
    apps.push(Contents::read(
        root,
        App::Inbound,
        "inbound".into(),
        "inbound-fn",
        files,
    )?);
    Ok(apps)
}

impl Contents {
    fn read(
        root: &Path,
        app: App,
        name: String,
        functions: &str,
        sync_files: &[String],
    ) -> anyhow::Result<Self> {
        let mut contents = Self {
            app,
            name,
            entries: BTreeMap::new(),
            sync_files: sync_files.to_vec(),
            subscription: None,
        };
        contents.add(root, "host.json", "host.json")?;
        for file in sync_files {
            let plain = Path::new(file)
                .file_name()
                .is_some_and(|name| name == file.as_str());
            if !plain {
                bail!(
                    "--sync {file}: a sync file lies beside host.json, and is named without a folder"
                );
            }
            contents.add(root, file, file)?;
        }
        let folder = root.join(functions);
        let listed = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for function in listed {
            let function = function?.path();
            if function.join("function.json").is_file() {
                contents.add_function(root, functions, &function)?;
            }
        }
        Ok(contents)
    }

    fn add_function(&mut self, root: &Path, below: &str, folder: &Path) -> anyhow::Result<()> {
        for file in fs::read_dir(folder)? {
            let file = file?.path();
            if file.file_name().is_none_or(|name| name != "function.json") {
                bail!(
                    "{} is no file of a package; a function's folder holds function.json and nothing else",
                    file.display()
                );
            }
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}/function.json");
        self.add(root, &format!("{below}/{name}"), &name)
    }

    fn add(&mut self, root: &Path, from: &str, name: &str) -> anyhow::Result<()> {
        let path = root.join(from);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        self.entries
            .insert(name.to_owned(), Entry { bytes, mode: 0o644 });
        Ok(())
    }

    /// Adds the binary, to be executed.
    pub(super) fn add_handler(&mut self, bytes: Vec<u8>) {
        self.entries
            .insert(HANDLER.to_owned(), Entry { bytes, mode: 0o755 });
    }

    /// The app settings that depend on what is in the package; `None` for one that must not be there.
    pub(super) fn settings(&self) -> BTreeMap<&'static str, Option<String>> {
        let mut settings = BTreeMap::from([("SYNC_FILES", Some(self.sync_files.join(",")))]);
        if let Some(subscription) = &self.subscription {
            settings.insert("OUTBOUND_QUEUE", None);
            settings.insert("OUTBOUND_TOPIC", Some("outbound".to_owned()));
            settings.insert("OUTBOUND_SUBSCRIPTION", Some(subscription.clone()));
        }
        settings
    }

    /// Writes the files into a folder.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        for (name, entry) in &self.entries {
            write(folder, name, entry)?;
        }
        Ok(())
    }
}

/// Writes one file of a package.
pub(super) fn write(folder: &Path, name: &str, entry: &Entry) -> anyhow::Result<()> {
    let path = folder.join(name);
    let written = fs::create_dir_all(path.parent().unwrap_or(folder))
        // A handler that is running cannot be written to, but be replaced.
        .and_then(|()| match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::write(&path, &entry.bytes),
        })
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)));
    written.with_context(|| path.display().to_string())
}
