//! Gives log records the trace and the span that they were written in.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LogRecord as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Comes before what exports. OpenTelemetry would look at its own current context, which is not kept: it would
/// have to change whenever a task goes on, and records that are exported are few.
#[derive(Debug)]
pub(crate) struct InSpan;

impl LogProcessor for InSpan {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        if record.trace_context().is_some() {
            return;
        }
        let context = tracing::Span::current().context();
        let context = context.span().span_context().clone();
        if context.is_valid() {
            let flags = context.trace_flags();
            record.set_trace_context(context.trace_id(), context.span_id(), Some(flags));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
