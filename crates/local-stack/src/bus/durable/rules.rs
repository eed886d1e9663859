//! A subscription's rules as the data file holds them: written when a client changes them.
//!
//! They are kept beside the rules of the configuration that they were changed from. When the
//! configuration says something else at a later start, somebody has edited it, and it holds again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_amqp::Value;

use super::record::{Unreadable, from_bytes, to_bytes};
use crate::bus::filter::{CorrelationFilter, Filter, Rule};
use crate::bus::wire::section;
use crate::bus::wire::values::{self, Map};

#[derive(Serialize, Deserialize)]
struct Stored {
    configured: Vec<StoredRule>,
    now: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
enum Kept {
    /// A rule of the configuration, by its place there. Its parameters are known only there.
    Configured(u32),
    Added(Box<StoredRule>),
}

#[derive(Serialize, Deserialize, PartialEq)]
struct StoredRule {
    name: String,
    filter: StoredFilter,
    action: Option<String>,
}

#[derive(Serialize, Deserialize, PartialEq)]
enum StoredFilter {
    True,
    Sql(String),
    Correlation {
        texts: [Option<String>; 8],
        /// An AMQP section.
        properties: Bytes,
    },
}

/// # Errors
/// When a property of a correlation filter cannot be encoded.
pub(crate) fn encode<'r>(
    configured: &[Rule],
    now: impl Iterator<Item = &'r Rule>,
) -> Result<Vec<u8>, Unreadable> {
    let kept = |rule: &Rule| {
        let place = configured.iter().position(|known| known == rule);
        match place.and_then(|place| u32::try_from(place).ok()) {
            Some(place) => Ok(Kept::Configured(place)),
            None => store(rule).map(Box::new).map(Kept::Added),
        }
    };
    to_bytes(&Stored {
        configured: configured.iter().map(store).collect::<Result<_, _>>()?,
        now: now.map(kept).collect::<Result<_, _>>()?,
    })
}

/// The rules as they were, or `None` when the configuration has changed since.
///
/// # Errors
/// When the bytes are not what [`encode`] writes.
pub(super) fn decode(configured: &[Rule], bytes: &[u8]) -> Result<Option<Vec<Rule>>, Unreadable> {
    let stored: Stored = from_bytes(bytes)?;
    let now: Vec<StoredRule> = configured.iter().map(store).collect::<Result<_, _>>()?;
    if stored.configured != now {
        return Ok(None);
    }
    let rule = |kept| match kept {
        Kept::Added(rule) => restore(*rule),
        Kept::Configured(place) => usize::try_from(place)
            .ok()
            .and_then(|place| configured.get(place).cloned())
            .ok_or_else(|| Unreadable(format!("a rule that stands in place {place} of none"))),
    };
    stored
        .now
        .into_iter()
        .map(rule)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn store(rule: &Rule) -> Result<StoredRule, Unreadable> {
    let filter = match rule.filter() {
        Filter::True => StoredFilter::True,
        Filter::Sql(sql) => StoredFilter::Sql(sql.expression.clone()),
        Filter::Correlation(filter) => {
            let properties: Map = filter
                .properties
                .iter()
                .map(|(name, value)| (Value::String(name.clone()), value.clone()))
                .collect();
            let properties =
                values::section(section::APPLICATION_PROPERTIES, Value::Map(properties))
                    .map_err(|error| Unreadable(error.to_string()))?;
            StoredFilter::Correlation {
                texts: filter.texts().map(Option::<&String>::cloned),
                properties: properties.into(),
            }
        }
    };
    Ok(StoredRule {
        name: rule.name().to_owned(),
        filter,
        action: rule.action().map(str::to_owned),
    })
}

fn restore(stored: StoredRule) -> Result<Rule, Unreadable> {
    let rule = match stored.filter {
        StoredFilter::True => Ok(Rule::select_all()),
        StoredFilter::Sql(expression) => Rule::sql(stored.name, &expression),
        StoredFilter::Correlation { texts, properties } => {
            let properties = values::section_map(&properties)
                .map_err(|error| Unreadable(error.to_string()))?
                .into_iter()
                .filter_map(|(name, value)| Some((values::text(&name)?.to_owned(), value)));
            let properties: BTreeMap<String, Value> = properties.collect();
            Rule::correlation(stored.name, CorrelationFilter::new(texts, properties))
        }
    };
    let rule = rule.and_then(|rule| match stored.action {
        Some(action) => rule.with_action(&action),
        None => Ok(rule),
    });
    rule.map_err(|error| Unreadable(error.to_string()))
}
