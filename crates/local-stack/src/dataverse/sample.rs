//! Sample data: the accounts and contacts Microsoft ships, and generated ones to reach a number.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::payload::Payload;
use super::schema::{Schema, Table};
use super::service::{self, Save};
use super::steps::Steps;
use super::store::Store;
use super::transaction::Transaction;
use crate::dice::Dice;

/// The environment's one currency.
pub(super) const BASE_CURRENCY: Uuid = Uuid::from_u128(0x5a4c_8b0e_0f9f_e711_8122_000d_3aa2_331c);

/// Name, phone, city, postal code, employees, revenue, and the primary contact.
type Sample = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u32,
    u32,
    &'static str,
);

/// The sample accounts of Dynamics 365, each with its primary contact.
const ACCOUNTS: [Sample; 10] = [
    (
        "Fourth Coffee",
        "555-0150",
        "Renton",
        "98055",
        1_000,
        100_000,
        "Yvonne McKay",
    ),
    (
        "Litware, Inc.",
        "555-0151",
        "Dallas",
        "75201",
        6_000,
        20_000,
        "Susanna Stubberod",
    ),
    (
        "Adventure Works",
        "555-0152",
        "Santa Cruz",
        "95060",
        4_300,
        60_000,
        "Nancy Anderson",
    ),
    (
        "Fabrikam, Inc.",
        "555-0153",
        "Lynnwood",
        "98036",
        3_900,
        80_000,
        "Maria Campbell",
    ),
    (
        "Blue Yonder Airlines",
        "555-0154",
        "Los Angeles",
        "90001",
        2_900,
        40_000,
        "Sidney Higa",
    ),
    (
        "City Power & Light",
        "555-0155",
        "Redmond",
        "98052",
        1_500,
        100_000,
        "Scott Konersmann",
    ),
    (
        "Contoso Pharmaceuticals",
        "555-0156",
        "Redmond",
        "98052",
        1_500,
        60_000,
        "Robert Lyon",
    ),
    (
        "Alpine Ski House",
        "555-0157",
        "Missoula",
        "59801",
        4_800,
        90_000,
        "Paul Cannon",
    ),
    (
        "A. Datum Corporation",
        "555-0158",
        "Redmond",
        "98052",
        6_200,
        10_000,
        "Rene Valdes",
    ),
    (
        "Coho Winery",
        "555-0159",
        "Phoenix",
        "85001",
        2_700,
        10_000,
        "Jim Glynn",
    ),
];

/// Contacts that are nobody's primary contact, with the account they belong to.
const FURTHER_CONTACTS: [(&str, usize); 2] = [("Susan Burk", 8), ("Patrick Steele", 2)];

const FIRST_WORDS: [&str; 12] = [
    "Northern",
    "Blue",
    "Silver",
    "Cedar",
    "Harbor",
    "Summit",
    "Prairie",
    "Golden",
    "Maple",
    "River",
    "Granite",
    "Evergreen",
];
const SECOND_WORDS: [&str; 12] = [
    "Logistics",
    "Foods",
    "Machining",
    "Textiles",
    "Energy",
    "Optics",
    "Printing",
    "Robotics",
    "Ceramics",
    "Shipping",
    "Tools",
    "Instruments",
];
const CITIES: [(&str, &str); 6] = [
    ("Seattle", "98101"),
    ("Portland", "97201"),
    ("Denver", "80202"),
    ("Austin", "78701"),
    ("Chicago", "60601"),
    ("Boston", "02108"),
];

/// Fills an empty environment with a currency and so many accounts. No step runs.
pub(super) fn fill(store: &mut Store, accounts: usize, seed: u64, now: OffsetDateTime) {
    let steps = Steps::none();
    let save = Save {
        now,
        user_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: String::new(),
        tag: None,
        steps: &steps,
    };
    let schema = store.schema.clone();
    let mut filler = Filler {
        transaction: Transaction::begin(store),
        save: &save,
        schema: &schema,
    };
    filler.create(
        "transactioncurrency",
        BASE_CURRENCY,
        &json!({"currencyname": "US Dollar", "isocurrencycode": "USD", "currencysymbol": "$"}),
    );
    for (number, sample) in ACCOUNTS.iter().enumerate().take(accounts) {
        filler.microsoft(number, sample);
    }
    let further = FURTHER_CONTACTS.iter();
    for (name, account) in further.filter(|(_, account)| *account < accounts) {
        filler.contact(name, ACCOUNTS[*account].0);
    }
    let mut dice = Dice::new(seed);
    for number in ACCOUNTS.len()..accounts {
        filler.generated(number, &mut dice);
    }
    filler.transaction.commit();
}

