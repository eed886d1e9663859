//! Why an invocation could not be decoded.

/// Why the host's request, or one binding in it, could not be decoded.
///
/// None of the messages contains a value from the request: bodies and properties may be personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The request body is not a JSON object with `Data` and `Metadata` objects.
    #[error("the invocation is not a JSON object with the members Data and Metadata: {reason}")]
    Envelope {
        /// What is wrong with it.
        reason: String,
    },
    /// `Data` has no member of this name.
    #[error(
        "no binding named {binding:?} in Data (found: {found}); compare with `name` in function.json"
    )]
    MissingBinding {
        /// The name asked for.
        binding: String,
        /// The names that are there.
        found: String,
    },
    /// The trigger body is bound as a string, so its top-level members may have overwritten metadata.
    #[error(
        "binding {binding:?} is bound as a string: set \"dataType\": \"binary\" in function.json \
         (the host copies members of a JSON string body over the message's metadata)"
    )]
    StringBody {
        /// The binding's name.
        binding: String,
    },
    /// The trigger body is a batch.
    #[error("binding {binding:?} holds a batch: set \"cardinality\": \"one\" in function.json")]
    Batch {
        /// The binding's name.
        binding: String,
    },
    /// The binding's value has another shape than its trigger type has.
    #[error("binding {binding:?} is not {expected}")]
    WrongShape {
        /// The binding's name.
        binding: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A metadata key that every message has is missing.
    #[error("metadata key {key} is missing")]
    MissingMetadata {
        /// The key.
        key: &'static str,
    },
    /// A metadata key holds something that the host itself never writes there.
    #[error(
        "metadata key {key} is not {expected}; it may have been overwritten by the message body"
    )]
    Metadata {
        /// The key.
        key: &'static str,
        /// What the host writes there.
        expected: &'static str,
    },
}
