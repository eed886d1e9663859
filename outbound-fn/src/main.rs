//! The function app that faces the target system.
//!
//! One function, `Outbound`: takes a notification, delivers the latest state of its row, sends the
//! acknowledgement.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;

use custom_handler::{HandlerApp, Invocation, InvocationFailed, Reply};
use sync_core::guarded::{Guard, Guarded};
use sync_core::outbound::{Outbound, OutboundParts};
use sync_core::ports::{SystemClock, system_rng};
use sync_core::queue::ServiceBusQueue;
use sync_core::settings::{TargetSettings, VaultSettings, environment, rejected_queue};
use sync_core::target::{HttpTarget, HttpTargetParts};
use telemetry::Telemetry;
use tracing::Instrument as _;

fn main() -> ExitCode {
    function_app::run("outbound-fn", build)
}

async fn build(telemetry: &Telemetry) -> anyhow::Result<HandlerApp> {
    let app = function_app::start(telemetry)?;
    let target = TargetSettings::read(&environment)?;
    let config = Arc::clone(app.settings.config()?);
    let notifications = app.notifications().await?;
    app.watch_queue(telemetry, notifications.entity());
    let source: Arc<str> = notifications.source().into();
    let vault = app.vault.ok_or_else(VaultSettings::missing)?;
    let customers = HttpTarget::new(HttpTargetParts {
        base: target.url,
        config: config.target.clone(),
        secrets: vault,
        secret_name: target.secret_name,
        roots: target.roots,
    })?;
    let (breaker, dataverse) = (config.breaker.clone(), Arc::new(app.dataverse));
    let mut outbound = Outbound::new(OutboundParts {
        config,
        source: Arc::new(Guarded::new(
            Guard::new("Dataverse", breaker.clone()),
            dataverse,
        )),
        target: Arc::new(Guarded::new(
            Guard::new("target", breaker),
            Arc::new(customers),
        )),
        outbound: notifications,
        inbound: app.inbound,
        clock: Arc::new(SystemClock),
        rng: system_rng(),
        deadline: app.settings.deadline,
    });
    if app.settings.sessions {
        let rejected = ServiceBusQueue::new(app.bus, rejected_queue(&environment)?);
        outbound = outbound.rejecting_to(Arc::new(rejected));
    }
    Ok(
        HandlerApp::new().function("Outbound", move |invocation: Invocation| {
            let (outbound, source) = (outbound.clone(), Arc::clone(&source));
            async move {
                let message =
                    function_app::message(invocation.service_bus_message("notification")?);
                let span = function_app::attempt("Outbound", &invocation, &source, &message);
                outbound.handle(message).instrument(span).await?;
                Ok::<_, InvocationFailed>(Reply::ok())
            }
        }),
    )
}
