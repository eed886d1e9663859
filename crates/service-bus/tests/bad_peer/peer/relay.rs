//! Stands between the peer and its client, and puts other frames in the place of the peer's.

use std::sync::{Arc, Mutex};

use fe2o3_amqp_types::performatives::Transfer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, duplex, split};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::Book;

const HEADER: usize = 8;
const ATTACH: u8 = 0x12;
const TRANSFER: u8 = 0x14;
/// Bytes of a message in one frame.
const PIECE: usize = 32 * 1024;

/// What to put in the place of the peer's frames.
#[derive(Clone)]
pub(crate) enum Hostile {
    /// This message in every delivery, in as many transfers as it takes.
    Message(Vec<u8>),
    /// This value as the fields of every attach.
    Attach(Vec<u8>),
    /// Frames of this size.
    FrameSize(u32),
}

/// A stream to serve instead of `socket`.
pub(crate) fn behind(socket: TcpStream, book: Arc<Mutex<Book>>) -> DuplexStream {
    let (near, far) = duplex(64 * 1024);
    let (mut from_client, to_client) = socket.into_split();
    let (from_peer, mut to_peer) = split(far);
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_peer).await;
        let _ = to_peer.shutdown().await;
    });
    tokio::spawn(pass(from_peer, to_client, book));
    near
}

async fn pass(
    mut from: ReadHalf<DuplexStream>,
    mut to: OwnedWriteHalf,
    book: Arc<Mutex<Book>>,
) -> std::io::Result<()> {
    loop {
        let mut frame = vec![0; HEADER];
        from.read_exact(&mut frame).await?;
        if !frame.starts_with(b"AMQP") {
            let size = u32::from_be_bytes(*frame.first_chunk().unwrap());
            frame.resize(size as usize, 0);
            from.read_exact(&mut frame[HEADER..]).await?;
        }
        let hostile = book.lock().unwrap().hostile.clone();
        to.write_all(&hostile.map_or_else(|| frame.clone(), |it| it.replace(&frame)))
            .await?;
    }
}

impl Hostile {
    fn replace(&self, frame: &[u8]) -> Vec<u8> {
        let (header, body) = frame.split_at(HEADER);
        let code = body.get(2).copied();
        match self {
            Hostile::Attach(value) if code == Some(ATTACH) => {
                put(header, &[&[0x00, 0x53, ATTACH], &value[..]].concat())
            }
            Hostile::FrameSize(size) if code == Some(TRANSFER) => {
                [&size.to_be_bytes(), &frame[4..]].concat()
            }
            Hostile::Message(message) if code == Some(TRANSFER) => {
                let mut transfer: Transfer = serde_amqp::from_slice(body).unwrap();
                let mut pieces = message.chunks(PIECE).peekable();
                let mut frames = Vec::new();
                while let Some(piece) = pieces.next() {
                    transfer.more = pieces.peek().is_some();
                    let performative = serde_amqp::to_vec(&transfer).unwrap();
                    frames.extend(put(header, &[&performative, piece].concat()));
                }
                frames
            }
            _ => frame.to_vec(),
        }
    }
}

fn put(header: &[u8], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER + body.len()).unwrap();
    [&size.to_be_bytes(), &header[4..], body].concat()
}
