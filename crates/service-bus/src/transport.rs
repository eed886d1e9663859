//! The byte stream to the broker: TCP without Nagle's delay, and TLS.
//!
//! The AMQP library could open the connection itself, but leaves Nagle's algorithm on: together with
//! delayed acknowledgements that costs some 40 ms on every round trip.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::connection_string::Endpoint;
use crate::error::ErrorKind;
use crate::wire::failure::lost;

/// Any byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Io for T {}

/// Connects to the endpoint.
pub(crate) async fn dial(endpoint: &Endpoint) -> Result<Box<dyn Io>, ErrorKind> {
    let failed =
        |error: std::io::Error| lost(format!("{}:{}: {error}", endpoint.host, endpoint.port));
    // `Endpoint::host` has an IPv6 address in brackets, as it stands in a URL.
    let host = endpoint.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, endpoint.port))
        .await
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if !endpoint.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ErrorKind::Invalid(format!("the host name {host}: {error}")))?;
    // Reads the system's certificate files.
    let config = tokio::task::spawn_blocking(tls_config)
        .await
        .map_err(lost)??;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(failed)?;
    Ok(Box::new(stream))
}

fn tls_config() -> Result<Arc<ClientConfig>, ErrorKind> {
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        return Err(lost("TLS: the system has no root certificates"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(lost)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
