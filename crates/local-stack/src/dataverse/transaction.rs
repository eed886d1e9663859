//! All or nothing: every change of the store goes through a transaction that can be undone.

use std::sync::Arc;

use uuid::Uuid;

use super::cell::Cell;
use super::journal::{AckWrite, Change};
use super::posting::Posting;
use super::schema::{Kind, Schema, Table};
use super::store::{Row, Store};

/// What a committed transaction leaves behind besides its rows.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) changes: Vec<Change>,
    pub(super) ack_writes: Vec<AckWrite>,
    /// What the asynchronous steps now post.
    pub(super) postings: Vec<Posting>,
    /// Events too large to be posted.
    pub(super) too_large: u64,
}

/// An open transaction; dropped without [`commit`](Self::commit), everything it did is undone.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    store: &'a mut Store,
    schema: Arc<Schema>,
    undo: Vec<(&'static str, Uuid, Option<Row>)>,
    removed: Vec<(&'static str, Uuid, i64)>,
    pub(super) effects: Effects,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(store: &'a mut Store) -> Self {
        Self {
            schema: store.schema.clone(),
            store,
            undo: Vec::new(),
            removed: Vec::new(),
            effects: Effects::default(),
        }
    }

    pub(super) fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    pub(super) fn store(&self) -> &Store {
        self.store
    }

    /// Writes a row and gives it the next version; returns the version.
    pub(super) fn write(&mut self, table: &Table, mut row: Row) -> i64 {
        let version = self.store.next_version();
        row.version = version;
        for (column, cell) in table.columns.iter().zip(&mut row.cells) {
            if column.kind == Kind::Version {
                *cell = Cell::Int(version);
            }
        }
        let id = row.id;
        let before = self.store.replace(table, id, Some(row));
        self.undo.push((table.logical, id, before));
        version
    }

    pub(super) fn remove(&mut self, table: &Table, id: Uuid) -> Option<Row> {
        let before = self.store.replace(table, id, None);
        if before.is_some() {
            self.undo.push((table.logical, id, before.clone()));
            // A deletion has a version of its own, by which change tracking knows it.
            let version = self.store.next_version();
            self.removed.push((table.logical, id, version));
        }
        before
    }

    /// Keeps everything.
    pub(super) fn commit(mut self) -> Effects {
        self.undo.clear();
        for (table, id, version) in self.removed.drain(..) {
            self.store.bury(table, id, version);
        }
        std::mem::take(&mut self.effects)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        while let Some((table, id, before)) = self.undo.pop() {
            if let Some(table) = self.schema.by_logical(table) {
                self.store.replace(table, id, before);
            }
        }
    }
}
