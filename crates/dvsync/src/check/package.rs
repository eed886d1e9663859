//! What there is to check: a packaged app, or a folder of several that share `host.json` and sync files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::finding::{Report, name_of};
use crate::host::settings;

/// Where settings are kept, the first that there is.
const SETTINGS: [&str; 2] = ["local.settings.json", "local.settings.json.example"];

/// Everything that is read before anything is judged.
pub(super) struct Package {
    pub(super) root: PathBuf,
    /// Whether the folder is one app, with its functions directly in it.
    pub(super) packed: bool,
    pub(super) functions: Vec<FunctionFile>,
    pub(super) settings: Option<SettingsFile>,
}

/// One `function.json`.
pub(super) struct FunctionFile {
    /// The function's name, which is its folder's.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// How it is called in findings.
    pub(super) file: String,
    /// `None` when it is not JSON.
    pub(super) json: Option<Value>,
    /// Whether it is the one that these settings are for: of a function with two files, one for a queue
    /// and one for a topic, an app ships one.
    pub(super) in_use: bool,
}

/// App settings.
pub(super) struct SettingsFile {
    pub(super) file: String,
    pub(super) path: PathBuf,
    pub(super) values: BTreeMap<String, String>,
}

impl SettingsFile {
    /// A setting that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// How a setting is called in findings.
    pub(super) fn key(name: &str) -> String {
        format!("Values.{name}")
    }
}

impl Package {
    /// Reads what is in `root`; `given` is a settings file that is somewhere else.
    pub(super) fn read(root: &Path, given: Option<&Path>, report: &mut Report) -> Self {
        let settings = read_settings(root, given, report);
        let own = function_folders(root);
        let packed = !own.is_empty();
        let folders = if packed {
            own
        } else {
            let apps = folders(root);
            let apps = apps.iter().flat_map(|app| [app.clone(), app.join("topic")]);
            apps.flat_map(|app| function_folders(&app)).collect()
        };
        let functions = folders
            .into_iter()
            .map(|folder| FunctionFile::read(root, folder))
            .collect();
        let mut package = Self {
            root: root.to_owned(),
            packed,
            functions,
            settings,
        };
        package.choose();
        package
    }

    /// A setting that is there and not empty.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.get(name)
    }

    /// The settings' values; none when there is no file of them.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        let values = self.settings.as_ref().map(|s| s.values.clone());
        values.unwrap_or_default()
    }

    /// Whether an app has this function.
    pub(super) fn has(&self, function: &str) -> bool {
        self.functions.iter().any(|known| known.name == function)
    }

    /// Every `sync*.json` beside `host.json`.
    pub(super) fn sync_files(&self) -> Vec<String> {
        let is_sync = |name: &String| {
            let json = Path::new(name).extension().is_some_and(|e| e == "json");
            name.starts_with("sync.") && json && !name.ends_with(".schema.json")
        };
        entries(&self.root)
            .iter()
            .filter(|path| path.is_file())
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .filter(is_sync)
            .collect()
    }

    fn choose(&mut self) {
        let topic = self.setting("OUTBOUND_TOPIC").is_some();
        let names: Vec<String> = self.functions.iter().map(|f| f.name.clone()).collect();
        for function in &mut self.functions {
            let twice = names.iter().filter(|name| **name == function.name).count() > 1;
            function.in_use = !twice || function.takes_a_topic() == topic;
        }
    }
}

impl FunctionFile {
    fn read(root: &Path, folder: PathBuf) -> Self {
        let path = folder.join("function.json");
        let bytes = fs::read(&path).unwrap_or_default();
        let name = folder.file_name().unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            file: name_of(root, &path),
            // What is wrong with it the host's own parser tells.
            json: serde_json::from_slice(&bytes).ok(),
            folder,
            in_use: true,
        }
    }

    /// Its bindings, each with its place.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (String, &Value)> {
        let bindings = self.json.as_ref().and_then(|json| member(json, "bindings"));
        let bindings = bindings.and_then(Value::as_array).into_iter().flatten();
        bindings
            .enumerate()
            .map(|(place, binding)| (format!("bindings.{place}"), binding))
    }

    fn takes_a_topic(&self) -> bool {
        self.bindings()
            .any(|(_, binding)| member(binding, "topicName").is_some())
    }
}

/// A member, its name compared as the host does: without regard to case.
pub(super) fn member<'a>(json: &'a Value, key: &str) -> Option<&'a Value> {
    let members = json.as_object()?;
    let found = members
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key));
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

/// A member of members, by a path such as `extensions.serviceBus`.
pub(super) fn at<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(json, member)
}

fn read_settings(root: &Path, given: Option<&Path>, report: &mut Report) -> Option<SettingsFile> {
    let own = SETTINGS.map(|name| root.join(name));
    let path = match given {
        Some(path) => path.to_owned(),
        None => own.into_iter().find(|path| path.is_file())?,
    };
    let file = name_of(root, &path);
    match settings::read(&path) {
        Ok(values) => Some(SettingsFile { file, path, values }),
        Err(error) => {
            report.add(
                &file,
                "",
                format!("cannot be used: {error:#}"),
                "write it as local.settings.json, {\"IsEncrypted\": false, \"Values\": {\"NAME\": \"value\"}}, or as `az functionapp config appsettings list` does",
            );
            None
        }
    }
}

fn function_folders(dir: &Path) -> Vec<PathBuf> {
    let mut folders = folders(dir);
    folders.retain(|folder| folder.join("function.json").is_file());
    folders
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut entries = entries(dir);
    entries.retain(|path| path.is_dir());
    entries
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
