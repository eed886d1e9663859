//! Service Bus output bindings.
//!
//! Only lists of strings are modelled: the host sends each of their elements verbatim. Every other form
//! it rewrites in surprising ways (a string that is valid base64 is sent as `System.Byte[]`), so the
//! stand-in fails the invocation instead and says why.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::{Map, Value};
use service_bus::{Client, OutgoingMessage};
use uuid::Uuid;

use super::response::HandlerResult;
use crate::host::config::{FunctionConfig, OutputBinding};

/// The property by which the host links a message to the invocation that sent it.
const PARENT_ID: &str = "$AzureWebJobsParentId";

/// Sends what invocations put out.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    /// Clients by connection name.
    pub(crate) clients: BTreeMap<String, Client>,
}

impl Outputs {
    /// Sends the messages of all bindings, the bindings at the same time and each one's in order.
    ///
    /// On an error some messages have been sent: the host has no transaction either.
    pub(crate) async fn send(
        &self,
        function: &FunctionConfig,
        id: Uuid,
        result: HandlerResult,
    ) -> Result<(), String> {
        let values = with_return_value(function, result);
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
fn with_return_value(function: &FunctionConfig, result: HandlerResult) -> Map<String, Value> {
    let mut values = result.outputs;
    let declared = function
        .outputs
        .iter()
        .any(|binding| binding.name == "$return");
    match result.return_value {
        value if declared => {
            values.insert("$return".to_owned(), value);
        }
        Value::Object(members) => values.extend(members),
        _ => {}
    }
    values
}

fn messages(binding: &str, value: Option<&Value>) -> Result<Vec<String>, String> {
    let refused = || {
        format!(
            "output {binding:?} is not a list of strings, the only form that the host sends verbatim \
             and the stand-in models"
        )
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(refused)
        }
        Some(_) => Err(refused()),
    }
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
    fn forms_that_the_host_would_rewrite_are_refused() {
        for value in [json!("test"), json!({"a": 1}), json!([1]), json!(5)] {
            assert!(messages("q", Some(&value)).unwrap_err().contains("\"q\""));
        }
    }
}
