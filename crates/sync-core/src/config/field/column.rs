//! Where a column is: in the row, or in the row that a lookup leads to.

use crate::config::finding::Findings;
use crate::config::table::is_name;

/// Where a column is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnPath(String);

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

impl ColumnPath {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Taken apart.
    #[must_use]
    pub fn reads(&self) -> Reads<'_> {
        match self.0.split_once('/') {
            Some((navigation, column)) => Reads::Related { navigation, column },
            None => Reads::Own(&self.0),
        }
    }

    pub(super) fn check(text: String, findings: &mut Findings<'_>) -> Self {
        let path = Self(text);
        match path.reads() {
            Reads::Own(column) if !is_name(column) => {
                findings.note(format!("is {column:?}, which is no column, e.g. \"name\""));
            }
            Reads::Related { navigation, column } if !is_name(navigation) || !is_name(column) => {
                findings.note(format!(
                    "is \"{navigation}/{column}\", but must be one lookup and one column, e.g. \"primarycontactid/emailaddress1\""
                ));
            }
            Reads::Related { navigation, .. } => check_navigation(navigation, findings),
            Reads::Own(_) => {}
        }
        path
    }
}

pub(in crate::config) fn check_navigation(navigation: &str, findings: &mut Findings<'_>) {
    let name = navigation
        .strip_prefix('_')
        .and_then(|n| n.strip_suffix("_value"));
    if let Some(name) = name {
        findings.note(format!(
            "follows {navigation}, but a lookup is followed by its navigation property, e.g. {name:?}"
        ));
    }
}
