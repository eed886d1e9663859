//! The one source of randomness of a run.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use uuid::Uuid;

/// A seeded generator.
pub(crate) struct Dice(SmallRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// True with this probability. Draws nothing when the answer is certain.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }

    /// From `low` up to, not including, `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..high.max(low + 1))
    }

    /// Like [`Self::between`], for indexes.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.0.random_range(0..len.max(1))
    }

    /// A duration between two numbers of milliseconds. Small ones are likelier than large ones.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        let share: f64 = self.0.random_range(0.0..1.0);
        let span = (high.max(low) - low) as f64;
        Duration::from_millis(low + (span * share * share) as u64)
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.index(among.len())]
    }

    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.0.next_u64(), self.0.next_u64())
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.index(i + 1);
            items.swap(i, j);
        }
    }
}
