//! Gathering: who waits, and the tasks that send pages for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument as _, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::narrow::ask_all;
use super::plan::Plan;
use super::rhythm::{Member, Rhythm};
use super::size::{PageSize, Went};
use super::{Merging, Pages};
use crate::failure::{Failure, Stage};
use crate::metrics::metrics;
use crate::trace;

/// Gathers requests that can be answered together.
pub(super) struct Gatherer<P: Pages>(Arc<Inner<P>>);

struct Inner<P: Pages> {
    pages: P,
    rhythm: Rhythm,
    state: Mutex<State<P>>,
}

struct State<P: Pages> {
    waiting: VecDeque<Waiting<P>>,
    plan: Plan,
    size: PageSize,
    /// When a task that is under way looks again.
    timer: Option<Instant>,
}

struct Waiting<P: Pages> {
    ask: P::Ask,
    since: Instant,
    answer: oneshot::Sender<Result<P::Answer, Failure>>,
    /// The part of this row in its page.
    span: Span,
}

impl<P: Pages> Clone for Gatherer<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Pages + 'static> Gatherer<P> {
    /// At most `most` rows fit into a page, which may take `timeout`.
    pub(super) fn new(
        pages: P,
        merging: Merging,
        most: usize,
        timeout: Duration,
        rhythm: &Rhythm,
    ) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            plan: Plan::new(merging.linger),
            size: PageSize::new(merging.rows, most, timeout),
            timer: None,
        };
        let inner = Arc::new(Inner {
            pages,
            rhythm: rhythm.clone(),
            state: Mutex::new(state),
        });
        let member: Arc<dyn Member> = Arc::<Inner<P>>::clone(&inner);
        rhythm.join(Arc::downgrade(&member));
        Self(inner)
    }

    /// Asks, together with whoever asks at the same time. The page that answers is sent after this call.
    pub(super) async fn ask(&self, ask: P::Ask, stage: Stage) -> Result<P::Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        let span = info_span!(
            target: trace::TARGET, "row",
            otel.name = self.0.pages.kind(), otel.kind = "internal",
        );
        let waiting = Waiting {
            ask,
            since: Instant::now(),
            answer,
            span: span.clone(),
        };
        self.state().waiting.push_back(waiting);
        self.pump();
        let answer = answered.await.unwrap_or_else(|_| {
            let text = "The request that carried this row ended without an answer.";
            Err(Failure::transient(stage, "DataversePageLost", text))
        });
        if let Err(failure) = &answer {
            trace::ended(&span, Err(failure.code));
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the pages that are due, and sees to it that the next one is.
    fn pump(&self) {
        loop {
            let now = Instant::now();
            let mut state = self.state();
            let (waiting, page) = (state.waiting.len(), state.size.rows());
            let since = |n: usize| state.waiting.get(n).map(|w| w.since);
            // Always in this order: the gatherer's lock, then the beat's.
            let mut beat = self.0.rhythm.now();
            match state.plan.next(&beat, waiting, page, since, now) {
                Some(at) if at <= now => {
                    state.plan.start();
                    beat.start();
                    drop(beat);
                    drop(state);
                    // A page may be dropped with its runtime: then nobody waits any more.
                    let Ok(runtime) = Handle::try_current() else {
                        return;
                    };
                    runtime.spawn(self.clone().page());
                }
                Some(at) if state.timer.is_none_or(|timer| at < timer) => {
                    state.timer = Some(at);
                    drop(beat);
                    drop(state);
                    if let Ok(runtime) = Handle::try_current() {
                        runtime.spawn(self.clone().wake(at));
                    }
                    return;
                }
                _ => return,
            }
        }
    }

    async fn wake(self, at: Instant) {
        sleep_until(at).await;
        {
            let mut state = self.state();
            if state.timer == Some(at) {
                state.timer = None;
            }
        }
        self.pump();
    }

    async fn page(self) {
        let mut page = UnderWay {
            gatherer: &self,
            rows: None,
        };
        let ticket = self.0.pages.admit().await;
        // Only now: whoever came while the right to send was waited for comes along.
        let mut taken = page.take();
        let span = joint(&taken);
        let (asks, answers): (Vec<_>, Vec<_>) = taken.drain(..).map(|t| (t.0, t.1)).unzip();
        let ticket = match ticket {
            Ok(ticket) if !asks.is_empty() => ticket,
            Ok(_) => return,
            Err(failure) => {
                for answer in answers {
                    let _: Result<_, _> = answer.send(Err(failure.clone()));
                }
                return;
            }
        };
        let started = Instant::now();
        let kind = opentelemetry::KeyValue::new("kind", self.0.pages.kind());
        metrics().page_rows.record(asks.len() as u64, &[kind]);
        let asking = ask_all(&self.0.pages, ticket, &asks);
        let (results, too_large) = asking.instrument(span).await;
        let went = if too_large {
            Went::Lost
        } else {
            Went::Answered(started.elapsed())
        };
        self.state().size.learn(asks.len(), went);
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever no longer waits was dropped with its invocation; its message comes back.
            let _: Result<_, _> = answer.send(result);
        }
    }
}

impl<P: Pages + 'static> Member for Inner<P> {
    fn beat(self: Arc<Self>) {
        Gatherer(self).pump();
    }
}

/// A page that was started. Its end, a panic included, lets the next one start.
struct UnderWay<'a, P: Pages + 'static> {
    gatherer: &'a Gatherer<P>,
    rows: Option<usize>,
}

type Taken<P> = (
    <P as Pages>::Ask,
    oneshot::Sender<Result<<P as Pages>::Answer, Failure>>,
    Span,
);

/// The span that a page's requests belong to: the row's own if it is alone. Else one under the first row's,
/// with a link to and from each other's: a trace tells all about its notification, whoever's trace the request
/// stands in.
fn joint<A, B>(taken: &[(A, B, Span)]) -> Span {
    let first = match taken {
        [] => return Span::none(),
        [(_, _, only)] => return only.clone(),
        [(_, _, first), ..] => first,
    };
    let page = info_span!(target: trace::TARGET, parent: first, "page", otel.kind = "internal");
    if page.is_disabled() {
        return page;
    }
    page.set_attribute("page_rows", trace::count(taken.len()));
    let link = trace::link(&page);
    for (_, _, row) in &taken[1..] {
        trace::connect(&page, trace::link(row).as_ref());
        trace::connect(row, link.as_ref());
    }
    page
}

impl<P: Pages + 'static> UnderWay<'_, P> {
    fn take(&mut self) -> Vec<Taken<P>> {
        let mut state = self.gatherer.state();
        state.plan.take();
        let page = state.size.rows();
        let mut taken = Vec::new();
        while taken.len() < page
            && let Some(waiting) = state.waiting.pop_front()
        {
            if !waiting.answer.is_closed() {
                taken.push((waiting.ask, waiting.answer, waiting.span));
            }
        }
        self.rows = Some(taken.len());
        taken
    }
}

impl<P: Pages + 'static> Drop for UnderWay<'_, P> {
    fn drop(&mut self) {
        if self.rows.is_none() {
            drop(self.take());
        }
        let rows = self.rows.unwrap_or_default();
        self.gatherer.0.rhythm.end(rows);
    }
}

#[cfg(test)]
mod tests;
