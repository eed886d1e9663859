//! The function app that faces Dataverse.
//!
//! Two functions: `Inbound` writes acknowledgements to their source rows; `OutboxSweep`, a timer, posts
//! the notifications that the plug-in could not.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;

use custom_handler::{HandlerApp, Invocation, InvocationFailed, Reply};
use sync_core::dataverse::DataverseOutbox;
use sync_core::guarded::{Guard, Guarded};
use sync_core::inbound::Inbound;
use sync_core::outbox::{Sweeper, Swept};
use sync_core::ports::{SystemClock, system_rng};
use sync_core::queue::Settler;
use sync_core::settings::environment;
use sync_core::settings::table::{LAG_OBJECTIVE_SECONDS, SWEEP_LEASE_SECONDS};
use telemetry::Telemetry;
use tracing::{Instrument as _, info};

fn main() -> ExitCode {
    function_app::run("inbound-fn", build)
}

async fn build(telemetry: &Telemetry) -> anyhow::Result<HandlerApp> {
    let app = function_app::start(telemetry)?;
    let lease = SWEEP_LEASE_SECONDS.duration(&environment)?;
    let (deadline, sessions) = (app.settings.deadline, app.settings.sessions);
    let posting = app.posting();
    app.watch_queue(telemetry, app.inbound.entity());
    let source: Arc<str> = app.inbound.source().into();
    let objective = LAG_OBJECTIVE_SECONDS.duration(&environment)?;
    let (clock, rng) = (Arc::new(SystemClock), system_rng());
    let files = app.settings.files;
    let guard = Guard::new("Dataverse", files.first().breaker.clone());
    let inbound = Inbound::new(
        files,
        Arc::new(Guarded::new(guard, Arc::new(app.dataverse.clone()))),
        Settler::new(app.inbound, clock.clone(), rng.clone()),
        rng.clone(),
        app.settings.deadline,
    )
    .with_lag_objective(objective);
    let sweeper = Sweeper::new(
        Arc::new(DataverseOutbox(app.dataverse)),
        posting,
        clock,
        rng,
        lease,
    )
    .with_deadline(deadline)
    .with_sessions(sessions);
    Ok(HandlerApp::new()
        .function("Inbound", move |invocation: Invocation| {
            let (inbound, source) = (inbound.clone(), Arc::clone(&source));
            async move {
                let message =
                    function_app::message(invocation.service_bus_message("acknowledgement")?);
                let span = function_app::attempt("Inbound", &invocation, &source, &message);
                inbound.handle(message).instrument(span).await?;
                Ok::<_, InvocationFailed>(Reply::ok())
            }
        })
        .function("OutboxSweep", move |invocation: Invocation| {
            let sweeper = sweeper.clone();
            async move {
                invocation.timer("tick")?;
                let swept = sweeper.sweep().await?;
                if swept != Swept::default() {
                    info!(
                        outbox.sent = swept.sent,
                        outbox.kept = swept.kept,
                        outbox.unusable = swept.unusable,
                        outbox.lost_races = swept.lost_races,
                        "outbox swept: {} sent, {} kept",
                        swept.sent,
                        swept.kept
                    );
                }
                Ok::<_, InvocationFailed>(Reply::ok())
            }
        }))
}
