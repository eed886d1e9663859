use std::sync::Arc;

use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer, TracerProvider as _};
use opentelemetry_sdk::trace::{SdkTracerProvider, SimpleSpanProcessor, SpanExporter};

use super::*;

#[derive(Debug, Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Exported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Exported {
    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }
}

struct World {
    kept: Exported,
    sampled: Exported,
    provider: SdkTracerProvider,
}

fn world(percent: f64) -> World {
    let (kept, sampled) = (Exported::default(), Exported::default());
    let by_chance = Some((percent, SimpleSpanProcessor::new(sampled.clone())));
    let sampler = InvocationSampler::new(SimpleSpanProcessor::new(kept.clone()), by_chance);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(sampler)
        .build();
    World {
        kept,
        sampled,
        provider,
    }
}

impl World {
    /// An invocation with one call in it.
    fn invocation(&self, attributes: Vec<KeyValue>, call: Status, end: Status) {
        let tracer = self.provider.tracer("test");
        let root = tracer
            .span_builder("Outbound")
            .with_kind(SpanKind::Consumer);
        let root = root.with_attributes(attributes).start(&tracer);
        let context = Context::current_with_span(root);
        let mut child = tracer.start_with_context("call", &context);
        child.add_event("exception", Vec::new());
        child.set_status(call);
        child.end();
        context.span().set_status(end);
        context.span().end();
    }

    fn counts(&self) -> (usize, usize) {
        let count = |e: &Exported| e.spans().len();
        (count(&self.kept), count(&self.sampled))
    }
}

#[test]
fn an_invocation_that_failed_is_kept_whole() {
    let world = world(0.0);
    world.invocation(Vec::new(), Status::Unset, Status::error("lost"));
    assert_eq!(world.counts(), (2, 0));
}

#[test]
fn an_invocation_in_which_a_call_failed_is_kept_whole() {
    let world = world(0.0);
    world.invocation(Vec::new(), Status::error("503"), Status::Ok);
    assert_eq!(world.counts(), (2, 0));
}

#[test]
fn an_invocation_of_a_change_that_failed_before_is_kept() {
    let world = world(0.0);
    world.invocation(vec![KeyValue::new(KEEP, true)], Status::Unset, Status::Ok);
    assert_eq!(world.counts(), (2, 0));
    let spans = world.kept.spans();
    let names = |s: &SpanData| s.attributes.iter().any(|a| a.key.as_str() == KEEP);
    assert!(!spans.iter().any(names));
}

#[test]
fn of_what_went_well_as_much_is_kept_as_is_asked_for() {
    let world = world(10.0);
    for _ in 0..4_000 {
        world.invocation(Vec::new(), Status::Unset, Status::Ok);
    }
    let (kept, sampled) = world.counts();
    assert_eq!(kept, 0);
    assert!((600..1_000).contains(&sampled), "{sampled} of 8000");
}

#[test]
fn trace_ids_made_of_guids_are_kept_by_chance_as_others_are() {
    let guid = |n: u128| {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let version = random & !(0xf << 76) | (0x4 << 76);
        TraceId::from_bytes((version & !(0x3 << 62) | (0x2 << 62)).to_be_bytes())
    };
    let kept = (1..=10_000).filter(|n| by_chance(guid(*n), 25.0)).count();
    assert!((2_200..2_800).contains(&kept), "{kept}");
}

#[test]
fn everything_in_an_invocation_carries_its_correlation_id() {
    let world = world(0.0);
    let id = KeyValue::new("correlation_id", "c-1");
    world.invocation(vec![id.clone()], Status::error("503"), Status::Ok);
    for span in world.kept.spans() {
        assert!(span.attributes.contains(&id), "{}", span.name);
        for event in &span.events.events {
            assert!(event.attributes.contains(&id));
        }
    }
}

#[test]
fn memory_stays_bounded_when_invocations_never_end() {
    let world = world(0.0);
    let tracer = world.provider.tracer("test");
    let mut open = Vec::new();
    for _ in 0..MOST_TRACES + 100 {
        open.push(tracer.start("Outbound"));
    }
    drop(open);
    assert_eq!(world.counts(), (0, 0));
}

#[test]
fn a_second_invocation_of_a_trace_takes_nothing_from_the_first() {
    let world = world(0.0);
    let tracer = world.provider.tracer("test");
    let remote = opentelemetry::trace::SpanContext::new(
        TraceId::from(7_u128),
        opentelemetry::trace::SpanId::from(7_u64),
        opentelemetry::trace::TraceFlags::SAMPLED,
        true,
        opentelemetry::trace::TraceState::default(),
    );
    let remote = Context::new().with_remote_span_context(remote);
    let first = remote.with_span(tracer.start_with_context("Outbound", &remote));
    let mut call = tracer.start_with_context("call", &first);
    call.set_status(Status::error("503"));
    call.end();
    let second = tracer.start_with_context("Outbound", &remote);
    first.span().end();
    drop(second);
    let spans = world.kept.spans();
    assert!(spans.iter().any(|span| span.name == "call"));
}

#[test]
fn a_trace_that_was_forgotten_is_not_remembered_for_ever() {
    let sampler = InvocationSampler::new(
        SimpleSpanProcessor::new(Exported::default()),
        None::<(f64, SimpleSpanProcessor<Exported>)>,
    );
    let mut state = sampler.state();
    for id in 1..=2 * MOST_TRACES as u128 {
        state.insert(TraceId::from(id), Trace::Decided(Verdict::Drop, None));
    }
    assert_eq!(state.traces.len(), MOST_TRACES);
    assert_eq!(state.order.len(), MOST_TRACES);
}
