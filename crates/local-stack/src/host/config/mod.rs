//! Reads a packaged app: `host.json` and every `<Function>/function.json`.

mod examine;
mod function_json;
mod host_json;
mod json;
mod retry;
mod route;
mod settings;
mod time_span;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use examine::{Refusal, examine, host_json, time_span};
pub(crate) use function_json::{
    BodyType, FunctionConfig, HttpTriggerConfig, OutputBinding, ServiceBusTriggerConfig,
    TimerConfig, TriggerConfig,
};
pub(crate) use host_json::HostJson;
pub(crate) use route::Parameters;
pub(crate) use settings::{Connection, IdentityConfig, Settings};
pub(crate) use time_span::{parse_time_span, positive};

/// What is wrong with a packaged app, so that no host could run it, or this stand-in cannot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{} is not JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it is not.
        source: serde_json::Error,
    },
    /// A value in `host.json` would keep the host from starting, or is not modelled here.
    #[error("host.json: {key}: {reason}")]
    HostJson {
        /// The path of the value.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A function would not be indexed, or uses something that is not modelled here.
    #[error("{function}/function.json: {reason}")]
    Function {
        /// The function's folder.
        function: String,
        /// What is wrong, naming the key.
        reason: String,
    },
    /// An app setting is missing or cannot be used.
    #[error("app setting {name}: {reason}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to run.
    #[error("no function in {}: no folder has a function.json", app_dir.display())]
    NoFunctions {
        /// The app's folder.
        app_dir: PathBuf,
    },
}

/// A packaged app, checked.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) dir: PathBuf,
    pub(crate) host: HostJson,
    pub(crate) functions: Vec<FunctionConfig>,
}

impl App {
    /// Reads and checks the app in `dir` under the given app settings.
    pub(crate) fn load(dir: &Path, settings: &Settings) -> Result<Self, AppError> {
        let dir = std::path::absolute(dir).map_err(|source| read_error(dir, source))?;
        let host = HostJson::load(&dir, settings)?;
        let mut functions = Vec::new();
        for folder in function_folders(&dir)? {
            functions.extend(FunctionConfig::load(&folder, settings)?);
        }
        if functions.is_empty() {
            return Err(AppError::NoFunctions { app_dir: dir });
        }
        host.check_bundle(&functions)?;
        host.check_batches(&functions)?;
        for function in &mut functions {
            if function.retry.is_none() {
                function.retry.clone_from(&host.retry);
            }
        }
        Ok(Self {
            dir,
            host,
            functions,
        })
    }
}

impl App {
    /// The functions with HTTP triggers.
    pub(crate) fn http_functions(
        &self,
    ) -> impl Iterator<Item = (&FunctionConfig, &HttpTriggerConfig)> {
        let functions = self.functions.iter();
        functions.filter_map(|function| match &function.trigger {
            TriggerConfig::Http(http) => Some((function, http)),
            TriggerConfig::ServiceBus(_) | TriggerConfig::Timer(_) => None,
        })
    }
}

/// The names of the connections that an app's bindings use; `AzureWebJobsServiceBus` where a Service
/// Bus binding names none.
///
/// # Errors
/// When a file cannot be read.
pub fn connection_names(app_dir: &Path) -> Result<BTreeSet<String>, AppError> {
    let mut names = BTreeSet::new();
    for folder in function_folders(app_dir)? {
        let json = read_json(&folder.join("function.json"))?;
        let bindings = json::member(&json, "bindings").and_then(serde_json::Value::as_array);
        for binding in bindings.into_iter().flatten() {
            let text = |key| json::member(binding, key).and_then(serde_json::Value::as_str);
            let kind = text("type").unwrap_or_default().to_ascii_lowercase();
            if kind.starts_with("servicebus") {
                let name = text("connection").filter(|name| !name.is_empty());
                names.insert(name.unwrap_or(Settings::DEFAULT_CONNECTION).to_owned());
            }
        }
    }
    Ok(names)
}

fn function_folders(dir: &Path) -> Result<Vec<PathBuf>, AppError> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|source| read_error(dir, source))? {
        let path = entry.map_err(|source| read_error(dir, source))?.path();
        if path.join("function.json").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_error(path: &Path, source: std::io::Error) -> AppError {
    AppError::Read {
        path: path.to_owned(),
        source,
    }
}

fn read_json(path: &Path) -> Result<serde_json::Value, AppError> {
    let bytes = std::fs::read(path).map_err(|source| read_error(path, source))?;
    // The host's JSON reader accepts a byte order mark.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    serde_json::from_slice(bytes).map_err(|source| AppError::Json {
        path: path.to_owned(),
        source,
    })
}
