//! Application users and what they may do: everything, until something is taken from them.
//!
//! Privileges are named as Dataverse does, `prvWriteAccount`; how far one reaches is its depth.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::schema::Table;

/// How far a privilege reaches (`PrivilegeDepth` of the Web API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Depth {
    /// The user's own rows.
    Basic,
    /// Those of its business unit.
    Local,
    /// Those of the business units below, too.
    Deep,
    /// All rows.
    Global,
}

/// What a table's privileges are called after, each with what an operation needs it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Read,
    Write,
    Delete,
}

impl Verb {
    pub(super) const ALL: [Self; 4] = [Self::Create, Self::Read, Self::Write, Self::Delete];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Delete => "Delete",
        }
    }
}

/// The name of a table's privilege.
pub(super) fn privilege(verb: Verb, table: &Table) -> String {
    format!("prv{}{}", verb.as_str(), table.schema_name)
}

/// What differs from "every application is a user that may do everything", by client id.
#[derive(Debug, Default)]
pub(super) struct Users {
    unknown: BTreeSet<String>,
    /// By privilege; `None` where it was taken away.
    depths: BTreeMap<String, BTreeMap<String, Option<Depth>>>,
}

impl Users {
    pub(super) fn set_known(&mut self, client_id: &str, known: bool) {
        if known {
            self.unknown.remove(client_id);
        } else {
            self.unknown.insert(client_id.to_owned());
        }
    }

    pub(super) fn is_known(&self, client_id: &str) -> bool {
        !self.unknown.contains(client_id)
    }

    pub(super) fn set(&mut self, client_id: &str, privilege: &str, depth: Option<Depth>) {
        let own = self.depths.entry(client_id.to_owned()).or_default();
        own.insert(privilege.to_owned(), depth);
    }

    /// How far a privilege of a user reaches; `None` when it does not have it.
    pub(super) fn depth(&self, client_id: &str, privilege: &str) -> Option<Depth> {
        let own = self.depths.get(client_id);
        let set = own.and_then(|own| own.get(privilege)).copied();
        set.unwrap_or(Some(Depth::Global))
    }

    /// # Errors
    /// The refusal, when the user lacks the privilege.
    pub(super) fn allow(&self, client_id: &str, privilege: &str) -> Result<(), ApiError> {
        match self.depth(client_id, privilege) {
            Some(_) => Ok(()),
            None => Err(ApiError::privilege_missing(privilege)),
        }
    }
}
