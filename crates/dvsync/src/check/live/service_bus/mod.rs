//! Service Bus: entities, their kind, and the rights each app needs, by trying.
//!
//! Safe beside running apps. Sending is tried with messages scheduled far in the future and cancelled by
//! their numbers, so that nobody ever receives them. Receiving is tried with a link that gives no credit,
//! so that nothing is locked and no delivery counted; with sessions it holds a session that no message is
//! of. Settling is tried with a lock token that no message has.

mod entity;
mod listen;
mod send;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use service_bus::{Client, ClientOptions, Error, ErrorClass, ErrorKind};
use sync_core::credentials::{SERVICE_BUS_SCOPE, TokenSource};
use sync_core::settings::BusSetting;

use super::line::{Line, System};
use super::parts::Parts;
use entity::Need;

const BUS: System = System("Service Bus");

pub(super) async fn check(parts: &Parts) -> Vec<Line> {
    let by_identity = matches!(parts.settings.bus, BusSetting::Namespace(_));
    if by_identity && parts.own.token(SERVICE_BUS_SCOPE).await.is_err() {
        return vec![BUS.not_checked("namespace", "there is no token for it")];
    }
    let options = ClientOptions {
        operation_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(8),
        try_timeout: Duration::from_secs(8),
        retries: 1,
        close_timeout: Duration::from_secs(2),
        ..ClientOptions::default()
    };
    let client = match parts
        .settings
        .bus_client_with(&Arc::clone(&parts.own), options)
    {
        Ok(client) => client,
        Err(error) => {
            let fix = "copy the connection string anew, or use an identity: ServiceBus__fullyQualifiedNamespace";
            return vec![BUS.wrong("namespace", "BusConnectionString", error.to_string(), fix)];
        }
    };
    let needs = entity::needs(parts);
    let lines = match reach(&client, &needs).await {
        Some(line) => vec![line],
        None => {
            let mut lines = vec![BUS.ok("namespace", format!("{} answers", client.namespace()))];
            let checks = needs
                .iter()
                .map(|need| of_entity(&client, need, by_identity));
            lines.extend(join_all(checks).await.into_iter().flatten());
            lines.push(BUS.not_checked(
                "lock duration, MaxDeliveryCount, time to live",
                "AMQP does not tell them; `az servicebus queue show` does, and infra/ sets them",
            ));
            lines
        }
    };
    client.close().await;
    lines
}

/// The line for a namespace that is not there, or does not know who calls.
async fn reach(client: &Client, needs: &[Need]) -> Option<Line> {
    let first = needs.first()?;
    let error = client.peek(&first.entity, 0, 1).await.err()?;
    match error.kind() {
        ErrorKind::Connection(why) => Some(BUS.wrong(
            "namespace",
            "NamespaceUnreachable",
            format!("{} is not reached: {why}", client.namespace()),
            "check ServiceBus__fullyQualifiedNamespace (e.g. contoso.servicebus.windows.net) or the Endpoint of ServiceBus, and that port 5671 is open from here; with a private endpoint, run the check in its network",
        )),
        ErrorKind::TimedOut(_) => Some(BUS.wrong(
            "namespace",
            "NamespaceUnreachable",
            format!("{} does not answer", client.namespace()),
            "check that port 5671 is open from here, and that the namespace's firewall lets this machine in",
        )),
        _ if error.class() == ErrorClass::Unauthorized && !lacks_right(&error) => {
            Some(BUS.wrong(
                "namespace",
                "BusCredentialRefused",
                format!("the credential is refused: {error}"),
                "copy the connection string anew (its key may have been rotated); by identity, sign in to the namespace's tenant",
            ))
        }
        _ => None,
    }
}

async fn of_entity(client: &Client, need: &Need, by_identity: bool) -> Vec<Line> {
    let mut lines = send::check(client, need, by_identity).await;
    // Said once is enough.
    let is_missing = lines.iter().any(entity::says_missing);
    if let (Some(listen), false) = (&need.listen, is_missing) {
        lines.extend(listen::check(client, need, listen, by_identity).await);
    }
    lines
}

/// Whether the refusal is about a right, not about who calls: it names the claim.
fn lacks_right(error: &Error) -> bool {
    error.to_string().contains("claim")
}

fn is_not_allowed(error: &Error) -> bool {
    error.condition() == Some("amqp:not-allowed")
}

/// How a missing right is given.
fn grant(by_identity: bool, role: &str, right: &str, entity: &str) -> String {
    if by_identity {
        format!(
            "give the identity the role {role} on {entity}; a new assignment takes some minutes"
        )
    } else {
        format!("use a key of a policy with the right {right}, for the namespace or for {entity}")
    }
}
