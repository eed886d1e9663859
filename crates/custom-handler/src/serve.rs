//! Binding where the host expects the handler, and draining when told to stop.

use std::ffi::OsString;
use std::future::Future;
use std::net::Ipv4Addr;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::HandlerApp;

/// The environment variable in which the host names the port.
pub const PORT_VARIABLE: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

/// The exit code after which the host restarts the handler without counting a crash.
pub const RESTART_EXIT_CODE: u8 = 200;

/// Where to listen.
#[derive(Debug)]
pub enum Bind {
    /// `127.0.0.1`, on the port named by [`PORT_VARIABLE`]: where the host calls.
    Environment,
    /// A listener that is already bound.
    Listener(TcpListener),
}

impl From<TcpListener> for Bind {
    fn from(listener: TcpListener) -> Self {
        Self::Listener(listener)
    }
}

/// Why serving ended, or never began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The host always sets the variable, so the binary was started by hand.
    #[error(
        "{PORT_VARIABLE} is not set; the Functions host sets it, by hand use for example {PORT_VARIABLE}=8080"
    )]
    PortMissing,
    /// The variable is not a port.
    #[error(
        "{PORT_VARIABLE} is {value:?}, which is not a port; use for example {PORT_VARIABLE}=8080"
    )]
    PortInvalid {
        /// Its value.
        value: OsString,
    },
    /// The port could not be bound.
    #[error("cannot listen on 127.0.0.1:{port} ({PORT_VARIABLE})")]
    Bind {
        /// The port.
        port: u16,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Serving ended although nothing asked for it.
    #[error("the server stopped without being asked to")]
    Stopped(#[source] Option<std::io::Error>),
}

impl HandlerApp {
    /// Serves the host until `shutdown` completes, then takes no new invocation and waits for those in
    /// flight, however long they take: the platform's SIGKILL is the bound.
    ///
    /// Returns `Ok` only when `shutdown` completed and all invocations have been answered; even then the
    /// binary must not exit with code 0, see the crate's documentation.
    ///
    /// # Errors
    /// [`ServeError`], after which the binary exits with a failure code so that the host restarts it.
    pub async fn serve(
        self,
        bind: impl Into<Bind>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let listener = match bind.into() {
            Bind::Listener(listener) => listener,
            Bind::Environment => {
                let port = port(std::env::var_os(PORT_VARIABLE))?;
                let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
                bound.map_err(|source| ServeError::Bind { port, source })?
            }
        };
        // A small answer must not wait for the acknowledgement of the one before it.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let in_flight = self.in_flight();
        let (asked, was_asked) = tokio::sync::oneshot::channel();
        let shutdown = async move {
            shutdown.await;
            let _ = asked.send(());
        };
        let served = axum::serve(listener, self.into_router())
            .with_graceful_shutdown(shutdown)
            .await;
        served.map_err(|error| ServeError::Stopped(Some(error)))?;
        was_asked.await.map_err(|_| ServeError::Stopped(None))?;
        // An invocation outlives its connection, so the server's own drain is not enough.
        in_flight.wait_for_zero().await;
        Ok(())
    }
}

fn port(value: Option<OsString>) -> Result<u16, ServeError> {
    let value = value.ok_or(ServeError::PortMissing)?;
    let port = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|port| *port != 0);
    port.ok_or(ServeError::PortInvalid { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_the_port_name_the_variable_and_an_example() {
        assert_eq!(port(Some("7071".into())).unwrap(), 7071);
        for value in [
            None,
            Some("".into()),
            Some("0".into()),
            Some("70710".into()),
            Some("http".into()),
        ] {
            let message = port(value).unwrap_err().to_string();
            assert!(
                message.contains("FUNCTIONS_CUSTOMHANDLER_PORT=8080"),
                "{message}"
            );
        }
    }
}
