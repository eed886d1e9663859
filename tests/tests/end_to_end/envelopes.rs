//! What each type of telemetry looks like when it arrives, against golden files; `UPDATE_GOLDEN=1` writes them
//! anew. `tests/conformance/insights` loads the same files into the official exporter's models.

use std::collections::HashMap;
use std::path::Path;

use local_stack::insights::{Item, Kind};
use local_stack::stack::Stack;
use local_stack::target::Faults;
use serde_json::{Value, json};

use crate::world::{World, told as items};

/// What differs from run to run, made the same: ids by the order in which they appear, times, durations, ports.
#[derive(Default)]
struct Fixed {
    ids: HashMap<String, usize>,
}

impl Fixed {
    /// An id keeps its form, and the same id written with and without dashes its number.
    fn id(&mut self, id: &str) -> String {
        let plain: String = id.chars().filter(char::is_ascii_hexdigit).collect();
        let next = self.ids.len() + 1;
        let number = *self.ids.entry(plain).or_insert(next);
        match id.len() {
            16 => format!("{number:016x}"),
            32 => format!("{number:032x}"),
            _ => uuid::Uuid::from_u128(number as u128).to_string(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut fixed = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let id = |c: char| c.is_ascii_hexdigit() || c == '-';
            let word = &rest[..rest.find(|c| !id(c)).unwrap_or(rest.len())];
            let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
            let (used, new) = match (word.len(), digits) {
                (16, 16) | (32, 32) | (36, 32) => (word.len(), self.id(word)),
                _ if rest.starts_with("127.0.0.1:") => {
                    let port = |c: char| c.is_ascii_digit();
                    let digits = rest["127.0.0.1:".len()..].find(|c| !port(c));
                    let end = digits.map_or(rest.len(), |at| "127.0.0.1:".len() + at);
                    (end, "127.0.0.1:5671".to_owned())
                }
                (0, _) => (c.len_utf8(), c.to_string()),
                _ => (word.len(), word.to_owned()),
            };
            fixed.push_str(&new);
            rest = &rest[used..];
        }
        fixed
    }

    fn value(&mut self, key: &str, value: &mut Value) {
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(k, v)| self.value(k, v)),
            Value::Array(list) => list.iter_mut().for_each(|v| self.value(key, v)),
            Value::String(text) => {
                *text = match key {
                    "time" => "2026-03-02T09:15:30.000Z".to_owned(),
                    "duration" => "0.00:00:00.012345".to_owned(),
                    "ai.cloud.roleInstance" | "service.instance.id" => "instance".to_owned(),
                    "version" => "502186".to_owned(),
                    key if key.ends_with("_ms") => "42".to_owned(),
                    _ => self.text(text),
                }
            }
            // Of metrics: how long something took.
            Value::Number(number)
                if ["value", "min", "max"].contains(&key)
                    && number.as_f64().is_some_and(|n| n.fract() != 0.0) =>
            {
                *value = json!(0.125);
            }
            _ => {}
        }
    }
}

fn assert_golden(name: &str, item: Option<&Item>) {
    let item = item.unwrap_or_else(|| panic!("no item for {name}"));
    let mut raw = item.raw.clone();
    Fixed::default().value("", &mut raw);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/telemetry");
    let path = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(&raw).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden.replace("\r\n", "\n"), "{name}");
}

#[tokio::test]
async fn each_type_of_telemetry_arrives_as_its_golden_file_says() {
    let world = World::start().await;
    let ids = world.stack.dataverse.ids("account");
    world.save(ids[0], json!({"name": "Followed"}));
    let told =
        |name: &'static str| move |stack: &Stack| items(stack).iter().any(|item| item.name == name);
    world.until("it is acknowledged", told("Inbound")).await;
    for metric in [
        "dvsync.deliveries",
        "dvsync.lag.delivered_seconds",
        "dvsync.breaker.state",
    ] {
        world.until(metric, told(metric)).await;
    }
    world
        .until("all of it", |stack| {
            let seen = |name| items(stack).iter().any(|item| item.name == name);
            ["Outbound", "flight", "send inbound", "GET accounts"].map(seen) == [true; 4]
        })
        .await;
    let quiet = items(&world.stack);
    let find = |kind: Kind, role: &str, name: &str| {
        let wanted = |i: &&Item| {
            // Breakers are two, and only one is in the file.
            let other = i.property("system") == Some("Dataverse");
            i.kind == kind && i.role == role && i.name == name && !other
        };
        quiet.iter().find(wanted)
    };
    let (request, dependency) = (Kind::Request, Kind::Dependency);
    for (file, kind, role, name) in [
        ("request-outbound", request, "outbound-fn", "Outbound"),
        ("request-inbound", request, "inbound-fn", "Inbound"),
        (
            "dependency-dataverse",
            dependency,
            "outbound-fn",
            "GET accounts",
        ),
        (
            "dependency-target",
            dependency,
            "outbound-fn",
            "PUT /customers/{key}",
        ),
        (
            "dependency-key-vault",
            dependency,
            "outbound-fn",
            "GET secrets",
        ),
        (
            "dependency-service-bus",
            dependency,
            "outbound-fn",
            "send inbound",
        ),
        ("dependency-step", dependency, "outbound-fn", "flight"),
        (
            "metric-counter",
            Kind::Metric,
            "outbound-fn",
            "dvsync.deliveries",
        ),
        (
            "metric-histogram",
            Kind::Metric,
            "outbound-fn",
            "dvsync.lag.delivered_seconds",
        ),
        (
            "metric-gauge",
            Kind::Metric,
            "outbound-fn",
            "dvsync.breaker.state",
        ),
    ] {
        assert_golden(file, find(kind, role, name));
    }

    world.stack.target.set_faults(Faults {
        rate_500: 1.0,
        ..Faults::default()
    });
    world.save(ids[1], json!({"name": "Troubled"}));
    let row = format!("account:{}", ids[1]);
    let failed = |stack: &Stack| -> Vec<Item> {
        let items = items(stack);
        let request = items.iter().find(|item| {
            let first = item.property("retry_count") == Some("0");
            item.kind == Kind::Request && item.property("row") == Some(row.as_str()) && first
        });
        let Some(request) = request.cloned() else {
            return Vec::new();
        };
        let under = |i: &Item| i.operation == request.operation && i.parent == request.id;
        let mut all: Vec<Item> = items.into_iter().filter(|i| under(i)).collect();
        all.push(request);
        all
    };
    let of = |all: &[Item], kind: Kind| all.iter().find(|i| i.kind == kind).cloned();
    world
        .until("the failed attempt is told", |stack| {
            let all = failed(stack);
            [Kind::Request, Kind::Exception, Kind::Message].map(|kind| of(&all, kind).is_some())
                == [true; 3]
        })
        .await;
    let all = failed(&world.stack);
    for (file, kind) in [
        ("request-failed", Kind::Request),
        ("exception", Kind::Exception),
        ("message", Kind::Message),
    ] {
        assert_golden(file, of(&all, kind).as_ref());
    }
}
