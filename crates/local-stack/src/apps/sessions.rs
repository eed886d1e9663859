//! The package's variant for a queue with sessions.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{App, AppError};

/// Turns `isSessionsEnabled` on in the `function.json` of the outbound trigger of a laid-out app; the other
/// app has no trigger with sessions.
///
/// # Errors
/// [`AppError::File`].
pub fn enable_sessions(app: App, folder: &Path) -> Result<(), AppError> {
    if app != App::Outbound {
        return Ok(());
    }
    let path = folder.join("Outbound").join("function.json");
    let file = |source| AppError::File {
        path: path.clone(),
        source,
    };
    let text = fs::read_to_string(&path).map_err(file)?;
    let mut function: Value = serde_json::from_str(&text).map_err(|e| file(e.into()))?;
    for binding in function["bindings"].as_array_mut().into_iter().flatten() {
        if binding["type"] == "serviceBusTrigger" {
            binding["isSessionsEnabled"] = Value::Bool(true);
        }
    }
    fs::write(&path, function.to_string()).map_err(file)
}
