//! What people get wrong, by which code it is found, what is said to do, and that done.

use local_stack::dataverse::{Depth, ListedStep};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::world::{SECRET, Setup, World};

type Act = Box<dyn Fn(&World, &mut Setup)>;

pub(crate) struct Mistake {
    pub(crate) name: &'static str,
    pub(crate) code: &'static str,
    /// A part of the fix.
    pub(crate) fix: &'static str,
    pub(crate) make: Act,
    /// Does what the fix says.
    pub(crate) mend: Act,
}

/// A mistake in settings or sync file; mending it is putting them right.
fn settings(
    name: &'static str,
    code: &'static str,
    fix: &'static str,
    make: impl Fn(&mut Setup) + 'static,
) -> Mistake {
    Mistake {
        name,
        code,
        fix,
        make: Box::new(move |_, setup| make(setup)),
        mend: Box::new(|world, setup| *setup = world.setup()),
    }
}

/// A mistake in a system.
fn system(
    name: &'static str,
    code: &'static str,
    fix: &'static str,
    make: impl Fn(&World) + 'static,
    mend: impl Fn(&World) + 'static,
) -> Mistake {
    Mistake {
        name,
        code,
        fix,
        make: Box::new(move |world, _| make(world)),
        mend: Box::new(move |world, _| mend(world)),
    }
}

fn full(
    name: &'static str,
    code: &'static str,
    fix: &'static str,
    make: impl Fn(&World, &mut Setup) + 'static,
    mend: impl Fn(&World, &mut Setup) + 'static,
) -> Mistake {
    Mistake {
        name,
        code,
        fix,
        make: Box::new(make),
        mend: Box::new(mend),
    }
}

/// A privilege that does not reach far enough.
fn privilege(
    name: &'static str,
    code: &'static str,
    privilege: &'static str,
    depth: Option<Depth>,
) -> Mistake {
    system(
        name,
        code,
        "for the whole organization",
        move |world| {
            world
                .dataverse
                .set_privilege(&world.app(), privilege, depth)
        },
        move |world| {
            let dataverse = &world.dataverse;
            dataverse.set_privilege(&world.app(), privilege, Some(Depth::Global));
        },
    )
}

fn account(setup: &mut Setup) -> &mut Value {
    &mut setup.sync["tables"]["account"]
}

pub(crate) fn all() -> Vec<Mistake> {
    let mut all = service_bus();
    all.extend(identity());
    all.extend(dataverse());
    all.extend(vault());
    all.extend(target());
    all.extend(telemetry());
    all
}

fn service_bus() -> Vec<Mistake> {
    vec![
        settings("no inbound queue", "SettingMissing", "set it", |setup| {
            setup.unset("INBOUND_QUEUE");
        }),
        settings(
            "wrong namespace",
            "NamespaceUnreachable",
            "check ServiceBus__fullyQualifiedNamespace",
            |setup| {
                setup.set(
                    "ServiceBus",
                    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true",
                );
            },
        ),
        settings(
            "malformed connection string",
            "BusConnectionString",
            "copy the connection string anew",
            |setup| setup.set("ServiceBus", "SharedAccessKeyName=a"),
        ),
        settings(
            "rotated key",
            "BusCredentialRefused",
            "its key may have been rotated",
            |setup| setup.key("RootManageSharedAccessKey", "old"),
        ),
        settings(
            "no right to send",
            "NoSendRight",
            "with the right Send",
            |setup| {
                setup.key("listen", "k3y");
            },
        ),
        settings(
            "no right to receive",
            "NoListenRight",
            "with the right Listen",
            |setup| setup.key("send", "k3y"),
        ),
        settings(
            "misspelt queue",
            "EntityMissing",
            "or correct OUTBOUND_QUEUE",
            |setup| setup.set("OUTBOUND_QUEUE", "outbuond"),
        ),
        full(
            "a topic as a queue",
            "NotReceivable",
            "set OUTBOUND_TOPIC and OUTBOUND_SUBSCRIPTION",
            |_, setup| setup.set("OUTBOUND_QUEUE", "news"),
            |_, setup| setup.topic("news", "customer-api"),
        ),
        settings(
            "a queue as a topic",
            "QueueNotTopic",
            "set OUTBOUND_QUEUE instead",
            |setup| setup.topic("outbound", "customer-api"),
        ),
        full(
            "misspelt subscription",
            "SubscriptionMissing",
            "or correct OUTBOUND_SUBSCRIPTION",
            |_, setup| setup.topic("news", "customer"),
            |_, setup| setup.topic("news", "customer-api"),
        ),
        full(
            "a subscription that takes everything",
            "RulesWrong",
            "TargetSystem = 'customer-api'",
            |_, setup| setup.topic("news", "everything"),
            |_, setup| setup.topic("news", "customer-api"),
        ),
        full(
            "a queue with sessions",
            "SessionsOn",
            "set SESSIONS=true",
            |_, setup| setup.set("OUTBOUND_QUEUE", "ordered"),
            |_, setup| {
                setup.set("SESSIONS", "true");
                setup.set("REJECTED_QUEUE", "rejected");
            },
        ),
        full(
            "a queue without sessions",
            "SessionsOff",
            "or set SESSIONS=false",
            |_, setup| {
                setup.set("SESSIONS", "true");
                setup.set("REJECTED_QUEUE", "rejected");
            },
            |_, setup| setup.set("SESSIONS", "false"),
        ),
        settings(
            "a queue that keeps duplicates",
            "NoDuplicateDetection",
            "anew with duplicate detection",
            |setup| setup.set("OUTBOUND_QUEUE", "plain"),
        ),
    ]
}

