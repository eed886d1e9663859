//! Several instances of one app.

use local_stack::bus::{Broker, BrokerConfig};
use local_stack::host::{Fleet, HostState};
use serde_json::json;
use service_bus::{Client, ClientOptions, OutgoingMessage};

use crate::app::{App, eventually, logged};

#[tokio::test]
async fn instances_compete_for_messages_with_a_handler_each() {
    let broker = Broker::start(BrokerConfig::with_queues(["orders"]))
        .await
        .unwrap();
    let client =
        Client::from_connection_string(&broker.connection_string(), ClientOptions::default())
            .unwrap();
    let binding = json!({"type": "serviceBusTrigger", "direction": "in", "name": "msg",
        "queueName": "orders", "connection": "Bus", "dataType": "binary"});
    let app = App::new()
        .function("Orders", binding)
        .set("Bus", &broker.connection_string())
        // One at a time, so that none can take them all.
        .host("extensions__serviceBus__maxConcurrentCalls", "1");
    let fleet = Fleet::start(2, |_| app.config()).await.unwrap();
    fleet.ready().await.unwrap();
    let [first, second] = fleet.hosts() else {
        panic!("not two")
    };
    assert_ne!(first.handler_pid(), second.handler_pid());
    assert_ne!(first.handler_port(), second.handler_port());
    for _ in 0..6 {
        client
            .send("orders", OutgoingMessage::new("sleep:300"))
            .await
            .unwrap();
    }
    eventually("all are completed", || {
        broker.counters("orders").unwrap().completed == 6
    })
    .await;
    assert_eq!(fleet.invocations().succeeded, 6);
    assert!(first.invocations().succeeded > 0 && second.invocations().succeeded > 0);
    fleet.stop().await;
}

#[tokio::test]
async fn one_instance_runs_a_timer_and_another_takes_over_when_its_host_stops() {
    let app = App::new()
        .timer("Tick", "* * * * * *")
        .set("TICK", "crash")
        .host(
            "singleton__listenerLockRecoveryPollingInterval",
            "00:00:00.1",
        );
    let fleet = Fleet::start(2, |_| app.config()).await.unwrap();
    let stopped =
        |number: usize| matches!(fleet.hosts()[number].state(), HostState::HostStopped { .. });
    eventually("one has crashed three times", || stopped(0) || stopped(1)).await;
    eventually("the other has too", || stopped(0) && stopped(1)).await;
    for host in fleet.hosts() {
        assert!(host.invocations_of("Tick").started > 0);
        assert!(logged(host, "the host stops"));
    }
    fleet.stop().await;
}
