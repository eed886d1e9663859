//! The live page of a run: a snapshot for whoever looks, and the things a person may do to it.
//!
//! The run feeds the page between its other looks, and only while somebody looks. What a person does to the
//! stand-ins waits for the run's next look too, so that the stack has one owner; dead letters are sent
//! again over Service Bus, as from anywhere else.

mod board;
mod dataverse;
mod health;
mod lags;
mod letters;
mod parts;
mod routes;
mod switches;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use local_stack::insights::Reader;
use local_stack::stack::Stack;
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::governor::Reports;
use super::lanes::Lane;
use board::Board;
use health::Health;
use switches::{Position, Switch};

/// How often the snapshot is made anew.
const PERIOD: Duration = Duration::from_millis(500);
/// Nobody looks any more when nobody has asked for so long.
const ATTENTION: Duration = Duration::from_secs(5);

/// What a person does on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Takes the target down, or up again.
    Target {
        down: bool,
    },
    Dataverse(Position),
    Change,
    Refused,
}

impl Action {
    fn named(name: &str) -> Option<Self> {
        Some(match name.split_once('-') {
            Some(("target", "up")) => Self::Target { down: false },
            Some(("target", "down")) => Self::Target { down: true },
            Some(("dataverse", position)) => Self::Dataverse(Position::named(position)?),
            None if name == "change" => Self::Change,
            None if name == "refused" => Self::Refused,
            _ => return None,
        })
    }
}

#[derive(Default)]
struct State {
    snapshot: String,
    asked: Option<Instant>,
    actions: Vec<Action>,
    health: Health,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The page, served until it is dropped.
pub(super) struct Page {
    url: String,
    shared: Shared,
    board: Board,
    made: Option<Instant>,
    changed: usize,
    /// Rows made to be refused: a change of one would not arrive.
    refused: HashSet<Uuid>,
    switch: Switch,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Page {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Page {
    /// Serves it on 127.0.0.1; port 0 lets the system choose.
    pub(super) async fn start(port: u16, stack: &Stack) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| {
                format!("the live page cannot listen on 127.0.0.1:{port}; try another --page-port")
            })?;
        let url = format!("http://{}/", listener.local_addr()?);
        let shared = Shared::default();
        lock(&shared).snapshot = "{}".to_owned();
        let options = ClientOptions::default();
        let client = Client::from_connection_string(&stack.bus.connection_string(), options)?;
        let insights = stack.insights.as_ref();
        let server = Arc::new(routes::Server {
            shared: Arc::clone(&shared),
            telemetry: insights.map(|insights| (insights.reader(), insights.items_url())),
            client,
            places: letters::places(stack),
            resending: Semaphore::new(1),
        });
        let router = routes::router(server);
        let mut tasks = vec![tokio::spawn(async move {
            // axum's serve loop has no error to give.
            let _ = axum::serve(listener, router).await;
        })];
        if let Some(insights) = insights {
            tasks.push(tokio::spawn(follow_metrics(
                insights.reader(),
                Arc::clone(&shared),
            )));
        }
        Ok(Self {
            url,
            shared,
            board: Board::default(),
            made: None,
            changed: 0,
            refused: HashSet::new(),
            switch: Switch::default(),
            tasks,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Does what was asked on the page, and brings it up to date if somebody looks.
    pub(super) fn follow(&mut self, stack: &Stack, lane: &Lane<'_>, reports: &Reports) {
        let (actions, watched) = {
            let mut shared = lock(&self.shared);
            let watched = shared.asked.is_some_and(|at| at.elapsed() < ATTENTION);
            (std::mem::take(&mut shared.actions), watched)
        };
        for action in actions {
            self.act(stack, action);
        }
        if !watched || self.made.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.made = Some(Instant::now());
        self.board.follow(stack, lane);
        let snapshot = self.snapshot(stack, reports).to_string();
        lock(&self.shared).snapshot = snapshot;
    }

    fn snapshot(&self, stack: &Stack, reports: &Reports) -> Value {
        let now = OffsetDateTime::now_utc();
        let letters = letters::list(stack);
        let mut snapshot = self.board.snapshot(stack, &letters, now);
        let health = lock(&self.shared).health.rows(&reports.identities(), now);
        snapshot["health"] = health;
        snapshot["deadLetters"] = json!(letters);
        snapshot["telemetry"] = json!(stack.insights.is_some());
        snapshot["switches"] = json!({
            "target": switches::target(&stack.target),
            "dataverse": self.switch.position().name(),
        });
        snapshot
    }

    fn act(&mut self, stack: &Stack, action: Action) {
        let number = self.changed;
        let saved = match action {
            Action::Target { down } => return stack.target.set_down(down),
            Action::Dataverse(position) => return self.switch.turn(&stack.dataverse, position),
            Action::Change => {
                let mut ids = stack.dataverse.ids("account");
                ids.retain(|id| !self.refused.contains(id));
                ids.sort_unstable();
                let id = ids.get(number % ids.len().max(1)).copied();
                let phone = format!("555-{:04}", number % 10_000);
                stack
                    .dataverse
                    .save("account", id, &json!({"telephone1": phone}))
            }
            Action::Refused => {
                let name = json!({"name": "REJECT me"});
                let saved = stack.dataverse.save("account", None, &name);
                self.refused.extend(saved.as_ref().map(|saved| saved.id));
                saved
            }
        };
        self.changed += 1;
        if let Err(error) = saved {
            tracing::warn!(%error, "a change asked for on the live page was not saved");
        }
    }
}

/// Takes the apps' metrics in as they come.
async fn follow_metrics(reader: Reader, shared: Shared) {
    let mut seen = 0;
    loop {
        let (items, next) = reader.metrics_since(seen);
        seen = next;
        {
            let mut shared = lock(&shared);
            items.iter().for_each(|item| shared.health.take(item));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_known_by_its_name_and_nothing_else_is_done() {
        let down = Action::Dataverse(Position::Down);
        assert_eq!(Action::named("dataverse-down"), Some(down));
        assert_eq!(
            Action::named("target-up"),
            Some(Action::Target { down: false })
        );
        for other in ["dataverse-", "target-throttling", "change-up", ""] {
            assert_eq!(Action::named(other), None, "{other}");
        }
    }
}
