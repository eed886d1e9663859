//! A namespace: its connection and links, made on demand, and each call as a series of tries.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::authorization::Authority;
use crate::connection::Connection;
use crate::connection_string::Endpoint;
use crate::credential::Credential;
use crate::entity::management_node;
use crate::error::{Error, ErrorKind};
use crate::link::inlet::Inlet;
use crate::link::outlet::{Limits, Outbound, Outlet};
use crate::link::requester::Requester;
use crate::options::ClientOptions;
use crate::retry::Reconnects;
use crate::settlement::ReceiveMode;
use crate::sync::{Life, Live, Slot, lock};
use crate::tries::Tries;
use crate::wire::management::{Request, Response};
use crate::wire::session::{Ask, Granted};

/// What all clones of a client share.
pub(crate) struct Namespace {
    endpoint: Endpoint,
    authority: Authority,
    options: ClientOptions,
    connection: Slot<Connection>,
    reconnects: Arc<Reconnects>,
    outlets: Slots<OnConnection<Outlet>>,
    managers: Slots<OnConnection<Requester>>,
    /// The calls under way.
    calls: TaskTracker,
    /// Cancelled when no more calls are taken.
    closing: CancellationToken,
    /// Set when those under way may make no further tries.
    closed: AtomicBool,
}

/// A link and the connection it is on.
struct OnConnection<T> {
    link: T,
    connection: Arc<Connection>,
}

impl<T: Live> Live for OnConnection<T> {
    fn is_live(&self) -> bool {
        self.link.is_live() && self.connection.is_live()
    }
}

/// A slot for each entity.
type Slots<T> = Mutex<HashMap<String, Arc<Slot<T>>>>;

