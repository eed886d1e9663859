//! Listening, cutting connections and stopping: what every HTTP stand-in shares.
//!
//! Faults below HTTP belong here too: a handler can cut the connection its request came on, before
//! or after it did the work.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Why a stand-in did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port could not be had.
    #[error("the {stand_in} stand-in cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// Which stand-in.
        stand_in: &'static str,
        /// The port asked for; 0 means any.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration contradicts itself.
    #[error("the {stand_in} stand-in cannot start: {reason}")]
    Config {
        /// Which stand-in.
        stand_in: &'static str,
        /// What is wrong, naming the setting.
        reason: String,
    },
}

/// A listening socket on loopback that does not serve yet, so that its address can be told to the
/// service that will stand behind it.
pub(crate) struct Bound {
    tcp: TcpListener,
    addr: SocketAddr,
}

impl Bound {
    /// Takes `port` on 127.0.0.1; 0 lets the system choose.
    pub(crate) async fn take(stand_in: &'static str, port: u16) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen {
            stand_in,
            port,
            source,
        };
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let addr = tcp.local_addr().map_err(listen)?;
        Ok(Self { tcp, addr })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `router` until the returned handle is stopped or dropped.
    pub(crate) fn serve(self, router: Router, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
        let stop = CancellationToken::new();
        let listener = Listener {
            tcp: self.tcp,
            tls: tls.map(TlsAcceptor::from),
            handshakes: JoinSet::new(),
        };
        let service = router.into_make_service_with_connect_info::<Connection>();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            // axum's serve loop has no error to give: accepting is this module's own code.
            let _ = axum::serve(listener, service)
                .with_graceful_shutdown(stopped)
                .await;
        });
        Server {
            addr: self.addr,
            stop,
            task: Some(task),
        }
    }
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets requests that are being answered finish, and returns.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A request held back on purpose must not hold the shutdown back.
            let _ = tokio::time::timeout(Duration::from_secs(2), task).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The connection a request came on, as a request extension
/// ([`ConnectInfo<Connection>`](axum::extract::ConnectInfo)).
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection {
    cut: Arc<AtomicBool>,
}

impl Connection {
    /// Breaks the connection: whatever the handler answers from now on never arrives.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Listener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().connection.clone()
    }
}

struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    handshakes: JoinSet<io::Result<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                accepted = self.tcp.accept() => {
                    let Ok((tcp, peer)) = accepted else {
                        // Out of file descriptors, most likely: do not spin while that lasts.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    let _ = tcp.set_nodelay(true);
                    let Some(acceptor) = self.tls.clone() else {
                        return (Stream::new(Io::Plain(tcp)), peer);
                    };
                    // In a task of its own, so that one slow handshake delays nobody else.
                    self.handshakes
                        .spawn(async move { Ok((acceptor.accept(tcp).await?, peer)) });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Ok((tls, peer))) = done {
                        return (Stream::new(Io::Tls(Box::new(tls))), peer);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that can be cut from outside.
struct Stream {
    io: Io,
    connection: Connection,
}

impl Stream {
    fn new(io: Io) -> Self {
        Self {
            io,
            connection: Connection::default(),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.connection.cut.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Io::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        };
        // Checked after the read: the switch may have been thrown while it waited.
        match (polled, self.check()) {
            (Poll::Ready(_), Err(cut)) => Poll::Ready(Err(cut)),
            (polled, _) => polled,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Err(cut) = self.check() {
            return Poll::Ready(Err(cut));
        }
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Io::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
