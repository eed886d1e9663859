//! Every answer a client has to tell from the others.
//!
//! Codes from "Web service error codes", "Service protection API limits" and the support articles
//! "Dataverse plug-ins errors" and "Bulk operation errors"; messages shortened. Clients must go by
//! codes: messages are translated and reworded between releases.

use super::{BodyShape, ScriptedAnswer};

/// An answer that real environments are known to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAnswer {
    /// By which a script asks for it.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Error code; empty where the body names none.
    pub code: &'static str,
    /// Error message.
    pub message: &'static str,
    /// Shape of the body.
    pub body: BodyShape,
    /// `Retry-After`.
    pub retry_after: Option<&'static str>,
}

impl KnownAnswer {
    /// The known answer of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KNOWN_ANSWERS.iter().find(|known| known.name == name)
    }

    /// As a script has it.
    pub fn answer(&self) -> ScriptedAnswer {
        ScriptedAnswer {
            status: self.status,
            code: self.code.to_owned(),
            message: self.message.to_owned(),
            body: self.body,
            retry_after: self.retry_after.map(str::to_owned),
        }
    }

    const fn after(self, retry_after: &'static str) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..self
        }
    }
}

const fn json(
    name: &'static str,
    status: u16,
    code: &'static str,
    message: &'static str,
) -> KnownAnswer {
    KnownAnswer {
        name,
        status,
        code,
        message,
        body: BodyShape::Json,
        retry_after: None,
    }
}

const fn html(name: &'static str, status: u16, message: &'static str) -> KnownAnswer {
    KnownAnswer {
        name,
        status,
        code: "",
        message,
        body: BodyShape::Html,
        retry_after: None,
    }
}

/// All of them.
pub const KNOWN_ANSWERS: &[KnownAnswer] = &[
    json("unauthorized", 401, "", ""),
    json("privilege_missing", 403, "0x80040220", "Principal user is missing prvReadAccount privilege."),
    json("privilege_denied", 403, "0x80048306", "The caller does not have the required privilege."),
    json("access_denied", 403, "0x80040231", "The caller does not have access to this record."),
    json("user_disabled", 403, "0x80048405", "The user is not enabled for this operation."),
    json("row_missing", 404, "0x80040217", "account With Id = 00000000-0000-0000-0000-000000000000 Does Not Exist"),
    json("key_missing", 404, "0x80060891", "A record with the specified key values does not exist in account entity"),
    json("segment_missing", 404, "0x80060888", "Resource not found for the segment 'acounts'."),
    json("segment_missing_as_documented", 404, "0x8006088a", "Resource not found for the segment 'acounts'."),
    json("column_missing", 400, "0x80060888", "Could not find a property named 'nam' on type 'Microsoft.Dynamics.CRM.account'."),
    json("column_missing_as_documented", 400, "0x0", "Could not find a property named 'nam' on type 'Microsoft.Dynamics.CRM.account'."),
    json("bad_payload", 400, "0x80048d19", "Error identified in Payload provided by the user for Entity :'accounts'"),
    json("text_too_long", 400, "0x80044331", "A validation error occurred. The length of the 'name' attribute of the 'account' entity exceeded the maximum allowed length of '160'."),
    json("choice_out_of_range", 400, "0x8004431A", "A validation error occurred. The value of 'industrycode' is outside the valid range."),
    json("bad_argument", 400, "0x80040203", "Invalid argument."),
    json("truncated", 400, "0x80090429", "String or binary data would be truncated."),
    json("plugin_threw", 400, "0x80040265", "The credit limit must be approved first."),
    json("concurrent_delete", 400, "", "More than one concurrent Delete requests detected for an Entity 00000000-0000-0000-0000-000000000000 and ObjectTypeCode 1."),
    json("unexpected_as_client_error", 400, "0x80040216", "An unexpected error occurred."),
    json("unexpected", 500, "0x80040216", "An unexpected error occurred."),
    json("method_not_allowed", 405, "0x0", "The requested resource does not support http method 'PATCH'."),
    json("request_timeout", 408, "0x0", "The request timed out."),
    json("version_mismatch", 412, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided."),
    json("optimistic_concurrency_off", 412, "0x80060883", "Optimistic concurrency isn't enabled for entity type account."),
    json("version_not_provided", 412, "0x8006088D", "The RowVersion property must be provided."),
    json("duplicate_key", 412, "0x80060892", "A record that has the attribute values Account Number already exists. <DuplicateEntity LogicalName=\"account\"><Id>6d81597f-0f9f-e711-8122-000d3aa2331c</Id></DuplicateEntity>"),
    json("duplicate_found", 412, "0x80040333", "A record was not created or updated because a duplicate of the current record already exists."),
    json("already_exists", 412, "0x80040237", "A record with matching key values already exists."),
    json("too_large", 413, "0x0", "The request is too large."),
    json("throttled_requests", 429, "0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds.").after("37"),
    json("throttled_execution_time", 429, "0x80072321", "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later.").after("21"),
    json("throttled_concurrency", 429, "0x80072326", "Number of concurrent requests exceeded the limit of 52.").after("1"),
    json("solution_operation", 429, "0x80071151", "Cannot start the requested operation because there is another [Import] running at this moment.").after("120"),
    json("sql_deadlock", 500, "0x80044150", "Generic SQL error. Sql ErrorCode: -2146232060 Sql Number: 1205"),
    json("sql_connection_lost", 500, "0x80044150", "Generic SQL error. Sql ErrorCode: -2146232060 Sql Number: 10054"),
    json("sql_error", 500, "0x80044150", "Generic SQL error. Sql ErrorCode: -2146232060 Sql Number: 547"),
    json("sql_timeout", 500, "0x80044151", "SQL timeout expired."),
    json("transaction_rolled_back", 500, "0x80040255", "The transaction was already rolled back."),
    json("sandbox_crash", 400, "0x8004418d", "The plug-in execution failed because the Sandbox Worker process crashed."),
    json("sandbox_crash_as_server_error", 500, "0x8004418d", "The plug-in execution failed because the Sandbox Worker process crashed."),
    json("plugin_failed", 500, "0x80040224", "An unexpected error occurred from ISV code."),
    json("server_error", 500, "", "An error has occurred."),
    json("unknown_client_error", 400, "0x8004fffe", "A code this client has never seen."),
    json("unknown_server_error", 500, "0x8004ffff", "A code this client has never seen."),
    json("not_implemented", 501, "0x0", "Not implemented."),
    KnownAnswer { body: BodyShape::Message, ..json("message_only", 500, "", "An error has occurred.") },
    html("bad_gateway", 502, "Bad Gateway"),
    html("unavailable", 503, "Service Unavailable"),
    html("unavailable_until", 503, "Service Unavailable").after("2"),
    html("gateway_timeout", 504, "Gateway Timeout"),
    json("version_stamp_expired", 400, "0x80044352", "Version stamp associated with the client has expired. Please perform a full sync."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_answer_has_a_name_of_its_own() {
        for known in KNOWN_ANSWERS {
            assert_eq!(KnownAnswer::named(known.name), Some(known));
        }
    }
}
