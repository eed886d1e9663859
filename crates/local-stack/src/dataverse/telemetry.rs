//! What the plug-in tells Application Insights: the save, the outbox row, the post.
//!
//! Made by the asynchronous step, so that a save never waits for it. Ids follow from the correlation id and
//! the notification id: whoever posts an outbox row later, the sweep above all, continues the same trace.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::insights::{EnvelopeSink, duration_text};

/// Cloud role of what the plug-in sends.
const ROLE: &str = "dataverse";

/// Where the plug-in's telemetry goes.
#[derive(Clone)]
pub struct PlugInTelemetry {
    /// Takes the items.
    pub sink: Arc<dyn EnvelopeSink>,
    /// Of the Application Insights resource.
    pub instrumentation_key: Uuid,
    /// Where notifications are posted to, `{namespace host}/{entity}`.
    pub target: String,
}

impl fmt::Debug for PlugInTelemetry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PlugInTelemetry({})", self.target)
    }
}

/// The spans of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spans {
    /// The correlation id without dashes.
    trace: String,
    request: String,
    row: String,
    send: String,
}

impl Spans {
    pub(super) fn new(correlation_id: &str, notification: Uuid) -> Self {
        let span = |name: &str| {
            let id = Uuid::new_v5(&notification, name.as_bytes());
            id.simple().to_string()[..16].to_owned()
        };
        Self {
            trace: correlation_id.replace('-', "").to_lowercase(),
            request: span("request"),
            row: span("outbox row"),
            send: span("send"),
        }
    }

    /// W3C trace context of the message: its parent is the post.
    pub(super) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.send)
    }
}

/// The save behind a notification.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) spans: Spans,
    pub(super) notification_id: Uuid,
    pub(super) correlation_id: String,
    pub(super) table: String,
    pub(super) row_id: String,
    pub(super) operation: String,
    pub(super) version: String,
}

impl Saved {
    fn request_name(&self) -> String {
        // Messages of the SDK begin with a capital: Create, Update, Delete.
        let (first, rest) = self.operation.split_at(self.operation.len().min(1));
        format!("{} {}{rest}", self.table, first.to_uppercase())
    }

    fn properties(&self) -> Map<String, Value> {
        let properties = [
            ("correlation_id", self.correlation_id.clone()),
            ("notification_id", self.notification_id.to_string()),
            ("table", self.table.clone()),
            ("row", format!("{}:{}", self.table, self.row_id)),
            ("version", self.version.clone()),
        ];
        let properties = properties.into_iter();
        properties
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}

impl PlugInTelemetry {
    /// Tells of the save and its outbox row, which were one transaction.
    pub(super) fn saved(&self, saved: &Saved, began: OffsetDateTime, ended: OffsetDateTime) {
        let (spans, took) = (&saved.spans, duration_text(ended - began));
        let request = json!({"ver": 2, "id": spans.request, "name": saved.request_name(), "duration": took,
            "success": true, "responseCode": "0"});
        let row = json!({"ver": 2, "id": spans.row, "name": "outbox row", "type": "InProc", "duration": took,
            "success": true});
        self.sink.take(vec![
            self.envelope(saved, "Request", "RequestData", began, "", request),
            self.envelope(
                saved,
                "RemoteDependency",
                "RemoteDependencyData",
                began,
                &spans.request,
                row,
            ),
        ]);
    }

    /// Tells of a post, and why it failed if it did.
    pub(super) fn posted(
        &self,
        saved: &Saved,
        began: OffsetDateTime,
        ended: OffsetDateTime,
        failure: Option<&str>,
    ) {
        let spans = &saved.spans;
        let took = duration_text((ended - began).max(Duration::ZERO));
        let send = json!({"ver": 2, "id": spans.send, "name": "send outbound", "type": "Azure Service Bus",
            "target": self.target, "duration": took, "success": failure.is_none()});
        let mut send = self.envelope(
            saved,
            "RemoteDependency",
            "RemoteDependencyData",
            began,
            &spans.request,
            send,
        );
        send["data"]["baseData"]["properties"]["peer"] = json!("Service Bus");
        let mut envelopes = vec![send];
        if let Some(failure) = failure {
            // As long as Application Insights keeps it.
            let message: String = failure.chars().take(32_768).collect();
            let exception = json!({"ver": 2, "severityLevel": 3, "exceptions": [
                {"typeName": "post/PostFailed", "message": message, "hasFullStack": false}]});
            let parent = &spans.request;
            let envelope = self.envelope(
                saved,
                "Exception",
                "ExceptionData",
                ended,
                parent,
                exception,
            );
            envelopes.push(envelope);
        }
        self.sink.take(envelopes);
    }

    fn envelope(
        &self,
        saved: &Saved,
        name: &str,
        base_type: &str,
        at: OffsetDateTime,
        parent: &str,
        mut base: Value,
    ) -> Value {
        base["properties"] = Value::Object(saved.properties());
        let at = at.to_offset(time::UtcOffset::UTC);
        let mut tags = json!({
            "ai.cloud.role": ROLE, "ai.cloud.roleInstance": ROLE, "ai.operation.id": saved.spans.trace,
            "ai.operation.name": saved.request_name(),
        });
        if !parent.is_empty() {
            tags["ai.operation.parentId"] = json!(parent);
        }
        json!({
            "name": format!("Microsoft.ApplicationInsights.{name}"),
            "time": at.format(&Rfc3339).unwrap_or_default(),
            "iKey": self.instrumentation_key, "sampleRate": 100.0, "tags": tags,
            "data": {"baseType": base_type, "baseData": base},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_posts_an_outbox_row_continues_the_trace_of_its_correlation_id() {
        let (correlation, notification) = (Uuid::from_u128(0xC0), Uuid::from_u128(0xF0));
        let spans = Spans::new(&correlation.to_string(), notification);
        assert_eq!(spans, Spans::new(&correlation.to_string(), notification));
        let expected = format!("00-{}-{}-01", correlation.simple(), spans.send);
        assert_eq!(spans.traceparent(), expected);
        let other = Spans::new(&correlation.to_string(), Uuid::from_u128(0xF1));
        assert_eq!(other.trace, spans.trace);
        assert_ne!(other.send, spans.send);
    }
}
