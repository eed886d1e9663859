//! The app settings that this crate reads, each described once.

use app_settings::{Kind, Reader, Setting, table};

table! {
    /// Where messages wait.
    BUS:

    /// The namespace, reached with the app's identity.
    ServiceBus__fullyQualifiedNamespace = Setting::text("host name", "contoso.servicebus.windows.net")
        .without("`ServiceBus` instead");

    /// A connection string, for local runs. Wins over the identity.
    ServiceBus = Setting::text(
        "connection string",
        "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;",
    )
    .without("`ServiceBus__fullyQualifiedNamespace` instead")
    .secret();

    /// The queue of the notifications.
    OUTBOUND_QUEUE = Setting::text("name", "outbound").without("`OUTBOUND_TOPIC` instead");

    /// With several targets: the topic of the notifications.
    OUTBOUND_TOPIC = Setting::text("name", "outbound").without("`OUTBOUND_QUEUE` instead");

    /// This target's subscription on that topic.
    OUTBOUND_SUBSCRIPTION = Setting::text("name", "customer-api")
        .without("`OUTBOUND_QUEUE` instead")
        .by(Reader::Outbound);

    /// The queue of the acknowledgements.
    INBOUND_QUEUE = Setting::text("name", "inbound");

    /// A session per row on the outbound queue, `SessionId = {table}:{rowId}`. Takes
    /// `"isSessionsEnabled": true` in `Outbound/function.json` and a queue with sessions.
    SESSIONS = Setting::new(Kind::Flag, "true").default("false");

    /// With sessions: the queue of the messages that are given up, with the properties of a dead letter.
    REJECTED_QUEUE = Setting::text("name", "outbound-rejected")
        .without("needed with sessions only")
        .by(Reader::Outbound);
}

table! {
    /// Whose rows travel, and what travels of them.
    DATAVERSE:

    /// The environment.
    DATAVERSE_URL = Setting::new(Kind::Address, "https://contoso.crm4.dynamics.com");

    /// The package's sync files: `inbound-fn` takes one of each target, `outbound-fn` its target's.
    SYNC_FILES = Setting::text("comma list of file names", "sync.json,sync.warehouse.json")
        .default("sync.json");

    /// Client ids of several user-assigned identities: their limits add up.
    DATAVERSE_CLIENT_IDS = Setting::text(
        "comma list of client ids",
        "11111111-2222-3333-4444-555555555555,66666666-7777-8888-9999-000000000000",
    )
    .without("one identity, the app's own");

    /// App registrations that share the requests out as well, each with the Key Vault secret that holds its
    /// client secret.
    DATAVERSE_CLIENT_SECRETS = Setting::text(
        "comma list of `client id=name of a Key Vault secret`",
        "22222222-3333-4444-5555-666666666666=dataverse-sync-two",
    )
    .without("none");

    /// The same with certificates; a Key Vault certificate has a secret of its name.
    DATAVERSE_CLIENT_CERTIFICATES = Setting::text(
        "comma list of `client id=name of a Key Vault secret`",
        "33333333-4444-5555-6666-777777777777=dataverse-sync-three",
    )
    .without("none");

    /// Where those are registered.
    DATAVERSE_TENANT_ID = Setting::text(
        "id or domain of a directory",
        "99999999-8888-7777-6666-555555555555",
    )
    .without("needed with app registrations only");

    /// Which Entra ID those are registered in; another one in sovereign clouds. Only https.
    AZURE_AUTHORITY_HOST = Setting::new(Kind::Address, "https://login.microsoftonline.us")
        .default("https://login.microsoftonline.com");

    /// One request may take this long.
    DATAVERSE_TIMEOUT_SECONDS = Setting::seconds("15").default("30");

    /// How long a request waits in process for the identity's limits before its message is rescheduled.
    DATAVERSE_MAX_WAIT_SECONDS = Setting::seconds("5").default("10");

    /// Rows merged into one request to begin with; it adapts. 1 turns merging off.
    DATAVERSE_MERGE_ROWS = Setting::new(Kind::Whole { unit: "rows", least: 1, most: 200 }, "100")
        .default("50");

    /// How long to gather them.
    DATAVERSE_MERGE_MS = Setting::new(Kind::Whole { unit: "milliseconds", least: 0, most: 1000 }, "5")
        .default("3");

    /// While something is sent, the log tells how each identity fares this often, and at once after a
    /// throttle.
    DATAVERSE_REPORT_SECONDS = Setting::seconds("300").default("60");

    /// When the outbox is swept, in UTC.
    SWEEP_SCHEDULE = Setting::text("NCRONTAB, read by the host", "0 */1 * * * *")
        .by(Reader::Inbound);

    /// A claimed outbox row is left to its sweeper this long.
    SWEEP_LEASE_SECONDS = Setting::seconds("30").default("60").by(Reader::Inbound);
}

