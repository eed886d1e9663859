//! What a person asks for: an operation, a correlation id, a notification id or a row.

use uuid::Uuid;

use super::item::Item;

/// Custom dimensions that hold an id a person may have at hand.
const IDS: [&str; 4] = [
    "correlation_id",
    "notification_id",
    "message_id",
    "invocation_id",
];

/// An id, in the forms in which items hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As a custom dimension, lower case: a GUID, or `table:GUID`.
    id: String,
    /// As an operation id: 32 hex digits. Absent for a row with its table.
    operation: Option<String>,
}

impl Wanted {
    /// Reads a GUID, 32 hex digits, or `table:GUID`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text} is no id: give a correlation id, a notification id or a row id as a GUID, an operation id as \
                 32 hex digits, or a row with its table as account:GUID"
            )
        };
        let text = text.trim().to_lowercase();
        if let Some((table, row)) = text.split_once(':') {
            let row = Uuid::parse_str(row).map_err(|_| expected())?;
            return Ok(Self {
                id: format!("{table}:{row}"),
                operation: None,
            });
        }
        let id = Uuid::parse_str(&text).map_err(|_| expected())?;
        Ok(Self {
            id: id.to_string(),
            operation: Some(id.simple().to_string()),
        })
    }

    /// Whether the item says that it is of this id.
    pub fn matches(&self, item: &Item) -> bool {
        let is = |name: &str| {
            let found = item.property(name);
            found.is_some_and(|found| found.eq_ignore_ascii_case(&self.id))
        };
        if IDS.iter().any(|name| is(name)) || is("row") {
            return true;
        }
        match &self.operation {
            Some(operation) => {
                item.operation.eq_ignore_ascii_case(operation)
                    || item.property("row").is_some_and(|row| {
                        let row = row.rsplit_once(':').map_or(row, |(_, row)| row);
                        row.eq_ignore_ascii_case(&self.id)
                    })
            }
            None => false,
        }
    }

    /// Whether the text of an envelope can be of this id: a cheap first look.
    pub(super) fn may_match(&self, raw: &str) -> bool {
        let operation = self.operation.as_deref();
        raw.contains(&self.id) || operation.is_some_and(|operation| raw.contains(operation))
    }
}

/// The KQL that shows the same in Application Insights.
pub fn kql(wanted: &Wanted) -> String {
    let id = &wanted.id;
    let mut by: Vec<String> = IDS
        .iter()
        .map(|name| format!("tostring(customDimensions.{name}) =~ \"{id}\""))
        .collect();
    by.push(match &wanted.operation {
        Some(_) => format!("tostring(customDimensions.row) endswith \":{id}\""),
        None => format!("tostring(customDimensions.row) =~ \"{id}\""),
    });
    if let Some(operation) = &wanted.operation {
        by.insert(0, format!("operation_Id == \"{operation}\""));
    }
    let by = by.join("\n       or ");
    format!(
        "let of_change = materialize(union requests, dependencies, exceptions, traces\n    \
           | where {by}\n    \
           | distinct operation_Id);\n\
         let own = materialize(union requests, dependencies, exceptions, traces | where operation_Id in (of_change));\n\
         // A merged page may belong to another change: it is reached by the links of the row's part of it.\n\
         let linked = own\n    \
           | mv-expand link = todynamic(tostring(customDimensions[\"_MS.links\"]))\n    \
           | distinct span = tostring(link.id);\n\
         union own, (dependencies | where operation_Id !in (of_change) and (id in (linked) or operation_ParentId in (linked)))\n\
         | project timestamp, itemType, cloud_RoleName, name, type, target, resultCode, success, duration,\n    \
             problem = iff(itemType == \"exception\", strcat(type, \": \", outerMessage), message),\n    \
             retry_count = toint(customDimensions.retry_count), disposition = tostring(customDimensions.disposition),\n    \
             operation_Id, id, operation_ParentId, customDimensions\n\
         | order by timestamp asc"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_with_and_without_dashes_and_in_any_case() {
        let guid = Wanted::parse("3F2504E0-4F89-11D3-9A0C-0305E82C3301").unwrap();
        assert_eq!(
            guid,
            Wanted::parse("3f2504e04f8911d39a0c0305e82c3301").unwrap()
        );
        assert!(Wanted::parse("3f25").unwrap_err().contains("account:GUID"));
        assert!(Wanted::parse("account:x").is_err());
    }

    #[test]
    fn the_query_names_the_id_as_azure_holds_it() {
        let query = kql(&Wanted::parse("3f2504e0-4f89-11d3-9a0c-0305e82c3301").unwrap());
        assert!(query.contains("operation_Id == \"3f2504e04f8911d39a0c0305e82c3301\""));
        assert!(query.contains("correlation_id) =~ \"3f2504e0-4f89-11d3-9a0c-0305e82c3301\""));
    }
}
