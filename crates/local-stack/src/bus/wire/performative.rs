//! Performatives as peers really send them.
//!
//! The typed decoder of `fe2o3-amqp-types` is strict. Azure's JavaScript SDK writes the `info` map
//! of a dead-letter disposition with string keys where AMQP wants symbols; the service takes them,
//! so we do: what the strict decoder refuses is decoded as a generic value, its maps get symbol
//! keys, and the strict decoder has a second look.

use amqp_walk::measure;
use fe2o3_amqp_types::performatives::Performative;
use serde_amqp::Value;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::Symbol;

use super::Malformed;

/// Descriptor of `amqp:error:list`.
const ERROR: u64 = 0x1d;
/// Descriptor of `amqp:coordinator:list`, which the strict decoder knows only as an option.
const COORDINATOR: u64 = 0x30;

/// Decodes the performative at the start of a frame body; also its length, after which a transfer's
/// payload begins.
pub(crate) fn decode(body: &[u8]) -> Result<(Performative, usize), Malformed> {
    let length = measure(body)?;
    let bytes = &body[..length];
    match serde_amqp::from_slice(bytes) {
        Ok(performative) => Ok((performative, length)),
        Err(strict) => match decode_leniently(bytes) {
            Ok(performative) => Ok((performative, length)),
            // The first refusal names the field; the second look only adds noise.
            Err(_) => Err(strict.into()),
        },
    }
}

fn decode_leniently(bytes: &[u8]) -> Result<Performative, serde_amqp::Error> {
    let mut value: Value = serde_amqp::from_slice(bytes)?;
    symbolize(&mut value);
    serde_amqp::from_slice(&serde_amqp::to_vec(&value)?)
}

/// Turns strings into symbols where a performative can only mean a symbol: map keys and an error's
/// condition. Map values are the peer's own data and stay as they are. A transaction coordinator
/// becomes no target at all, so that the link is refused and not the connection.
fn symbolize(value: &mut Value) {
    match value {
        Value::Described(described)
            if matches!(described.descriptor, Descriptor::Code(COORDINATOR)) =>
        {
            *value = Value::Null;
        }
        Value::Described(described) => {
            if matches!(described.descriptor, Descriptor::Code(ERROR))
                && let Value::List(fields) = &mut described.value
                && let Some(Value::String(condition)) = fields.first()
            {
                let condition = Value::Symbol(Symbol::from(condition.as_str()));
                fields[0] = condition;
            }
            symbolize(&mut described.value);
        }
        Value::List(items) => items.iter_mut().for_each(symbolize),
        Value::Map(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(key, value)| match key {
                    Value::String(key) => (Value::Symbol(Symbol::from(key)), value),
                    key => (key, value),
                })
                .collect();
        }
        _ => {}
    }
}
