//! Finds the frames in the bytes that come from the broker.

use super::guard::{MAX_FRAME, Refused};

const HEADER: usize = 8;

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// 0 for AMQP, 1 for SASL.
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    /// From the performative on.
    pub(crate) body: &'a [u8],
}

/// Cuts a byte stream into frames, in whatever pieces it comes.
#[derive(Debug, Default)]
pub(crate) struct FrameScanner {
    /// The beginning of a frame whose end is still to come.
    partial: Vec<u8>,
}

impl FrameScanner {
    /// Takes the next bytes and reports each frame that they complete.
    ///
    /// # Errors
    /// When the bytes are no frames, or what `report` says. Nothing more can be made of the stream.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut report: impl FnMut(Frame<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some(size) = size(bytes)?
                && let Some((whole, later)) = bytes.split_at_checked(size)
            {
                frame(whole).map_or(Ok(()), &mut report)?;
                bytes = later;
                continue;
            }
            let wanted = size(&self.partial)?.unwrap_or(HEADER) - self.partial.len();
            let (now, later) = bytes.split_at(bytes.len().min(wanted));
            self.partial.extend_from_slice(now);
            bytes = later;
            if size(&self.partial)? == Some(self.partial.len()) {
                frame(&self.partial).map_or(Ok(()), &mut report)?;
                self.partial.clear();
            }
        }
        Ok(())
    }
}

/// The size of the frame that begins here, when its header is all there.
fn size(bytes: &[u8]) -> Result<Option<usize>, Refused> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    if is_protocol_header(header) {
        return Ok(Some(HEADER));
    }
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let bytes = usize::try_from(size).unwrap_or(usize::MAX);
    // The library knows no extended headers.
    match header[4] {
        2 if (HEADER..=MAX_FRAME as usize).contains(&bytes) => Ok(Some(bytes)),
        2 => Err(Refused::FrameSize(bytes)),
        words => Err(Refused::DataOffset(usize::from(words) * 4)),
    }
}

/// A protocol header has the length of a frame header, and nothing follows it.
fn is_protocol_header(header: &[u8]) -> bool {
    header.starts_with(b"AMQP")
}

fn frame(whole: &[u8]) -> Option<Frame<'_>> {
    let (header, body) = whole.split_first_chunk::<HEADER>()?;
    (!is_protocol_header(header)).then_some(Frame {
        kind: header[5],
        channel: u16::from_be_bytes([header[6], header[7]]),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + body.len()).unwrap();
        let mut frame = size.to_be_bytes().to_vec();
        frame.extend([2, kind]);
        frame.extend(channel.to_be_bytes());
        frame.extend(body);
        frame
    }

    type Found = (u8, u16, Vec<u8>);

    fn scan(bytes: &[u8], piece: usize) -> Result<Vec<Found>, Refused> {
        let (mut scanner, mut found) = (FrameScanner::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            scanner.feed(piece, |frame| {
                found.push((frame.kind, frame.channel, frame.body.to_vec()));
                Ok(())
            })?;
        }
        Ok(found)
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = b"AMQP\x03\x01\x00\x00".to_vec();
        bytes.extend(frame(1, 0, b"sasl"));
        bytes.extend(b"AMQP\x00\x01\x00\x00");
        bytes.extend(frame(0, 1, b"one"));
        bytes.extend(frame(0, 0, b""));
        bytes.extend(frame(0, 2, &[7; 5000]));
        bytes.extend(frame(0, 3, b"last"));
        let frames = [
            (1, 0, b"sasl".to_vec()),
            (0, 1, b"one".to_vec()),
            (0, 0, Vec::new()),
            (0, 2, vec![7; 5000]),
            (0, 3, b"last".to_vec()),
        ];
        for piece in [1, 3, 8, 11, 1000, bytes.len()] {
            assert_eq!(scan(&bytes, piece).unwrap(), frames, "{piece}");
        }
    }

    #[test]
    fn a_frame_of_an_impossible_size_ends_the_scan() {
        for size in [7u32, MAX_FRAME + 1, u32::MAX] {
            let bytes = [&size.to_be_bytes()[..], &[2, 0, 0, 0]].concat();
            let refused = scan(&bytes, 3).unwrap_err();
            assert_eq!(refused, Refused::FrameSize(size as usize));
        }
        let extended = [0, 0, 0, 12, 3, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(scan(&extended, 12), Err(Refused::DataOffset(12)));
    }
}
