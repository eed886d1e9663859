//! What `dvsync local` shows: rows as they travel, a live count, endpoints, things to try, the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use local_stack::bus::QueueCounts;
use local_stack::host::LogLine;
use local_stack::insights::Insights;
use local_stack::stack::{INBOUND, OUTBOUND, REJECTED, Stack};
use local_stack::target::Target;
use serde_json::Value;
use uuid::Uuid;

use super::BUS_PORT;
use super::governor::{IdentityReport, Reports};
use super::lanes::Lane;
use super::ledger::Ledger;
use crate::out;

/// So many journeys are shown one by one; then only the count goes on.
const JOURNEYS: usize = 24;

/// The screen.
pub(super) struct Show {
    /// Nothing but the final JSON.
    silent: bool,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    acknowledgements_seen: usize,
    /// Calls seen, by target.
    deliveries_seen: BTreeMap<usize, usize>,
    /// When a change was delivered, by target and correlation id.
    delivered: BTreeMap<(usize, String), time::OffsetDateTime>,
    counted: Instant,
    last_count: String,
    /// Dead letters shown, by queue and sequence number.
    dead_shown: BTreeSet<(String, i64)>,
    line_open: bool,
}

impl Show {
    pub(super) fn new(silent: bool) -> Self {
        Self {
            silent,
            terminal: std::io::stdout().is_terminal(),
            state: Mutex::new(State {
                acknowledgements_seen: 0,
                deliveries_seen: BTreeMap::new(),
                delivered: BTreeMap::new(),
                counted: Instant::now(),
                last_count: String::new(),
                dead_shown: BTreeSet::new(),
                line_open: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a line, off the live count if that is open.
    fn line(&self, state: &mut State, text: &str) {
        if self.silent {
            return;
        }
        let clear = if std::mem::take(&mut state.line_open) {
            "\r\x1b[2K"
        } else {
            ""
        };
        out::line(format_args!("{clear}{text}"));
    }

    fn paint(&self, code: u8, text: &str) -> String {
        if self.terminal {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn step(&self, text: &str) {
        self.line(&mut self.state(), text);
    }

    /// A line of an app's log.
    pub(super) fn log(&self, app: &str, line: &LogLine) {
        let text = format!("{} {}", self.paint(33, app), line.text);
        self.line(&mut self.state(), &text);
    }

    /// What a throttle changed.
    pub(super) fn throttled(&self, report: &IdentityReport) {
        let text = format!("{} {}", self.paint(33, "throttled"), report.line());
        self.line(&mut self.state(), &text);
    }

    /// Where everything listens; for machines as one line of JSON, the first.
    pub(super) fn endpoints(&self, stack: &Stack, page: Option<&str>) {
        if self.silent {
            let further = stack.further_targets.iter().map(|further| {
                let target = &further.target;
                (
                    further.name.clone(),
                    serde_json::json!({"url": target.url(), "apiKey": target.api_key()}),
                )
            });
            let further: serde_json::Map<_, _> = further.collect();
            let endpoints = serde_json::json!({
                "dataverse": stack.dataverse.url(), "serviceBus": stack.bus.connection_string(),
                "target": stack.target.url(), "targetApiKey": stack.target.api_key(), "furtherTargets": further,
                "telemetryItems": stack.insights.as_ref().map(Insights::items_url), "keyVault": stack.vault.url(), "page": page, "apps": stack.folder(),
                "outboundPid": stack.outbound.hosts()[0].handler_pid(), "inboundPid": stack.inbound.hosts()[0].handler_pid(),
            });
            out::line(endpoints);
            return;
        }
        let mut state = self.state();
        let items = stack
            .insights
            .as_ref()
            .map(|insights| format!("{}/items", insights.items_url()));
        let targets: Vec<String> = stack.targets().map(Target::url).collect();
        if let Some(page) = page {
            self.line(&mut state, &format!("  {:<12} {page}", "live page"));
        }
        for (name, what) in [
            ("Dataverse", stack.dataverse.url().to_owned()),
            ("Service Bus", stack.bus.connection_string()),
            ("target", targets.join(", ")),
            ("Key Vault", stack.vault.url().to_owned()),
            ("telemetry", items.unwrap_or_else(|| "off".to_owned())),
            ("apps", stack.folder().display().to_string()),
        ] {
            self.line(&mut state, &format!("  {name:<12} {what}"));
        }
    }

    /// Whether a row has been acknowledged.
    pub(super) fn has_seen_one(&self) -> bool {
        self.state().acknowledgements_seen > 0
    }

    /// Shows what has arrived since the last look.
    pub(super) fn travels(
        &self,
        stack: &Stack,
        lanes: &[Lane<'_>],
        reports: &Reports,
        planned: u64,
    ) {
        let mut state = self.state();
        let acks = stack.dataverse.ack_writes();
        if state.acknowledgements_seen < JOURNEYS && acks.len() > state.acknowledgements_seen {
            for (number, lane) in lanes.iter().enumerate() {
                let calls = lane.target.calls();
                let seen = state.deliveries_seen.insert(number, calls.len());
                let new = calls.iter().skip(seen.unwrap_or(0));
                for call in new.filter(|c| c.applied) {
                    if let Some(id) = &call.correlation_id {
                        state.delivered.insert((number, id.clone()), call.at);
                    }
                }
            }
            let changes = stack.dataverse.changes();
            let (seen, shown) = (state.acknowledgements_seen, JOURNEYS.min(acks.len()));
            for ack in &acks[seen..shown] {
                let text = |name: &str| ack.columns.get(name).and_then(Value::as_str);
                // Each target acknowledges in columns of its own.
                let own = lanes.iter().enumerate().find_map(|(number, lane)| {
                    let names = &lane.config.tables.get(ack.table)?.ack;
                    Some((number, lane, names, text(&names.correlation_id)?))
                });
                let Some((number, lane, names, id)) = own else {
                    continue;
                };
                let saved = changes.iter().find(|c| c.correlation_id.to_string() == id);
                let Some(saved) = saved else { continue };
                let ms = |at: time::OffsetDateTime| (at - saved.at).whole_milliseconds();
                let delivered = state
                    .delivered
                    .get(&(number, id.to_owned()))
                    .map_or_else(String::new, |at| format!("{} ms", ms(*at)));
                let by = match lanes {
                    [_] => String::new(),
                    _ => format!("  by {:<12}", lane.config.target_system),
                };
                let line = format!(
                    "{} {:<34} {:<6} delivered {delivered:>7}  acknowledged {:>7}{by}  as {:<9} correlation {}",
                    self.paint(32, "✓"),
                    name(stack, ack.table, ack.row_id),
                    saved.operation.as_str(),
                    format!("{} ms", ms(ack.at)),
                    text(&names.target_id).unwrap_or("-"),
                    self.paint(2, id),
                );
                self.line(&mut state, &line);
            }
        }
        state.acknowledgements_seen = acks.len();
        self.dead_letters(&mut state, stack);
        self.count(&mut state, stack, reports, planned, acks.len());
    }

    /// Dead letters, as they come, with the reason an operator reads.
    fn dead_letters(&self, state: &mut State, stack: &Stack) {
        for queue in stack.entities() {
            let dead = stack.bus.counts(queue).map_or(0, |c| c.dead_letter);
            let shown = state.dead_shown.iter().filter(|(q, _)| q == queue).count();
            if dead == shown || shown >= JOURNEYS {
                continue;
            }
            for message in stack.bus.snapshot(queue).unwrap_or_default().dead_letter {
                if state
                    .dead_shown
                    .insert((queue.to_owned(), message.sequence_number))
                {
                    let text = message.dead_letter_description.unwrap_or_default();
                    let line = format!("{} dead letter of {queue}: {text}", self.paint(31, "✗"));
                    self.line(state, &line);
                }
            }
        }
        // Where there are sessions, what is given up goes there; nothing takes it away again.
        let rejected = stack.bus.snapshot(REJECTED).unwrap_or_default().active;
        for message in rejected.into_iter().take(JOURNEYS) {
            if state
                .dead_shown
                .insert((REJECTED.to_owned(), message.sequence_number))
            {
                let text = message.dead_letter_description.unwrap_or_default();
                let line = format!("{} message in {REJECTED}: {text}", self.paint(31, "✗"));
                self.line(state, &line);
            }
        }
    }

    fn count(
        &self,
        state: &mut State,
        stack: &Stack,
        reports: &Reports,
        planned: u64,
        acknowledged: usize,
    ) {
        let pause = if self.terminal { 100 } else { 2000 };
        if self.silent || state.counted.elapsed() < Duration::from_millis(pause) {
            return;
        }
        state.counted = Instant::now();
        let counts = |queue| stack.bus.counts(queue).unwrap_or_default();
        let outbound = stack.outbound_entities().map(counts);
        let outbound = outbound.fold(QueueCounts::default(), |a, b| QueueCounts {
            active: a.active + b.active,
            locked: a.locked + b.locked,
            scheduled: a.scheduled + b.scheduled,
            dead_letter: a.dead_letter + b.dead_letter,
            ..a
        });
        let counts = [outbound, counts(INBOUND), counts(REJECTED)];
        let saved = stack.dataverse.counters().events;
        let of = if planned > saved {
            format!("/{planned}")
        } else {
            String::new()
        };
        let progress = format!(
            "saved {saved}{of}  outbox {}  outbound {} (+{} later)  delivered {}  inbound {} (+{} later)  acknowledged {acknowledged}  dead {}",
            stack.dataverse.outbox_len(),
            counts[0].active + counts[0].locked,
            counts[0].scheduled,
            stack.targets().map(|t| t.counters().applied).sum::<u64>(),
            counts[1].active + counts[1].locked,
            counts[1].scheduled,
            counts[0].dead_letter + counts[1].dead_letter + counts[2].active,
        );
        let line = format!("{progress}{}", reports.summary());
        // The sweeps' requests alone are not worth a line each.
        let news = if self.terminal { &line } else { &progress };
        if *news == state.last_count {
            return;
        }
        state.last_count.clone_from(news);
        if self.terminal {
            out::part(format_args!("\r\x1b[2K{line}"));
            state.line_open = true;
        } else if acknowledged > 0 {
            self.line(state, &line);
        }
    }

    /// What a newcomer can do next. `key` is the target's.
    pub(super) fn things_to_try(&self, stack: &Stack, key: &str) {
        let mut state = self.state();
        let account = stack
            .dataverse
            .ids("account")
            .into_iter()
            .min()
            .unwrap_or(Uuid::nil());
        let (dataverse, target) = (stack.dataverse.url(), stack.target.url());
        let user = format!("-H '{}: me'", local_stack::dataverse::USER_HEADER);
        self.line(
            &mut state,
            &format!(
                "\nEverything has arrived. Things to try (Ctrl-C stops):\n\
                 \n1. Change a row, and see it arrive at the target:\n   \
                 curl -X PATCH {user} -H 'Content-Type: application/json' -H 'If-Match: *' -d '{{\"telephone1\":\"555-0123\"}}' '{dataverse}/api/data/v9.2/accounts({account})'\n   \
                 curl -H 'x-api-key: {key}' {target}/customers/{account}\n\
                 \n2. Break the target, change a row, watch the retries, then mend it:\n   \
                 curl -d '{{\"down\":\"unavailable\"}}' {target}/_admin/faults\n   \
                 curl -d '{{\"down\":\"no\"}}' {target}/_admin/faults\n\
                 \n3. Save something the target refuses, and read the reason on the row (its dead letter shows up below):\n   \
                 curl -X PATCH {user} -H 'Content-Type: application/json' -H 'If-Match: *' -d '{{\"name\":\"REJECT me\"}}' '{dataverse}/api/data/v9.2/accounts({account})'\n   \
                 curl {user} '{dataverse}/api/data/v9.2/accounts({account})?$select=name,dvs_ackstate,dvs_ackerror'\n",
            ),
        );
        // As this was started: who came by `cargo run` has no dvsync on the PATH.
        let dvsync = std::env::args().next();
        let dvsync = dvsync.as_deref().unwrap_or("dvsync");
        if let Some(insights) = &stack.insights {
            let url = crate::trace::url_option(&insights.items_url());
            let text = format!(
                "4. See everything that happened to that row:\n   {dvsync} trace account:{account}{url}\n"
            );
            self.line(&mut state, &text);
        }
        // Nothing of it is on a subscription, or where --local looks, if the port was taken.
        if stack.entities().any(|queue| queue == OUTBOUND) && stack.bus.addr().port() == BUS_PORT {
            let text = format!(
                "5. See what is in the dead-letter queues, and send it again:\n   {dvsync} dlq list --local\n   {dvsync} dlq resend --local\n"
            );
            self.line(&mut state, &text);
        }
    }

    /// The end.
    pub(super) fn ledger(&self, ledger: &Ledger, drained: bool) {
        let Ok(json) = serde_json::to_value(ledger) else {
            return;
        };
        if self.silent {
            out::line(json);
            return;
        }
        let mut state = self.state();
        self.line(
            &mut state,
            if drained {
                "\nLedger, everything drained"
            } else {
                "\nLedger"
            },
        );
        for (name, value) in json.as_object().into_iter().flatten() {
            if ["identities", "targets", "instances"].contains(&name.as_str()) {
                continue;
            }
            let bad = matches!(name.as_str(), "lost" | "differing" | "outOfOrder")
                && value != &Value::from(0);
            let text = format!("  {name:<24} {value:>10}");
            let text = if bad { self.paint(31, &text) } else { text };
            self.line(&mut state, &text);
        }
        for (name, target) in &ledger.targets {
            let text = format!(
                "  of target {name}: {} delivered, {} dead-lettered, {} pending, {} lost, {} differing",
                target.deliveries,
                target.dead_lettered,
                target.pending,
                target.lost,
                target.differing,
            );
            self.line(&mut state, &text);
        }
        if !ledger.identities.is_empty() {
            self.line(&mut state, "Identities at Dataverse");
        }
        for report in &ledger.identities {
            self.line(&mut state, &format!("  {}", report.line()));
        }
        for (name, report) in &ledger.instances {
            self.line(&mut state, &format!("  {name:<13} {}", report.line()));
        }
    }
}

fn name(stack: &Stack, table: &str, id: Uuid) -> String {
    let row = stack.dataverse.row(table, id).unwrap_or_default();
    let name = ["name", "fullname"]
        .iter()
        .find_map(|c| row.get(*c)?.as_str());
    name.map_or_else(|| format!("{table} {id}"), str::to_owned)
}
