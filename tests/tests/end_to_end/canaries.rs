//! What must never be seen outside: planted, then looked for in everything that comes out.

use local_stack::dataverse::DataverseFaults;
use local_stack::stack::{INBOUND, OUTBOUND, TARGET_SECRET};
use local_stack::target::Faults;
use serde_json::json;

use crate::world::World;

/// Begins every planted value of a row; looks like a name, as a code may.
const CANARY: &str = "CANARY-7f3a";

#[tokio::test]
async fn planted_values_secrets_and_tokens_appear_in_nothing_that_comes_out_of_a_run_full_of_faults()
 {
    // All that our own code can say.
    let level = "info,sync_core=trace,service_bus=debug,custom_handler=trace,function_app=trace";
    let world = World::with_settings(&[("LOG_LEVEL", level.to_owned())]).await;
    let stack = &world.stack;
    stack.target.set_faults(Faults {
        seed: 7,
        rate_500: 0.25,
        rate_429: 0.05,
        rate_timeout_after_apply: 0.02,
        rate_reset_before_apply: 0.03,
        rate_reset_after_apply: 0.03,
        echo: true,
        ..Faults::default()
    });
    stack.dataverse.set_faults(DataverseFaults {
        seed: 7,
        rate_429: 0.03,
        rate_503: 0.06,
        rate_reset_before: 0.02,
        rate_reset_after: 0.02,
        rate_post_failure: 0.03,
        ..DataverseFaults::default()
    });
    let ids = stack.dataverse.ids("account");
    let save = |round: usize, place: usize| {
        let reject = if place.is_multiple_of(3) {
            "REJECT"
        } else {
            ""
        };
        let value = |column: &str| format!("{CANARY}-{column}-{round}");
        world.save(
            ids[place],
            json!({
                "name": format!("{CANARY}-name-{reject}-{round}"),
                "description": value("description"),
                "telephone1": value("telephone"),
                "address1_city": value("city"),
                "emailaddress1": format!("{CANARY}-{round}@example.com"),
            }),
        );
    };
    for round in 0..6 {
        (0..ids.len()).for_each(|place| save(round, place));
        if round == 2 {
            // The key that is refused next is not to be seen either.
            let key = format!("{CANARY}-key");
            stack.vault.set_secret(TARGET_SECRET, &key);
            stack.target.accept_secrets(&[&key]);
        }
        if round % 2 == 1 {
            world
                .until("at work", |s| s.outbound.invocations().in_flight() > 0)
                .await;
            stack.outbound.hosts()[0].kill_handler();
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    // A message that is none, with a value where others have a name.
    world
        .send(&format!("{{\"table\": \"{CANARY}-table\""))
        .await;
    world
        .send(&format!("{{\"sourceRowId\": \"{CANARY}-id\"}}"))
        .await;
    stack.target.set_faults(Faults {
        echo: true,
        ..Faults::default()
    });
    world.drained().await;
    (0..ids.len()).for_each(|place| save(9, place));
    world.drained().await;

    let mut out = vec![("log", world.log.lock().unwrap().join("\n"))];
    let log_names_rows = ids.iter().any(|id| out[0].1.contains(&id.to_string()));
    assert!(log_names_rows, "the log says nothing");
    for queue in [OUTBOUND, INBOUND] {
        for message in world.dead(queue) {
            // The body of a message that is none is what somebody else sent.
            let texts = format!(
                "{:?} {:?} {:?}",
                message.dead_letter_reason, message.dead_letter_description, message.properties
            );
            out.push(("dead letter", texts));
        }
    }
    assert!(out.len() > 2, "nothing was rejected");
    let mut rejected = 0;
    for id in &ids {
        let row = stack.dataverse.row("account", *id).unwrap();
        rejected += u32::from(row["dvs_ackstate"] == json!(3));
        let own = row.into_iter().filter(|(name, _)| name.starts_with("dvs_"));
        let own: serde_json::Map<_, _> = own.collect();
        out.push(("acknowledgement", json!(own).to_string()));
    }
    assert!(rejected > 0, "no row says that it was rejected");
    let first_key = stack.target.api_key();
    for (place, text) in &out {
        for canary in [CANARY, &CANARY.to_lowercase(), first_key, "eyJ"] {
            let found = text.find(canary).map(|at| {
                let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
                text[from..].lines().next().unwrap_or_default()
            });
            assert_eq!(found, None, "{canary} in a {place}");
        }
    }
}
