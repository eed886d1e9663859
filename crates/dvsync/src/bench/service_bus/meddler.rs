//! A network between client and broker that loses, holds back and tears apart.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to the bytes under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// What the broker says is lost; what it is told arrives. Good for nothing but a cut afterwards.
    Swallow,
    /// Nothing moves, either way.
    Stall,
    /// Half of the next piece, and then the end.
    Tear,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an earlier number are cut.
    era: u64,
}

/// Forwards connections to a broker. Ends, with them, when it is dropped.
pub(super) struct Meddler {
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
    port: u16,
}

impl Meddler {
    pub(super) async fn start(broker: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = watch::Sender::new(State {
            mode: Mode::Pass,
            era: 0,
        });
        let accepting = tokio::spawn(accept(listener, broker, state.clone()));
        Ok(Self {
            state,
            accepting,
            port,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.era += 1);
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, broker: SocketAddr, state: watch::Sender<State>) {
    let state = Arc::new(state);
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(broker).await {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                forward(client, server, &state).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(client: TcpStream, server: TcpStream, state: &watch::Sender<State>) {
    let era = state.borrow().era;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one direction ends, so does the other.
    tokio::select! {
        _ = pipe(from_client, to_server, state.subscribe(), era, false) => {}
        _ = pipe(from_server, to_client, state.subscribe(), era, true) => {}
    }
}

async fn pipe(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    era: u64,
    answers: bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => count?,
            _ = state.wait_for(|state| state.era != era) => return Ok(()),
        };
        if count == 0 {
            return Ok(());
        }
        let on = |state: &State| state.mode != Mode::Stall || state.era != era;
        let State { mode, era: now } = match state.wait_for(on).await {
            Ok(state) => *state,
            Err(_) => return Ok(()),
        };
        match mode {
            _ if now != era => return Ok(()),
            Mode::Swallow if answers => {}
            Mode::Tear if answers => {
                to.write_all(&buffer[..count.div_ceil(2)]).await?;
                return Ok(());
            }
            _ => to.write_all(&buffer[..count]).await?,
        }
    }
}