table! {
    /// Where rows go, and the secret that opens the door.
    TARGET:

    /// Base address of the target.
    TARGET_URL = Setting::new(Kind::Address, "https://erp.contoso.com/api").by(Reader::Outbound);

    /// PEM file with authorities to trust besides the system's, for a target or token endpoint with a
    /// private one.
    TARGET_CA_FILE = Setting::text("path", "/home/site/wwwroot/contoso-root.pem")
        .without("the system's authorities")
        .by(Reader::Outbound);

    /// The vault, over https. `inbound-fn` needs it only for app registrations.
    KEY_VAULT_URL = Setting::new(Kind::Address, "https://contoso-sync.vault.azure.net")
        .without("`outbound-fn` does not start");

    /// Name of the target's secret in the vault: API key, token, password, client secret or certificate.
    TARGET_SECRET_NAME = Setting::text("name", "erp-api-key").by(Reader::Outbound);

    /// A secret is read again in the background after this.
    SECRET_REFRESH_SECONDS = Setting::seconds("300").default("900");

    /// `false` only for a vault stand-in.
    KEY_VAULT_VERIFY_CHALLENGE = Setting::new(Kind::Flag, "true").default("true");
}

table! {
    /// How the apps sign in, work and get out.
    APP:

    /// Client id of the user-assigned identity that the app is.
    AZURE_CLIENT_ID = Setting::text("client id", "11111111-2222-3333-4444-555555555555")
        .without("the system-assigned identity");

    /// The work on one message ends here. At least 100 s shorter than `functionTimeout` and
    /// `maxAutoLockRenewalDuration` of `host.json`, or the app does not start.
    INVOCATION_DEADLINE_SECONDS = Setting::seconds("60").default("120");

    /// A change is acknowledged in time within this, from its save.
    LAG_OBJECTIVE_SECONDS = Setting::seconds("30").default("60").by(Reader::Inbound);

    /// A proxy on the way out to https addresses; may be written small.
    HTTPS_PROXY = Setting::text("address", "http://proxy.contoso.com:8080")
        .without("no proxy")
        .secret();

    /// The same, to http addresses.
    HTTP_PROXY = Setting::text("address", "http://proxy.contoso.com:8080")
        .without("no proxy")
        .secret();

    /// Hosts that are reached without it.
    NO_PROXY = Setting::text("comma list of hosts", "localhost,.contoso.internal").without("none");
}

table! {
    /// Set by the platform; nobody else should.
    PLATFORM:

    /// The folder of the package.
    FUNCTIONS_APP_ROOT_PATH = Setting::text("path", "/home/site/wwwroot")
        .default(".")
        .by(Reader::SetByPlatform);

    /// Where managed identities get their tokens; there only where they can be had. Without it the app signs
    /// in as the developer who ran `az login`.
    IDENTITY_ENDPOINT = Setting::text("address", "http://localhost:8081/msi/token")
        .without("`az login`")
        .by(Reader::SetByPlatform);
}
