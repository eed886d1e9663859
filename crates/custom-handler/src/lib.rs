//! The Azure Functions host's custom-handler contract (host v4) as typed axum pieces.
//!
//! The host starts the handler as a child process, waits until `GET /` answers, then sends one
//! `POST /<FunctionName>` per trigger event and reads one JSON answer. This crate is that HTTP side:
//! decoding what the host sends, keeping the rules whose breach the host punishes silently (an empty
//! 2xx hangs an invocation until its timeout, exit code 0 is never restarted), and nothing else. It
//! knows nothing of what the functions do.
//!
//! ```no_run
//! # use custom_handler::{Bind, HandlerApp, Invocation, InvocationFailed, Reply};
//! # async fn example() -> Result<(), custom_handler::ServeError> {
//! HandlerApp::new()
//!     .function("Orders", |invocation: Invocation| async move {
//!         let message = invocation.service_bus_message("msg")?;
//!         Ok::<_, InvocationFailed>(Reply::ok().log(format!("{} bytes", message.body.len())))
//!     })
//!     .serve(Bind::Environment, std::future::pending())
//!     .await
//! # }
//! ```
//!
//! # Exit codes
//!
//! The host restarts a handler that ends with any code but 0, and counts it as a crash unless the code
//! is [`RESTART_EXIT_CODE`]. After code 0 it restarts nothing and fails every later invocation. A
//! binary therefore never returns success from `main`: an error from [`HandlerApp::serve`] becomes a
//! failure code, and a finished drain becomes [`RESTART_EXIT_CODE`], which costs nothing when the whole
//! instance is going away and brings the handler back when only the handler was told to stop.
//!
//! # Layout
//!
//! `app` routes and runs invocations, `serve` binds and drains, `invocation` decodes the envelope,
//! `metadata` the values in it key by key, `service_bus` and `timer` the two trigger types, `reply`
//! what goes back.

mod app;
mod error;
mod in_flight;
mod invocation;
mod metadata;
mod reply;
mod serve;
mod service_bus;
mod timer;

pub use app::HandlerApp;
pub use error::DecodeError;
pub use in_flight::InFlight;
pub use invocation::{Invocation, RetryContext};
pub use reply::{InvocationFailed, Reply};
pub use serve::{Bind, PORT_VARIABLE, RESTART_EXIT_CODE, ServeError};
pub use service_bus::ServiceBusTrigger;
pub use timer::{ScheduleStatus, TimerTrigger};
