//! What a track request carries: gzip or plain; an array, one object, or one object a line.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// Most bytes of a body once it is unpacked.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The items of a body.
///
/// # Errors
/// A sentence for the sender.
pub(super) fn items(body: &[u8], gzip: bool) -> Result<Vec<Value>, String> {
    let unpacked;
    let body = if gzip {
        let mut plain = Vec::new();
        let mut unpacking = MultiGzDecoder::new(body).take(LARGEST + 1);
        let read = unpacking.read_to_end(&mut plain);
        read.map_err(|error| format!("the body is not gzip: {error}"))?;
        if plain.len() as u64 > LARGEST {
            return Err(format!("the body is larger than {LARGEST} bytes"));
        }
        unpacked = plain;
        unpacked.as_slice()
    } else {
        body
    };
    // One array, one object, or objects one after another: all of them are a stream of JSON values.
    let mut items = Vec::new();
    for value in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        match value.map_err(|error| format!("the body is not JSON: {error}"))? {
            Value::Array(values) => items.extend(values),
            value => items.push(value),
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_array_an_object_and_lines_are_the_same_items() {
        let two = vec![json!({"a": 1}), json!({"a": 2})];
        for body in [r#"[{"a":1},{"a":2}]"#, "{\"a\":1}\n{\"a\":2}\n"] {
            assert_eq!(items(body.as_bytes(), false), Ok(two.clone()));
        }
        assert_eq!(items(br#"{"a":1}"#, false), Ok(vec![json!({"a": 1})]));
    }

    #[test]
    fn gzip_is_unpacked_and_what_only_claims_to_be_gzip_is_refused() {
        let mut packing = GzEncoder::new(Vec::new(), Compression::fast());
        packing.write_all(b"[{\"a\":1}]").unwrap();
        let packed = packing.finish().unwrap();
        assert_eq!(items(&packed, true), Ok(vec![json!({"a": 1})]));
        assert!(items(b"[]", true).unwrap_err().contains("gzip"));
        assert!(items(b"[{", false).unwrap_err().contains("JSON"));
    }
}
