//! The story of a change: all items of its operations as trees, ordered by time, across both apps.
//!
//! Pure. What has no parent among the items, because that was sampled away or has not come yet, stands as a
//! tree of its own. Span links are followed where they lead to another operation: that is how a row's `read`
//! shows the merged page that carried it.

mod render;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::item::{Item, Kind, Link};
use super::query::Wanted;
pub use render::{Paint, render};

/// What happened to a change, from the save on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story {
    /// The operation ids, in the order in which they began.
    pub operations: Vec<String>,
    /// The correlation ids found.
    pub correlation_ids: BTreeSet<String>,
    /// The rows found, as `table:GUID`.
    pub rows: BTreeSet<String>,
    /// When the first thing began.
    #[serde(with = "time::serde::rfc3339")]
    pub began: OffsetDateTime,
    /// From there to the end of the last, milliseconds.
    pub took_ms: f64,
    /// Attempts that were not the first.
    pub retries: u32,
    /// What stands under nothing else.
    pub roots: Vec<Node>,
}

/// One item and what hangs under it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Cloud role.
    pub role: String,
    /// Name of a request or dependency, type of an exception, text of a message.
    pub name: String,
    /// Type of a dependency, message of an exception.
    pub detail: String,
    /// Where a dependency went.
    pub target: String,
    /// Result code.
    pub result: String,
    /// Whether it succeeded, of requests and dependencies.
    pub success: Option<bool>,
    /// Whether it tells of a failure.
    pub failed: bool,
    /// How many attempts went before, of a request.
    pub retry: u32,
    /// Since the story began, milliseconds.
    pub offset_ms: f64,
    /// How long it took, milliseconds.
    pub took_ms: f64,
    /// Its operation.
    pub operation: String,
    /// Its span id.
    pub id: String,
    /// Whether it is here because of a link: work shared with other changes.
    pub linked: bool,
    /// Custom dimensions.
    pub properties: std::collections::BTreeMap<String, String>,
    /// What hangs under it, by time.
    pub children: Vec<Node>,
}

/// The story of an id; `None` when no item is of it. Items of other operations serve only as ends of links.
pub fn of(items: &[Item], wanted: &Wanted) -> Option<Story> {
    let own: HashSet<String> = items
        .iter()
        .filter(|item| wanted.matches(item) && !item.operation.is_empty())
        .map(|item| item.operation.to_lowercase())
        .collect();
    let telling = |item: &&Item| !matches!(item.kind, Kind::Metric | Kind::Other);
    let mut seen = HashSet::new();
    // An exporter that was not answered in time sends its batch again.
    let mut once: Vec<&Item> = items
        .iter()
        .filter(telling)
        .filter(|item| {
            seen.insert((
                item.kind,
                &item.operation,
                &item.id,
                &item.parent,
                item.at,
                &item.name,
            ))
        })
        .collect();
    once.sort_by_key(|item| item.at);
    let began = once.iter().find(|item| is_of(&own, item))?.at;
    let forest = Forest::new(&once, began);
    let mut placed = HashSet::new();
    let mut roots = Vec::new();
    // Spans first: those in a ring of parents have no root, and each must still be told once.
    for only_roots in [true, false] {
        for (index, item) in once.iter().enumerate() {
            let is_root = forest.parent(item).is_none();
            if is_of(&own, item) && (is_root || !only_roots) && !placed.contains(&index) {
                roots.extend(forest.node(index, &own, false, &mut placed));
            }
        }
    }
    roots.sort_by(|a, b| a.offset_ms.total_cmp(&b.offset_ms));
    let mine = || once.iter().filter(|item| is_of(&own, item));
    let named = |name: &str| -> BTreeSet<String> {
        let found = mine().filter_map(|item| item.property(name));
        found.map(str::to_owned).collect()
    };
    let mut operations: Vec<String> = Vec::new();
    for item in mine() {
        let operation = item.operation.to_lowercase();
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }
    let ended = mine()
        .map(|item| item.at + item.took)
        .max()
        .unwrap_or(began);
    let attempts = mine().filter(|item| item.kind == Kind::Request && item.retries() > 0);
    Some(Story {
        operations,
        correlation_ids: named("correlation_id"),
        rows: named("row"),
        began,
        took_ms: millis(ended - began),
        retries: u32::try_from(attempts.count()).unwrap_or(u32::MAX),
        roots,
    })
}

fn is_of(own: &HashSet<String>, item: &Item) -> bool {
    own.contains(&item.operation.to_lowercase())
}

fn millis(duration: Duration) -> f64 {
    duration.as_seconds_f64() * 1e3
}

/// Items by what they hang under.
struct Forest<'a> {
    items: &'a [&'a Item],
    began: OffsetDateTime,
    spans: HashMap<Link, usize>,
    children: HashMap<usize, Vec<usize>>,
}

impl<'a> Forest<'a> {
    fn new(items: &'a [&'a Item], began: OffsetDateTime) -> Self {
        let spans = items.iter().enumerate().filter(|(_, item)| item.is_span());
        let spans = spans.map(|(index, item)| (span(&item.operation, &item.id), index));
        let mut forest = Self {
            items,
            began,
            spans: spans.collect(),
            children: HashMap::new(),
        };
        for (index, item) in items.iter().enumerate() {
            if let Some(parent) = forest.parent(item) {
                forest.children.entry(parent).or_default().push(index);
            }
        }
        forest
    }

    fn parent(&self, item: &Item) -> Option<usize> {
        let under_itself = item.parent == item.id;
        let parent = self.spans.get(&span(&item.operation, &item.parent));
        parent.copied().filter(|_| !under_itself)
    }

    fn node(
        &self,
        index: usize,
        own: &HashSet<String>,
        linked: bool,
        placed: &mut HashSet<usize>,
    ) -> Option<Node> {
        // Shared work stands under each row's part of it; of the change's own, everything once.
        if !placed.insert(index) && !linked {
            return None;
        }
        let item = self.items[index];
        let under = self.children.get(&index).into_iter().flatten();
        let mut children: Vec<Node> = under
            .filter_map(|child| self.node(*child, own, linked, placed))
            .collect();
        // A page links back to all rows' parts: links of what was reached by one are not followed.
        if !linked {
            let ends = item
                .links
                .iter()
                .filter_map(|link| self.spans.get(&span(&link.operation, &link.id)).copied());
            let foreign = ends.filter(|end| !is_of(own, self.items[*end]));
            // Parts of a page that belongs to this very change link to other changes' parts, whose stories
            // are their own.
            let shared = foreign.filter(|end| !is_part(item, self.items[*end]));
            let shared: Vec<Node> = shared
                .filter_map(|end| self.node(end, own, true, &mut HashSet::new()))
                .collect();
            children.extend(shared);
        }
        children.sort_by(|a, b| a.offset_ms.total_cmp(&b.offset_ms));
        Some(Node {
            kind: item.kind,
            role: item.role.clone(),
            name: item.name.clone(),
            detail: item.detail.clone(),
            target: item.target.clone(),
            result: item.result.clone(),
            success: item.success,
            failed: item.is_failure(),
            retry: item.retries(),
            offset_ms: millis(item.at - self.began),
            took_ms: millis(item.took),
            operation: item.operation.clone(),
            id: item.id.clone(),
            linked,
            properties: item.properties.clone(),
            children,
        })
    }
}

/// Whether `end` is another row's part of the merged request `page`.
fn is_part(page: &Item, end: &Item) -> bool {
    page.name == "page" && matches!(end.name.as_str(), "read" | "write")
}

fn span(operation: &str, id: &str) -> Link {
    Link {
        operation: operation.to_lowercase(),
        id: id.to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