struct Filler<'a> {
    transaction: Transaction<'a>,
    save: &'a Save<'a>,
    schema: &'a Schema,
}

/// The same id for the same name in every environment, so that tests and demos can rely on it.
fn id_of(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes())
}

impl Filler<'_> {
    fn microsoft(&mut self, number: usize, sample: &Sample) {
        let (name, phone, city, postal_code, employees, revenue, contact) = sample;
        let domain = "example.com";
        self.create(
            "account",
            id_of(name),
            &json!({
                "name": format!("{name} (sample)"),
                "accountnumber": account_number(number),
                "telephone1": phone,
                "emailaddress1": format!("someone{number}@{domain}"),
                "websiteurl": format!("http://www.{domain}/"),
                "address1_line1": format!("{} Sample Street", 100 + number),
                "address1_city": city,
                "address1_postalcode": postal_code,
                "address1_country": "U.S.",
                "numberofemployees": employees,
                "revenue": revenue,
                "new_languages": "101",
            }),
        );
        self.contact(contact, name);
        let primary = json!({
            "primarycontactid@odata.bind": format!("/contacts({})", id_of(contact)),
        });
        self.update("account", id_of(name), &primary);
    }

    fn contact(&mut self, name: &str, account: &str) {
        let (first, last) = name.split_once(' ').unwrap_or(("", name));
        self.create(
            "contact",
            id_of(name),
            &json!({
                "firstname": first,
                "lastname": format!("{last} (sample)"),
                "emailaddress1": format!("{}@example.com", first.to_lowercase()),
                "telephone1": "555-0100",
                "jobtitle": "Purchasing Manager",
                "parentcustomerid_account@odata.bind": format!("/accounts({})", id_of(account)),
            }),
        );
    }

    fn generated(&mut self, number: usize, dice: &mut Dice) {
        let first = FIRST_WORDS[dice.below(FIRST_WORDS.len())];
        let second = SECOND_WORDS[dice.below(SECOND_WORDS.len())];
        let (city, postal_code) = CITIES[dice.below(CITIES.len())];
        let key = account_number(number);
        self.create(
            "account",
            id_of(&key),
            &json!({
                "name": format!("{first} {second} {number:05}"),
                "accountnumber": key,
                "telephone1": format!("555-{:04}", dice.below(10_000)),
                "emailaddress1": format!("office{number}@example.com"),
                "address1_city": city,
                "address1_postalcode": postal_code,
                "address1_country": "U.S.",
                "numberofemployees": 10 + dice.below(5_000),
                "revenue": 1_000 * (1 + dice.below(9_000)),
                "industrycode": 1 + dice.below(33),
                "new_languages": LANGUAGES[number % LANGUAGES.len()],
            }),
        );
    }

    fn create(&mut self, table: &str, id: Uuid, body: &Value) {
        let schema = self.schema;
        let Some((table, payload)) = schema.by_logical(table).and_then(|t| self.payload(t, body))
        else {
            return;
        };
        let created = service::create(&mut self.transaction, self.save, table, id, &payload);
        debug_assert!(created.is_ok(), "{created:?}");
    }

    fn update(&mut self, table: &str, id: Uuid, body: &Value) {
        let schema = self.schema;
        let Some((table, payload)) = schema.by_logical(table).and_then(|t| self.payload(t, body))
        else {
            return;
        };
        let updated = service::update(&mut self.transaction, self.save, table, id, &payload);
        debug_assert!(updated.is_ok(), "{updated:?}");
    }

    fn payload<'t>(&self, table: &'t Table, body: &Value) -> Option<(&'t Table, Payload)> {
        let parsed = Payload::parse(table, body.as_object()?, self.transaction.store());
        debug_assert!(parsed.is_ok(), "{parsed:?}");
        Some((table, parsed.ok()?))
    }
}

/// What customers speak: see the choice's labels.
const LANGUAGES: [&str; 3] = ["100,101", "101,103", "102"];

fn account_number(number: usize) -> String {
    format!("ACC-{:05}", number + 1)
}
