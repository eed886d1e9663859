//! Walks encoded AMQP values without building them, in whatever pieces their bytes come.
//!
//! Whatever a peer sends passes through a [`Walker`] before `serde_amqp` decodes it. That decoder
//! recurses as deep as the values are nested, until the stack is used up and the process aborts, and
//! allocates for sizes and counts that the bytes only claim. So nesting is bounded here, and every
//! size and count is checked against the bytes that are really there. Values that the decoder reads
//! differently from the standard are refused, too: behind them it would see other values than the
//! ones that were walked. Format codes: OASIS AMQP 1.0, part 1.2 (type encodings by width category).

mod token;
mod walker;

#[cfg(test)]
mod tests;

pub use walker::{MAX_DEPTH, MAX_ZERO_WIDTH_ELEMENTS, Walker};

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are fewer bytes than there should be.
    #[error("value is cut short")]
    CutShort,
    /// Lists in lists, or the like, beyond [`MAX_DEPTH`].
    #[error("values nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A format code that does not exist.
    #[error("unknown format code {0:#04x}")]
    UnknownCode(u8),
    /// A descriptor that is neither a number nor a symbol.
    #[error("descriptor of format code {0:#04x}")]
    Descriptor(u8),
    /// A size that its content contradicts.
    #[error("size and content of a value disagree")]
    Size,
    /// A map of an odd number of items.
    #[error("map with a key that has no value")]
    OddMap,
    /// A map key that nobody needs and that the encoder stumbles over: after a timestamp it takes
    /// what follows for one, and panics. Or a compound or described one.
    #[error("map with a key of format code {0:#04x}")]
    Key(u8),
    /// More elements without bytes of their own than [`MAX_ZERO_WIDTH_ELEMENTS`].
    #[error("array of too many elements")]
    TooManyElements,
    /// An array that the decoder would misread: without elements, or of compound or described ones.
    #[error("array of elements with format code {0:#04x}")]
    Array(u8),
}

/// The length in bytes of the value at the start of `bytes`, all of which has been walked.
///
/// # Errors
/// When the value is refused, or cut short.
pub fn measure(bytes: &[u8]) -> Result<usize, Malformed> {
    Walker::default().feed(bytes)?.ok_or(Malformed::CutShort)
}

/// Walks all of `bytes`: one value after the other, to the end.
///
/// # Errors
/// When a value is refused, or the last one is cut short.
pub fn measure_all(mut bytes: &[u8]) -> Result<(), Malformed> {
    let mut walker = Walker::default();
    while !bytes.is_empty() {
        let taken = walker.feed(bytes)?.ok_or(Malformed::CutShort)?;
        bytes = &bytes[taken..];
    }
    Ok(())
}
