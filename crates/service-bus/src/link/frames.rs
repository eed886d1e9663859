//! Finds the frames in the bytes that come from the broker.

/// How much of a frame's body is kept: all of a disposition, and of a transfer what stands before
/// the message.
const KEPT: usize = 4096;
const HEADER: usize = 8;

/// Cuts a byte stream into AMQP frames, in whatever pieces it comes.
#[derive(Debug, Default)]
pub(crate) struct FrameScanner {
    header: Vec<u8>,
    body: Vec<u8>,
    /// Bytes of the current frame's body still to come.
    missing: usize,
    /// Set by bytes that are no frames; nothing is reported from then on.
    lost: bool,
}

impl FrameScanner {
    /// Takes the next bytes and reports each frame that they complete: its channel, and the
    /// beginning of its body from the performative on.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut report: impl FnMut(u16, &[u8])) {
        while !bytes.is_empty() && !self.lost {
            if self.header.len() < HEADER {
                let (now, later) = bytes.split_at(bytes.len().min(HEADER - self.header.len()));
                self.header.extend_from_slice(now);
                bytes = later;
                if self.header.len() < HEADER {
                    return;
                }
                if self.header.starts_with(b"AMQP") {
                    // A protocol header has the length of a frame header, and nothing follows it.
                    self.header.clear();
                    continue;
                }
                let Some(missing) = size(&self.header).checked_sub(HEADER) else {
                    self.lost = true;
                    return;
                };
                self.missing = missing;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.missing));
            let kept = now.len().min(KEPT - self.body.len());
            self.body.extend_from_slice(&now[..kept]);
            self.missing -= now.len();
            bytes = later;
            if self.missing == 0 {
                let channel = u16::from_be_bytes([self.header[6], self.header[7]]);
                let (extended, kind) = (usize::from(self.header[4]) * 4, self.header[5]);
                let start = extended.saturating_sub(HEADER);
                if kind == 0 && start < self.body.len() {
                    report(channel, &self.body[start..]);
                }
                self.header.clear();
                self.body.clear();
            }
        }
    }
}

fn size(header: &[u8]) -> usize {
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    usize::try_from(size).unwrap_or(usize::MAX)
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

    fn scan(bytes: &[u8], piece: usize) -> Vec<(u16, Vec<u8>)> {
        let (mut scanner, mut found) = (FrameScanner::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            scanner.feed(piece, |channel, body| found.push((channel, body.to_vec())));
        }
        found
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = b"AMQP\x03\x01\x00\x00".to_vec();
        bytes.extend(frame(1, 0, b"sasl"));
        bytes.extend(b"AMQP\x00\x01\x00\x00");
        bytes.extend(frame(0, 1, b"one"));
        bytes.extend(frame(0, 0, b""));
        bytes.extend(frame(0, 2, &[7; KEPT + 10]));
        bytes.extend(frame(0, 3, b"last"));
        for piece in [1, 3, 8, 11, 1000, bytes.len()] {
            let found = scan(&bytes, piece);
            let lengths: Vec<_> = found.iter().map(|(on, body)| (*on, body.len())).collect();
            assert_eq!(lengths, [(1, 3), (2, KEPT), (3, 4)], "{piece}");
            assert_eq!(found[2].1, b"last");
        }
    }

    #[test]
    fn an_impossible_size_ends_the_scan() {
        let mut bytes = vec![0, 0, 0, 7, 2, 0, 0, 0];
        bytes.extend(frame(0, 1, b"never seen"));
        assert!(scan(&bytes, bytes.len()).is_empty());
    }
}
