//! Seeded chance for scripted faults: the same seed and the same calls give the same faults.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A seeded source of chance.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// At most one of `chances` comes true, each with its own probability (0 to 1).
    pub(crate) fn pick(&mut self, chances: &[f64]) -> Option<usize> {
        let mut left: f64 = self.0.random();
        chances.iter().position(|chance| {
            left -= chance;
            left < 0.0
        })
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_picks_the_same() {
        let picks = |seed| {
            let mut dice = Dice::new(seed);
            (0..50).map(|_| dice.pick(&[0.2, 0.3])).collect::<Vec<_>>()
        };
        assert_eq!(picks(7), picks(7));
        assert_ne!(picks(7), picks(8));
    }

    #[test]
    fn a_chance_of_one_always_comes_true_and_a_chance_of_zero_never() {
        let mut dice = Dice::new(1);
        assert!((0..100).all(|_| dice.pick(&[0.0, 1.0]) == Some(1)));
        assert!((0..100).all(|_| dice.pick(&[0.0]).is_none()));
    }
}
