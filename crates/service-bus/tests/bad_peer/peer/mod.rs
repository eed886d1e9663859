//! A peer that does to its clients what a broker does on a bad day: detaches links when they are
//! idle, refuses tokens, and sends what no broker would. It understands just enough to be attached to, sent to and asked.

mod relay;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SaslAnonymousMechanism,
    SessionAcceptor,
};
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::definitions::{Error, LinkError};
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value as Amqp;
use service_bus::{Client, ClientOptions, Credential, Endpoint};
use tokio::net::{TcpListener, TcpStream};

pub(crate) use relay::Hostile;

/// A token that was put: its type and what it is for.
pub(crate) type Put = (String, String);

/// What the peer does, and what was done to it.
#[derive(Default)]
pub(crate) struct Book {
    /// Detach each link this long after it was attached or used.
    pub(crate) idle: Option<Duration>,
    /// What to answer the next tokens with; 202 when there is nothing.
    pub(crate) token_statuses: VecDeque<i32>,
    pub(crate) tokens: Vec<Put>,
    /// How often a link to each address was attached, either way.
    pub(crate) attached: HashMap<String, usize>,
    pub(crate) messages: usize,
    /// The ids of the messages, as they came.
    pub(crate) ids: Vec<String>,
    /// Take messages and never answer.
    pub(crate) mute: bool,
    /// Answer messages so much later.
    pub(crate) late: Duration,
    /// What to put in the place of frames, as long as this is set.
    pub(crate) hostile: Option<Hostile>,
}

#[derive(Clone, Default)]
pub(crate) struct Peer {
    book: Arc<Mutex<Book>>,
}

impl Peer {
    /// Starts a peer, and makes a client of it.
    pub(crate) async fn start(book: Book, credential: Credential) -> (Peer, Client) {
        let options = ClientOptions {
            retry_base: Duration::from_millis(10),
            ..ClientOptions::default()
        };
        Self::start_with(book, credential, options).await
    }

    /// The same, for a client with these options.
    pub(crate) async fn start_with(
        book: Book,
        credential: Credential,
        options: ClientOptions,
    ) -> (Peer, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            tls: false,
        };
        let peer = Peer {
            book: Arc::new(Mutex::new(book)),
        };
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        let client = Client::new(endpoint, credential, options);
        (peer, client)
    }

    pub(crate) fn book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.book.lock().unwrap())
    }

    async fn serve(self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let acceptor = ConnectionAcceptor::builder()
            .container_id("peer")
            .sasl_acceptor(SaslAnonymousMechanism {})
            .build();
        let stream = relay::behind(stream, self.book.clone());
        let Ok(mut connection) = acceptor.accept(stream).await else {
            return;
        };
        while let Ok(session) = SessionAcceptor::new().accept(&mut connection).await {
            tokio::spawn(self.clone().serve_session(session));
        }
    }

    async fn serve_session(self, mut session: ListenerSessionHandle) {
        let answers = Arc::new(Mutex::new(None));
        while let Ok(link) = LinkAcceptor::new().accept(&mut session).await {
            match link {
                LinkEndpoint::Sender(sender) => {
                    let address =
                        address(sender.source().as_ref().and_then(|it| it.address.clone()));
                    self.count(&address);
                    if address.contains('$') {
                        *answers.lock().unwrap() = Some(sender);
                    } else {
                        tokio::spawn(self.clone().deliver(sender));
                    }
                }
                LinkEndpoint::Receiver(receiver) => {
                    let address =
                        address(receiver.target().as_ref().and_then(|it| it.address.clone()));
                    self.count(&address);
                    let answers = answers.lock().unwrap().take();
                    tokio::spawn(self.clone().listen(receiver, answers));
                }
            }
        }
    }

    fn count(&self, address: &str) {
        self.book(|book| *book.attached.entry(address.into()).or_default() += 1);
    }

    /// Takes messages, or requests if there is a link for answers.
    async fn listen(self, mut receiver: Receiver, mut answers: Option<Sender>) {
        let cbs = address(receiver.target().as_ref().and_then(|it| it.address.clone())) == "$cbs";
        loop {
            // `$cbs` stays: a client asks it again only when a token ages.
            let idle = self.book(|book| book.idle).filter(|_| !cbs);
            let idle = idle.unwrap_or(Duration::from_secs(3600));
            let receiving = tokio::time::timeout(idle, receiver.recv::<Body<Amqp>>());
            let Ok(received) = receiving.await else {
                // One half of the pair is enough to make the other useless.
                let _ = receiver.close_with_error(detach_forced()).await;
                tokio::time::sleep(Duration::from_secs(3600)).await;
                return;
            };
            let Ok(delivery) = received else { return };
            let (mute, late) = self.book(|book| (book.mute, book.late));
            if mute && answers.is_none() {
                self.note(&delivery.into_message());
                continue;
            }
            if !late.is_zero() {
                tokio::time::sleep(late).await;
            }
            if receiver.accept(&delivery).await.is_err() {
                return;
            }
            match &mut answers {
                Some(answers) => {
                    let answer = self.answer(delivery.into_message());
                    answers.send(answer).await.unwrap();
                }
                None => self.note(&delivery.into_message()),
            }
        }
    }

    fn note(&self, message: &Message<Body<Amqp>>) {
        let properties = message.properties.as_ref();
        let id = properties.and_then(|it| it.message_id.clone());
        self.book(|book| {
            book.messages += 1;
            if let Some(MessageId::String(id)) = id {
                book.ids.push(id);
            }
        });
    }

    fn answer(&self, request: Message<Body<Amqp>>) -> Message<AmqpValue<Amqp>> {
        let properties = request.application_properties.unwrap_or_default();
        let text = |name: &str| match properties.get(name) {
            Some(SimpleValue::String(text)) => text.clone(),
            _ => String::new(),
        };
        let (name, status) = if text("operation") == "put-token" {
            self.book(|book| {
                book.tokens.push((text("type"), text("name")));
                let status = book.token_statuses.pop_front().unwrap_or(202);
                ("status-code", status)
            })
        } else {
            // To a peek: nothing there.
            ("statusCode", 204)
        };
        let id = request.properties.and_then(|it| it.message_id);
        assert!(matches!(id, Some(MessageId::String(_))));
        Message::builder()
            .properties(Properties {
                correlation_id: id,
                ..Properties::default()
            })
            .application_properties(
                ApplicationProperties::builder()
                    .insert(name, status)
                    .build(),
            )
            .value(Amqp::Null)
            .build()
    }

    /// Delivers one message, unless the link is to be detached for being idle.
    async fn deliver(self, mut sender: Sender) {
        let idle = self.book(|book| book.idle);
        if let Some(idle) = idle {
            tokio::time::sleep(idle).await;
            let _ = sender.close_with_error(detach_forced()).await;
            return;
        }
        let body = AmqpValue(Amqp::String("hello".into()));
        let _ = sender.send(Message::from(body)).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

fn address(address: Option<String>) -> String {
    address.unwrap_or_default()
}

fn detach_forced() -> Error {
    let words = "The link is force detached by the broker because the link is idle.";
    Error::new(LinkError::DetachForced, words.to_owned(), None)
}
