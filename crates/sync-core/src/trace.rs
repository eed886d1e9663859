//! One trace from the save to the acknowledgement: spans, and the context that messages carry.
//!
//! Spans are made by `tracing` under [`TARGET`]. An app that exports nothing has no subscriber for that target;
//! then they are never made, and all of this does nothing.
//!
//! A message carries the W3C context of the span that sent it, as `traceparent` and, for Azure's SDKs,
//! `Diagnostic-Id`. Each attempt at a message is a span of its own under it, and the retry copy carries the
//! context of the attempt that sent it; so one trace holds all attempts, and the acknowledgement.

use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use service_bus::{Properties, Value};
use tracing::field::Empty;
use tracing::{Span, info_span, record_all};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::decide::Disposition;
use crate::failure::Failure;
use crate::message::Message;

/// Target of the spans. The telemetry of the apps subscribes to it.
pub const TARGET: &str = "dvsync.trace";
/// On an attempt's span: to be kept by whatever samples.
pub const KEEP: &str = "sampling.keep";

/// W3C trace context.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The same, as Azure's SDKs call it.
pub(crate) const DIAGNOSTIC_ID: &str = "Diagnostic-Id";
/// W3C's list of what vendors add.
pub(crate) const TRACESTATE: &str = "tracestate";
/// What an acknowledgement takes over from its notification.
pub(crate) const CONTEXT: [&str; 3] = [TRACEPARENT, DIAGNOSTIC_ID, TRACESTATE];
/// Our entry: an attempt at this change failed, so its story is to be kept.
const FAILED_BEFORE: &str = "dvsync=k";

/// Where an attempt's span may be found from.
pub type Link = SpanContext;

/// How a message came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The function.
    pub function: &'static str,
    /// The host's id of the invocation.
    pub invocation: &'a str,
    /// The host's own context, if it has one.
    pub host: Option<&'a str>,
    /// Namespace and entity.
    pub source: &'a str,
}

