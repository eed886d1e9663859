//! What stands in front of a value's content: its format code, sizes and counts.

use crate::Malformed;

/// The longest head: an `array32`'s code, size, count and element code.
pub(crate) const LONGEST: usize = 10;

/// A value's head, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A descriptor and the value that it describes follow.
    Described,
    /// So many bytes of content follow, of no further interest.
    Scalar { length: usize },
    /// So many items follow, in so many bytes.
    List { items: u32, length: usize },
    /// So many keys and values, in so many bytes.
    Map { items: u32, length: usize },
    /// So many elements follow, without a code of their own, in so many bytes.
    Array {
        code: u8,
        elements: u32,
        length: usize,
    },
}

/// Reads a head, and says how long it is; `None` when it is not all there yet. An array's element
/// has no code of its own but `implied`.
pub(crate) fn read(bytes: &[u8], implied: Option<u8>) -> Result<Option<(Token, usize)>, Malformed> {
    let (code, rest, start) = match (implied, bytes) {
        (Some(code), rest) => (code, rest, 0),
        (None, [code, rest @ ..]) => (*code, rest, 1),
        (None, []) => return Ok(None),
    };
    if code == 0x00 {
        return Ok(Some((Token::Described, start)));
    }
    if let Some(length) = fixed_width(code) {
        return Ok(Some((Token::Scalar { length }, start)));
    }
    let width = match code >> 4 {
        0xa | 0xc | 0xe => 1,
        0xb | 0xd | 0xf => 4,
        _ => return Err(Malformed::UnknownCode(code)),
    };
    let Some(size) = number(rest, width) else {
        return Ok(None);
    };
    let size = usize::try_from(size).map_err(|_| Malformed::Size)?;
    if matches!(code >> 4, 0xa | 0xb) {
        return Ok(Some((Token::Scalar { length: size }, start + width)));
    }
    let Some(count) = number(&rest[width..], width) else {
        return Ok(None);
    };
    let length = size.checked_sub(width).ok_or(Malformed::Size)?;
    let content = start + 2 * width;
    if matches!(code >> 4, 0xc | 0xd) {
        let items = count;
        return match (code & 0x0f, count.is_multiple_of(2)) {
            (0, _) => Ok(Some((Token::List { items, length }, content))),
            (1, true) => Ok(Some((Token::Map { items, length }, content))),
            (1, false) => Err(Malformed::OddMap),
            _ => Err(Malformed::UnknownCode(code)),
        };
    }
    let Some(length) = length.checked_sub(1) else {
        // Some leave the element code out when there are no elements.
        return match count {
            0 => Ok(Some((Token::Scalar { length: 0 }, content))),
            _ => Err(Malformed::Size),
        };
    };
    let Some(&element) = rest.get(2 * width) else {
        return Ok(None);
    };
    // The decoder leaves the element code of an empty array for the next value to begin with.
    let misread = count == 0 || matches!(element >> 4, 0x0 | 0xc..=0xf);
    if misread {
        return Err(Malformed::Array(element));
    }
    let array = Token::Array {
        code: element,
        elements: count,
        length,
    };
    Ok(Some((array, content + 1)))
}

/// The number of content bytes that a format code stands for, if it alone tells.
pub(crate) fn fixed_width(code: u8) -> Option<usize> {
    match code >> 4 {
        0x4 => Some(0),
        0x5 => Some(1),
        0x6 => Some(2),
        0x7 => Some(4),
        0x8 => Some(8),
        0x9 => Some(16),
        _ => None,
    }
}

fn number(bytes: &[u8], width: usize) -> Option<u32> {
    let digits = bytes.get(..width)?;
    Some(
        digits
            .iter()
            .fold(0, |value, &digit| (value << 8) | u32::from(digit)),
    )
}
