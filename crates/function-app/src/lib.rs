//! What the two function apps share: start-up, shutdown, and the way from the trigger's message to
//! sync-core's.
//!
//! It exists so that neither sync-core knows the Functions host nor custom-handler knows sync.
#![forbid(unsafe_code)]

mod attempt;
mod deadline;
mod message;
mod oldest;
mod sessions;
pub mod settings;
mod subscription;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use custom_handler::{Bind, HandlerApp, RESTART_EXIT_CODE};
use service_bus::Client;
use sync_core::credentials::{
    Application, ApplicationTokens, CredentialKind, EntraTokens, KeyVault, TokenSource,
};
use sync_core::dataverse::DataverseClient;
use sync_core::queue::ServiceBusQueue;
use sync_core::settings::{Settings, VaultSettings, environment};
use telemetry::{Bearer, SendAs, Telemetry, TelemetrySettings};
use tracing::{error, info};

pub use attempt::attempt;
pub use deadline::{AFTERWARDS, WithinReach, within_reach};
pub use message::message;

/// What both apps work with.
pub struct App {
    /// App settings and sync files.
    pub settings: Settings,
    /// Tokens of the app's identity.
    pub tokens: Arc<EntraTokens>,
    /// Key Vault, where one is set up.
    pub vault: Option<Arc<KeyVault>>,
    /// The Dataverse environment.
    pub dataverse: DataverseClient,
    /// The Service Bus namespace.
    pub bus: Client,
    /// The queue of acknowledgements.
    pub inbound: Arc<ServiceBusQueue>,
}

/// Reads settings and builds clients. Nothing is fetched or connected yet: credentials are got when a
/// message has proved valid. Called on the runtime that will serve.
///
/// # Errors
/// When a setting is missing or wrong; the text names it.
pub fn start(telemetry: &Telemetry) -> anyhow::Result<App> {
    let settings = Settings::read(&environment)?;
    deadline::check(settings.deadline, &settings.app_root)?;
    sessions::check(settings.sessions, &settings.app_root)?;
    let tokens = EntraTokens::new(&settings.identity)
        .context("the identity cannot be used; locally, sign in with `az login`")?;
    let tokens = Arc::new(tokens);
    if let Some(send_as) = telemetry.send_as() {
        let tokens = telemetry_tokens(send_as, &tokens)?;
        telemetry.authenticate(Arc::new(Sender(tokens)));
    }
    let vault = settings.vault.as_ref().map(|v| {
        let own = Arc::clone(&tokens);
        KeyVault::new(&v.url, own, v.verify_challenge, v.fresh_for).map(Arc::new)
    });
    let vault = vault.transpose()?;
    let dataverse = DataverseClient::new(
        &settings.dataverse.url,
        dataverse_identities(&settings, &tokens, vault.as_ref())
            .into_iter()
            .collect::<anyhow::Result<_>>()?,
        settings.dataverse.options(),
    )?;
    let bus = settings.bus_client(&tokens)?;
    dataverse.observe();
    tokio::spawn(dataverse.clone().report(settings.dataverse.report_every));
    Ok(App {
        inbound: Arc::new(ServiceBusQueue::new(bus.clone(), &settings.inbound_queue)),
        bus,
        settings,
        tokens,
        vault,
        dataverse,
    })
}

impl App {
    /// Watches the age of what is on the app's queue, `entity`, if anybody wants to know.
    pub fn watch_queue(&self, telemetry: &Telemetry, entity: &str) {
        if let Some(every) = telemetry.metrics_every() {
            tokio::spawn(oldest::watch(self.bus.clone(), entity.to_owned(), every));
        }
    }
}

/// The identity that telemetry is sent as.
struct Sender(Arc<EntraTokens>);

#[async_trait]
impl Bearer for Sender {
    async fn token(&self) -> Result<String, String> {
        let token = self.0.token(telemetry::SCOPE).await;
        token
            .map(|token| token.secret().to_owned())
            .map_err(|failure| failure.to_string())
    }
}

/// The identity that telemetry is sent as: one of its own, or the app's.
///
/// # Errors
/// When there is no such identity here.
pub fn telemetry_tokens(
    send_as: &SendAs,
    own: &Arc<EntraTokens>,
) -> anyhow::Result<Arc<EntraTokens>> {
    if send_as.client_id.is_none() {
        return Ok(Arc::clone(own));
    }
    let client_id = send_as.client_id.clone();
    EntraTokens::new(&CredentialKind::ManagedIdentity { client_id })
        .map(Arc::new)
        .context("the identity of APPLICATIONINSIGHTS_AUTHENTICATION_STRING cannot be used")
}

/// The identities that share the requests to Dataverse out: those that are named, or the app's own. One
/// that cannot be used is an error in its place.
#[must_use]
pub fn dataverse_identities(
    settings: &Settings,
    own: &Arc<EntraTokens>,
    vault: Option<&Arc<KeyVault>>,
) -> Vec<anyhow::Result<Arc<dyn TokenSource>>> {
    let dataverse = &settings.dataverse;
    if dataverse.client_ids.is_empty() && dataverse.applications.is_empty() {
        return vec![Ok(Arc::clone(own) as _)];
    }
    let identity = |id: &String| {
        let client_id = Some(id.clone());
        let tokens = EntraTokens::new(&CredentialKind::ManagedIdentity { client_id })
            .with_context(|| format!("{id} of DATAVERSE_CLIENT_IDS cannot be used"))?;
        Ok(Arc::new(tokens) as _)
    };
    let application = |application: &Application| {
        let secrets = Arc::clone(vault.ok_or_else(VaultSettings::missing)?);
        let authority = dataverse.authority.clone();
        let tokens = ApplicationTokens::new(application.clone(), authority, secrets);
        Ok(Arc::new(tokens) as _)
    };
    let managed = dataverse.client_ids.iter().map(identity);
    managed
        .chain(dataverse.applications.iter().map(application))
        .collect()
}

/// The body of an app's `main`: set-up, then serving until SIGTERM, then the drain.
///
/// Never exit code 0: the host would not start the handler again, and fail every later invocation.
pub fn run(
    app: &str,
    build: impl AsyncFnOnce(&Telemetry) -> anyhow::Result<HandlerApp>,
) -> ExitCode {
    // The only provider of the process, installed before any client exists; a second one would be a
    // programming error that the first TLS connection reports.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            println!("the runtime cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let telemetry = TelemetrySettings::read(&environment, app)
        .map_err(anyhow::Error::from)
        .and_then(|settings| Ok(Telemetry::start(&settings, runtime.handle().clone())?));
    let telemetry = match telemetry {
        Ok(telemetry) => telemetry,
        Err(e) => {
            // Nothing else may be set up for it yet.
            println!("{e:#}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(async {
        let app = build(&telemetry).await?;
        info!("ready to serve");
        app.serve(Bind::Environment, terminated())
            .await
            .context("serving ended")
    });
    let code = match served {
        Ok(()) => ExitCode::from(RESTART_EXIT_CODE),
        Err(e) => {
            error!("{e:#}");
            ExitCode::FAILURE
        }
    };
    // The runtime still runs: the last requests need it.
    telemetry.end();
    code
}

/// Completes on SIGTERM, which the platform may or may not pass on.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
