//! Cuts long values at a character's boundary, before the exporter does it at a byte's.
//!
//! opentelemetry-application-insights 0.46 shortens strings at a fixed byte and panics where that splits a
//! character (its `LimitedLenString`). The panic ends the thread that exports, and with it all telemetry of
//! the process; so nothing longer than its limits ever reaches it.

use std::borrow::Cow;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::SpanData;

/// Names of spans, and attributes: the smallest limit that any of them could meet is 1,024 bytes, that of a
/// dependency's name 512.
const SHORT: usize = 500;
/// Texts of exceptions and messages; properties end at 8,192 bytes.
const LONG: usize = 8_000;

/// The start of `text` that has at most `limit` bytes and ends with a whole character.
#[must_use]
pub fn start_of(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Shortens whatever is too long in `span`.
pub(crate) fn span(span: &mut SpanData) {
    if span.name.len() > SHORT {
        span.name = Cow::Owned(start_of(&span.name, SHORT).to_owned());
    }
    attributes(&mut span.attributes);
    for event in &mut span.events.events {
        if event.name.len() > LONG {
            event.name = Cow::Owned(start_of(&event.name, LONG).to_owned());
        }
        attributes(&mut event.attributes);
    }
}

fn attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        let limit = limit(attribute.key.as_str());
        let longest = match &attribute.value {
            Value::String(text) => text.as_str().len(),
            Value::Array(_) => usize::MAX,
            _ => 0,
        };
        if longest > limit {
            let text = attribute.value.as_str();
            let text = StringValue::from(start_of(&text, limit).to_owned());
            attribute.value = Value::String(text);
        }
    }
}

/// Keys are ours: short, and never more than the 150 bytes that a property's may have.
fn limit(key: &str) -> usize {
    match key {
        "exception.message" | "exception.stacktrace" => LONG,
        _ => SHORT,
    }
}

/// Shortens records on their way to `next`.
#[derive(Debug)]
pub(crate) struct ShorteningLogs<P> {
    next: P,
    /// Makes the records that replace those with long values: a record's attributes cannot be changed.
    blank: SdkLogger,
}

impl<P: LogProcessor> ShorteningLogs<P> {
    pub(crate) fn new(next: P) -> Self {
        let blank = SdkLoggerProvider::builder().build().logger("");
        Self { next, blank }
    }

    fn shortened(&self, record: &SdkLogRecord) -> SdkLogRecord {
        let mut short = self.blank.create_log_record();
        if let Some(time) = record.timestamp() {
            short.set_timestamp(time);
        }
        if let Some(time) = record.observed_timestamp() {
            short.set_observed_timestamp(time);
        }
        if let Some(severity) = record.severity_number() {
            short.set_severity_number(severity);
        }
        if let Some(text) = record.severity_text() {
            short.set_severity_text(text);
        }
        if let Some(target) = record.target() {
            short.set_target(target.clone());
        }
        if let Some(context) = record.trace_context() {
            short.set_trace_context(context.trace_id, context.span_id, context.trace_flags);
        }
        if let Some(body) = record.body() {
            short.set_body(value(body, LONG).unwrap_or_else(|| body.clone()));
        }
        for (key, old) in record.attributes_iter() {
            let new = value(old, limit(key.as_str()));
            short.add_attribute(key.clone(), new.unwrap_or_else(|| old.clone()));
        }
        short
    }
}

/// What replaces a value that is longer than `limit`; a value within it stays.
fn value(value: &AnyValue, limit: usize) -> Option<AnyValue> {
    match value {
        AnyValue::String(text) if text.as_str().len() > limit => {
            Some(start_of(text.as_str(), limit).to_owned().into())
        }
        AnyValue::String(_) | AnyValue::Int(_) | AnyValue::Double(_) | AnyValue::Boolean(_) => None,
        other => {
            let text = format!("{other:?}");
            Some(start_of(&text, limit).to_owned().into())
        }
    }
}

fn is_long(record: &SdkLogRecord) -> bool {
    record
        .body()
        .is_some_and(|body| value(body, LONG).is_some())
        || record
            .attributes_iter()
            .any(|(key, old)| value(old, limit(key.as_str())).is_some())
}

impl<P: LogProcessor> LogProcessor for ShorteningLogs<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if is_long(record) {
            *record = self.shortened(record);
        }
        self.next.emit(record, scope);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_ends_before_the_character_that_would_be_split() {
        let text = "é".repeat(600);
        assert_eq!(start_of(&text, 1001).len(), 1000);
        assert_eq!(start_of("short", 1001), "short");
    }

    #[test]
    fn long_attributes_are_shortened_and_lists_become_text() {
        let mut all = [
            KeyValue::new("a", "ü".repeat(4_000)),
            KeyValue::new("exception.message", "ü".repeat(3_000)),
            KeyValue::new("list", Value::Array(vec![1_i64, 2].into())),
        ];
        attributes(&mut all);
        assert_eq!(all[0].value.as_str().len(), 500);
        assert_eq!(all[1].value.as_str().len(), 6_000);
        assert!(matches!(&all[2].value, Value::String(text) if text.as_str() == "[1,2]"));
    }
}
