//! Pairs of connectors that follow each other within an episode: 64 × 64, counted by episodes.
//!
//! Evidence only. On public agent runs a new pair was seen in 5 % of good episodes; alone it must
//! never stop anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Connectors that can be told apart; larger numbers are [`OTHER`].
pub const CONNECTORS: usize = 64;
/// Stands before the first and after the last of an episode.
pub const EDGE: u8 = 0;
/// Every connector that has no number of its own.
pub const OTHER: u8 = 63;

/// How often which pair was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Bigrams {
    episodes: u64,
    pairs: BTreeMap<(u8, u8), u32>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    episodes: u64,
    pairs: Vec<(u8, u8, u32)>,
}

impl From<Stored> for Bigrams {
    fn from(stored: Stored) -> Self {
        let mut pairs = BTreeMap::new();
        for (a, b, n) in stored.pairs {
            pairs.insert((number(a), number(b)), n);
        }
        Self {
            episodes: stored.episodes,
            pairs,
        }
    }
}

impl From<Bigrams> for Stored {
    fn from(bigrams: Bigrams) -> Self {
        let pairs = bigrams.pairs.into_iter().map(|((a, b), n)| (a, b, n));
        Self {
            episodes: bigrams.episodes,
            pairs: pairs.collect(),
        }
    }
}

impl Bigrams {
    /// Takes in the connectors of an episode, in order.
    pub fn learn(&mut self, episode: &[u8]) {
        self.episodes = self.episodes.saturating_add(1);
        for pair in pairs(episode) {
            let count = self.pairs.entry(pair).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Pairs of an episode that were never seen.
    pub fn news(&self, episode: &[u8]) -> Vec<(u8, u8)> {
        pairs(episode)
            .into_iter()
            .filter(|pair| !self.pairs.contains_key(pair))
            .collect()
    }

    /// Whether a pair was seen.
    pub fn knows(&self, before: u8, after: u8) -> bool {
        self.pairs.contains_key(&(number(before), number(after)))
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.pairs.len() * 24
    }

    /// Adds what another host learned; exact.
    pub fn merge(&mut self, other: &Self) {
        self.episodes = self.episodes.saturating_add(other.episodes);
        for (pair, n) in &other.pairs {
            let count = self.pairs.entry(*pair).or_default();
            *count = count.saturating_add(*n);
        }
    }

    /// Episodes taken in.
    pub fn episodes(&self) -> u64 {
        self.episodes
    }

    /// New pairs to be expected per episode: those seen once, over episodes (incidence Good–Turing).
    pub fn expected_news(&self) -> f64 {
        let once = self.pairs.values().filter(|n| **n == 1).count();
        once as f64 / (self.episodes.max(1)) as f64
    }

    /// One bit per pair, a row of 64 per first connector: the kernel's form, 512 bytes.
    pub fn bitmap(&self) -> [u64; CONNECTORS] {
        let mut rows = [0; CONNECTORS];
        for (a, b) in self.pairs.keys() {
            rows[usize::from(*a)] |= 1 << b;
        }
        rows
    }
}

fn number(connector: u8) -> u8 {
    connector.min(OTHER)
}

fn pairs(episode: &[u8]) -> BTreeSet<(u8, u8)> {
    let after = episode.iter().map(|c| number(*c)).chain([EDGE]);
    let before = [EDGE].into_iter().chain(episode.iter().map(|c| number(*c)));
    before.zip(after).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_order_is_news() {
        let mut bigrams = Bigrams::default();
        bigrams.learn(&[1, 2, 3]);
        assert_eq!(bigrams.news(&[1, 2, 3]), []);
        assert_eq!(bigrams.news(&[1, 3]), [(1, 3)]);
        assert_eq!(bigrams.news(&[200]), [(EDGE, OTHER), (OTHER, EDGE)]);
        assert_eq!(bigrams.expected_news(), 4.0);
    }

    proptest! {
        #[test]
        fn two_hosts_learn_what_one_would(
            a in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            b in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
        ) {
            let of = |episodes: &[Vec<u8>]| {
                let mut bigrams = Bigrams::default();
                episodes.iter().for_each(|e| bigrams.learn(e));
                bigrams
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all = of(&[a.clone(), b].concat());
            prop_assert_eq!(&merged, &all);
            for episode in &a {
                prop_assert_eq!(merged.news(episode), vec![]);
            }
            let bits: u32 = merged.bitmap().iter().map(|row| row.count_ones()).sum();
            prop_assert_eq!(bits as usize, merged.pairs.len());
            let copy: Bigrams = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
            prop_assert_eq!(copy, merged);
        }
    }
}
