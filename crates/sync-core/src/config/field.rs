//! `tables.*.fields`: where the members of the payload come from.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a member of the payload comes from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Field {
    /// The value of a column, by its Web API name (a lookup is `_x_value`); or, as
    /// `primarycontactid/emailaddress1`, of a column of the row that a lookup leads to. What stands before
    /// the slash is the lookup's navigation property, whose case matters.
    Column(String),
    /// Always the same value.
    Constant(Constant),
}

/// Always the same value.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The value.
    pub constant: Value,
}

/// What a field reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads<'a> {
    /// A column of the row itself.
    Own(&'a str),
    /// A column of the row a lookup leads to.
    Related {
        /// The lookup's navigation property.
        navigation: &'a str,
        /// The column.
        column: &'a str,
    },
}

impl Field {
    /// What it reads, if anything.
    #[must_use]
    pub fn reads(&self) -> Option<Reads<'_>> {
        match self {
            Self::Column(path) => Some(match path.split_once('/') {
                Some((navigation, column)) => Reads::Related { navigation, column },
                None => Reads::Own(path),
            }),
            Self::Constant(_) => None,
        }
    }
}