fn identity() -> Vec<Mistake> {
    vec![
        system(
            "no token",
            "NoToken",
            "assign the identity to the app",
            |world| world.identity.fail_with(Some(500)),
            |world| world.identity.fail_with(None),
        ),
        full(
            "client id of nobody",
            "NoToken",
            "set AZURE_CLIENT_ID",
            |_, setup| setup.set("AZURE_CLIENT_ID", Uuid::from_u128(2).to_string()),
            |_, setup| setup.set("AZURE_CLIENT_ID", Uuid::from_u128(1).to_string()),
        ),
    ]
}

fn dataverse() -> Vec<Mistake> {
    vec![
        settings(
            "wrong address",
            "DataverseUnreachable",
            "check host and port of DATAVERSE_URL",
            |setup| setup.set("DATAVERSE_URL", "http://127.0.0.1:1"),
        ),
        full(
            "address of something else",
            "NoDataverse",
            "set DATAVERSE_URL to the environment's address",
            |world, setup| setup.set("DATAVERSE_URL", world.insights.items_url()),
            |world, setup| *setup = world.setup(),
        ),
        full(
            "address of another system",
            "DataverseRefusesToken",
            "check that DATAVERSE_URL is the environment's own address",
            |world, setup| setup.set("DATAVERSE_URL", world.target.url()),
            |world, setup| *setup = world.setup(),
        ),
        system(
            "no application user",
            "NoDataverseUser",
            "create an application user",
            |world| world.dataverse.set_user(&world.app(), false),
            |world| world.dataverse.set_user(&world.app(), true),
        ),
        privilege(
            "contacts unreadable",
            "NoReadPrivilege",
            "prvReadContact",
            None,
        ),
        privilege(
            "accounts not writable",
            "NoWritePrivilege",
            "prvWriteAccount",
            None,
        ),
        privilege(
            "outbox not deletable",
            "NoDeletePrivilege",
            "prvDeletedvs_Outbox",
            None,
        ),
        privilege(
            "own accounts only",
            "PrivilegeTooShallow",
            "prvReadAccount",
            Some(Depth::Basic),
        ),
        settings(
            "no acknowledgement column",
            "AckColumnMissing",
            "create the column (text of 2000 characters at least)",
            |setup| account(setup)["acknowledgement"] = json!({"error": "dvs_lasterror"}),
        ),
        settings(
            "acknowledgement column of the wrong type",
            "AckColumnUnfit",
            "create a column of that type",
            |setup| account(setup)["acknowledgement"] = json!({"state": "description"}),
        ),
        settings(
            "misspelt column",
            "ColumnUnfit",
            "use the column's logical name",
            |setup| {
                account(setup)["fields"]["phone"] = json!("telefone1");
            },
        ),
        settings(
            "misspelt table",
            "TableMissing",
            "use the table's logical name",
            |setup| {
                let contact = setup.sync["tables"]["contact"].take();
                setup.sync["tables"] =
                    json!({"account": account(setup).clone(), "contacts": contact});
            },
        ),
        system(
            "a step that runs for acknowledgements",
            "StepFiresOnAck",
            "take dvs_ackstate out of the step's filtering attributes",
            |world| {
                world.dataverse.set_further_steps(vec![ListedStep {
                    name: "Sync: account Update (copy)".into(),
                    table: "account".into(),
                    filtering_attributes: Some("name,dvs_ackstate".into()),
                }]);
            },
            |world| world.dataverse.set_further_steps(Vec::new()),
        ),
        settings(
            "a column that no step announces",
            "StepMissesColumn",
            "add them to the filtering attributes",
            |setup| account(setup)["fields"]["currency"] = json!("_transactioncurrencyid_value"),
        ),
    ]
}

