//! The HTTP stand-ins, each over real HTTP, as their callers meet them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bus_admin;
mod dataverse;
mod identity;
mod insights;
mod target;
mod vault;

/// A client with the workspace's TLS provider.
fn client() -> reqwest::Client {
    // The second test to install it is told that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