impl Namespace {
    pub(crate) fn new(endpoint: Endpoint, credential: Credential, options: ClientOptions) -> Self {
        let authority = Authority {
            host: endpoint.host.clone(),
            credential,
            options: options.clone(),
        };
        Self {
            endpoint,
            authority,
            options,
            connection: Slot::default(),
            reconnects: Arc::default(),
            outlets: Mutex::default(),
            managers: Mutex::default(),
            calls: TaskTracker::new(),
            closing: CancellationToken::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Begins a call, unless the client is closing.
    pub(crate) fn enter(&self) -> Result<TaskTrackerToken, ErrorKind> {
        // Counted before it asks: either `close` waits for this call, or the call sees it closing.
        let under_way = self.calls.token();
        if self.closing.is_cancelled() {
            return Err(ErrorKind::Closed);
        }
        Ok(under_way)
    }

    /// Returns when the client begins to close.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Sends a message and waits for the broker's answer.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        entity: &str,
        message: Outbound,
    ) -> Result<(), Error> {
        let mut tries = Tries::new(self, operation, entity, self.options.operation_timeout)?;
        loop {
            if let Some(()) = tries.attempt(self.send_once(entity, &message)).await? {
                return Ok(());
            }
        }
    }

    async fn send_once(&self, entity: &str, message: &Outbound) -> Result<(), ErrorKind> {
        let outlet = self.outlet(entity).await?;
        // Not part of the try: a link whose window is full is busy, not dead. Those ahead of us find
        // out if it is.
        let place = outlet.link.place().await?;
        let sending = outlet.link.send(message, place);
        self.within_a_try(&outlet.connection, outlet.link.life(), sending)
            .await
    }

    /// Sends a request to the entity's management node; `read` makes sense of the answer.
    pub(crate) async fn manage<T>(
        &self,
        operation: &'static str,
        entity: &str,
        request: Request,
        read: fn(Response) -> Result<T, ErrorKind>,
    ) -> Result<T, Error> {
        let patience = self.options.operation_timeout;
        self.manage_within(patience, operation, entity, request, read)
            .await
    }

    /// The same with another deadline.
    pub(crate) async fn manage_within<T>(
        &self,
        patience: Duration,
        operation: &'static str,
        entity: &str,
        request: Request,
        read: fn(Response) -> Result<T, ErrorKind>,
    ) -> Result<T, Error> {
        let mut tries = Tries::new(self, operation, entity, patience)?;
        loop {
            let calling = async { read(self.manage_once(entity, request.clone()).await?) };
            if let Some(answer) = tries.attempt(calling).await? {
                return Ok(answer);
            }
        }
    }

    async fn manage_once(&self, entity: &str, request: Request) -> Result<Response, ErrorKind> {
        let manager = self.manager(entity).await?;
        // A little less than we wait, so that the broker's own word on it still reaches us.
        let patience = self.options.try_timeout.mul_f64(0.9);
        let place = manager.link.place().await?;
        let calling = manager.link.call(request.into_message(patience), place);
        self.within_a_try(&manager.connection, manager.link.life(), calling)
            .await
    }

    /// Attaches a receiving link, by one try.
    pub(crate) async fn inlet(&self, entity: &str, mode: ReceiveMode) -> Result<Inlet, ErrorKind> {
        let connection = self.authorized(entity).await?;
        let (patience, entity) = (self.options.connect_timeout, entity.to_owned());
        // In a task of its own, which ends as it should when the caller does not wait for it: an
        // attach that is cut off half-way would disturb the whole connection.
        let attached = tokio::spawn(async move {
            let attaching = Inlet::attach(connection.clone(), &entity, mode);
            attach_within(patience, &connection, attaching).await
        });
        attached
            .await
            .unwrap_or_else(|error| Err(ErrorKind::Connection(error.to_string())))
    }

    /// Attaches a receiving link to a session, by one try.
    pub(crate) async fn session_inlet(
        &self,
        entity: &str,
        ask: Ask,
    ) -> Result<(Inlet, Granted), ErrorKind> {
        let connection = self.authorized(entity).await?;
        let entity = entity.to_owned();
        let patience = match &ask {
            Ask::Named(_) => self.options.connect_timeout,
            Ask::Next(wait) => *wait + self.options.connect_timeout,
        };
        let (answer, answered) = oneshot::channel();
        // In a task of its own, as above. A session that is granted to a caller who is gone is let go.
        tokio::spawn(async move {
            let attaching = Inlet::attach_session(connection.clone(), &entity, &ask);
            let attached = attach_within(patience, &connection, attaching).await;
            if let Err(Ok((inlet, _))) = answer.send(attached) {
                inlet.close().await;
            }
        });
        answered
            .await
            .unwrap_or_else(|_| Err(ErrorKind::Connection("the attach was cut off".into())))
    }

    /// Takes no more calls, waits for those under way as long as the options say, and closes the
    /// connection.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.calls.close();
        if timeout(self.options.close_timeout, self.calls.wait())
            .await
            .is_err()
        {
            let calls = self.calls.len();
            tracing::warn!(
                calls,
                "the Service Bus client is closed with {calls} calls under way"
            );
        }
        self.closed.store(true, Ordering::Release);
        let connection = self.connection.take();
        lock(&self.outlets).clear();
        lock(&self.managers).clear();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    /// Bounds a use of a link by the time of a try. A link that has not answered by then is given
    /// up, and so is its connection if the broker said nothing at all meanwhile: it may be half-open.
    async fn within_a_try<T>(
        &self,
        connection: &Connection,
        link: &Life,
        work: impl Future<Output = Result<T, ErrorKind>>,
    ) -> Result<T, ErrorKind> {
        let patience = self.options.try_timeout;
        let heard = connection.witness().heard();
        match timeout(patience, work).await {
            Ok(outcome) => outcome.map_err(|error| connection.explain(error)),
            Err(_) => {
                link.end(ErrorKind::TimedOut(patience));
                if connection.witness().heard() == heard {
                    connection.cut();
                }
                Err(ErrorKind::TimedOut(patience))
            }
        }
    }

    async fn outlet(&self, entity: &str) -> Result<Arc<OnConnection<Outlet>>, ErrorKind> {
        let connection = self.authorized(entity).await?;
        let patience = self.options.connect_timeout;
        let limits = self.limits();
        slot(&self.outlets, entity)
            .get(|| {
                let entity = entity.to_owned();
                async move {
                    let attaching = Outlet::attach(&connection, &entity, limits);
                    let link = attach_within(patience, &connection, attaching).await?;
                    Ok(OnConnection { link, connection })
                }
            })
            .await
    }

    async fn manager(&self, entity: &str) -> Result<Arc<OnConnection<Requester>>, ErrorKind> {
        let connection = self.authorized(entity).await?;
        let patience = self.options.connect_timeout;
        let limits = self.limits();
        slot(&self.managers, entity)
            .get(|| {
                let node = management_node(entity);
                async move {
                    let attaching = Requester::attach(&connection, &node, limits);
                    let link = attach_within(patience, &connection, attaching).await?;
                    Ok(OnConnection { link, connection })
                }
            })
            .await
    }

    /// The connection, authorized for the entity.
    async fn authorized(&self, entity: &str) -> Result<Arc<Connection>, ErrorKind> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ErrorKind::Closed);
        }
        let connection = self
            .connection
            .get(|| {
                let (endpoint, patience) = (self.endpoint.clone(), self.options.connect_timeout);
                let reconnects = self.reconnects.clone();
                let pause = reconnects.pause(&self.options, &mut rand::rng());
                async move {
                    sleep(pause).await;
                    let opened = Connection::open(&endpoint, patience).await;
                    reconnects.record(opened.is_ok());
                    opened
                }
            })
            .await?;
        let authorized = self.authority.authorize(&connection, entity).await;
        authorized.map_err(|error| connection.explain(error))?;
        Ok(connection)
    }

    /// Has the entity's next use put a new token, unless one was put since `began`: of many calls
    /// that were refused together, only the first has the old one to forget.
    pub(crate) fn forget_authorization(&self, entity: &str, began: Instant) {
        let connection = self.connection.peek();
        let authorization = connection.and_then(|it| it.authorization(entity).peek());
        if let Some(authorization) = authorization.filter(|it| it.put_at() <= began) {
            authorization.forget();
        }
    }

    fn limits(&self) -> Limits {
        Limits::of(&self.options)
    }
}

fn slot<T>(slots: &Slots<T>, entity: &str) -> Arc<Slot<T>> {
    let mut slots = lock(slots);
    match slots.get(entity) {
        Some(slot) => slot.clone(),
        None => slots.entry(entity.to_owned()).or_default().clone(),
    }
}

/// Bounds an attach. A broker that answers nothing to it is no longer there.
async fn attach_within<T>(
    patience: Duration,
    connection: &Connection,
    attaching: impl Future<Output = Result<T, ErrorKind>>,
) -> Result<T, ErrorKind> {
    let heard = connection.witness().heard();
    match timeout(patience, attaching).await {
        Ok(attached) => attached.map_err(|error| connection.explain(error)),
        Err(_) => {
            if connection.witness().heard() == heard {
                connection.cut();
            }
            Err(ErrorKind::TimedOut(patience))
        }
    }
}
