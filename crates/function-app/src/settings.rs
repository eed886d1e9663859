//! All app settings, as `dvsync check` and the documentation know them: those of the crates that read them,
//! and those that the host reads for the apps.

use app_settings::{Reader, Setting, table};
use sync_core::settings::table::{APP, BUS, DATAVERSE, PLATFORM, TARGET};
use telemetry::settings::{NAMES, TELEMETRY};

table! {
    /// What the Functions host reads.
    HOST:

    /// The apps are custom handlers: `custom`. On Flex Consumption the app's configuration says it, and the setting
    /// is refused.
    FUNCTIONS_WORKER_RUNTIME = Setting::text("`custom`", "custom")
        .without("the host does not start; not on Flex Consumption")
        .by(Reader::Host);

    /// Version of the host. Not on Flex Consumption either.
    FUNCTIONS_EXTENSION_VERSION = Setting::text("`~4`", "~4")
        .without("local tools have one version")
        .by(Reader::Host);

    /// The storage account of the host's locks, keys and timers, by connection string; Azurite for local runs.
    AzureWebJobsStorage = Setting::text("connection string", "UseDevelopmentStorage=true")
        .without("`AzureWebJobsStorage__accountName` instead")
        .secret()
        .by(Reader::Host);

    /// The same by identity.
    AzureWebJobsStorage__accountName = Setting::text("name", "stdvsyncinbound")
        .without("`AzureWebJobsStorage` instead")
        .by(Reader::Host);

    /// With a user-assigned identity: `managedidentity`.
    AzureWebJobsStorage__credential = Setting::text("`managedidentity`", "managedidentity")
        .without("the system-assigned identity")
        .by(Reader::Host);

    /// Client id of that identity.
    AzureWebJobsStorage__clientId = Setting::text("client id", "11111111-2222-3333-4444-555555555555")
        .without("the system-assigned identity")
        .by(Reader::Host);

    /// How the host's triggers sign in to `ServiceBus__fullyQualifiedNamespace`, with a user-assigned identity:
    /// `managedidentity`.
    ServiceBus__credential = Setting::text("`managedidentity`", "managedidentity")
        .without("the system-assigned identity; locally `az login`")
        .by(Reader::Host);

    /// Client id of that identity. The apps themselves take `AZURE_CLIENT_ID`.
    ServiceBus__clientId = Setting::text("client id", "11111111-2222-3333-4444-555555555555")
        .without("the system-assigned identity")
        .by(Reader::Host);

    /// Locally, with the two below: an app registration that the host's triggers sign in as. `AZURE_CLIENT_ID` is its
    /// client id then.
    AZURE_TENANT_ID = Setting::text("id", "99999999-8888-7777-6666-555555555555")
        .without("`az login`")
        .by(Reader::Host);

    /// Its client secret.
    AZURE_CLIENT_SECRET = Setting::text("text", "...")
        .without("`az login`")
        .secret()
        .by(Reader::Host);

    /// Premium plans: where the package is.
    WEBSITE_RUN_FROM_PACKAGE = Setting::text("address", "https://stdvsyncinbound.blob.core.windows.net/packages/package.zip")
        .without("the plan's own way")
        .by(Reader::Host);

    /// The identity it is fetched with.
    WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID = Setting::text("resource id", "/subscriptions/.../id-inbound")
        .without("the system-assigned identity")
        .by(Reader::Host);
}

/// Groups of settings that belong together, each under its title.
pub const GROUPS: [(&str, &[Setting]); 7] = [
    ("Service Bus", BUS),
    ("Dataverse", DATAVERSE),
    ("Target and its secret", TARGET),
    ("The apps themselves", APP),
    ("Telemetry", TELEMETRY),
    ("Read by the Functions host", HOST),
    ("Set by the platform", PLATFORM),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS
        .iter()
        .flat_map(|(_, settings)| *settings)
        .chain(NAMES)
}
