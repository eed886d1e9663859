//! Service Bus output bindings.
//!
//! What a value becomes is surprising (see [`messages`]): only a list of strings is sent verbatim.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::try_join_all;
use serde_json::{Map, Value};
use service_bus::{Client, OutgoingMessage};
use uuid::Uuid;

use super::response::HandlerResult;
use crate::host::config::{FunctionConfig, OutputBinding};
use crate::host::encode::dates_reformatted;

/// The property by which the host links a message to the invocation that sent it.
const PARENT_ID: &str = "$AzureWebJobsParentId";

/// Sends what invocations put out.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    /// Clients by connection name.
    pub(crate) clients: BTreeMap<String, Client>,
}

impl Outputs {
    /// Sends the messages of all Service Bus bindings, the bindings at the same time and each one's in order.
    ///
    /// On an error some messages have been sent: the host has no transaction either.
    pub(crate) async fn send(
        &self,
        function: &FunctionConfig,
        id: Uuid,
        values: &Map<String, Value>,
    ) -> Result<(), String> {
        let mut sends = Vec::new();
        for binding in &function.outputs {
            let messages = messages(&binding.name, values.get(&binding.name))?;
            sends.push(self.send_to(binding, id, messages));
        }
        try_join_all(sends).await.map(|_| ())
    }

    async fn send_to(
        &self,
        binding: &OutputBinding,
        id: Uuid,
        messages: Vec<String>,
    ) -> Result<(), String> {
        let client = self.clients.get(&binding.connection);
        let client =
            client.ok_or_else(|| format!("output {:?} has no connection", binding.name))?;
        for text in messages {
            let mut message = OutgoingMessage::new(text);
            message.content_type = Some("text/plain".to_owned());
            message
                .properties
                .insert(PARENT_ID.to_owned(), id.to_string().into());
            let sent = client.send(&binding.entity, message).await;
            sent.map_err(|error| format!("output {:?}: {error}", binding.name))?;
        }
        Ok(())
    }
}

/// `ReturnValue` goes to `$return`; without such a binding the members of an object are outputs.
pub(super) fn with_return_value(
    function: &FunctionConfig,
    result: HandlerResult,
) -> Map<String, Value> {
    let mut values = result.outputs;
    match result.return_value {
        value if function.has_output("$return") => {
            values.insert("$return".to_owned(), value);
        }
        Value::Object(members) => values.extend(members),
        _ => {}
    }
    values
}

/// The messages of an output's value, as `HttpScriptInvocationResultExtensions` and `FunctionBinding`
/// make them.
///
/// ISO dates within objects are left as they are, although Json.NET may write them differently.
fn messages(binding: &str, value: Option<&Value>) -> Result<Vec<String>, String> {
    let refused = |what: &str| Err(format!("output {binding:?}: {what}"));
    let text = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => text,
        Some(Value::Array(items)) => {
            return items.iter().map(|item| element(binding, item)).collect();
        }
        Some(other) => return Ok(vec![element(binding, other)?]),
    };
    let unspaced: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'))
        .collect();
    if STANDARD.decode(unspaced).is_ok() {
        // The host decodes what looks like base64, and then makes text of the bytes in .NET's way.
        return Ok(vec!["System.Byte[]".to_owned()]);
    }
    let trimmed = text.trim();
    let bracketed = |open, close| trimmed.starts_with(open) && trimmed.ends_with(close);
    if !bracketed('{', '}') && !bracketed('[', ']') {
        return Ok(vec![text.clone()]);
    }
    match serde_json::from_str(trimmed) {
        Ok(Value::Array(items)) => items.iter().map(|item| element(binding, item)).collect(),
        Ok(other) => Ok(vec![element(binding, &other)?]),
        Err(error) => refused(&format!("looks like JSON and is not: {error}")),
    }
}

/// Json.NET's text of a value.
fn element(binding: &str, value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::String(text) => dates_reformatted(text.clone()),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        // Two blanks and a line feed, as the host's indented form has.
        Value::Array(_) | Value::Object(_) => format!("{value:#}"),
        Value::Null => return Err(format!("output {binding:?} has an element that is null")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_strings_is_one_message_each_and_nothing_is_none() {
        let two = json!(["{\"a\":1}", "b"]);
        assert_eq!(messages("q", Some(&two)).unwrap(), ["{\"a\":1}", "b"]);
        for value in [None, Some(&Value::Null), Some(&json!([]))] {
            assert!(messages("q", value).unwrap().is_empty());
        }
    }

    #[test]
    fn every_other_form_is_rewritten_as_the_host_rewrites_it() {
        for (value, sent) in [
            (json!("hello!"), vec!["hello!"]),
            (json!("test"), vec!["System.Byte[]"]),
            (json!(""), vec!["System.Byte[]"]),
            (json!("{\"a\":1}"), vec!["{\n  \"a\": 1\n}"]),
            (json!({"a": 1}), vec!["{\n  \"a\": 1\n}"]),
            (json!("[1,\"x\"]"), vec!["1", "x"]),
            (json!([1, "x"]), vec!["1", "x"]),
            (json!(5), vec!["5"]),
            (json!(true), vec!["True"]),
            (json!(["2026-03-02T09:00:00Z"]), vec!["03/02/2026 09:00:00"]),
        ] {
            assert_eq!(messages("q", Some(&value)).unwrap(), sent, "{value}");
        }
    }

    #[test]
    fn what_looks_like_json_and_is_not_fails_the_invocation() {
        let refused = messages("q", Some(&json!("{oops}"))).unwrap_err();
        assert!(refused.contains("\"q\""), "{refused}");
    }
}
