//! A running broker, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{Handle, ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::{Attach, Begin, Close, Open, Performative, Transfer};
use fe2o3_amqp_types::sasl::SaslInit;
use serde_amqp::Value;
use serde_amqp::primitives::{Binary, Symbol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::frame::{self, Frame};
use super::wire::{section, values};
use super::{Broker, BrokerConfig, Disturbance, MessageState, StartError, Whom};

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(20);

async fn broker() -> Broker {
    Broker::start(BrokerConfig::with_queues(["Orders"]))
        .await
        .unwrap()
}

/// A client that is connected, through SASL, and has written its AMQP header.
struct Wire {
    stream: TcpStream,
    input: BytesMut,
}

impl Wire {
    async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut wire = Wire {
            stream,
            input: BytesMut::new(),
        };
        // All at once, as some clients do.
        let mut out = BytesMut::from(&b"AMQP\x03\x01\x00\x00"[..]);
        let init = SaslInit {
            mechanism: Symbol::from("ANONYMOUS"),
            initial_response: None,
            hostname: None,
        };
        frame::put_sasl(&mut out, &init).unwrap();
        out.extend_from_slice(b"AMQP\x00\x01\x00\x00");
        wire.stream.write_all(&out).await.unwrap();
        assert_eq!(wire.header().await, b"AMQP\x03\x01\x00\x00"[..]);
        assert!(
            matches!(wire.frame().await, Some(Frame::Sasl(_))),
            "mechanisms"
        );
        assert!(
            matches!(wire.frame().await, Some(Frame::Sasl(_))),
            "outcome"
        );
        assert_eq!(wire.header().await, b"AMQP\x00\x01\x00\x00"[..]);
        wire
    }

    /// A client with an open connection.
    async fn open(addr: SocketAddr) -> Self {
        let mut wire = Wire::connect(addr).await;
        wire.put(&open()).await;
        assert!(matches!(
            wire.performative().await,
            Some(Performative::Open(_))
        ));
        wire
    }

    async fn put(&mut self, performative: &impl serde::Serialize) {
        let mut out = BytesMut::new();
        frame::put(&mut out, 0, performative).unwrap();
        self.stream.write_all(&out).await.unwrap();
    }

    /// Reads more; false at the end of the connection, orderly or not.
    async fn read(&mut self) -> bool {
        let read = timeout(LONG, self.stream.read_buf(&mut self.input))
            .await
            .unwrap();
        matches!(read, Ok(1..))
    }

    async fn header(&mut self) -> Bytes {
        while self.input.len() < 8 {
            assert!(self.read().await);
        }
        self.input.split_to(8).freeze()
    }

    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frame::take(&mut self.input, 65_536).unwrap() {
                return Some(frame);
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn performative(&mut self) -> Option<Performative> {
        match self.frame().await {
            Some(Frame::Amqp { performative, .. }) => Some(performative),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// Sends one message to `queue` and waits for the verdict.
    async fn send_message(&mut self, queue: &str, message: &[u8]) {
        self.put(&Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 100,
            outgoing_window: 100,
            handle_max: Handle(10),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        })
        .await;
        let target = Target {
            address: Some(queue.to_owned()),
            ..Target::default()
        };
        self.put(&Attach {
            name: "sender".into(),
            handle: Handle(0),
            role: Role::Sender,
            snd_settle_mode: SenderSettleMode::Mixed,
            rcv_settle_mode: ReceiverSettleMode::First,
            source: Some(Box::new(Source::default())),
            target: Some(Box::new(TargetArchetype::Target(target))),
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: Some(0),
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        })
        .await;
        let mut out = BytesMut::new();
        let mut transfer = Transfer {
            handle: Handle(0),
            delivery_id: Some(0),
            delivery_tag: Some(Binary::from(vec![0])),
            message_format: Some(0),
            settled: Some(false),
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        };
        let mut payload = Bytes::copy_from_slice(message);
        frame::put_transfer(&mut out, 0, &mut transfer, &mut payload, 65_536).unwrap();
        self.stream.write_all(&out).await.unwrap();
        while !matches!(
            self.performative().await.unwrap(),
            Performative::Disposition(_)
        ) {}
    }
}

fn open() -> Open {
    Open {
        container_id: "test".into(),
        hostname: None,
        max_frame_size: 65_536.into(),
        channel_max: 10.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

fn message() -> Vec<u8> {
    let mut fields = vec![Value::Null; 6];
    fields[0] = Value::String("id-1".into());
    fields[5] = Value::String("corr-1".into());
    let mut bytes = values::section(section::PROPERTIES, Value::List(fields)).unwrap();
    let properties = [
        ("RetryCount", Value::Int(2)),
        (
            "when",
            values::timestamp(time::macros::datetime!(2026-01-05 08:00 UTC)),
        ),
        ("blob", Value::Binary(Binary::from(vec![1, 2, 3]))),
    ];
    let properties = properties
        .into_iter()
        .map(|(k, v)| (Value::String(k.into()), v))
        .collect();
    let properties = Value::Map(properties);
    bytes.extend(values::section(section::APPLICATION_PROPERTIES, properties).unwrap());
    let body = Value::Binary(Binary::from(b"{}".to_vec()));
    bytes.extend(values::section(section::DATA, body).unwrap());
    bytes
}

#[tokio::test]
async fn a_sent_message_can_be_inspected() {
    let broker = broker().await;
    Wire::open(broker.addr())
        .await
        .send_message("orders", &message())
        .await;
    let snapshot = broker.snapshot("orders").unwrap();
    let view = &snapshot.active[0];
    assert_eq!(view.message_id, "id-1");
    assert_eq!(view.correlation_id.as_deref(), Some("corr-1"));
    assert_eq!(view.properties["RetryCount"], 2);
    assert_eq!(view.properties["when"], "2026-01-05T08:00:00Z");
    assert_eq!(view.properties["blob"], "AQID");
    assert_eq!(view.body, b"{}"[..]);
    assert_eq!(view.state, MessageState::Active);
    assert_eq!(broker.counts("ORDERS").unwrap().active, 1);
    assert_eq!(broker.counters("orders").unwrap().sent, 1);
    assert!(broker.snapshot("other").is_none());
    assert_eq!(broker.queues(), ["Orders"]);
}

#[tokio::test]
async fn a_bad_frame_closes_its_own_connection_and_no_other() {
    let broker = broker().await;
    let mut good = Wire::open(broker.addr()).await;
    let mut bad = Wire::open(broker.addr()).await;
    bad.stream
        .write_all(&[0, 0, 0, 12, 2, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef])
        .await
        .unwrap();
    let Some(Performative::Close(Close { error: Some(error) })) = bad.performative().await else {
        panic!()
    };
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    assert_eq!(values::text(&condition), Some("amqp:decode-error"));
    assert_eq!(bad.frame().await, None);
    good.send_message("orders", &message()).await;
}

#[tokio::test]
async fn a_frame_larger_than_announced_closes_the_connection() {
    let broker = broker().await;
    let mut wire = Wire::open(broker.addr()).await;
    wire.stream
        .write_all(&[0x7f, 0, 0, 0, 2, 0, 0, 0])
        .await
        .unwrap();
    assert!(matches!(
        wire.performative().await,
        Some(Performative::Close(_))
    ));
    assert_eq!(wire.frame().await, None);
}

#[tokio::test]
async fn a_peer_may_come_without_sasl() {
    let broker = broker().await;
    let stream = TcpStream::connect(broker.addr()).await.unwrap();
    let mut wire = Wire {
        stream,
        input: BytesMut::new(),
    };
    let header = b"AMQP\x00\x01\x00\x00";
    wire.stream.write_all(header).await.unwrap();
    assert_eq!(wire.header().await, header[..]);
    wire.put(&open()).await;
    assert!(matches!(
        wire.performative().await,
        Some(Performative::Open(_))
    ));
}

#[tokio::test]
async fn a_peer_of_another_protocol_is_turned_away() {
    let broker = broker().await;
    let mut stream = TcpStream::connect(broker.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closing with unread bytes may reset the connection.
    let _ = timeout(LONG, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(answer.is_empty() || answer == b"AMQP\x03\x01\x00\x00");
}

#[tokio::test]
async fn dropped_connections_end_without_a_word_and_new_ones_are_welcome() {
    let broker = broker().await;
    let mut wire = Wire::open(broker.addr()).await;
    broker.drop_connections();
    assert_eq!(wire.frame().await, None);
    Wire::open(broker.addr())
        .await
        .send_message("orders", &message())
        .await;
}

/// What a client of `broker` meets when its connection is disturbed.
async fn disturbed(broker: &Broker, what: Disturbance) -> Wire {
    let wire = Wire::open(broker.addr()).await;
    let hooks = broker.hooks();
    let one = hooks.connections().pop().unwrap();
    assert_eq!(one.client, "test");
    let whom = Whom {
        connection: Some(one.connection),
        ..Whom::default()
    };
    assert_eq!(hooks.disturb(&whom, &what), 1);
    wire
}

#[tokio::test]
async fn a_connection_is_reset_cut_in_a_frame_closed_or_told_nonsense_and_the_others_are_not() {
    let broker = broker().await;
    let mut good = Wire::open(broker.addr()).await;

    let mut wire = disturbed(&broker, Disturbance::Reset).await;
    let reset = timeout(LONG, wire.stream.read_buf(&mut wire.input)).await;
    let kind = reset.unwrap().unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);

    let mut wire = disturbed(&broker, Disturbance::HalfFrame).await;
    assert_eq!(wire.frame().await, None);
    assert!(!wire.input.is_empty(), "an end between two frames");

    let mut wire = disturbed(&broker, Disturbance::connection_forced()).await;
    let Some(Performative::Close(Close { error: Some(error) })) = wire.performative().await else {
        panic!()
    };
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    assert_eq!(values::text(&condition), Some("amqp:connection:forced"));

    let mut wire = disturbed(&broker, Disturbance::Malformed).await;
    while wire.input.len() < 12 {
        assert!(wire.read().await);
    }
    assert!(frame::take(&mut wire.input, 65_536).is_err());

    good.send_message("orders", &message()).await;
    let entities = &broker.hooks().connections()[0].entities;
    assert_eq!(entities, &["orders"]);
}

#[tokio::test]
async fn a_partition_delays_old_and_new_connections_and_loses_nothing() {
    let broker = broker().await;
    let mut old = Wire::open(broker.addr()).await;
    let begun = std::time::Instant::now();
    broker.hooks().partition(Duration::from_millis(300));
    let mut new = Wire::open(broker.addr()).await;
    assert!(begun.elapsed() >= Duration::from_millis(290), "no silence");
    old.send_message("orders", &message()).await;
    new.send_message("orders", &message()).await;
    assert_eq!(broker.counts("orders").unwrap().active, 2);
}

#[tokio::test]
async fn one_client_that_sends_noise_never_disturbs_another() {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};
    let broker = broker().await;
    let addr = broker.addr();
    let noise = tokio::spawn(async move {
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut bytes = vec![0; rng.random_range(1..600)];
            rng.fill(&mut bytes[..]);
            if seed % 2 == 0 {
                // A frame of a plausible size.
                let size = u32::try_from(bytes.len().max(8)).unwrap();
                bytes.resize(size as usize, 0);
                bytes[..4].copy_from_slice(&size.to_be_bytes());
                bytes[4..8].copy_from_slice(&[2, 0, 0, 0]);
            }
            let mut bad = Wire::open(addr).await;
            // It may have been thrown out already.
            let _ = bad.stream.write_all(&bytes).await;
            let _ = bad.stream.shutdown().await;
            while bad.read().await {}
        }
    });
    for _ in 0..60 {
        let mut good = Wire::open(addr).await;
        good.send_message("orders", &message()).await;
    }
    noise.await.unwrap();
    assert_eq!(broker.counts("orders").unwrap().active, 60);
}

#[tokio::test]
async fn locks_are_lost_on_demand() {
    let broker = broker().await;
    assert_eq!(broker.hooks().lose_locks("ORDERS"), Some(0));
    assert_eq!(broker.hooks().lose_locks("other"), None);
}

#[tokio::test]
async fn a_close_is_answered() {
    let broker = broker().await;
    let mut wire = Wire::open(broker.addr()).await;
    wire.put(&Close { error: None }).await;
    assert_eq!(
        wire.performative().await,
        Some(Performative::Close(Close { error: None }))
    );
    assert_eq!(wire.frame().await, None);
}

#[tokio::test]
async fn stopping_closes_the_connections_and_frees_the_port() {
    let broker = broker().await;
    let addr = broker.addr();
    let mut wire = Wire::open(addr).await;
    timeout(LONG, broker.shutdown()).await.unwrap();
    let Some(Performative::Close(Close { error: Some(error) })) = wire.performative().await else {
        panic!()
    };
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    assert_eq!(values::text(&condition), Some("amqp:connection:forced"));
    let again = BrokerConfig {
        listen: addr,
        ..BrokerConfig::with_queues(["Orders"])
    };
    Broker::start(again).await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let broker = broker().await;
    let config = BrokerConfig {
        listen: broker.addr(),
        ..BrokerConfig::with_queues(["q"])
    };
    let error = Broker::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().contains(&broker.addr().to_string()));
}

#[tokio::test]
async fn the_connection_string_names_the_port() {
    let broker = broker().await;
    let expected = format!(
        "Endpoint=sb://127.0.0.1:{};SharedAccessKeyName=RootManageSharedAccessKey;\
         SharedAccessKey=local;UseDevelopmentEmulator=true;",
        broker.addr().port()
    );
    assert_eq!(broker.connection_string(), expected);
}