fn vault() -> Vec<Mistake> {
    let day = Duration::days(1);
    let lifetime = |from: Option<Duration>, until: Option<Duration>| {
        move |world: &World| {
            let at = |offset: Duration| OffsetDateTime::now_utc() + offset;
            world
                .vault
                .set_lifetime(SECRET, from.map(at), until.map(at));
        }
    };
    vec![
        settings(
            "misspelt secret",
            "SecretMissing",
            "or correct TARGET_SECRET_NAME",
            |setup| setup.set("TARGET_SECRET_NAME", "target-key"),
        ),
        system(
            "disabled secret",
            "SecretDisabled",
            "--enabled true",
            |world| world.vault.set_enabled(SECRET, false),
            |world| world.vault.set_enabled(SECRET, true),
        ),
        system(
            "expired secret",
            "SecretExpired",
            "az keyvault secret set",
            lifetime(None, Some(-day)),
            lifetime(None, Some(day)),
        ),
        system(
            "secret of tomorrow",
            "SecretNotYetValid",
            "in force now",
            lifetime(Some(day), None),
            lifetime(None, None),
        ),
        system(
            "no role on the vault",
            "NoVaultRight",
            "Key Vault Secrets User",
            |world| world.vault.fail_with(Some(403)),
            |world| world.vault.fail_with(None),
        ),
        settings(
            "wrong vault",
            "VaultUnreachable",
            "check host and port of KEY_VAULT_URL",
            |setup| setup.set("KEY_VAULT_URL", "https://localhost:1"),
        ),
    ]
}

fn target() -> Vec<Mistake> {
    vec![
        system(
            "a key that was rotated",
            "TargetRefusesCredential",
            "put what the target takes now into the vault",
            |world| drop(world.vault.set_secret(SECRET, "old")),
            |world| drop(world.vault.set_secret(SECRET, world.target.api_key())),
        ),
        settings(
            "wrong target",
            "TargetUnreachable",
            "check host and port of TARGET_URL",
            |setup| setup.set("TARGET_URL", "http://127.0.0.1:1"),
        ),
        full(
            "an authority that is not known",
            "TargetUntrusted",
            "set TARGET_CA_FILE",
            |world, setup| {
                let port = world.foreign_target.addr().port();
                setup.set("TARGET_URL", format!("https://localhost:{port}"));
            },
            |world, setup| {
                setup.set("TARGET_CA_FILE", world.foreign_ca.display().to_string());
            },
        ),
    ]
}

fn telemetry() -> Vec<Mistake> {
    const NAME: &str = "APPLICATIONINSIGHTS_CONNECTION_STRING";
    const BY_IDENTITY: &str = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING";
    vec![
        settings(
            "malformed connection string of Application Insights",
            "ConnectionStringUnusable",
            "copy it from the resource's overview page",
            |setup| setup.set(NAME, "https://contoso.applicationinsights.azure.com"),
        ),
        full(
            "identities only",
            "IngestionWantsIdentity",
            "Authorization=AAD",
            |world, setup| setup.set(NAME, world.strict_insights.connection_string()),
            |_, setup| setup.set(BY_IDENTITY, "Authorization=AAD"),
        ),
        full(
            "a resource of another tenant",
            "IngestionRefusesToken",
            "Monitoring Metrics Publisher",
            |world, setup| {
                setup.set(NAME, world.foreign_insights.connection_string());
                setup.set(BY_IDENTITY, "Authorization=AAD");
            },
            |world, setup| setup.set(NAME, world.strict_insights.connection_string()),
        ),
        full(
            "instrumentation key of another resource",
            "IngestionRefusesItem",
            "check the InstrumentationKey",
            |world, setup| {
                let own = world.insights.instrumentation_key().to_string();
                let text = world.insights.connection_string();
                setup.set(NAME, text.replace(&own, &Uuid::new_v4().to_string()));
            },
            |world, setup| *setup = world.setup(),
        ),
    ]
}
