//! Sampling by invocation, at its end: what failed is always kept, whole.
//!
//! The spans of an invocation wait until its own span ends. Only then is it known whether anything in it
//! failed. A kept failure goes out at a sample rate of 100, so that it counts once; what was kept by chance
//! goes out at the rate it was kept by, and counts for those that were not. An invocation of a change that
//! failed before (`sampling.keep`) is kept as well: its story is one that somebody will read to its end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Status, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::shorten;

/// On an invocation's span: keep it whatever becomes of it. Not exported.
pub const KEEP: &str = "sampling.keep";
/// Copied from an invocation's span to all that happened in it.
const CORRELATION: &str = "correlation_id";

/// Traces whose spans wait, or whose latecomers are still expected.
const MOST_TRACES: usize = 4_096;
/// Spans of one invocation. A flight has at most some dozens.
const MOST_SPANS: usize = 256;

/// What most invocations have.
const FEW_SPANS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Sample,
    Drop,
}

#[derive(Debug)]
enum Trace {
    Waiting(Vec<SpanData>),
    Decided(Verdict, Option<Value>),
}

#[derive(Debug, Default)]
struct State {
    traces: HashMap<TraceId, Trace>,
    /// The traces, oldest first: memory stays bounded also if an invocation never ends.
    order: VecDeque<TraceId>,
}

impl State {
    fn insert(&mut self, id: TraceId, trace: Trace) {
        if self.traces.insert(id, trace).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST_TRACES {
            if let Some(oldest) = self.order.pop_front() {
                self.traces.remove(&oldest);
            }
        }
    }
}

/// Passes spans on to `kept` or `sampled`, or drops them.
#[derive(Debug)]
pub(crate) struct InvocationSampler<P> {
    kept: P,
    /// With the percentage that is kept by chance; without it, everything is kept.
    sampled: Option<(f64, P)>,
    state: Mutex<State>,
}

impl<P: SpanProcessor> InvocationSampler<P> {
    pub(crate) fn new(kept: P, sampled: Option<(f64, P)>) -> Self {
        Self {
            kept,
            sampled,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, mut span: SpanData, verdict: Verdict, correlation: Option<&Value>) {
        let next = match (verdict, &self.sampled) {
            (Verdict::Sample, Some((_, sampled))) => sampled,
            (Verdict::Drop, _) if !failed(&span) => return,
            _ => &self.kept,
        };
        span.attributes.retain(|a| a.key.as_str() != KEEP);
        if let Some(id) = correlation {
            let id = || KeyValue::new(CORRELATION, id.clone());
            if !span
                .attributes
                .iter()
                .any(|a| a.key.as_str() == CORRELATION)
            {
                span.attributes.push(id());
            }
            for event in &mut span.events.events {
                event.attributes.push(id());
            }
        }
        shorten::span(&mut span);
        next.on_end(span);
    }

    fn verdict(&self, root: &SpanData, others: &[SpanData]) -> Verdict {
        let Some((percent, _)) = &self.sampled else {
            return Verdict::Keep;
        };
        let keep = |a: &KeyValue| a.key.as_str() == KEEP && a.value == Value::Bool(true);
        if failed(root) || root.attributes.iter().any(keep) || others.iter().any(failed) {
            return Verdict::Keep;
        }
        if by_chance(root.span_context.trace_id(), *percent) {
            Verdict::Sample
        } else {
            Verdict::Drop
        }
    }
}

fn failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

/// Whether an invocation began with this span in this process.
fn is_root(parent: &Context) -> bool {
    let parent = parent.span();
    let parent = parent.span_context();
    !parent.is_valid() || parent.is_remote()
}

/// The same for a trace in every process. Mixed first: trace ids that were made of GUIDs have fixed bits.
fn by_chance(trace: TraceId, percent: f64) -> bool {
    let id = u128::from_be_bytes(trace.to_bytes());
    let mut mixed = (id >> 64) as u64 ^ (id as u64).rotate_left(32);
    // splitmix64
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
        mixed = (mixed ^ (mixed >> shift)).wrapping_mul(factor);
    }
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / ((1_u64 << 53) as f64) * 100.0 < percent
}

impl<P: SpanProcessor> SpanProcessor for InvocationSampler<P> {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        if is_root(parent) {
            let id = span.span_context().trace_id();
            let mut state = self.state();
            // Two invocations of one trace may run side by side: what the first has so far is not lost for it.
            if !matches!(state.traces.get(&id), Some(Trace::Waiting(_))) {
                state.insert(id, Trace::Waiting(Vec::with_capacity(FEW_SPANS)));
            }
        }
    }

    fn on_end(&self, span: SpanData) {
        let id = span.span_context.trace_id();
        let root = span.parent_span_is_remote || !is_valid(&span);
        let mut state = self.state();
        if !root {
            match state.traces.get_mut(&id) {
                Some(Trace::Waiting(spans)) if spans.len() < MOST_SPANS => spans.push(span),
                Some(Trace::Decided(verdict, correlation)) => {
                    let (verdict, correlation) = (*verdict, correlation.clone());
                    drop(state);
                    self.pass_on(span, verdict, correlation.as_ref());
                }
                // Its invocation was forgotten, or has too many spans to hold.
                _ => {
                    drop(state);
                    self.pass_on(span, Verdict::Drop, None);
                }
            }
            return;
        }
        let spans = match state.traces.get_mut(&id) {
            Some(Trace::Waiting(spans)) => std::mem::take(spans),
            _ => Vec::new(),
        };
        let verdict = self.verdict(&span, &spans);
        let correlation = span.attributes.iter();
        let correlation = correlation
            .filter(|a| a.key.as_str() == CORRELATION)
            .map(|a| a.value.clone())
            .next_back();
        state.insert(id, Trace::Decided(verdict, correlation.clone()));
        drop(state);
        for span in spans.into_iter().chain([span]) {
            self.pass_on(span, verdict, correlation.as_ref());
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.kept.force_flush()?;
        self.sampled
            .as_ref()
            .map_or(Ok(()), |(_, p)| p.force_flush())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let kept = self.kept.shutdown_with_timeout(timeout);
        let sampled = &self.sampled;
        let sampled = sampled
            .as_ref()
            .map(|(_, p)| p.shutdown_with_timeout(timeout));
        kept.and(sampled.unwrap_or(Ok(())))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.kept.set_resource(resource);
        if let Some((_, sampled)) = &mut self.sampled {
            sampled.set_resource(resource);
        }
    }
}

fn is_valid(span: &SpanData) -> bool {
    span.parent_span_id != opentelemetry::trace::SpanId::INVALID
}

#[cfg(test)]
mod tests;
