//! The requests that the target's own client makes, overheard on this machine: what is shown is what
//! would be sent, whatever the client is set up with. The secret is never fetched; its place is shown.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use sync_core::config::{SyncConfig, TableConfig, TargetAuth};
use sync_core::credentials::{Secret, SecretSource};
use sync_core::failure::Failure;
use sync_core::ports::{Delivery, Target};
use sync_core::target::{HttpTarget, HttpTargetParts};
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
    let mut called = config.target.clone();
    let proof = proof(&called.auth, secret_name);
    if proof.is_some() {
        // No token is got, and no certificate shown: what would prove it is written in below.
        called.auth = TargetAuth::Bearer;
    }
    let target = HttpTarget::new(HttpTargetParts {
        base: here,
        config: called,
        secrets: Arc::new(Unfetched),
        secret_name: secret_name.to_owned(),
        roots: Vec::new(),
    })?;
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
    if let Some(proof) = proof {
        let headers = requests.iter_mut().flat_map(|r| &mut r.headers);
        for header in headers.filter(|(name, _)| name == "authorization") {
            header.clone_from(&proof);
        }
    }
    Ok(requests)
}

/// What stands in the place of the header, where it is not the secret itself.
fn proof(auth: &TargetAuth, secret_name: &str) -> Option<(String, String)> {
    let (name, value) = match auth {
        TargetAuth::ApiKey { .. } | TargetAuth::Bearer => return None,
        TargetAuth::Basic { user } => (
            "authorization",
            format!("Basic <{user} and secret {secret_name}>"),
        ),
        TargetAuth::OAuth2(settings) => (
            "authorization",
            format!(
                "Bearer <token of {} for {}, by secret {secret_name}>",
                settings.token_url, settings.client_id
            ),
        ),
        TargetAuth::ClientCertificate => {
            ("(TLS)", format!("<certificate in secret {secret_name}>"))
        }
    };
    Some((name.to_owned(), value))
}

/// Ends only when something is wrong.
async fn listen(
    listener: &TcpListener,
    origin: &str,
    requests: &mut Vec<Request>,
) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        take(stream, origin, requests).await?;
    }
}

/// One request for each connection: a client may open the next while it keeps one that is idle.
async fn take(stream: TcpStream, origin: &str, requests: &mut Vec<Request>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    if stream.read_line(&mut first).await? == 0 {
        return Ok(());
    }
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
    // Their order says nothing, and would differ with the client.
    headers.sort();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    requests.push(Request {
        method,
        url,
        headers,
        body,
    });
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        .await?;
    stream.shutdown().await?;
    Ok(())
}
