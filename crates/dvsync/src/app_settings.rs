//! Settings become the environment, as the Functions host hands them to an app: the SDK's identities and
//! the system's trust store are read from there by code that is not ours.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use sync_core::credentials::{CredentialKind, EntraTokens, SERVICE_BUS_SCOPE, TokenSource as _};
use sync_core::settings::{BusSetting, environment};

use crate::host::settings;

const FILE: &str = "local.settings.json";
/// What to do where there is no token.
const SIGN_IN: &str = "sign in with `az login`, to the tenant that the resources are in";

/// Starts this very command anew with the settings of the file, `local.settings.json` in the folder
/// unless another is given, unless they are the environment's already. The file wins: it says what the app
/// has, while this machine's environment is about this machine.
pub(crate) fn into_environment(dir: &Path, given: Option<&Path>) -> anyhow::Result<()> {
    let own = dir.join(FILE);
    let path = match given {
        Some(path) => path,
        None if own.is_file() => &own,
        None => return Ok(()),
    };
    if path.exists() && !path.is_file() {
        // It would be read twice.
        bail!(
            "{}: give a file; a pipe can be read once only",
            path.display()
        );
    }
    let values = settings::read(path).with_context(|| path.display().to_string())?;
    let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let different: Vec<_> = values
        .into_iter()
        .filter(|(name, value)| usable(name) && !value.is_empty())
        .filter(|(name, value)| environment(name).as_ref() != Some(value))
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe().context("this program is not found any more")?;
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(different)
        .exec();
    Err(error).context("the settings cannot be put into the environment")
}

/// Who works on the namespace. Who is not signed in, and would have to be, is told so at once, and not by a
/// broker that cannot be reached.
pub(crate) async fn signed_in(
    kind: &CredentialKind,
    bus: &BusSetting,
) -> anyhow::Result<Arc<EntraTokens>> {
    let own = Arc::new(EntraTokens::new(kind).context(SIGN_IN)?);
    if matches!(bus, BusSetting::Namespace(_)) {
        let token = own.token(SERVICE_BUS_SCOPE).await;
        token.map_err(|failure| anyhow!(failure.message).context(SIGN_IN))?;
    }
    Ok(own)
}
