//! The host's request: its envelope and access to the bindings in it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::metadata::Metadata;
use crate::{DecodeError, ServiceBusTrigger, TimerTrigger};

/// One invocation of one function.
///
/// There is deliberately no access to raw metadata: it is only trustworthy together with the shape of
/// the trigger's body, which the typed accessors check.
#[derive(Debug)]
pub struct Invocation {
    /// The host's id of the invocation; the host's own retries of one event repeat it.
    pub id: String,
    /// The function's name: its folder in the package.
    pub function: String,
    /// W3C trace context, when the host's telemetry adds one.
    pub traceparent: Option<String>,
    envelope: Envelope,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "Data")]
    data: Map<String, Value>,
    #[serde(rename = "Metadata")]
    metadata: Map<String, Value>,
}

/// Which attempt this is under a retry policy of function.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryContext {
    /// 0 for the first attempt.
    pub retry_count: u32,
    /// The policy's bound; `None` when unlimited.
    pub max_retry_count: Option<u32>,
}

impl Invocation {
    /// Decodes the request body the host posted.
    ///
    /// # Errors
    /// [`DecodeError::Envelope`] when it is not the host's `{Data, Metadata}` envelope.
    pub fn decode(
        id: impl Into<String>,
        function: impl Into<String>,
        traceparent: Option<String>,
        body: &[u8],
    ) -> Result<Self, DecodeError> {
        let envelope = serde_json::from_slice(body).map_err(|error| DecodeError::Envelope {
            // The position and kind only: serde_json's own text may quote the value.
            reason: format!(
                "{:?} error at line {} column {}",
                error.classify(),
                error.line(),
                error.column()
            ),
        })?;
        Ok(Self {
            id: id.into(),
            function: function.into(),
            traceparent,
            envelope,
        })
    }

    /// The message of a Service Bus trigger with `dataType: "binary"` and cardinality one.
    ///
    /// # Errors
    /// When there is no such binding, when the host bound the body as a string or a batch, or when the
    /// metadata does not have the shape the host gives it.
    pub fn service_bus_message(&self, binding: &str) -> Result<ServiceBusTrigger, DecodeError> {
        ServiceBusTrigger::decode(
            binding,
            self.data(binding)?,
            &Metadata(&self.envelope.metadata),
        )
    }

    /// The tick of a timer trigger.
    ///
    /// # Errors
    /// When there is no such binding or it is not a timer.
    pub fn timer(&self, binding: &str) -> Result<TimerTrigger, DecodeError> {
        TimerTrigger::decode(binding, self.data(binding)?)
    }

    /// The retry policy's state, when function.json or host.json declares a policy.
    ///
    /// # Errors
    /// When it is there in another shape than the host's.
    pub fn retry_context(&self) -> Result<Option<RetryContext>, DecodeError> {
        const KEY: &str = "RetryContext";
        let Some(context) = Metadata(&self.envelope.metadata).object(KEY)? else {
            return Ok(None);
        };
        let number = |member: &str| context.get(member).and_then(Value::as_i64);
        let counts = number("RetryCount").zip(number("MaxRetryCount"));
        let (count, max) = counts.ok_or(DecodeError::Metadata {
            key: KEY,
            expected: "a retry context",
        })?;
        Ok(Some(RetryContext {
            retry_count: u32::try_from(count).unwrap_or(0),
            // The host says "unlimited" with -1.
            max_retry_count: u32::try_from(max).ok(),
        }))
    }

    /// The value of a binding as the host encoded it, for bindings this crate has no type for.
    ///
    /// # Errors
    /// [`DecodeError::MissingBinding`] when there is none of that name.
    pub fn data(&self, binding: &str) -> Result<&Value, DecodeError> {
        self.envelope
            .data
            .get(binding)
            .ok_or_else(|| DecodeError::MissingBinding {
                binding: binding.to_owned(),
                found: self
                    .envelope
                    .data
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}
