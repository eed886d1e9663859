//! What tables there are: columns, keys, lookups. The mock's whole knowledge of metadata.

pub(super) mod labels;
mod tables;

use std::collections::HashMap;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    PrimaryKey,
    Version,
    /// One line of text, with its maximum length.
    Text(usize),
    /// Several lines of text, with their maximum length.
    Memo(usize),
    Whole,
    Money,
    Bool,
    /// A choice, with its valid values.
    Choice(&'static [i64]),
    /// A choice of several values, with its valid ones; written as one text, `100,101`.
    Choices(&'static [i64]),
    State(&'static [i64]),
    Status(&'static [i64]),
    Time,
    /// A lookup; the tables it may point at are those of its navigation properties.
    Lookup,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Logical name.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether a caller may set it; what nobody may set is ignored in a payload, as in Dataverse.
    pub(super) writable: bool,
}

/// A single-valued navigation property.
#[derive(Debug, Clone, Copy)]
pub(super) struct Navigation {
    /// As used in `$expand` and `@odata.bind`; case-sensitive.
    pub(super) name: &'static str,
    /// The lookup column behind it.
    pub(super) column: &'static str,
    /// Logical name of the table at the other end.
    pub(super) target: &'static str,
    /// What becomes of the rows here when the row there is deleted.
    pub(super) on_delete: Cascade,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cascade {
    /// They are deleted too ("Cascade All").
    Delete,
    /// Their lookup becomes null ("Remove Link").
    RemoveLink,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct AlternateKey {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) logical: &'static str,
    pub(super) schema_name: &'static str,
    pub(super) set: &'static str,
    pub(super) primary_key: &'static str,
    pub(super) primary_name: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<AlternateKey>,
    pub(super) navigations: Vec<Navigation>,
    by_name: HashMap<&'static str, usize>,
    by_property: HashMap<String, usize>,
}

impl Table {
    /// A column by its logical name.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// A column by the name it has in `$select`, `$filter` and results: `_x_value` for a lookup.
    pub(super) fn property(&self, name: &str) -> Option<usize> {
        self.by_property.get(name).copied()
    }

    /// The name a column has in results.
    pub(super) fn property_name(&self, column: usize) -> String {
        property_name(&self.columns[column])
    }

    pub(super) fn navigation(&self, name: &str) -> Option<&Navigation> {
        self.navigations.iter().find(|nav| nav.name == name)
    }

    /// The integration's own columns, which no step may be registered on.
    pub(super) fn is_own_column(name: &str) -> bool {
        name.starts_with("dvs_")
    }
}

fn property_name(column: &Column) -> String {
    match column.kind {
        Kind::Lookup => format!("_{}_value", column.name),
        _ => column.name.to_owned(),
    }
}

/// All tables of the environment.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) tables: Vec<Table>,
}

impl Schema {
    pub(super) fn new() -> Self {
        Self {
            tables: tables::all(),
        }
    }

    /// A table by its entity set name, which is case-sensitive.
    pub(super) fn by_set(&self, set: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.set == set)
    }

    pub(super) fn by_logical(&self, logical: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.logical == logical)
    }

    /// Every navigation property that points at `target`, with the table it belongs to.
    pub(super) fn pointing_at<'a>(
        &'a self,
        target: &'a str,
    ) -> impl Iterator<Item = (&'a Table, &'a Navigation)> {
        self.tables.iter().flat_map(move |table| {
            let navigations = table.navigations.iter();
            navigations
                .filter(move |nav| nav.target == target)
                .map(move |nav| (table, nav))
        })
    }
}
