//! One AMQP connection to a namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection as AmqpConnection, Session};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::authorization::Authorization;
use crate::connection_string::Endpoint;
use crate::error::ErrorKind;
use crate::link::guard::MAX_FRAME;
use crate::link::requester::Requester;
use crate::link::tap::Tap;
use crate::link::witness::Witness;
use crate::sync::{Life, Live, Slot, lock};
use crate::transport;
use crate::wire::failure;

/// A connection that has been silent for this long is lost; the broker sends empty frames when it
/// has nothing to say.
const IDLE_TIMEOUT_MS: u32 = 60_000;
/// How long a broker has to answer our goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

type SessionRequest = oneshot::Sender<Result<SessionHandle<()>, ErrorKind>>;

/// An open connection. It closes when it is dropped.
pub(crate) struct Connection {
    sessions: mpsc::Sender<SessionRequest>,
    witness: Arc<Witness>,
    life: Life,
    cut: CancellationToken,
    /// The links to `$cbs`.
    pub(crate) cbs: Slot<Requester>,
    /// What each entity has been authorized until, by audience.
    authorizations: Mutex<HashMap<String, Arc<Slot<Authorization>>>>,
}

impl Connection {
    /// Connects, within `patience`.
    pub(crate) async fn open(endpoint: &Endpoint, patience: Duration) -> Result<Self, ErrorKind> {
        let opened = timeout(patience, Self::open_unbounded(endpoint, patience)).await;
        let opened = opened.unwrap_or(Err(ErrorKind::TimedOut(patience)));
        match &opened {
            Ok(_) => tracing::debug!(
                server.address = endpoint.host,
                server.port = endpoint.port,
                "connected to Service Bus"
            ),
            Err(error) => tracing::debug!(
                server.address = endpoint.host,
                server.port = endpoint.port,
                %error,
                "cannot connect to Service Bus"
            ),
        }
        opened
    }

    async fn open_unbounded(endpoint: &Endpoint, patience: Duration) -> Result<Self, ErrorKind> {
        let stream = transport::dial(endpoint).await?;
        let witness = Arc::new(Witness::default());
        let cut = CancellationToken::new();
        let life = Life::default();
        let tap = Tap::new(stream, witness.clone(), life.clone(), cut.clone());
        let handle = AmqpConnection::builder()
            .container_id(Uuid::new_v4().to_string())
            .hostname(endpoint.host.as_str())
            .sasl_profile(SaslProfile::Anonymous)
            .max_frame_size(MAX_FRAME)
            .idle_time_out(IDLE_TIMEOUT_MS)
            .open_with_stream(tap)
            .await
            .map_err(|error| match life.is_over() {
                true => life.reason(),
                false => failure::of_open(error),
            })?;
        let (sessions, requests) = mpsc::channel(64);
        tokio::spawn(serve(handle, requests, life.clone(), cut.clone(), patience));
        Ok(Self {
            sessions,
            witness,
            life,
            cut,
            cbs: Slot::default(),
            authorizations: Mutex::default(),
        })
    }

    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    pub(crate) fn witness(&self) -> &Arc<Witness> {
        &self.witness
    }

    /// Begins a session.
    pub(crate) async fn begin_session(&self) -> Result<SessionHandle<()>, ErrorKind> {
        let (reply, answer) = oneshot::channel();
        let gone = |_| self.life.reason();
        self.sessions
            .send(reply)
            .await
            .map_err(|_| self.life.reason())?;
        answer.await.map_err(gone)?
    }

    /// Where the authorization for an audience is kept.
    pub(crate) fn authorization(&self, audience: &str) -> Arc<Slot<Authorization>> {
        let mut authorizations = lock(&self.authorizations);
        match authorizations.get(audience) {
            Some(slot) => slot.clone(),
            None => authorizations
                .entry(audience.to_owned())
                .or_default()
                .clone(),
        }
    }

    /// Why something on this connection failed: what is lost with it is lost for its reason.
    pub(crate) fn explain(&self, error: ErrorKind) -> ErrorKind {
        match (error, self.life.is_over().then(|| self.life.reason())) {
            (ErrorKind::Connection(_), Some(reason @ ErrorKind::Connection(_))) => reason,
            (error, _) => error,
        }
    }

    /// Gives the connection up at once, without a goodbye: its peer does not answer.
    pub(crate) fn cut(&self) {
        self.life
            .end(ErrorKind::Connection("the broker fell silent".into()));
        self.cut.cancel();
    }

    /// Says goodbye and waits, not long, for the broker's.
    pub(crate) async fn close(&self) {
        self.life.end(ErrorKind::Closed);
        // The task that serves the connection lets go of its end when it is done.
        let _ = timeout(GOODBYE, self.sessions.closed()).await;
    }
}

impl Live for Connection {
    fn is_live(&self) -> bool {
        !self.life.is_over()
    }
}

/// Owns the connection: begins sessions, which the library does one at a time, and sees it end.
async fn serve(
    mut handle: ConnectionHandle<()>,
    mut requests: mpsc::Receiver<SessionRequest>,
    life: Life,
    cut: CancellationToken,
    patience: Duration,
) {
    loop {
        let request = tokio::select! {
            biased;
            () = life.over() => break,
            ended = handle.on_close() => {
                let reason = ended.err().map_or_else(
                    || failure::lost("the broker closed the connection"),
                    failure::of_connection,
                );
                tracing::debug!(%reason, "the connection to Service Bus ended");
                life.end(reason);
                break;
            }
            request = requests.recv() => match request {
                Some(request) => request,
                None => break,
            },
        };
        let begun = match timeout(patience, Session::begin(&mut handle)).await {
            Ok(begun) => begun.map_err(failure::of_begin),
            Err(_) => {
                life.end(ErrorKind::TimedOut(patience));
                cut.cancel();
                Err(ErrorKind::TimedOut(patience))
            }
        };
        let _ = request.send(begun);
    }
    life.end(ErrorKind::Closed);
    if !handle.is_closed() && timeout(GOODBYE, handle.close()).await.is_err() {
        tracing::debug!("the broker did not answer the goodbye");
    }
    // Whatever is left of it, ends here: the library would wait for its peer.
    cut.cancel();
}
