use super::*;

const SMALL: Limits = Limits {
    requests: 3,
    execution_time: Duration::from_secs(12),
    concurrency: 2,
    window: Duration::from_secs(300),
};

fn servers(count: usize, limits: Limits) -> Protection {
    Protection::new(WebServers {
        count,
        limits: Some(limits),
        ..WebServers::default()
    })
}

/// A request that takes so many seconds of execution time, and no time.
fn request(
    protection: &mut Protection,
    server: usize,
    now: Instant,
    spent: u64,
) -> Result<(), Refusal> {
    protection.begin("app", server, now)?;
    protection.end("app", server, now, Duration::from_secs(spent));
    Ok(())
}

#[test]
fn requests_over_the_limit_are_refused_until_the_oldest_leaves_the_window() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut protection = servers(1, SMALL);
    for second in [0, 10, 20] {
        request(&mut protection, 0, at(second), 0).unwrap();
    }
    let refusal = request(&mut protection, 0, at(30), 0).unwrap_err();
    assert_eq!(
        (refusal.limit, refusal.retry_after_s),
        (Limit::Requests, 270)
    );
    request(&mut protection, 0, at(300), 0).unwrap();
    assert!(request(&mut protection, 0, at(301), 0).is_err());
}

#[test]
fn the_wait_grows_while_a_client_keeps_pushing_up_to_a_whole_window() {
    let start = Instant::now();
    let mut protection = servers(1, SMALL);
    for _ in 0..3 {
        request(&mut protection, 0, start, 0).unwrap();
    }
    let later = start + Duration::from_secs(290);
    let mut wait = |_| {
        request(&mut protection, 0, later, 0)
            .unwrap_err()
            .retry_after_s
    };
    let waits: Vec<u64> = (0..1000).map(&mut wait).collect();
    assert_eq!((waits[0], waits[20], waits[999]), (10, 20, 300));
    assert!(waits.is_sorted());
}

#[test]
fn execution_time_is_added_up_over_the_window() {
    let start = Instant::now();
    let mut protection = servers(1, SMALL);
    request(&mut protection, 0, start, 7).unwrap();
    request(&mut protection, 0, start + Duration::from_secs(1), 5).unwrap();
    let now = start + Duration::from_secs(2);
    assert_eq!(protection.remaining("app", 0, now), (1, Duration::ZERO));
    let refusal = request(&mut protection, 0, now, 0).unwrap_err();
    assert_eq!(
        (refusal.limit, refusal.retry_after_s),
        (Limit::ExecutionTime, 298)
    );
}

#[test]
fn too_many_at_a_time_are_refused_with_a_short_wait_and_welcome_when_one_has_ended() {
    let now = Instant::now();
    let mut protection = servers(1, SMALL);
    protection.begin("app", 0, now).unwrap();
    protection.begin("app", 0, now).unwrap();
    let refusal = protection.begin("app", 0, now).unwrap_err();
    assert_eq!(
        (refusal.limit, refusal.retry_after_s),
        (Limit::Concurrency, 2)
    );
    protection.end("app", 0, now, Duration::ZERO);
    protection.begin("app", 0, now).unwrap();
    assert_eq!(
        protection.counts()[&("app".to_owned(), 0)].peak_concurrency,
        2
    );
}

#[test]
fn every_user_has_limits_of_his_own_on_every_server() {
    let now = Instant::now();
    let mut protection = servers(
        2,
        Limits {
            requests: 1,
            ..SMALL
        },
    );
    for (user, server) in [("one", 0), ("one", 1), ("two", 0), ("two", 1)] {
        protection.begin(user, server, now).unwrap();
        protection.end(user, server, now, Duration::ZERO);
        assert!(protection.begin(user, server, now).is_err());
    }
    let counts = protection.counts();
    assert_eq!(counts.len(), 4);
    assert!(
        counts
            .values()
            .all(|c| c.requests == 1 && c.refused[&Limit::Requests] == 1)
    );
}

#[test]
fn a_cookie_sticks_to_its_server_and_everybody_else_is_spread() {
    let mut protection = servers(3, SMALL);
    let cookie = format!("a=b; ARRAffinity={}; c=d", affinity_of(2));
    let sticky: Vec<_> = (0..4).map(|_| protection.choose(Some(&cookie))).collect();
    assert_eq!(sticky, [2, 2, 2, 2]);
    let spread: Vec<_> = (0..4)
        .map(|_| protection.choose(Some("ARRAffinity=gone")))
        .collect();
    assert_eq!(spread, [0, 1, 2, 0]);
    let random = || {
        let spread = Spread::Random(4);
        let mut protection = Protection::new(WebServers {
            count: 3,
            spread,
            ..WebServers::default()
        });
        (0..20).map(|_| protection.choose(None)).collect::<Vec<_>>()
    };
    assert_eq!(random(), random());
}

#[test]
fn without_limits_nobody_is_refused() {
    let now = Instant::now();
    let mut protection = Protection::new(WebServers::default());
    assert!((0..7000).all(|_| request(&mut protection, 0, now, 1000).is_ok()));
}
