//! The tables themselves: account and contact as Dynamics 365 ships them (the columns the sync
//! maps), the integration's own columns on both, and the outbox table.

use std::collections::HashMap;

use super::Cascade::{Delete, RemoveLink};
use super::Kind::{
    Bool, Choice, Choices, Lookup, Memo, Money, PrimaryKey, State, Status, Text, Time, Version,
    Whole,
};
use super::{AlternateKey, Column, Kind, Navigation, Table, property_name};

const STATES: &[i64] = &[0, 1];
const STATUSES: &[i64] = &[1, 2];
/// Pending, Sending, Retry wait, Failed.
const OUTBOX_STATUSES: &[i64] = &[1, 2, 3, 4];
/// The industry codes Dynamics 365 ships with.
const INDUSTRIES: &[i64] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    27, 28, 29, 30, 31, 32, 33,
];

/// German, English, French, Italian: somebody's own column on account.
const LANGUAGES: &[i64] = &[100, 101, 102, 103];

/// The integration's own columns: what acknowledgements write, for each target its own.
const ACKNOWLEDGEMENT: &[(&str, Kind)] = &[
    ("dvs_targetid", Text(100)),
    ("dvs_ackstate", Whole),
    ("dvs_ackversion", Text(20)),
    ("dvs_ackerror", Memo(4000)),
    ("dvs_ackon", Time),
    ("dvs_ackhash", Text(100)),
    ("dvs_correlationid", Text(100)),
    // The same for the second target, `sync.warehouse.json`.
    ("dvs_warehouseid", Text(100)),
    ("dvs_warehousestate", Whole),
    ("dvs_warehouseversion", Text(20)),
    ("dvs_warehouseerror", Memo(4000)),
    ("dvs_warehouseon", Time),
    ("dvs_warehousehash", Text(100)),
    ("dvs_warehousecorrelationid", Text(100)),
];

pub(super) fn all() -> Vec<Table> {
    vec![account(), contact(), currency(), outbox()]
}

fn account() -> Table {
    let own = [
        ("accountnumber", Text(20)),
        ("name", Text(160)),
        ("telephone1", Text(50)),
        ("emailaddress1", Text(100)),
        ("websiteurl", Text(200)),
        ("address1_line1", Text(250)),
        ("address1_city", Text(80)),
        ("address1_postalcode", Text(20)),
        ("address1_country", Text(80)),
        ("revenue", Money),
        ("numberofemployees", Whole),
        ("creditonhold", Bool),
        ("industrycode", Choice(INDUSTRIES)),
        ("new_languages", Choices(LANGUAGES)),
        ("description", Memo(2000)),
        ("primarycontactid", Lookup),
        ("transactioncurrencyid", Lookup),
    ];
    Builder {
        logical: "account",
        schema_name: "Account",
        set: "accounts",
        primary_key: "accountid",
        primary_name: "name",
        statuses: STATUSES,
    }
    .build(
        own.iter().chain(ACKNOWLEDGEMENT),
        vec![AlternateKey {
            name: "dvs_accountnumber",
            columns: &["accountnumber"],
        }],
        vec![
            Navigation {
                name: "primarycontactid",
                column: "primarycontactid",
                target: "contact",
                on_delete: RemoveLink,
            },
            Navigation {
                name: "transactioncurrencyid",
                column: "transactioncurrencyid",
                target: "transactioncurrency",
                on_delete: RemoveLink,
            },
        ],
    )
}

fn contact() -> Table {
    let own = [
        ("fullname", Text(160)),
        ("firstname", Text(50)),
        ("lastname", Text(50)),
        ("emailaddress1", Text(100)),
        ("telephone1", Text(50)),
        ("jobtitle", Text(100)),
        ("parentcustomerid", Lookup),
    ];
    Builder {
        logical: "contact",
        schema_name: "Contact",
        set: "contacts",
        primary_key: "contactid",
        primary_name: "fullname",
        statuses: STATUSES,
    }
    .build(
        own.iter().chain(ACKNOWLEDGEMENT),
        vec![],
        vec![
            Navigation {
                name: "parentcustomerid_account",
                column: "parentcustomerid",
                target: "account",
                on_delete: Delete,
            },
            Navigation {
                name: "parentcustomerid_contact",
                column: "parentcustomerid",
                target: "contact",
                on_delete: Delete,
            },
        ],
    )
}

fn currency() -> Table {
    let own = [
        ("currencyname", Text(100)),
        ("isocurrencycode", Text(5)),
        ("currencysymbol", Text(10)),
    ];
    Builder {
        logical: "transactioncurrency",
        schema_name: "TransactionCurrency",
        set: "transactioncurrencies",
        primary_key: "transactioncurrencyid",
        primary_name: "currencyname",
        statuses: STATUSES,
    }
    .build(own.iter(), vec![], vec![])
}

fn outbox() -> Table {
    let own = [
        ("dvs_name", Text(200)),
        ("dvs_table", Text(100)),
        ("dvs_rowid", Text(100)),
        ("dvs_operation", Text(20)),
        ("dvs_correlationid", Text(100)),
        ("dvs_messageid", Text(100)),
        ("dvs_rowversion", Text(20)),
        ("dvs_payload", Memo(1_048_576)),
        ("dvs_attempts", Whole),
        ("dvs_nextattempton", Time),
        ("dvs_lasterror", Memo(4000)),
    ];
    Builder {
        logical: "dvs_outbox",
        schema_name: "dvs_Outbox",
        set: "dvs_outboxes",
        primary_key: "dvs_outboxid",
        primary_name: "dvs_name",
        statuses: OUTBOX_STATUSES,
    }
    .build(
        own.iter(),
        vec![AlternateKey {
            name: "dvs_messageid",
            columns: &["dvs_messageid"],
        }],
        vec![],
    )
}

struct Builder {
    logical: &'static str,
    schema_name: &'static str,
    set: &'static str,
    primary_key: &'static str,
    primary_name: &'static str,
    statuses: &'static [i64],
}

impl Builder {
    /// Adds the columns every table has: key, state, status, created, modified, version.
    fn build<'a>(
        self,
        own: impl Iterator<Item = &'a (&'static str, Kind)>,
        keys: Vec<AlternateKey>,
        navigations: Vec<Navigation>,
    ) -> Table {
        let system = [
            ("statecode", State(STATES), true),
            ("statuscode", Status(self.statuses), true),
            ("createdon", Time, false),
            ("modifiedon", Time, false),
            ("versionnumber", Version, false),
        ];
        let key = (self.primary_key, PrimaryKey, false);
        // fullname is computed from its parts.
        let own = own.map(|(name, kind)| (*name, *kind, *name != "fullname"));
        let columns: Vec<Column> = std::iter::once(key)
            .chain(own)
            .chain(system)
            .map(|(name, kind, writable)| Column {
                name,
                kind,
                writable,
            })
            .collect();
        let numbered = || columns.iter().enumerate();
        let by_name: HashMap<_, _> = numbered().map(|(i, column)| (column.name, i)).collect();
        let by_property: HashMap<_, _> = numbered().map(|(i, c)| (property_name(c), i)).collect();
        Table {
            logical: self.logical,
            schema_name: self.schema_name,
            set: self.set,
            primary_key: self.primary_key,
            primary_name: self.primary_name,
            keys,
            navigations,
            by_name,
            by_property,
            columns,
        }
    }
}
