//! The bodies of invocations, byte for byte as the Functions host (v4) writes them.
//!
//! Pure: time, ids and the message are arguments. Source: azure-functions-host
//! `ScriptInvocationContextExtensions`, azure-sdk-for-net `ServiceBusTriggerBindingStrategy`,
//! azure-webjobs-sdk `SystemBindingData`, azure-webjobs-sdk-extensions `TimerInfo`.

mod batch;
mod http;
mod message;
mod pollution;
mod text;
mod timer;
mod value;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use self::http::{HttpRequest, encode_http};
pub(crate) use batch::{batch_bodies, encode_batch};
pub(crate) use message::{BusClient, encode_message};
pub(crate) use pollution::dates_reformatted;
pub(crate) use timer::{encode_timer, schedule_status};

use value::{BindingData, NetValue, seven_digits};

/// What the host adds to every invocation's metadata under `sys`.
#[derive(Debug, Clone)]
pub(crate) struct Sys {
    /// The function's name.
    pub(crate) method_name: String,
    pub(crate) utc_now: OffsetDateTime,
    pub(crate) rand_guid: Uuid,
}

impl Sys {
    fn value(&self) -> NetValue {
        NetValue::Object(object(json!({
            "MethodName": self.method_name,
            "UtcNow": format!("{}Z", seven_digits(self.utc_now)),
            "RandGuid": self.rand_guid,
        })))
    }
}

/// The state of a retry policy, which the host adds also to the first attempt.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    pub(crate) retry_count: u32,
    /// `None`: unlimited.
    pub(crate) max_retry_count: Option<u32>,
    /// Why the attempt before failed.
    pub(crate) failure: Option<String>,
}

impl Retry {
    /// The real `Exception` has further members (stack traces and the like) that nothing reads.
    fn value(&self) -> NetValue {
        let exception = self.failure.as_ref().map(|message| {
            json!({
                "ClassName": "Microsoft.Azure.WebJobs.Host.FunctionInvocationException",
                "Message": message,
            })
        });
        NetValue::Object(object(json!({
            "RetryCount": self.retry_count,
            "MaxRetryCount": self.max_retry_count.map_or(-1, i64::from),
            "Exception": exception,
            "Instance": null,
            "State": {},
        })))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Puts the one binding and the metadata into the host's envelope.
fn envelope(binding: &str, data: Value, metadata: BindingData) -> Vec<u8> {
    let data = Map::from_iter([(binding.to_owned(), data)]);
    let metadata = metadata.into_json();
    json!({"Data": data, "Metadata": metadata})
        .to_string()
        .into_bytes()
}
