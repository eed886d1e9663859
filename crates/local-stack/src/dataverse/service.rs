//! Create, update, delete: what the platform does around a row, in one transaction.

use time::OffsetDateTime;
use uuid::Uuid;

use super::cell::{Cell, whole_second};
use super::error::ApiError;
use super::journal::{AckWrite, Change, Operation};
use super::payload::Payload;
use super::posting::Posting;
use super::sample::BASE_CURRENCY;
use super::schema::{Cascade, Kind, Table};
use super::steps::Steps;
use super::store::{Row, empty_row};
use super::transaction::Transaction;

/// What is known of the save a write belongs to.
#[derive(Debug)]
pub(super) struct Save<'a> {
    pub(super) now: OffsetDateTime,
    /// Id of the user row behind the caller.
    pub(super) user_id: Uuid,
    /// One per save, over everything it touches.
    pub(super) correlation_id: Uuid,
    /// W3C trace context of the request, or a new one: what a native event carries on.
    pub(super) traceparent: String,
    /// The request's `tag`, which plug-ins see among their shared variables.
    pub(super) tag: Option<String>,
    pub(super) steps: &'a Steps,
}

impl Save<'_> {
    /// Whether the plug-in is to return early.
    pub(super) fn is_integration(&self) -> bool {
        self.tag.as_deref() == Some(self.steps.integration_tag())
    }
}

/// Creates a row and runs the Create steps; returns its version.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    id: Uuid,
    payload: &Payload,
) -> Result<i64, ApiError> {
    if transaction.store().row(table, id).is_some() {
        return Err(ApiError::already_exists());
    }
    let mut row = empty_row(table, id);
    let now = Cell::Time(whole_second(save.now));
    for (column, cell) in table.columns.iter().zip(&mut row.cells) {
        *cell = match (column.name, column.kind) {
            ("createdon", _) => now.clone(),
            (_, Kind::State(_)) => Cell::Int(0),
            (_, Kind::Status(_)) => Cell::Int(1),
            (_, Kind::Bool) => Cell::Bool(false),
            ("transactioncurrencyid", Kind::Lookup) => {
                Cell::Reference("transactioncurrency", BASE_CURRENCY)
            }
            _ => continue,
        };
    }
    apply(table, &mut row, payload, &now);
    check_keys(transaction, table, &row)?;
    let version = transaction.write(table, row);
    finish(
        transaction,
        save,
        table,
        id,
        Operation::Create,
        payload,
        None,
    )?;
    if table.logical == "dvs_outbox" {
        transaction.effects.postings.push(Posting::Outbox {
            id,
            saved_at: save.now,
            written_at: OffsetDateTime::now_utc(),
        });
    }
    Ok(version)
}

/// Changes a row and runs the Update steps; returns its version.
pub(super) fn update(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    id: Uuid,
    payload: &Payload,
) -> Result<i64, ApiError> {
    let Some(row) = transaction.store().row(table, id) else {
        return Err(ApiError::row_missing(table.logical, id));
    };
    let mut row = row.clone();
    apply(
        table,
        &mut row,
        payload,
        &Cell::Time(whole_second(save.now)),
    );
    check_keys(transaction, table, &row)?;
    let version = transaction.write(table, row);
    finish(
        transaction,
        save,
        table,
        id,
        Operation::Update,
        payload,
        None,
    )?;
    Ok(version)
}

/// Deletes a row and what hangs on it, and runs the Delete steps.
pub(super) fn delete(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    id: Uuid,
) -> Result<(), ApiError> {
    let Some(row) = transaction.remove(table, id) else {
        return Err(ApiError::row_missing(table.logical, id));
    };
    let payload = Payload::default();
    let operation = Operation::Delete;
    finish(
        transaction,
        save,
        table,
        id,
        operation,
        &payload,
        Some(&row),
    )?;
    cascade(transaction, save, table, id)
}

