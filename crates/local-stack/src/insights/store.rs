//! The items that are held: as many as told, found by operation.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{BufWriter, Write};

use serde_json::Value;

use super::item::{Item, Kind};
use super::query::Wanted;

/// The newest items, as the texts they came in: a parsed one is several times as large.
#[derive(Debug)]
pub(super) struct Store {
    kept: usize,
    held: VecDeque<Held>,
    /// Number of the first held item, counted from the start: how many were dropped.
    first: u64,
    /// Numbers of the held items, by operation id.
    by_operation: HashMap<String, VecDeque<u64>>,
    file: Option<BufWriter<File>>,
    unwritten: u64,
}

#[derive(Debug)]
struct Held {
    operation: String,
    raw: Box<str>,
}

impl Held {
    fn item(&self) -> Option<Item> {
        Item::read(serde_json::from_str(&self.raw).ok()?)
    }
}

impl Store {
    pub(super) fn new(kept: usize, file: Option<File>) -> Self {
        Self {
            kept,
            held: VecDeque::new(),
            first: 0,
            by_operation: HashMap::new(),
            file: file.map(BufWriter::new),
            unwritten: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.first
    }

    pub(super) fn accepted(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    pub(super) fn push(&mut self, envelope: &Value) {
        let raw = envelope.to_string();
        if let Some(file) = &mut self.file
            && writeln!(file, "{raw}").is_err()
        {
            self.unwritten += 1;
        }
        let operation = envelope["tags"]["ai.operation.id"].as_str();
        let operation = operation.unwrap_or_default().to_lowercase();
        let number = self.accepted();
        if !operation.is_empty() {
            let numbers = self.by_operation.entry(operation.clone()).or_default();
            numbers.push_back(number);
        }
        self.held.push_back(Held {
            operation,
            raw: raw.into(),
        });
        while self.held.len() > self.kept {
            self.drop_oldest();
        }
    }

    /// Hands the file what was written.
    pub(super) fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && file.flush().is_err()
        {
            self.unwritten += 1;
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.held.pop_front() else {
            return;
        };
        self.first += 1;
        if let Some(numbers) = self.by_operation.get_mut(&oldest.operation) {
            // They were counted up, so the dropped one is the first of its operation.
            numbers.pop_front();
            if numbers.is_empty() {
                self.by_operation.remove(&oldest.operation);
            }
        }
    }

    /// The held items whose text passes, oldest first.
    pub(super) fn read(&self, passes: impl Fn(&str) -> bool) -> Vec<Item> {
        let passing = self.held.iter().filter(|held| passes(&held.raw));
        passing.filter_map(Held::item).collect()
    }

    /// The items from number `seen` on, and the number after the last.
    pub(super) fn since(&self, seen: u64) -> (Vec<Item>, u64) {
        self.passing_since(seen, |_| true)
    }

    /// The metrics among them.
    pub(super) fn metrics_since(&self, seen: u64) -> (Vec<Item>, u64) {
        let (mut items, next) = self.passing_since(seen, |raw| raw.contains("MetricData"));
        items.retain(|item| item.kind == Kind::Metric);
        (items, next)
    }

    fn passing_since(&self, seen: u64, passes: impl Fn(&str) -> bool) -> (Vec<Item>, u64) {
        let skipped = usize::try_from(seen.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let items = self.held.iter().skip(skipped);
        let passing = items.filter(|held| passes(&held.raw));
        (passing.filter_map(Held::item).collect(), self.accepted())
    }

    /// All items of an operation, oldest first.
    pub(super) fn operation(&self, operation: &str) -> Vec<Item> {
        let numbers = self.by_operation.get(operation).into_iter().flatten();
        let held = numbers.filter_map(|number| {
            let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
            self.held.get(index)?.item()
        });
        held.collect()
    }

    /// All items of the operations that are of an id, and the spans these link to with what hangs under
    /// them.
    pub(super) fn of(&self, wanted: &Wanted) -> Vec<Item> {
        let found = self.read(|raw| wanted.may_match(raw));
        let found = found.iter().filter(|item| wanted.matches(item));
        let operations: BTreeSet<String> = found
            .map(|item| item.operation.to_lowercase())
            .filter(|operation| !operation.is_empty())
            .collect();
        let own = operations.iter().flat_map(|one| self.operation(one));
        let mut items: Vec<Item> = own.collect();
        let links = items.iter().flat_map(|item| item.links.iter().cloned());
        let links: BTreeSet<_> = links.collect();
        for link in links {
            let operation = link.operation.to_lowercase();
            if !operations.contains(&operation) {
                let near = self.operation(&operation).into_iter();
                items.extend(near.filter(|item| item.id == link.id || item.parent == link.id));
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn envelope(operation: &str, name: &str) -> Value {
        json!({"time": "2026-03-02T10:00:00Z", "tags": {"ai.operation.id": operation},
            "data": {"baseType": "EventData", "baseData": {"name": name}}})
    }

    #[test]
    fn the_oldest_items_make_room_and_are_counted() {
        let mut store = Store::new(2, None);
        for (operation, name) in [("a", "1"), ("b", "2"), ("a", "3")] {
            store.push(&envelope(operation, name));
        }
        assert_eq!((store.len(), store.dropped(), store.accepted()), (2, 1, 3));
        let names =
            |items: Vec<Item>| -> Vec<String> { items.into_iter().map(|item| item.name).collect() };
        assert_eq!(names(store.operation("a")), ["3"]);
        assert_eq!(names(store.operation("b")), ["2"]);
        store.push(&envelope("c", "4"));
        assert!(store.operation("b").is_empty());
        assert!(!store.by_operation.contains_key("b"));
        let (items, next) = store.since(3);
        assert_eq!((names(items), next), (vec!["4".to_owned()], 4));
    }

    #[test]
    fn metrics_are_found_among_the_new_items_and_by_what_they_are() {
        let mut store = Store::new(9, None);
        let metric = json!({"time": "2026-03-02T10:00:00Z", "data": {"baseType": "MetricData",
            "baseData": {"metrics": [{"name": "m", "value": 2}]}}});
        store.push(&metric);
        store.push(&envelope("a", "not MetricData"));
        store.push(&metric);
        let (items, next) = store.metrics_since(1);
        assert_eq!((items.len(), items[0].value, next), (1, Some(2.0), 3));
        assert_eq!(store.metrics_since(3).0.len(), 0);
    }
}
