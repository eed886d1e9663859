//! Rows, their alternate keys, and the organisation's one version counter.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::cell::Cell;
use super::schema::{AlternateKey, Kind, Schema, Table};

/// One row: a value per column of its table, in the table's order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) version: i64,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    /// The value of a column by logical name; null for a column the table does not have.
    pub(super) fn get(&self, table: &Table, column: &str) -> &Cell {
        match table.column(column) {
            Some(index) => &self.cells[index],
            None => &Cell::Null,
        }
    }

    pub(super) fn etag(&self) -> String {
        format!("W/\"{}\"", self.version)
    }
}

#[derive(Debug, Default)]
struct Rows {
    by_id: BTreeMap<Uuid, Row>,
    /// Per alternate key of the table: key values to row.
    by_key: Vec<HashMap<Vec<String>, Uuid>>,
}

/// Everything the environment holds.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) schema: Arc<Schema>,
    tables: HashMap<&'static str, Rows>,
    version: i64,
    /// Rows that were deleted, with the version of the deletion.
    deleted: HashMap<&'static str, Vec<(Uuid, i64)>>,
    /// Delta tokens of versions before this one are no longer answered.
    forgotten: i64,
}

impl Store {
    pub(super) fn new(schema: Arc<Schema>) -> Self {
        let rows = |table: &Table| Rows {
            by_id: BTreeMap::new(),
            by_key: vec![HashMap::new(); table.keys.len()],
        };
        let tables = schema.tables.iter();
        Self {
            tables: tables.map(|table| (table.logical, rows(table))).collect(),
            schema: schema.clone(),
            // Environments do not start at 1; a version that looks like one catches mistakes.
            version: 500_000,
            deleted: HashMap::new(),
            forgotten: 0,
        }
    }

    /// The next version number: strictly rising over all tables, and never given back, not even
    /// by a transaction that is undone (as SQL Server's rowversion).
    pub(super) fn next_version(&mut self) -> i64 {
        self.version += 1;
        self.version
    }

    /// The last version number given out.
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// Remembers that a row was deleted.
    pub(super) fn bury(&mut self, table: &'static str, id: Uuid, version: i64) {
        self.deleted.entry(table).or_default().push((id, version));
    }

    /// Deleted rows of a table, with the versions of their deletions.
    pub(super) fn deleted(&self, table: &Table) -> impl Iterator<Item = (Uuid, i64)> + '_ {
        let deleted = self.deleted.get(table.logical);
        deleted.into_iter().flatten().copied()
    }

    /// Makes every delta token given so far too old.
    pub(super) fn forget_deleted(&mut self) {
        self.forgotten = self.next_version();
    }

    pub(super) fn is_forgotten(&self, version: i64) -> bool {
        version < self.forgotten
    }

    pub(super) fn row(&self, table: &Table, id: Uuid) -> Option<&Row> {
        self.tables.get(table.logical)?.by_id.get(&id)
    }

    pub(super) fn rows(&self, table: &Table) -> impl Iterator<Item = &Row> {
        let rows = self.tables.get(table.logical);
        rows.into_iter().flat_map(|rows| rows.by_id.values())
    }

    pub(super) fn count(&self, table: &Table) -> usize {
        self.tables
            .get(table.logical)
            .map_or(0, |rows| rows.by_id.len())
    }

    /// The row that has these values in alternate key number `key`.
    pub(super) fn by_key(&self, table: &Table, key: usize, values: &[Cell]) -> Option<Uuid> {
        let values = key_values(values.iter())?;
        let index = self.tables.get(table.logical)?.by_key.get(key)?;
        index.get(&values).copied()
    }

    /// Puts a row in place of whatever is there (`None` removes it); returns what was there.
    pub(super) fn replace(&mut self, table: &Table, id: Uuid, row: Option<Row>) -> Option<Row> {
        let rows = self.tables.get_mut(table.logical)?;
        let before = rows.by_id.remove(&id);
        for (key, index) in table.keys.iter().zip(&mut rows.by_key) {
            if let Some(values) = before.as_ref().and_then(|row| values_of(table, key, row)) {
                index.remove(&values);
            }
            if let Some(values) = row.as_ref().and_then(|row| values_of(table, key, row)) {
                index.insert(values, id);
            }
        }
        if let Some(row) = row {
            rows.by_id.insert(id, row);
        }
        before
    }

    /// The alternate key, and the other row, that `row` would collide with.
    pub(super) fn collision(&self, table: &Table, row: &Row) -> Option<(&'static str, Uuid)> {
        let rows = self.tables.get(table.logical)?;
        table
            .keys
            .iter()
            .zip(&rows.by_key)
            .find_map(|(key, index)| {
                let holder = index.get(&values_of(table, key, row)?)?;
                (*holder != row.id).then_some((key.name, *holder))
            })
    }
}

fn values_of(table: &Table, key: &AlternateKey, row: &Row) -> Option<Vec<String>> {
    key_values(key.columns.iter().map(|column| row.get(table, column)))
}

/// Key values as SQL Server compares them; `None` if one is null, which no key holds.
fn key_values<'a>(mut cells: impl Iterator<Item = &'a Cell>) -> Option<Vec<String>> {
    cells.try_fold(Vec::new(), |mut values, cell| {
        let value = match cell {
            Cell::Null => return None,
            Cell::Text(text) => text.to_lowercase(),
            other => other.to_json().to_string(),
        };
        values.push(value);
        Some(values)
    })
}

/// A new row of a table, with nothing but its key.
pub(super) fn empty_row(table: &Table, id: Uuid) -> Row {
    let cells = table.columns.iter().map(|column| match column.kind {
        Kind::PrimaryKey => Cell::Guid(id),
        _ => Cell::Null,
    });
    Row {
        id,
        version: 0,
        cells: cells.collect(),
    }
}
