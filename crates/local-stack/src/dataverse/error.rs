//! Errors as the Web API answers them: a status, a code, a message.
//!
//! Codes are those of "Web service error codes" (Power Apps docs) and, where the docs disagree
//! with what environments were seen to answer, the latter.

use uuid::Uuid;

/// One refused operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl ApiError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// A URL or query option the Web API does not understand.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "0x80060888", message)
    }

    pub(super) fn unknown_column(name: &str, table: &str) -> Self {
        Self::bad_request(format!(
            "Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{table}'."
        ))
    }

    /// Wrong entity set or function: a mistake in the caller's configuration, not a missing row.
    pub(super) fn unknown_segment(segment: &str) -> Self {
        Self::new(
            404,
            "0x80060888",
            format!("Resource not found for the segment '{segment}'."),
        )
    }

    pub(super) fn row_missing(table: &str, id: Uuid) -> Self {
        Self::new(
            404,
            "0x80040217",
            format!("{table} With Id = {id} Does Not Exist"),
        )
    }

    pub(super) fn key_missing(table: &str) -> Self {
        Self::new(
            404,
            "0x80060891",
            format!("A record with the specified key values does not exist in {table} entity"),
        )
    }

    pub(super) fn payload(set: &str, inner: &str) -> Self {
        Self::new(
            400,
            "0x80048d19",
            format!(
                "Error identified in Payload provided by the user for Entity :'{set}', For more \
                 information on this error please follow this help link \
                 https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : \
                 Microsoft.OData.ODataException: {inner}"
            ),
        )
    }

    pub(super) fn undeclared_property(set: &str, name: &str, table: &str) -> Self {
        Self::payload(
            set,
            &format!(
                "An undeclared property '{name}' which only has property annotations in the \
                 payload but no property value was found in the payload, or it does not exist on \
                 type 'Microsoft.Dynamics.CRM.{table}'."
            ),
        )
    }

    pub(super) fn too_long(table: &str, column: &str, max: usize) -> Self {
        Self::new(
            400,
            "0x80044331",
            format!(
                "A validation error occurred. The length of the '{column}' attribute of the \
                 '{table}' entity exceeded the maximum allowed length of '{max}'."
            ),
        )
    }

    pub(super) fn bad_choice(table: &str, column: &str, value: i64, valid: &[i64]) -> Self {
        let valid: Vec<String> = valid.iter().map(i64::to_string).collect();
        Self::new(
            400,
            "0x8004431A",
            format!(
                "A validation error occurred. The value {value} of '{column}' on record of type \
                 '{table}' is outside the valid range. Accepted Values: {}",
                valid.join(",")
            ),
        )
    }

    /// The etag of a conditional request no longer matches.
    pub(super) fn version_mismatch() -> Self {
        Self::new(
            412,
            "0x80060882",
            "The version of the existing record doesn't match the RowVersion property provided.",
        )
    }

    /// `If-None-Match: *` on a row that exists, or a create with an id that is taken.
    pub(super) fn already_exists() -> Self {
        Self::new(
            412,
            "0x80040237",
            "A record with matching key values already exists.",
        )
    }

    pub(super) fn duplicate_key(table: &str, key: &str, id: Uuid) -> Self {
        Self::new(
            412,
            "0x80060892",
            format!(
                "A record that has the attribute values already exists. The entity key {key} \
                 requires that this set of attributes contains unique values. Select unique values \
                 and try again. <DuplicateEntity LogicalName=\"{table}\"><Id>{id}</Id>\
                 </DuplicateEntity>"
            ),
        )
    }

    /// A delta token that is too old to say what was deleted since.
    pub(super) fn version_stamp_expired() -> Self {
        Self::new(
            400,
            "0x80044352",
            "Version stamp associated with the client has expired. Please perform a full sync.",
        )
    }

    pub(super) fn method_not_allowed(method: &str) -> Self {
        Self::new(
            405,
            "0x0",
            format!("The requested resource does not support http method '{method}'."),
        )
    }

    /// The caller's roles lack a privilege.
    pub(super) fn privilege_missing(privilege: &str) -> Self {
        Self::new(
            403,
            "0x80040220",
            format!("Principal user is missing {privilege} privilege."),
        )
    }

    /// The token is good, but no (enabled) application user belongs to it.
    pub(super) fn no_user() -> Self {
        Self::new(
            403,
            "0x80072560",
            "The user is not a member of the organization.",
        )
    }

    /// Something of Dataverse that this stand-in does not play.
    pub(super) fn not_played(what: &str) -> Self {
        Self::new(
            501,
            "0x0",
            format!("This stand-in does not support {what}."),
        )
    }
}
