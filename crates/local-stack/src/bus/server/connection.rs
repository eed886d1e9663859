//! One connection's task: moves bytes between a socket and the protocol engine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};

use super::disturbed::Cut;
use super::engine::{Engine, IDLE_TIMEOUT, MAX_FRAME_SIZE};
use super::entity::Clock;
use super::failure::{connection_forced, error};
use super::gate::Gate;
use super::handshake::{HandshakeError, handshake};
use super::hub::Hub;
use super::registry::{Command, Membership};
use crate::bus::wire::frame;
use fe2o3_amqp_types::definitions::AmqpError;

/// A peer has this long to get from connecting to AMQP.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// As long as the broker's clock is not looked at.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// A closed connection has this long to take its last bytes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// No more is read while so many bytes wait to be looked at, on a connection that is stalled.
const INPUT_LIMIT: usize = 16 * 1024 * 1024;
/// No more is read while so many bytes wait for a peer that does not read either.
const OUTPUT_LIMIT: usize = 4 * 1024 * 1024;

/// Serves one client until it or the broker ends the connection.
pub(crate) async fn serve(mut stream: TcpStream, hub: Arc<Hub>) {
    let dropped = hub.connection_token();
    let mut input = BytesMut::with_capacity(16 * 1024);
    tokio::select! {
        () = until_over(&hub) => {}
        () = dropped.cancelled() => return,
        () = hub.stop.cancelled() => return,
    }
    let result = tokio::select! {
        result = timeout(HANDSHAKE_TIMEOUT, handshake(&mut stream, &mut input)) => result,
        () = dropped.cancelled() => return,
        () = hub.stop.cancelled() => return,
    };
    match result {
        Ok(Ok(())) => {}
        // A port scan, or a client that changed its mind.
        Ok(Err(HandshakeError::Gone)) => return,
        Ok(Err(reason)) => {
            tracing::warn!(error = %reason, "A connection did not get as far as AMQP");
            return;
        }
        Err(_) => {
            tracing::warn!("A connection did not get as far as AMQP in time");
            return;
        }
    }
    let peer = stream.peer_addr().ok();
    let (membership, commands) = hub.registry.join(peer);
    let end = tokio::select! {
        result = run(&mut stream, &mut input, Arc::clone(&hub), membership, commands) => result,
        // Without a close, as when the network goes.
        () = dropped.cancelled() => Ok(End::Orderly),
    };
    match end {
        Ok(End::Orderly) => {}
        Ok(End::Reset) => {
            if let Err(reason) = stream.set_zero_linger() {
                tracing::debug!(error = %reason, "A connection could not be reset");
            }
        }
        Err(reason) => tracing::debug!(error = %reason, "A connection broke"),
    }
}

/// How a connection's bytes end.
enum End {
    /// With a FIN.
    Orderly,
    /// With an RST.
    Reset,
}

/// Leaves the queues when the connection's task ends, however it ends.
struct Leaving(Engine);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

async fn run(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    hub: Arc<Hub>,
    membership: Membership,
    mut commands: UnboundedReceiver<Command>,
) -> io::Result<End> {
    let (wake, mut woken) = unbounded_channel();
    let stop = hub.stop.clone();
    let clock = Arc::clone(&hub.clock);
    let mut gate = Gate::new(hub.journal.as_ref());
    let mut engine = Leaving(Engine::new(hub, wake, Some(membership)));
    let engine = &mut engine.0;
    let (mut reader, mut writer) = stream.split();
    let mut last_heard = Instant::now();
    let mut last_sent = Instant::now();
    let mut is_stopping = false;
    loop {
        while !engine.is_closed() && !engine.is_silent() && engine.cut().is_none() {
            match frame::take(input, MAX_FRAME_SIZE as usize) {
                Ok(Some(frame)) => engine.on_frame(frame),
                Ok(None) => break,
                Err(reason) => {
                    engine.close(error(AmqpError::DecodeError, reason.to_string()));
                }
            }
        }
        gate.note(engine.out().len());
        if gate.is_broken() {
            // What is held back must never be heard of.
            return Ok(End::Reset);
        }
        let is_silent = engine.is_silent();
        if engine.cut() == Some(Cut::Reset) {
            return Ok(End::Reset);
        }
        if (engine.is_closed() && !is_silent) || engine.cut() == Some(Cut::HalfFrame) {
            let len = engine.out().len();
            let free = gate.opens(len).await;
            let rest = engine.out().split_to(free);
            let close = async {
                writer.write_all(&rest).await?;
                writer.shutdown().await
            };
            let closed = timeout(CLOSE_TIMEOUT, close).await.unwrap_or(Ok(()));
            return closed.map(|()| End::Orderly);
        }
        let may_read = engine.out().len() < OUTPUT_LIMIT && input.len() < INPUT_LIMIT;
        let free = gate.free();
        let may_write = free > 0 && !is_silent;
        let heartbeat = engine.heartbeat();
        let deadline = engine.next_deadline();
        tokio::select! {
            read = reader.read_buf(input), if may_read => {
                if read? == 0 {
                    return Ok(End::Orderly);
                }
                last_heard = Instant::now();
            }
            // Reading goes on while writing waits: two peers that both only write would hang.
            written = writer.write(&engine.out()[..free]), if may_write => {
                let written = written?;
                engine.out().advance(written);
                gate.sent(written);
                last_sent = Instant::now();
                engine.on_drained();
            }
            () = gate.moves(), if gate.is_holding() => {}
            Some(consumer) = woken.recv() => engine.on_wake(consumer),
            Some(command) = commands.recv() => engine.on_command(command),
            () = until(deadline, &clock) => engine.on_time(),
            () = sleep_until(heartbeat.map(|every| last_sent + every)) => {
                engine.put_heartbeat();
                last_sent = Instant::now();
            }
            // Twice what we announced: the peer counts differently than we do.
            () = tokio::time::sleep_until(last_heard + 2 * IDLE_TIMEOUT) => {
                engine.close(connection_forced("The connection was idle for too long."));
            }
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                engine.close(connection_forced("The broker is stopping."));
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment of the broker's clock, which may jump ahead of the one that sleeps are
/// counted with; so it is looked at now and then.
async fn until(deadline: Option<OffsetDateTime>, clock: &Clock) {
    match deadline {
        Some(deadline) => {
            let left = Duration::try_from(deadline - clock()).unwrap_or(Duration::ZERO);
            // Rounded up: the timer wheel counts milliseconds and must not ring early.
            tokio::time::sleep(left.min(LONGEST_SLEEP) + Duration::from_millis(1)).await;
        }
        None => std::future::pending().await,
    }
}

/// Waits until new connections are listened to.
async fn until_over(hub: &Hub) {
    while let Some(over) = hub.silent_until() {
        until(Some(over), &hub.clock).await;
    }
}
