//! The plug-in's synchronous step: the outbox row, in the transaction of the user's save.

use std::time::Duration;

use uuid::Uuid;

use super::cell::Cell;
use super::error::ApiError;
use super::execution_context::Event;
use super::journal::Operation;
use super::notification::notification;
use super::payload::Payload;
use super::posting::Posting;
use super::schema::{Schema, Table};
use super::service::{self, Save};
use super::store::Row;
use super::transaction::Transaction;

/// What a step does when it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Emission {
    /// The plug-in: it writes an outbox row in the save's transaction, and posts it afterwards.
    #[default]
    Outbox,
    /// The platform: it posts a `RemoteExecutionContext` to a Service Bus endpoint afterwards. No
    /// plug-in runs, so nothing returns early at the integration's tag; the filtering attributes
    /// alone keep acknowledgements from coming back.
    Native,
}

/// The registered steps of one table: Create, Update and Delete, PostOperation, synchronous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Logical name of the table.
    pub table: String,
    /// Columns whose presence in an update's payload, changed or not, makes the Update step run.
    /// Create and Delete have no such list.
    pub filtering_attributes: Vec<String>,
    /// Columns of the pre-image a delete notification carries.
    pub delete_image: Vec<String>,
    /// What the step does.
    pub emission: Emission,
}

impl Step {
    /// Steps for account and contact, on every column the sync may map.
    pub fn defaults() -> Vec<Self> {
        let step = |table: &str, filtering: &[&str], image: &[&str]| Self {
            table: table.to_owned(),
            filtering_attributes: filtering.iter().map(ToString::to_string).collect(),
            delete_image: image.iter().map(ToString::to_string).collect(),
            emission: Emission::Outbox,
        };
        vec![
            step(
                "account",
                &[
                    "accountnumber",
                    "name",
                    "telephone1",
                    "emailaddress1",
                    "websiteurl",
                    "address1_line1",
                    "address1_city",
                    "address1_postalcode",
                    "address1_country",
                    "revenue",
                    "numberofemployees",
                    "creditonhold",
                    "industrycode",
                    "new_languages",
                    "description",
                    "primarycontactid",
                    "statecode",
                    "statuscode",
                ],
                &["accountnumber", "name", "dvs_targetid"],
            ),
            step(
                "contact",
                &[
                    "firstname",
                    "lastname",
                    "emailaddress1",
                    "telephone1",
                    "jobtitle",
                    "parentcustomerid",
                    "statecode",
                    "statuscode",
                ],
                &["fullname", "emailaddress1", "dvs_targetid"],
            ),
        ]
    }
}

/// A registered Update step as the table of steps lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStep {
    /// Its name.
    pub name: String,
    /// Logical name of the table.
    pub table: String,
    /// Comma list of columns; `None` for a step that runs on every update.
    pub filtering_attributes: Option<String>,
}

impl Step {
    /// Leaves the event to the platform; returns the id of the system job.
    fn emit(
        &self,
        transaction: &mut Transaction<'_>,
        save: &Save<'_>,
        table: &Table,
        row: &Row,
        operation: Operation,
        payload: &Payload,
    ) -> Uuid {
        let event = Event {
            operation_id: Uuid::new_v4(),
            save,
            table,
            row,
            operation,
            payload,
            delete_image: &self.delete_image,
        };
        match event.message() {
            Some(message) => {
                let posting = Posting::Endpoint { message, failed: 0 };
                transaction.effects.postings.push(posting);
            }
            // The system job fails, and nobody tries it again.
            None => transaction.effects.too_large += 1,
        }
        event.operation_id
    }
}

/// All registered steps, and what they need to know.
#[derive(Debug)]
pub(super) struct Steps {
    steps: Vec<Step>,
    integration_tag: String,
    pending_lease: Duration,
}

