//! An app unpacked, as `func start` runs it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::contents::Contents;

const SETTINGS: &str = "local.settings.json";

/// Lays an app out in `folder`: nothing of an earlier package stays there but `local.settings.json`, which
/// is somebody's. Where there is none yet it is made of the example.
pub(super) fn lay_out(app: &Contents, folder: &Path, root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let function = path.join("function.json").is_file();
        let sync = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("sync.") && name.ends_with(".json")
        });
        let removed = if function {
            fs::remove_dir_all(&path)
        } else if sync {
            fs::remove_file(&path)
        } else {
            Ok(())
        };
        removed.with_context(|| path.display().to_string())?;
    }
    app.write(folder)?;
    let (example, own) = (
        root.join("local.settings.json.example"),
        folder.join(SETTINGS),
    );
    if own.exists() || !example.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(&example).with_context(|| example.display().to_string())?;
    let mut settings: Value =
        serde_json::from_str(&text).with_context(|| example.display().to_string())?;
    for (name, value) in app.settings() {
        match value {
            Some(value) => settings["Values"][name] = value.into(),
            None => {
                if let Some(values) = settings["Values"].as_object_mut() {
                    values.shift_remove(name);
                }
            }
        }
    }
    fs::write(&own, serde_json::to_string_pretty(&settings)? + "\n")
        .with_context(|| own.display().to_string())
}