/// The span of one attempt at a message: a request, in the terms of Application Insights.
#[must_use]
pub fn attempt(arrival: Arrival<'_>, message: &Message) -> Span {
    let keep = failed_before(message) || !message.is_first_attempt();
    // Not under the host's span: the message tells where the change comes from. All in one go: an attribute
    // that is set later costs several times as much.
    let span = info_span!(
        target: TARGET, parent: None, "attempt",
        otel.name = arrival.function,
        otel.kind = "consumer",
        ai.operation.name = arrival.function,
        invocation_id = arrival.invocation,
        client.address = arrival.source,
        queue = arrival.source,
        message_id = message.message_id,
        retry_count = i64::from(message.retry_count()),
        delivery_count = i64::from(message.delivery_count),
        correlation_id = message.correlation_id,
        { KEEP } = keep.then_some(true),
        // What is only known in the end.
        table = Empty,
        target = Empty,
        notification_id = Empty,
        row = Empty,
        queued_ms = Empty,
        disposition = Empty,
        delay_ms = Empty,
        reason = Empty,
        outcome = Empty,
        acknowledges = Empty,
        deliveries = Empty,
        notifications = Empty,
        version = Empty,
        lag_ms = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    if let Some(parent) = context_of(message) {
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    if let Some(host) = arrival.host.and_then(parse) {
        span.add_link(host);
    }
    span
}

/// The span of one notification that is posted from the outbox, in the trace of its change.
pub(crate) fn sweep(correlation_id: &str) -> Span {
    let span = info_span!(
        target: TARGET, parent: None, "sweep",
        otel.name = "OutboxSweep",
        otel.kind = "consumer",
    );
    if span.is_disabled() {
        return span;
    }
    if let Some(parent) = of_correlation(correlation_id) {
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span.set_attribute("ai.operation.name", "OutboxSweep");
    span.set_attribute("correlation_id", correlation_id.to_owned());
    span
}

/// A call to another system: a dependency. `name` must stay the same for all rows. Nothing happens inside it
/// that wants a span, so nobody enters it: that would cost something at every poll of the call.
#[must_use]
pub fn call(peer: &'static str, name: &str, method: &str, host: &str) -> Span {
    info_span!(
        target: TARGET, "call",
        otel.name = name,
        otel.kind = "client",
        peer,
        http.request.method = method,
        server.address = host,
    )
}

/// A message that is sent or settled: a dependency, too.
#[must_use]
pub fn posting(name: &str, destination: &str) -> Span {
    info_span!(
        target: TARGET, "posting",
        otel.name = name,
        otel.kind = "producer",
        peer = "Service Bus",
        messaging.system = "Azure Service Bus",
        server.address = destination,
    )
}

/// How a call ended: its HTTP status, and whether that was a failure.
pub fn answered(span: &Span, status: u16, good: bool) {
    if span.is_disabled() {
        return;
    }
    span.set_attribute("http.response.status_code", i64::from(status));
    span.set_status(if good { Status::Ok } else { Status::error("") });
}

/// How a call without a status of its own ended.
pub fn ended(span: &Span, went: Result<(), &str>) {
    if !span.is_disabled() {
        span.set_status(went.map_or_else(|e| Status::error(e.to_owned()), |()| Status::Ok));
    }
}

/// Notes on `span` what it failed of.
pub fn failed(span: &Span, failure: &Failure) {
    if span.is_disabled() {
        return;
    }
    let class = class(failure);
    span.set_status(Status::error(failure.code));
    span.set_attribute("failure.class", class);
    span.set_attribute("failure.stage", failure.stage.as_str());
    span.set_attribute("failure.code", failure.code);
    let exception = vec![
        KeyValue::new(
            "exception.type",
            format!("{}/{}", failure.stage, failure.code),
        ),
        KeyValue::new("exception.message", failure.message.clone()),
        KeyValue::new("failure.class", class),
        KeyValue::new("failure.stage", failure.stage.as_str()),
        KeyValue::new("failure.code", failure.code),
    ];
    span.add_event("exception", exception);
}

/// Notes on an attempt's span what became of its message.
pub(crate) fn concluded(span: &Span, disposition: Option<&Disposition>, failure: Option<&Failure>) {
    let (delay, reason) = match disposition {
        Some(Disposition::Reschedule { delay, .. }) => (Some(delay.as_millis()), None),
        Some(Disposition::DeadLetter { reason, .. }) => (None, Some(*reason)),
        _ => (None, None),
    };
    record_all!(
        span,
        disposition = crate::metrics::name(disposition),
        delay_ms = delay.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        reason,
    );
    match failure {
        Some(failure) => failed(span, failure),
        None => span.set_status(Status::Ok),
    }
}

pub(crate) fn milliseconds(duration: time::Duration) -> i64 {
    i64::try_from(duration.whole_milliseconds()).unwrap_or_default()
}

pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The class's name alone.
pub(crate) fn class(failure: &Failure) -> &'static str {
    use crate::failure::Class;
    match failure.class {
        Class::Transient => "Transient",
        Class::Throttled { .. } => "Throttled",
        Class::TargetDown { .. } => "TargetDown",
        Class::Permanent => "Permanent",
        Class::Config => "Config",
        Class::Waiting => "Waiting",
    }
}

/// Where `span` can be found from; `None` when it is not exported.
#[must_use]
pub fn link(span: &Span) -> Option<Link> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// Links spans whose work is one: what served a message may stand in another message's trace.
pub fn connect(span: &Span, other: Option<&Link>) {
    if let Some(other) = other
        && !span.is_disabled()
    {
        span.add_link(other.clone());
    }
}

/// Gives a message the context of `span`, which sends it.
pub(crate) fn inject(span: &Span, properties: &mut Properties) {
    if let Some(context) = link(span) {
        let context = format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags() & TraceFlags::SAMPLED
        );
        properties.insert(TRACEPARENT.into(), context.as_str().into());
        properties.insert(DIAGNOSTIC_ID.into(), context.as_str().into());
    }
}

/// Whether an attempt at this message's change failed before.
fn failed_before(message: &Message) -> bool {
    let state = message.properties.get(TRACESTATE).and_then(Value::as_str);
    state.is_some_and(|state| state.split(',').any(|entry| entry.trim() == FAILED_BEFORE))
}

/// Marks a copy of a message whose attempt failed.
pub(crate) fn mark_failed(message: &Message, properties: &mut Properties) {
    if failed_before(message) {
        return;
    }
    let others = message.properties.get(TRACESTATE).and_then(Value::as_str);
    let state = match others {
        Some(others) if !others.is_empty() => format!("{FAILED_BEFORE},{others}"),
        _ => FAILED_BEFORE.to_owned(),
    };
    properties.insert(TRACESTATE.into(), state.as_str().into());
}

/// The context that a message carries; else one of its correlation id, which all messages of the change share.
fn context_of(message: &Message) -> Option<SpanContext> {
    let carried = [TRACEPARENT, DIAGNOSTIC_ID].iter().find_map(|name| {
        let value = message.properties.get(*name)?;
        parse(value.as_str()?)
    });
    carried.or_else(|| of_correlation(message.correlation_id.as_deref()?))
}

/// A span that nobody exported stands for the save itself.
fn of_correlation(id: &str) -> Option<SpanContext> {
    let id = Uuid::parse_str(id).ok().filter(|id| !id.is_nil())?;
    let (_, low) = id.as_u64_pair();
    let context = SpanContext::new(
        TraceId::from_bytes(id.into_bytes()),
        SpanId::from_bytes(low.to_be_bytes()),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

/// A `traceparent` (W3C Trace Context, 3.2). Of a version that is not known, what version 00 has.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, digits| {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        part.len() == digits && part.bytes().all(lower)
    };
    let shape = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    if !shape || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::message;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_w3c_says_and_nothing_else_is() {
        let context = parse(PARENT).unwrap();
        assert_eq!(context.trace_id().to_string(), PARENT[3..35]);
        assert_eq!(context.span_id().to_string(), PARENT[36..52]);
        assert!(context.is_remote() && context.is_sampled());
        assert!(parse(&format!("cc{}-what-may-come", &PARENT[2..])).is_some());
        for bad in [
            "",
            "00-ab-cd-01",
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &format!("ff{}", &PARENT[2..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn messages_without_a_context_share_the_trace_of_their_correlation_id() {
        let mut plain = message("x");
        plain.properties.clear();
        plain.correlation_id = Some("B374239D-4233-41A9-8B17-A86CB4F737B5".into());
        let context = context_of(&plain).unwrap();
        assert_eq!(
            context.trace_id().to_string(),
            "b374239d423341a98b17a86cb4f737b5"
        );
        let name = DIAGNOSTIC_ID.to_owned();
        plain.properties.insert(name, PARENT.into());
        let context = context_of(&plain).unwrap();
        assert_eq!(context.trace_id().to_string(), PARENT[3..35]);
    }

    #[test]
    fn a_copy_tells_that_an_attempt_failed_and_keeps_what_others_say() {
        let mut first = message("x");
        first.properties.insert(TRACESTATE.into(), "a=1".into());
        assert!(!failed_before(&first));
        let mut properties = first.properties.clone();
        mark_failed(&first, &mut properties);
        assert_eq!(properties[TRACESTATE], "dvsync=k,a=1".into());
        first.properties = properties;
        assert!(failed_before(&first));
    }
}