impl Steps {
    /// Checks the registrations against the tables.
    ///
    /// # Errors
    /// A sentence naming the table or column at fault. A step without filtering attributes would
    /// run on every update, and one on a column the integration writes would run for ever.
    pub(super) fn register(
        steps: Vec<Step>,
        integration_tag: String,
        pending_lease: Duration,
        schema: &Schema,
    ) -> Result<Self, String> {
        for step in &steps {
            let Some(table) = schema.by_logical(&step.table) else {
                return Err(format!("step on {}: there is no such table", step.table));
            };
            if step.filtering_attributes.is_empty() {
                return Err(format!("step on {}: no filtering attributes", step.table));
            }
            for name in step.filtering_attributes.iter().chain(&step.delete_image) {
                if table.column(name).is_none() {
                    return Err(format!("step on {}: no column {name}", step.table));
                }
            }
            let mut filtering = step.filtering_attributes.iter();
            if let Some(own) = filtering.find(|name| Table::is_own_column(name)) {
                return Err(format!(
                    "step on {}: {own} is written by the integration and must not trigger it",
                    step.table
                ));
            }
        }
        Ok(Self {
            steps,
            integration_tag,
            pending_lease,
        })
    }

    /// No step at all: for filling an environment.
    pub(super) fn none() -> Self {
        Self {
            steps: Vec::new(),
            integration_tag: String::new(),
            pending_lease: Duration::ZERO,
        }
    }

    pub(super) fn integration_tag(&self) -> &str {
        &self.integration_tag
    }

    /// The Update steps as they are listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = ListedStep> + '_ {
        self.steps.iter().map(|step| ListedStep {
            name: format!("Sync: {} Update", step.table),
            table: step.table.clone(),
            filtering_attributes: Some(step.filtering_attributes.join(",")),
        })
    }

    /// Whether any step is registered on the table.
    pub(super) fn watches(&self, table: &str) -> bool {
        self.steps.iter().any(|step| step.table == table)
    }

    /// Writes the outbox row if a step is registered for this change; returns the notification id.
    pub(super) fn run(
        &self,
        transaction: &mut Transaction<'_>,
        save: &Save<'_>,
        table: &Table,
        row: &Row,
        operation: Operation,
        payload: &Payload,
    ) -> Result<Option<Uuid>, ApiError> {
        let Some(step) = self.steps.iter().find(|step| step.table == table.logical) else {
            return Ok(None);
        };
        let listed = |name: &str| step.filtering_attributes.iter().any(|own| own == name);
        if operation == Operation::Update && !payload.names(table).any(listed) {
            return Ok(None);
        }
        if step.emission == Emission::Native {
            return Ok(Some(step.emit(
                transaction,
                save,
                table,
                row,
                operation,
                payload,
            )));
        }
        if save.is_integration() {
            return Ok(None);
        }
        let schema = transaction.schema();
        let Some(outbox) = schema.by_logical("dvs_outbox") else {
            return Ok(None);
        };
        // One id for the outbox row, the message and the notification.
        let id = Uuid::new_v4();
        let notification = notification(id, save, step, table, row, operation);
        let next_attempt = save.now + self.pending_lease;
        let text = |text: &str| Cell::Text(text.to_owned());
        let columns = [
            (
                "dvs_name",
                text(&format!(
                    "{} {} {}",
                    table.logical,
                    operation.as_str(),
                    row.id
                )),
            ),
            ("dvs_table", text(table.logical)),
            ("dvs_rowid", text(&row.id.to_string())),
            ("dvs_operation", text(operation.as_str())),
            ("dvs_correlationid", text(&save.correlation_id.to_string())),
            ("dvs_messageid", text(&id.to_string())),
            ("dvs_rowversion", text(&row.version.to_string())),
            ("dvs_payload", text(&notification.to_string())),
            ("dvs_attempts", Cell::Int(0)),
            // Until then the asynchronous step is expected to post it; afterwards the sweep may.
            (
                "dvs_nextattempton",
                Cell::Time(super::cell::whole_second(next_attempt)),
            ),
        ];
        let columns = columns.into_iter();
        let payload = Payload {
            cells: columns
                .filter_map(|(name, cell)| Some((outbox.column(name)?, cell)))
                .collect(),
            id: None,
        };
        service::create(transaction, save, outbox, id, &payload)?;
        Ok(Some(id))
    }
}
