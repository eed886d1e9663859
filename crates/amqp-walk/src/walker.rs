//! The walk itself.

use crate::Malformed;
use crate::token::{self, LONGEST, Token};

/// Deeper values than this are refused; real ones stay below ten.
pub const MAX_DEPTH: usize = 64;
/// Array elements without any bytes of their own (null, true, empty list) that one walker accepts.
pub const MAX_ZERO_WIDTH_ELEMENTS: usize = 4096;

/// Walks values one after the other, in whatever pieces their bytes come. After an error it is of no
/// further use.
#[derive(Debug, Default)]
pub struct Walker {
    /// The values around the next one, the outermost first.
    levels: Vec<Level>,
    /// Bytes walked so far, those still to be skipped included.
    position: u64,
    /// Bytes of a scalar's content that are still to come.
    skip: usize,
    /// The beginning of a head whose end is still to come.
    head: Vec<u8>,
    zero_width: usize,
}

#[derive(Debug)]
struct Level {
    /// Values still to come on this level.
    items: u32,
    /// Where they end.
    end: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its descriptor first; ends where it ends.
    Described,
    List,
    /// Keys and values in turn.
    Map,
    Array(u8),
}

impl Walker {
    /// Takes the next bytes: how many of them the current value still took, when it is complete with
    /// them, or `None` when they all belong to it and more must come.
    ///
    /// # Errors
    /// When the value is refused.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut rest = bytes;
        loop {
            let skipped = self.skip.min(rest.len());
            (self.skip, rest) = (self.skip - skipped, &rest[skipped..]);
            if self.skip > 0 {
                return Ok(None);
            }
            // Nothing left to come on any level: the value that began last is the outermost one.
            if self.position > 0 && self.head.is_empty() && self.close()? {
                self.position = 0;
                return Ok(Some(bytes.len() - rest.len()));
            }
            let Some((token, length)) = self.next_head(&mut rest)? else {
                return Ok(None);
            };
            self.enter(token, length)?;
        }
    }

    /// Whether the bytes so far are whole values.
    pub fn is_between_values(&self) -> bool {
        self.position == 0 && self.head.is_empty()
    }

    /// Leaves the levels that are complete. Whether the outermost value is.
    fn close(&mut self) -> Result<bool, Malformed> {
        while let Some(level) = self.levels.last() {
            if level.items > 0 {
                return Ok(false);
            }
            if level.kind != Kind::Described && level.end != self.position {
                return Err(Malformed::Size);
            }
            self.levels.pop();
        }
        Ok(true)
    }

    /// Takes the next head off `rest`, or keeps what there is of it.
    fn next_head(&mut self, rest: &mut &[u8]) -> Result<Option<(Token, usize)>, Malformed> {
        let implied = self.levels.last().and_then(|level| match level.kind {
            Kind::Array(code) => Some(code),
            _ => None,
        });
        let kept = self.head.len();
        let head: &[u8] = if kept == 0 {
            rest
        } else {
            self.head.extend(rest.iter().take(LONGEST - kept));
            &self.head
        };
        if let (true, Some(&code)) = (self.is_at_descriptor(), head.first())
            && !matches!(code, 0x44 | 0x53 | 0x80 | 0xa3 | 0xb3)
        {
            return Err(Malformed::Descriptor(code));
        }
        if let (true, Some(&code)) = (self.is_at_key(), head.first())
            && matches!(code, 0x00 | 0x83 | 0xc0..=0xff)
        {
            return Err(Malformed::Key(code));
        }
        let read = token::read(head, implied)?;
        match read {
            Some((token, length)) => {
                *rest = &rest[length - kept..];
                self.head.clear();
                Ok(Some((token, length)))
            }
            None => {
                if kept == 0 {
                    self.head.extend_from_slice(rest);
                }
                Ok(None)
            }
        }
    }

    fn is_at_descriptor(&self) -> bool {
        let level = self.levels.last();
        level.is_some_and(|level| level.kind == Kind::Described && level.items == 2)
    }

    fn is_at_key(&self) -> bool {
        let level = self.levels.last();
        level.is_some_and(|level| level.kind == Kind::Map && level.items.is_multiple_of(2))
    }

    /// Accounts for a value whose head has been read, and enters it if there are values in it.
    fn enter(&mut self, token: Token, head: usize) -> Result<(), Malformed> {
        self.position += head as u64;
        let around = self.levels.last().map_or(u64::MAX, |level| level.end);
        let content = match &token {
            Token::Described => 0,
            Token::Scalar { length }
            | Token::List { length, .. }
            | Token::Map { length, .. }
            | Token::Array { length, .. } => *length as u64,
        };
        let end = self.position.saturating_add(content);
        if end > around {
            return Err(Malformed::Size);
        }
        if let Some(level) = self.levels.last_mut() {
            level.items -= 1;
        }
        match token {
            Token::Scalar { length } => {
                (self.skip, self.position) = (length, end);
                Ok(())
            }
            Token::Described => self.open(2, around, Kind::Described),
            Token::List { items, .. } => self.open(items, end, Kind::List),
            Token::Map { items, .. } => self.open(items, end, Kind::Map),
            Token::Array {
                code,
                elements,
                length,
            } => match token::fixed_width(code) {
                None => self.open(elements, end, Kind::Array(code)),
                Some(width) => {
                    if width == 0 {
                        self.zero_width += elements as usize;
                    }
                    if self.zero_width > MAX_ZERO_WIDTH_ELEMENTS {
                        return Err(Malformed::TooManyElements);
                    }
                    if (elements as usize).checked_mul(width) != Some(length) {
                        return Err(Malformed::Size);
                    }
                    (self.skip, self.position) = (length, end);
                    Ok(())
                }
            },
        }
    }

    fn open(&mut self, items: u32, end: u64, kind: Kind) -> Result<(), Malformed> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        self.levels.push(Level { items, end, kind });
        Ok(())
    }
}
