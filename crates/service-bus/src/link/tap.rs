//! The byte stream of a connection: overheard, cuttable, and written in large pieces.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::witness::Witness;
use crate::error::ErrorKind;
use crate::sync::Life;
use crate::transport::Io;

/// So many bytes are held back at most, but for one more frame.
const HELD: usize = 64 * 1024;

/// Passes bytes through, lets a [`Witness`] hear the incoming ones, and breaks when that refuses them
/// or when it is cut.
///
/// Cutting is for connections whose peer fell silent: the library would wait for its goodbye.
///
/// The library flushes after every frame, which would be a system call for each message, settlement
/// and credit. So a flush does nothing, and what was written is held until the library has nothing
/// more to write: until it asks for input twice with no write in between. It asks each time it has
/// nothing else to do; to be asked the second time, the tap wakes the task.
pub(crate) struct Tap {
    inner: Box<dyn Io>,
    witness: Arc<Witness>,
    /// The connection's, which ends with what the witness refuses.
    life: Life,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    held: BytesMut,
    /// Set from a write until all of it has been written and flushed.
    dirty: bool,
    /// Set when input was asked for since the last write.
    asked: bool,
    /// Set when the witness refused the broker's bytes.
    refused: bool,
}

impl Tap {
    pub(crate) fn new(
        inner: Box<dyn Io>,
        witness: Arc<Witness>,
        life: Life,
        cut: CancellationToken,
    ) -> Self {
        Self {
            inner,
            witness,
            life,
            cut: Box::pin(cut.cancelled_owned()),
            held: BytesMut::new(),
            dirty: false,
            asked: false,
            refused: false,
        }
    }

    /// Writes what is held.
    fn poll_let_go(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = Pin::new(&mut self.inner).poll_write(context, &self.held);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.held.advance(written),
            }
        }
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.dirty = false;
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused || this.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if this.dirty && this.asked {
            // If the peer does not take it, the task is woken when it does, and input goes on.
            if let Poll::Ready(Err(error)) = this.poll_let_go(context) {
                return Poll::Ready(Err(error));
            }
        } else if this.dirty {
            this.asked = true;
            context.waker().wake_by_ref();
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled
            && let Err(refused) = this.witness.hear(&buffer.filled()[before..])
        {
            // Before the library has them. It must not have what comes after them, either.
            buffer.set_filled(before);
            let reason = format!("the broker sent what is not acceptable AMQP: {refused}");
            this.life.end(ErrorKind::Connection(reason.clone()));
            this.refused = true;
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.held.len() >= HELD {
            ready!(this.poll_let_go(context))?;
        }
        this.held.extend_from_slice(bytes);
        (this.dirty, this.asked) = (true, false);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.dirty {
            ready!(this.poll_let_go(context))?;
        }
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn tap(room: usize) -> (Tap, tokio::io::DuplexStream) {
        let (near, far) = duplex(room);
        let life = Life::default();
        let tap = Tap::new(
            Box::new(near),
            Arc::default(),
            life,
            CancellationToken::new(),
        );
        (tap, far)
    }

    async fn arrived(far: &mut tokio::io::DuplexStream) -> usize {
        let mut bytes = vec![0; 1024 * 1024];
        match poll!(Box::pin(far.read(&mut bytes))) {
            Poll::Ready(count) => count.unwrap(),
            Poll::Pending => 0,
        }
    }

    #[tokio::test]
    async fn writes_leave_together_once_nothing_follows_them() {
        let (mut tap, mut far) = tap(1024);
        let mut byte = [0];
        for _ in 0..3 {
            tap.write_all(b"frame").await.unwrap();
            tap.flush().await.unwrap();
            assert!(poll!(Box::pin(tap.read(&mut byte))).is_pending());
            assert_eq!(arrived(&mut far).await, 0);
        }
        assert!(poll!(Box::pin(tap.read(&mut byte))).is_pending());
        assert_eq!(arrived(&mut far).await, 15);
    }

    #[tokio::test]
    async fn whoever_waits_for_an_answer_has_sent_the_question() {
        let (mut tap, mut far) = tap(1024);
        tokio::spawn(async move {
            let mut question = [0; 8];
            far.read_exact(&mut question).await.unwrap();
            far.write_all(b"answer").await.unwrap();
        });
        tap.write_all(b"question").await.unwrap();
        let mut answer = [0; 6];
        tap.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_holds_up_the_writer() {
        let (mut tap, _far) = tap(16);
        let frame = vec![0; HELD];
        tap.write_all(&frame).await.unwrap();
        assert!(poll!(Box::pin(tap.write_all(&frame))).is_pending());
    }

    #[tokio::test]
    async fn what_is_held_leaves_before_the_end() {
        let (mut tap, mut far) = tap(1024);
        tap.write_all(b"goodbye").await.unwrap();
        tap.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"goodbye");
    }
}
