//! The requests that the target's own client makes, overheard on this machine: what is shown is what
//! would be sent, whatever the client is set up with. The secret is never fetched; its place is shown.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::credentials::{Secret, SecretSource};
use sync_core::failure::Failure;
use sync_core::ports::{Delivery, Target};
use sync_core::target::HttpTarget;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A request as it went over the wire.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    /// In full, at the real target.
    pub(super) url: String,
    /// Without those that the connection decides.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Stands for the secret.
struct Unfetched;

#[async_trait]
impl SecretSource for Unfetched {
    async fn secret(&self, name: &str) -> Result<Secret, Failure> {
        Ok(Secret::new(format!("<secret {name}>")))
    }

    fn forget(&self, _: &str, _: &Secret) {}
}

/// The requests that this delivery to the target at `base` is made of.
pub(super) async fn requests(
    base: &Url,
    secret_name: &str,
    config: &SyncConfig,
    table: &TableConfig,
    delivery: &Delivery,
) -> anyhow::Result<Vec<Request>> {
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        if std::env::var_os(name).is_some() {
            bail!("{name} is set, and the row must not go there: run this without it");
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut here = base.clone();
    let _ = here.set_scheme("http");
    here.set_host(Some("127.0.0.1"))?;
    let _ = here.set_port(Some(listener.local_addr()?.port()));
    let origin = base.origin().ascii_serialization();
    let target = HttpTarget::new(
        here,
        config.target.clone(),
        Arc::new(Unfetched),
        secret_name,
    )?;
    let mut requests = Vec::new();
    let quiet = tokio::time::timeout(Duration::from_secs(60), target.deliver(table, delivery));
    tokio::select! {
        // What it makes of the answers is of no interest.
        _ = quiet => {}
        broken = listen(&listener, &origin, &mut requests) => broken?,
    }
    if requests.is_empty() {
        bail!("the target's client made no request");
    }
    Ok(requests)
}

/// Ends only when something is wrong.
async fn listen(
    listener: &TcpListener,
    origin: &str,
    requests: &mut Vec<Request>,
) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        while_open(stream, origin, requests).await?;
    }
}

async fn while_open(
    stream: TcpStream,
    origin: &str,
    requests: &mut Vec<Request>,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    while stream.read_line(&mut first).await? > 0 {
        let mut words = first.split_whitespace();
        let method = words.next().context("no method")?.to_owned();
        let url = format!("{origin}{}", words.next().context("no path")?);
        let (mut headers, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            match name {
                "content-length" => length = value.parse()?,
                "host" | "accept-encoding" => {}
                _ => headers.push((name.to_owned(), value.to_owned())),
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        requests.push(Request {
            method,
            url,
            headers,
            body,
        });
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .await?;
        first.clear();
    }
    Ok(())
}
