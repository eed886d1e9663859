use super::*;
use crate::failure::Class;

const STAY_AWAY: Duration = Duration::from_secs(60);

fn identities(count: usize) -> Identities {
    let labels = (0..count).map(|n| format!("id-{n}").into()).collect();
    Identities::new(labels, RequestLimit::default(), Duration::from_secs(10))
}

async fn admit(identities: &Identities, kind: Kind) -> Permit {
    identities.admit(kind, Stage::Fetch).await.unwrap()
}

fn throttle(seconds: u64) -> Lesson {
    Lesson::Throttled {
        limit: Limit::Window,
        retry_after: Duration::from_secs(seconds),
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_loaded_identity_that_is_not_gated_is_chosen() {
    let identities = identities(3);
    let one = admit(&identities, Kind::Read).await;
    let two = admit(&identities, Kind::Read).await;
    assert_ne!(one.identity(), two.identity());
    let (gated, busy) = (one.identity(), two.identity());
    one.end(throttle(60));
    let three = admit(&identities, Kind::Read).await;
    assert_ne!(three.identity(), gated);
    assert_ne!(three.identity(), busy);
    assert_eq!(identities.snapshots()[gated].gated_for, STAY_AWAY);
}

#[tokio::test(start_paused = true)]
async fn one_retry_after_holds_everybody_back_and_a_long_one_is_answered_at_once() {
    let identities = identities(1);
    admit(&identities, Kind::Read).await.end(throttle(5));
    let before = Instant::now();
    drop(admit(&identities, Kind::Write).await);
    assert!(before.elapsed() >= Duration::from_secs(5));

    let running = admit(&identities, Kind::Read).await;
    let mut held = Vec::new();
    while identities.snapshots()[0].in_flight < identities.snapshots()[0].at_a_time {
        held.push(admit(&identities, Kind::Read).await);
    }
    let waiting = tokio::spawn({
        let identities = identities.clone();
        async move { identities.admit(Kind::Write, Stage::Fetch).await.err() }
    });
    tokio::task::yield_now().await;
    running.end(throttle(60));
    let before = Instant::now();
    for failure in [
        waiting.await.unwrap().unwrap(),
        identities
            .admit(Kind::Read, Stage::Fetch)
            .await
            .unwrap_err(),
    ] {
        let retry_after = STAY_AWAY;
        assert_eq!(failure.class, Class::Throttled { retry_after });
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_take_turns() {
    let identities = identities(1);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(admit(&identities, Kind::Read).await);
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for kind in [Kind::Read, Kind::Read, Kind::Read, Kind::Write, Kind::Write] {
        let (identities, order) = (identities.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let permit = identities.admit(kind, Stage::Fetch).await.unwrap();
            order.lock().unwrap().push(kind);
            permit.end(Lesson::Nothing);
        }));
        tokio::task::yield_now().await;
    }
    held.pop();
    for task in tasks {
        task.await.unwrap();
    }
    let expected = [Kind::Read, Kind::Write, Kind::Read, Kind::Write, Kind::Read];
    let order = order.lock().unwrap().clone();
    assert!(
        order == expected || order[..4] == [Kind::Write, Kind::Read, Kind::Write, Kind::Read],
        "{order:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_costs_no_turn() {
    let identities = identities(1);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(admit(&identities, Kind::Read).await);
    }
    let gave_up = timeout(
        Duration::from_secs(1),
        identities.admit(Kind::Read, Stage::Fetch),
    );
    assert!(gave_up.await.is_err());
    let started = Instant::now();
    let failure = identities
        .admit(Kind::Read, Stage::Fetch)
        .await
        .unwrap_err();
    assert!(matches!(failure.class, Class::Throttled { .. }));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    held.clear();
    drop(admit(&identities, Kind::Read).await);
    assert_eq!(identities.snapshots()[0].in_flight, 0);
}
