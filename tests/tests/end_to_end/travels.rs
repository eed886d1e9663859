//! Rows on their way, when nothing goes wrong.

use std::time::Duration;

use local_stack::apps;
use local_stack::identity::Grant;
use local_stack::stack::OUTBOUND;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

#[tokio::test]
async fn a_saved_row_reaches_the_target_and_is_acknowledged_with_both_keys() {
    let world = World::start().await;
    let id = world.account();
    world.save(id, json!({"name": "Fabrikam (changed)", "revenue": 1250.5}));
    world.drained().await;
    let row = world
        .stack
        .target
        .row("customers", &id.to_string())
        .unwrap();
    assert_eq!(row.body["name"], "Fabrikam (changed)");
    assert_eq!(row.body["revenue"], 1250.5);
    assert_eq!(world.column(id, "dvs_targetid"), row.id.as_str());
    assert_eq!(world.column(id, "dvs_ackstate"), 1);
    let (change, ack) = (
        &world.stack.dataverse.changes()[0],
        &world.stack.dataverse.ack_writes()[0],
    );
    assert_eq!(
        world.column(id, "dvs_ackversion"),
        change.version.to_string()
    );
    // One correlation id from the save to the acknowledgement.
    let correlation = change.correlation_id.to_string();
    assert_eq!(ack.columns["dvs_correlationid"], correlation.as_str());
    assert_eq!(
        world.stack.target.calls()[0].correlation_id.as_ref(),
        Some(&correlation)
    );
}

#[tokio::test]
async fn a_quiet_system_stays_quiet_after_the_acknowledgements() {
    let world = World::start().await;
    for id in world.stack.dataverse.ids("account") {
        world.save(id, json!({"telephone1": "555-0199"}));
    }
    world.drained().await;
    let sent = world.stack.bus.counters(OUTBOUND).unwrap().sent;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.stack.bus.counters(OUTBOUND).unwrap().sent, sent);
    assert_eq!(world.stack.dataverse.counters().events, 10);
    assert_eq!(world.stack.dataverse.ack_writes().len(), 10);
}

#[tokio::test]
async fn deletes_travel_and_the_acknowledgement_recreates_nothing() {
    let world = World::start().await;
    let saved = world
        .stack
        .dataverse
        .save("account", None, &json!({"name": "Short-lived"}))
        .unwrap();
    world.drained().await;
    assert!(
        world
            .stack
            .target
            .row("customers", &saved.id.to_string())
            .is_some()
    );
    world.stack.dataverse.delete("account", saved.id).unwrap();
    world.drained().await;
    assert!(
        world
            .stack
            .target
            .row("customers", &saved.id.to_string())
            .is_none()
    );
    assert!(world.stack.dataverse.row("account", saved.id).is_none());
}

#[tokio::test]
async fn a_table_may_deactivate_its_rows_in_the_target_instead_of_deleting_them() {
    let mut sync: Value = serde_json::from_str(apps::sync_json()).unwrap();
    sync["tables"]["account"]["onDelete"] = json!({"deactivate": {"state": 1}});
    let world = World::with(sync, 12).await;
    let columns = json!({"name": "Retired"});
    let saved = world.stack.dataverse.save("account", None, &columns);
    let id = saved.unwrap().id;
    world.drained().await;
    world.stack.dataverse.delete("account", id).unwrap();
    world.drained().await;
    let row = world
        .stack
        .target
        .row("customers", &id.to_string())
        .unwrap();
    assert_eq!(
        (&row.body["name"], &row.body["state"]),
        (&json!("Retired"), &json!(1))
    );
}

#[tokio::test]
async fn the_native_event_of_a_service_endpoint_is_accepted_too() {
    let world = World::start().await;
    let id = world.account();
    world
        .send(
            &json!({"PrimaryEntityId": id, "PrimaryEntityName": "account", "MessageName": "Update",
            "CorrelationId": Uuid::new_v4(), "OperationId": Uuid::new_v4()})
            .to_string(),
        )
        .await;
    world
        .until("acknowledged", |s| s.dataverse.ack_writes().len() == 1)
        .await;
    assert!(
        world
            .stack
            .target
            .row("customers", &id.to_string())
            .is_some()
    );
}

#[tokio::test]
async fn a_column_of_the_row_behind_a_lookup_travels_along_and_is_null_without_one() {
    let world = World::start().await;
    let (account, dataverse) = (world.account(), &world.stack.dataverse);
    let contact = dataverse.ids("contact")[0];
    let related = json!({"emailaddress1": "jo@contoso.example"});
    dataverse.save("contact", Some(contact), &related).unwrap();
    let bind = format!("/contacts({contact})");
    world.save(account, json!({"primarycontactid@odata.bind": bind}));
    let alone = dataverse.save("account", None, &json!({"name": "Alone"}));
    let alone = alone.unwrap().id;
    world.drained().await;
    let email = |id: Uuid| {
        let row = world.stack.target.row("customers", &id.to_string());
        row.unwrap().body["primaryContactEmail"].clone()
    };
    assert_eq!(email(account), json!("jo@contoso.example"));
    assert_eq!(email(alone), Value::Null);
}

/// Certificate and key, as Key Vault stores them.
const CERTIFICATE: &str =
    include_str!("../../../crates/sync-core/src/credentials/golden/certificate.pem");
const CERTIFICATE_DER: &[u8] =
    include_bytes!("../../../crates/local-stack/src/identity/golden/certificate.der");

#[tokio::test]
async fn an_application_with_a_secret_or_a_certificate_in_key_vault_speaks_to_dataverse() {
    let client_id = Uuid::new_v4();
    for (setting, grant) in [
        ("DATAVERSE_CLIENT_SECRETS", Grant::ClientSecret),
        ("DATAVERSE_CLIENT_CERTIFICATES", Grant::Assertion),
    ] {
        let application = format!("{client_id}=sync-two");
        let world = World::with_settings(&[(setting, application)]).await;
        let (identity, vault) = (&world.stack.identity, &world.stack.vault);
        identity.set_client_secret(client_id, "of-sync-two");
        identity.add_certificate(client_id, CERTIFICATE_DER);
        let proof = match grant {
            Grant::ClientSecret => "of-sync-two",
            _ => CERTIFICATE,
        };
        vault.set_secret("sync-two", proof);
        world.send("{broken").await;
        world
            .until("dead-lettered", |s| {
                s.bus.counts(OUTBOUND).unwrap().dead_letter == 1
            })
            .await;
        // One by the sweep, whose timer waits for no message; none for a message that is not valid.
        assert!(vault.reads() <= 1);

        world.save(world.account(), json!({"telephone1": "555-0142"}));
        world.drained().await;
        assert!(!world.stack.dataverse.ack_writes().is_empty());
        let calls = identity.requests();
        let dataverse = world.stack.dataverse.url();
        let calls: Vec<_> = calls
            .iter()
            .filter(|c| c.resource.as_deref() == Some(dataverse))
            .collect();
        assert!(
            (1..=2).contains(&calls.len()),
            "once for each app: {calls:?}"
        );
        assert!(calls.iter().all(|c| c.grant == grant && c.status == 200));
    }
}
