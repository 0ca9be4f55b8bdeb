//! Whether something happened in at least three different episodes, in constant space.
//!
//! Keeps the three smallest numbers it was given. That is all that the question needs, and joining
//! two sets gives the same in any order.

/// Episodes that are told apart.
pub const ENOUGH: usize = 3;

/// Up to three different episodes, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Few {
    smallest: [Option<u64>; ENOUGH],
}

impl Few {
    /// One episode.
    pub const fn one(episode: u64) -> Self {
        Self {
            smallest: [Some(episode), None, None],
        }
    }

    /// Takes an episode in.
    pub fn add(&mut self, episode: u64) {
        let mut new = Some(episode);
        for place in &mut self.smallest {
            match (new, *place) {
                (None, _) => return,
                (_, None) => {
                    *place = new;
                    return;
                }
                (Some(n), Some(p)) if n == p => return,
                (Some(n), Some(p)) if n < p => new = place.replace(n),
                _ => {}
            }
        }
    }

    /// Both in one.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        other.iter().for_each(|episode| self.add(episode));
        self
    }

    /// The episodes that are remembered, smallest first.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.smallest.into_iter().flatten()
    }

    /// Whether there were three.
    pub fn is_enough(self) -> bool {
        self.iter().count() == ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_three_smallest_are_kept_in_any_order(all in proptest::collection::vec(0u64..8, 0..12), cut in any::<prop::sample::Index>()) {
            let of = |episodes: &[u64]| {
                let mut few = Few::default();
                episodes.iter().for_each(|e| few.add(*e));
                few
            };
            let sorted: BTreeSet<u64> = all.iter().copied().collect();
            prop_assert!(of(&all).iter().eq(sorted.iter().copied().take(ENOUGH)));
            prop_assert_eq!(of(&all).is_enough(), sorted.len() >= ENOUGH);
            let (a, b) = all.split_at(if all.is_empty() { 0 } else { cut.index(all.len()) });
            prop_assert_eq!(of(a).join(of(b)), of(&all));
            prop_assert_eq!(of(b).join(of(a)), of(&all));
        }
    }
}
