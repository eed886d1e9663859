//! The function apps of a stack: laid out, and run by the host stand-in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{StackConfig, StackError};
use crate::apps::{self, App, SyncFile};
use crate::host::{Fleet, HostConfig, LineSink};
use crate::identity::Identity;

/// Lays apps out and runs them.
pub(super) struct Launcher<'a> {
    pub(super) config: &'a StackConfig,
    pub(super) folder: &'a Path,
    pub(super) settings: &'a BTreeMap<String, String>,
    pub(super) identity: &'a Identity,
}

impl Launcher<'_> {
    /// Runs an app, of the further target `of` where that is not empty, with `own` settings on top.
    pub(super) async fn start<const N: usize>(
        &self,
        app: App,
        of: &str,
        files: &[&SyncFile],
        own: [(&str, String); N],
    ) -> Result<Fleet, StackError> {
        let config = self.config;
        let name = match of {
            "" => app.binary().to_owned(),
            of => format!("{}-{of}", app.binary()),
        };
        let app_dir = match &config.packages {
            Some(packages) => packages.join(&name),
            None => {
                let app_dir = self.folder.join(&name);
                apps::lay_out(app, config.form, &config.binaries, &app_dir, files)?;
                app_dir
            }
        };
        if config.sessions {
            apps::enable_sessions(app, &app_dir)?;
        }
        let mut settings = self.settings.clone();
        if config.telemetry.is_some() {
            let site = settings.entry("WEBSITE_SITE_NAME".to_owned());
            site.or_insert_with(|| name.clone());
        }
        settings.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let mut host = HostConfig::new(app_dir, settings);
        host.restart_host = true;
        let app = name.clone();
        host.on_line = config
            .on_line
            .clone()
            .map(|on_line| -> LineSink { Arc::new(move |line| on_line(&app, line)) });
        // Each instance has a header of its own, so that the endpoint can tell who asked for what. Settings
        // that name one on purpose stay.
        let headers: Vec<String> = (1..=config.instances.max(1))
            .map(|number| self.identity.instance_header(&instance_name(&name, number)))
            .collect();
        let is_own =
            host.settings.get("IDENTITY_HEADER") == Some(&self.identity.header().to_owned());
        let instance = |number: usize| {
            let mut host = host.clone();
            if let Some(header) = headers.get(number).filter(|_| is_own) {
                host.settings
                    .insert("IDENTITY_HEADER".to_owned(), header.clone());
            }
            host
        };
        Ok(Fleet::start(config.instances, instance).await?)
    }
}

/// What an instance of an app is called in the identity endpoint's records; the first is number 1.
pub fn instance_name(app: &str, number: usize) -> String {
    format!("{app}#{number}")
}
