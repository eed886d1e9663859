//! The body of a management request: a map whose members clients write in slightly different types.

use bytes::Bytes;
use serde_amqp::Value;
use uuid::Uuid;

use super::answer::Refusal;
use crate::bus::server::request::Request;
use crate::bus::wire::values::{self, Map};

/// The members of a request body; every lookup that fails names the member.
pub(super) struct Body<'r>(Option<&'r Map>);

impl<'r> Body<'r> {
    pub(super) fn of(request: &'r Request) -> Self {
        match &request.body {
            Value::Map(map) => Body(Some(map)),
            _ => Body(None),
        }
    }

    pub(super) fn inside(value: &'r Value) -> Result<Self, Refusal> {
        match value {
            Value::Map(map) => Ok(Body(Some(map))),
            _ => Err(Refusal::bad_argument("an element that is not a map")),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'r Value> {
        self.0.and_then(|map| values::get(map, name))
    }

    pub(super) fn text(&self, name: &str) -> Option<&'r str> {
        self.get(name).and_then(values::text)
    }

    pub(super) fn integer(&self, name: &str) -> Result<i64, Refusal> {
        self.get(name)
            .and_then(values::integer)
            .ok_or_else(|| missing(name, "a number"))
    }

    pub(super) fn binary(&self, name: &str) -> Result<Bytes, Refusal> {
        match self.get(name) {
            Some(Value::Binary(bytes)) => Ok(Bytes::copy_from_slice(bytes)),
            _ => Err(missing(name, "binary")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<Value>, Refusal> {
        self.get(name)
            .map(values::elements)
            .ok_or_else(|| missing(name, "a list"))
    }

    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, Refusal> {
        let integer =
            |value: &Value| values::integer(value).ok_or_else(|| missing(name, "numbers"));
        self.list(name)?.iter().map(integer).collect()
    }

    pub(super) fn uuids(&self, name: &str) -> Result<Vec<Uuid>, Refusal> {
        let uuid = |value: &Value| values::as_uuid(value).ok_or_else(|| missing(name, "uuids"));
        self.list(name)?.iter().map(uuid).collect()
    }

    /// The members of a map as names and values.
    pub(super) fn properties(&self, name: &str) -> Vec<(String, Value)> {
        let Some(Value::Map(map)) = self.get(name) else {
            return Vec::new();
        };
        map.iter()
            .filter_map(|(name, value)| Some((values::text(name)?.to_owned(), value.clone())))
            .collect()
    }
}

fn missing(name: &str, what: &str) -> Refusal {
    Refusal::bad_argument(format!("the request has no '{name}' that is {what}"))
}
