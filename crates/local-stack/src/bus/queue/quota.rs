//! How much a queue may hold.

use super::Queue;

/// A queue that takes no more messages until some have left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull {
    /// Bytes of its messages and dead letters.
    pub(crate) size: u64,
    /// Bytes at which it is full.
    pub(crate) limit: u64,
}

impl Queue {
    /// Bytes of its messages and dead letters.
    pub(crate) fn size(&self) -> u64 {
        self.main.size() + self.dead.size()
    }

    /// Whether another message, or another batch, may come in, if so many bytes count besides its
    /// own: a topic answers for what its subscriptions hold. As on the service the one that
    /// crosses the limit still does (errors seen there name a size just above it), and a batch is
    /// taken as a whole or not at all.
    ///
    /// # Errors
    /// When the queue is full.
    pub(crate) fn check_room(&self, elsewhere: u64) -> Result<(), QueueFull> {
        let size = self.size() + elsewhere;
        match self.config.max_size {
            Some(limit) if size >= limit => Err(QueueFull { size, limit }),
            _ => Ok(()),
        }
    }
}
