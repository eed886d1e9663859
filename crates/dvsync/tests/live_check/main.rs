//! `dvsync check --live` on the stand-ins: green, and red for each of many mistakes, by a code of its own,
//! with a fix that works.
// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used)]

mod mistakes;
mod world;

use service_bus::OutgoingMessage;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_caught_by_its_code_and_its_fix_works() {
    let world = World::start().await;
    let waiting = OutgoingMessage {
        message_id: Some("waiting".into()),
        ..OutgoingMessage::new("a real one")
    };
    world.client.send("outbound", waiting).await.unwrap();

    let checked = world.check(&world.setup()).await;
    assert!(checked.usable, "{}", checked.text);
    assert!(checked.codes().is_empty(), "{}", checked.text);

    let mut wrong = Vec::new();
    for mistake in mistakes::all() {
        let mut setup = world.setup();
        (mistake.make)(&world, &mut setup);
        let checked = world.check(&setup).await;
        let name = mistake.name;
        match checked.fix_of(mistake.code) {
            None => wrong.push(format!("{name}: no {}\n{}", mistake.code, checked.text)),
            Some(fix) if !fix.contains(mistake.fix) => {
                wrong.push(format!("{name}: the fix of {} is {fix:?}", mistake.code));
            }
            Some(_) => {}
        }
        if checked.usable {
            wrong.push(format!("{name}: exit code 0"));
        }
        (mistake.mend)(&world, &mut setup);
        let mended = world.check(&setup).await;
        if !mended.usable {
            wrong.push(format!("{name}: not green when mended\n{}", mended.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    nothing_was_touched(&world).await;
}

async fn nothing_was_touched(world: &World) {
    for queue in ["outbound", "inbound", "plain", "ordered", "news"] {
        let there = world.client.peek(queue, 0, 10).await.unwrap();
        let there: Vec<_> = there
            .iter()
            .map(|message| (message.message_id.as_deref(), message.delivery_count))
            .collect();
        let expected: &[_] = match queue {
            "outbound" => &[(Some("waiting"), 0)],
            _ => &[],
        };
        assert_eq!(there, expected, "{queue}");
    }
    assert!(world.dataverse.changes().is_empty());
    let calls = world.target.calls();
    assert!(!calls.is_empty() && calls.iter().all(|call| call.method == "GET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_not_reached_is_said_once_and_secrets_are_not_printed() {
    let world = World::start().await;
    let mut setup = world.setup();
    setup.set("DATAVERSE_URL", "http://127.0.0.1:1");
    let checked = world.check(&setup).await;
    assert_eq!(
        checked.codes(),
        ["DataverseUnreachable"],
        "{}",
        checked.text
    );
    let text = world.print(&setup).await;
    assert!(
        text.contains("DataverseUnreachable") && text.contains("fix:"),
        "{text}"
    );
    for secret in [world.target.api_key(), world.identity.header()] {
        assert!(!text.contains(secret) && !checked.text.contains(secret));
    }
}
