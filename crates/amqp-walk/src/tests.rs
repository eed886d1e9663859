use serde_amqp::Value;
use serde_amqp::primitives::{Array, OrderedMap, Symbol};

use super::*;

fn sample() -> Value {
    let mut map = OrderedMap::new();
    map.insert(
        Value::from(Symbol::from("key")),
        Value::String("x".repeat(300)),
    );
    map.insert(
        Value::String("list".into()),
        Value::List(vec![Value::Null, Value::Long(7), Value::Bool(true)]),
    );
    map.insert(
        Value::String("numbers".into()),
        Value::Array(Array::from(vec![Value::Long(1), Value::Long(2)])),
    );
    let symbols = ["a", "b"].map(|name| Value::Symbol(Symbol::from(name)));
    map.insert(
        Value::String("symbols".into()),
        Value::Array(Array::from(symbols.to_vec())),
    );
    Value::Map(map)
}

/// A list in a list in a list, so many in all, by `list32`.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for inner in (0..depth - 1).rev() {
        let size = u32::try_from(4 + 9 * inner + 1).unwrap();
        bytes.push(0xd0);
        bytes.extend(size.to_be_bytes());
        bytes.extend(1u32.to_be_bytes());
    }
    bytes.push(0x45);
    bytes
}

#[test]
fn a_value_is_as_long_as_its_encoding_whatever_follows_it() {
    let mut bytes = serde_amqp::to_vec(&sample()).unwrap();
    let length = bytes.len();
    bytes.extend_from_slice(b"more");
    assert_eq!(measure(&bytes), Ok(length));
}

#[test]
fn values_are_walked_however_their_bytes_are_cut() {
    let value = serde_amqp::to_vec(&sample()).unwrap();
    let described = [b"\x00\x53\x75\xa0\x03abc", &value[..]].concat();
    for piece in [1, 2, 5, 7, 100, described.len()] {
        let (mut walker, mut ends, mut position) = (Walker::default(), Vec::new(), 0);
        for mut bytes in described.chunks(piece) {
            while let Some(taken) = walker.feed(bytes).unwrap() {
                position += taken;
                ends.push(position);
                bytes = &bytes[taken..];
            }
            position += bytes.len();
        }
        assert_eq!(ends, [8, described.len()], "{piece}");
        assert!(walker.is_between_values());
    }
}

#[test]
fn a_value_cut_short_anywhere_is_refused() {
    let bytes = serde_amqp::to_vec(&sample()).unwrap();
    for end in 0..bytes.len() {
        assert_eq!(measure(&bytes[..end]), Err(Malformed::CutShort), "{end}");
    }
}

#[test]
fn lists_in_lists_are_refused_beyond_a_bound() {
    let deepest = nested(MAX_DEPTH + 1);
    assert_eq!(measure(&deepest), Ok(deepest.len()));
    assert!(serde_amqp::from_slice::<Value>(&deepest).is_ok());
    for depth in [MAX_DEPTH + 2, 100_000] {
        assert_eq!(measure(&nested(depth)), Err(Malformed::TooDeep), "{depth}");
    }
}

#[test]
fn descriptors_nested_without_end_are_refused() {
    assert_eq!(measure(&[0u8; 60_000]), Err(Malformed::Descriptor(0)));
    let values = [0x00, 0x53, 0x75].repeat(1000);
    assert_eq!(measure(&values), Err(Malformed::TooDeep));
}

#[test]
fn arrays_that_claim_many_empty_elements_are_refused() {
    let billion = [0xf0, 0, 0, 0, 5, 0x3b, 0x9a, 0xca, 0x00, 0x40];
    assert_eq!(measure(&billion), Err(Malformed::TooManyElements));
    // 4000 nulls in ten bytes, often.
    let array = [0xf0, 0, 0, 0, 5, 0, 0, 0x0f, 0xa0, 0x40];
    let mut list = vec![0xc0, 21, 2];
    list.extend(array.repeat(2));
    assert_eq!(measure(&array), Ok(array.len()));
    assert_eq!(measure(&list), Err(Malformed::TooManyElements));
}

#[test]
fn a_count_that_disagrees_with_the_size_is_refused() {
    for (what, bytes) in [
        ("more bytes than items", &[0xc0, 0x03, 0x01, 0x40, 0x40][..]),
        ("more items than bytes", &[0xc0, 0x02, 0x02, 0x40, 0x40]),
        ("an item that sticks out", &[0xc0, 0x02, 0x01, 0x50, 0x00]),
        ("no room for the count", &[0xc0, 0x00, 0x00]),
        (
            "elements of another width",
            &[0xe0, 0x04, 0x03, 0x50, 0x01, 0x02],
        ),
    ] {
        assert_eq!(measure(bytes), Err(Malformed::Size), "{what}");
    }
    assert_eq!(measure(&[0xc1, 0x02, 0x01, 0x40]), Err(Malformed::OddMap));
}

#[test]
fn arrays_that_the_decoder_misreads_are_refused() {
    // It would take the code of the elements that are not there for the next value's.
    let hidden = [0xe0, 0x02, 0x00, 0xb0];
    assert_eq!(measure(&hidden), Err(Malformed::Array(0xb0)));
    let of_lists = [0xe0, 0x06, 0x02, 0xc0, 0x01, 0x00, 0x01, 0x00];
    assert_eq!(measure(&of_lists), Err(Malformed::Array(0xc0)));
    // As the decoder's own encoder writes it.
    let empty = serde_amqp::to_vec(&Value::Array(Array::from(vec![]))).unwrap();
    assert_eq!(measure(&empty), Ok(empty.len()), "{empty:02x?}");
}

#[test]
fn map_keys_that_the_encoder_stumbles_over_are_refused() {
    let key = [&[0x83][..], &[0; 8]].concat();
    let map = [&[0xc1, 11, 2][..], &key, &[0x40]].concat();
    assert_eq!(measure(&map), Err(Malformed::Key(0x83)));
    let as_value = [&[0xc1, 11, 2, 0x40][..], &key].concat();
    assert_eq!(measure(&as_value), Ok(as_value.len()));
    assert_eq!(measure(&[0xc1, 3, 2, 0x45, 0x40]), Ok(5));
    let list = [0xc1, 5, 2, 0xc0, 0x01, 0x00, 0x40];
    assert_eq!(measure(&list), Err(Malformed::Key(0xc0)));
}
