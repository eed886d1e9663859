//! A row as it was at one version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Dataverse's `versionnumber`: rises with every change anywhere in the organisation, so two versions
/// of one row compare by "which is newer".
///
/// On our wire it is a decimal string: JSON readers outside Rust lose integers above 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowVersion(pub i64);

impl fmt::Display for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RowVersion {
    type Err = std::num::ParseIntError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.trim().parse().map(Self)
    }
}

impl Serialize for RowVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Number(i64),
            Text(String),
        }
        match Wire::deserialize(deserializer)? {
            Wire::Number(n) => Ok(Self(n)),
            Wire::Text(s) => s.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Names one row of one table: the key of everything that is done per row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// Logical name of the table, e.g. `account`.
    pub table: String,
    /// The row's primary key.
    pub id: Uuid,
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table, self.id)
    }
}

/// What a read of the latest state found.
#[derive(Debug, Clone, PartialEq)]
pub enum Latest {
    /// The row, with the version it was read at.
    Row(Snapshot),
    /// The row does not exist (any more). Not an error: it is a delete to be delivered.
    Gone,
}

/// A row with the version it was read at.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// `versionnumber` of the row when it was read.
    pub version: RowVersion,
    /// The newest version a delivered snapshot of this row was acknowledged at, if any.
    pub acknowledged: Option<RowVersion>,
    /// The selected columns by their Web API names.
    pub columns: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_above_two_to_the_53_survives_the_wire() {
        let v = RowVersion(9_007_199_254_740_993);
        let json = serde_json::to_string(&v).unwrap();
        assert_eq!(json, "\"9007199254740993\"");
        assert_eq!(serde_json::from_str::<RowVersion>(&json).unwrap(), v);
        assert_eq!(
            serde_json::from_str::<RowVersion>("502186").unwrap(),
            RowVersion(502_186)
        );
    }
}