/// What becomes of the rows that pointed at the deleted one.
fn cascade(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    deleted: &Table,
    id: Uuid,
) -> Result<(), ApiError> {
    let schema = transaction.schema();
    for (table, navigation) in schema.pointing_at(deleted.logical) {
        let pointer = Cell::Reference(deleted.logical, id);
        let rows = transaction.store().rows(table);
        let pointing: Vec<Row> = rows
            .filter(|row| *row.get(table, navigation.column) == pointer)
            .cloned()
            .collect();
        for mut row in pointing {
            match navigation.on_delete {
                // A row may have gone with an earlier one of this very cascade.
                Cascade::Delete if transaction.store().row(table, row.id).is_none() => {}
                Cascade::Delete => delete(transaction, save, table, row.id)?,
                Cascade::RemoveLink => {
                    // The platform clears the lookup itself: no Update step runs.
                    if let Some(index) = table.column(navigation.column) {
                        row.cells[index] = Cell::Null;
                    }
                    let row_id = row.id;
                    let version = transaction.write(table, row);
                    note_change(
                        transaction,
                        save,
                        table,
                        row_id,
                        version,
                        Operation::Update,
                        None,
                    );
                }
            }
        }
    }
    Ok(())
}

fn apply(table: &Table, row: &mut Row, payload: &Payload, now: &Cell) {
    let index_of = |name| table.column(name);
    let mut status_given = false;
    let mut state_given = None;
    for (index, cell) in &payload.cells {
        row.cells[*index] = cell.clone();
        match table.columns[*index].kind {
            Kind::Status(_) => status_given = true,
            Kind::State(_) => state_given = cell.as_int(),
            _ => {}
        }
    }
    // A state without a status gets that state's default status.
    if let (Some(state), false, Some(status)) = (state_given, status_given, index_of("statuscode"))
    {
        row.cells[status] = Cell::Int(if state == 0 { 1 } else { 2 });
    }
    if let Some(modified) = index_of("modifiedon") {
        row.cells[modified] = now.clone();
    }
    if let Some(full) = index_of("fullname") {
        let parts = ["firstname", "lastname"].map(|name| row.get(table, name).as_text());
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        row.cells[full] = match parts.is_empty() {
            true => Cell::Null,
            false => Cell::Text(parts.join(" ")),
        };
    }
}

fn check_keys(transaction: &Transaction<'_>, table: &Table, row: &Row) -> Result<(), ApiError> {
    match transaction.store().collision(table, row) {
        Some((key, holder)) => Err(ApiError::duplicate_key(table.logical, key, holder)),
        None => Ok(()),
    }
}

/// Runs the registered steps, in the transaction, and notes what happened for the journal.
fn finish(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    id: Uuid,
    operation: Operation,
    payload: &Payload,
    deleted: Option<&Row>,
) -> Result<(), ApiError> {
    if !save.steps.watches(table.logical) {
        return Ok(());
    }
    let Some(row) = deleted
        .cloned()
        .or_else(|| transaction.store().row(table, id).cloned())
    else {
        return Ok(());
    };
    let steps = save.steps;
    let notification = steps.run(transaction, save, table, &row, operation, payload)?;
    let own = |name: &str| Table::is_own_column(name);
    let acknowledges =
        operation != Operation::Delete && (save.is_integration() || payload.names(table).any(own));
    if acknowledges {
        let columns = payload.cells.iter().map(|(index, cell)| {
            let name = table.columns[*index].name;
            (name.to_owned(), cell.to_json())
        });
        transaction.effects.ack_writes.push(AckWrite {
            at: save.now,
            table: table.logical,
            row_id: id,
            version: row.version,
            tag: save.tag.clone(),
            columns: columns.filter(|(name, _)| own(name)).collect(),
        });
    }
    let only_own = operation == Operation::Update && payload.names(table).all(own);
    if !only_own {
        let version = row.version;
        note_change(
            transaction,
            save,
            table,
            id,
            version,
            operation,
            notification,
        );
    }
    Ok(())
}

fn note_change(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    row_id: Uuid,
    version: i64,
    operation: Operation,
    notification_id: Option<Uuid>,
) {
    transaction.effects.changes.push(Change {
        notification_id,
        correlation_id: save.correlation_id,
        table: table.logical,
        row_id,
        version,
        operation,
        at: save.now,
    });
}
