//! An item as a reader needs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// What an item tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Work done for somebody: one invocation.
    Request,
    /// A call, or a step of the work.
    Dependency,
    /// Why an attempt failed.
    Exception,
    /// A line of a log; a *trace* in Application Insights.
    Message,
    /// A metric's value.
    Metric,
    /// Anything else.
    Other,
}

/// A span link: another span that has to do with this one, often of another operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// Its operation id.
    #[serde(rename = "operation_Id")]
    pub operation: String,
    /// Its id.
    pub id: String,
}

/// One telemetry item.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it tells of.
    pub kind: Kind,
    /// When it began.
    pub at: OffsetDateTime,
    /// How long it took; zero for what takes no time.
    pub took: Duration,
    /// Name of a request, dependency or metric; type of an exception; text of a message.
    pub name: String,
    /// Type of a dependency, message of an exception, severity of a message (0 to 4); else empty.
    pub detail: String,
    /// Target of a dependency, source of a request; else empty.
    pub target: String,
    /// Result code; else empty.
    pub result: String,
    /// Whether it succeeded, of requests and dependencies.
    pub success: Option<bool>,
    /// Cloud role.
    pub role: String,
    /// Operation id: the trace.
    pub operation: String,
    /// Id of a request or dependency: the span; else empty.
    pub id: String,
    /// Id of what it belongs under; empty for none.
    pub parent: String,
    /// Custom dimensions.
    pub properties: BTreeMap<String, String>,
    /// Span links.
    pub links: Vec<Link>,
    /// A metric's value, or the sum of what was aggregated.
    pub value: Option<f64>,
    /// How many values a metric's aggregate stands for.
    pub count: Option<u64>,
    /// The envelope as it came.
    pub raw: Value,
}

impl Item {
    /// Reads an envelope; `None` when it has no time.
    pub fn read(raw: Value) -> Option<Self> {
        let at = OffsetDateTime::parse(raw["time"].as_str()?, &Rfc3339).ok()?;
        let base = &raw["data"]["baseData"];
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let tag = |name: &str| text(&raw["tags"], name);
        let kind = match raw["data"]["baseType"].as_str() {
            Some("RequestData") => Kind::Request,
            Some("RemoteDependencyData") => Kind::Dependency,
            Some("ExceptionData") => Kind::Exception,
            Some("MessageData") => Kind::Message,
            Some("MetricData") => Kind::Metric,
            _ => Kind::Other,
        };
        let (exception, metric) = (&base["exceptions"][0], &base["metrics"][0]);
        let [name, detail, target, result] = match kind {
            Kind::Request => ["name", "", "source", "responseCode"],
            Kind::Dependency => ["name", "type", "target", "resultCode"],
            Kind::Message => ["message", "", "", ""],
            _ => ["name", "", "", ""],
        }
        .map(|name| text(base, name));
        let (name, detail) = match kind {
            Kind::Exception => (text(exception, "typeName"), text(exception, "message")),
            Kind::Metric => (text(metric, "name"), String::new()),
            Kind::Message => (name, severity(&base["severityLevel"])),
            _ => (name, detail),
        };
        let properties: BTreeMap<String, String> = base["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let links = properties.get("_MS.links");
        let links = links.and_then(|links| serde_json::from_str(links).ok());
        Some(Self {
            kind,
            at,
            took: base["duration"]
                .as_str()
                .and_then(duration)
                .unwrap_or_default(),
            name,
            detail,
            target,
            result,
            success: base["success"].as_bool(),
            role: tag("ai.cloud.role"),
            operation: tag("ai.operation.id"),
            id: text(base, "id"),
            parent: tag("ai.operation.parentId"),
            links: links.unwrap_or_default(),
            value: metric["value"].as_f64(),
            count: metric["count"].as_u64(),
            properties,
            raw,
        })
    }

    /// A custom dimension.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// Whether it is a span, under which others can hang.
    pub fn is_span(&self) -> bool {
        matches!(self.kind, Kind::Request | Kind::Dependency) && !self.id.is_empty()
    }

    /// Whether it tells of a failure.
    pub fn is_failure(&self) -> bool {
        match self.kind {
            Kind::Exception => true,
            Kind::Message => matches!(self.detail.as_str(), "3" | "4"),
            _ => self.success == Some(false),
        }
    }

    /// How many attempts went before this one, of a request.
    pub fn retries(&self) -> u32 {
        let count = self.property("retry_count");
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

/// A number or a name, as exporters send one or the other.
fn severity(level: &Value) -> String {
    const NAMES: [&str; 5] = ["Verbose", "Information", "Warning", "Error", "Critical"];
    let named = level.as_str();
    let named = named.and_then(|name| NAMES.iter().position(|one| *one == name));
    let level = level.as_u64().or(named.map(|at| at as u64));
    level.map(|level| level.to_string()).unwrap_or_default()
}

/// A duration as Application Insights writes it: `DD.HH:MM:SS.MMMMMM`, where the days may be missing.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (hours, rest) = text.split_once(':')?;
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let (minutes, seconds) = rest.split_once(':')?;
    let whole = |text: &str| text.parse::<u32>().ok().map(i64::from);
    let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..60.0).contains(s))?;
    Some(
        Duration::days(whole(days)?)
            + Duration::hours(whole(hours)?)
            + Duration::minutes(whole(minutes)?)
            + Duration::seconds_f64(seconds),
    )
}

/// The same, written.
pub(crate) fn duration_text(took: Duration) -> String {
    let (micros, seconds) = (
        took.subsec_microseconds().max(0),
        took.whole_seconds().max(0),
    );
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    format!("{days}.{hours:02}:{minutes:02}:{seconds:02}.{micros:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_it_was_written() {
        for text in ["0.00:00:00.012345", "2.13:59:59.000001"] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Some(text));
        }
        assert_eq!(duration("00:00:01.5"), Some(Duration::milliseconds(1_500)));
        for bad in ["", "12", "0.00:00:61", "1 s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
