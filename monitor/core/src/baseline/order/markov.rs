//! How surprising the order of an episode is: a Markov model of variable order, at most 3, with
//! Witten–Bell back-off.
//!
//! p(a | context) = (c + u · p(a | shorter context)) / (n + u), where n is how often the context was
//! seen, c how often with `a` after it, and u how many different symbols came after it (Witten and
//! Bell 1991; prediction by partial matching). The most surprising step is the score: a mean would
//! let a long harmless episode hide one bad step.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Symbols of context at most.
pub const ORDER: usize = 3;
/// Contexts that are kept; more is not an order but noise.
pub const MAX_CONTEXTS: usize = 8_192;
/// Stands before and after an episode.
const EDGE: u16 = u16::MAX;

/// Counts per context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Markov {
    contexts: BTreeMap<Vec<u16>, BTreeMap<u16, u32>>,
    symbols: BTreeSet<u16>,
}

/// A context, and what came after it how often.
type Row = (Vec<u16>, Vec<(u16, u32)>);

#[derive(Serialize, Deserialize)]
struct Stored(Vec<Row>);

impl From<Stored> for Markov {
    fn from(stored: Stored) -> Self {
        let mut markov = Self::default();
        for (context, counts) in stored.0 {
            if context.len() > ORDER || markov.contexts.len() >= MAX_CONTEXTS {
                continue;
            }
            let counts: BTreeMap<_, _> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
            markov.symbols.extend(counts.keys());
            markov.contexts.insert(context, counts);
        }
        markov
    }
}

impl From<Markov> for Stored {
    fn from(markov: Markov) -> Self {
        let all = markov.contexts.into_iter();
        Self(
            all.map(|(context, counts)| (context, counts.into_iter().collect()))
                .collect(),
        )
    }
}

/// The most surprising step of an episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surprise {
    /// −log2 of its probability.
    pub bits: f64,
    /// Which step, from 0; the number of steps stands for the end.
    pub step: usize,
}

impl Markov {
    /// Takes in an episode.
    pub fn learn(&mut self, episode: &[u16]) {
        let steps = framed(episode);
        for at in ORDER..steps.len() {
            for order in 0..=ORDER {
                self.count(&steps[at - order..at], steps[at], 1);
            }
        }
    }

    /// Adds what another host learned; exact as long as no context was left out.
    pub fn merge(&mut self, other: &Self) {
        for (context, counts) in &other.contexts {
            for (symbol, n) in counts {
                self.count(context, *symbol, *n);
            }
        }
    }

    /// The most surprising step. An episode always has one: its end.
    pub fn surprise(&self, episode: &[u16]) -> Surprise {
        let steps = framed(episode);
        let mut most = Surprise { bits: 0.0, step: 0 };
        for at in ORDER..steps.len() {
            let bits = -self.probability(&steps[at - ORDER..at], steps[at]).log2();
            if bits > most.bits {
                most = Surprise {
                    bits,
                    step: at - ORDER,
                };
            }
        }
        most
    }

    /// Contexts known.
    pub fn len(&self) -> usize {
        self.contexts.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    fn count(&mut self, context: &[u16], symbol: u16, n: u32) {
        if !self.contexts.contains_key(context) && self.contexts.len() >= MAX_CONTEXTS {
            return;
        }
        self.symbols.insert(symbol);
        let counts = self.contexts.entry(context.to_vec()).or_default();
        let count = counts.entry(symbol).or_default();
        *count = count.saturating_add(n);
    }

    fn probability(&self, context: &[u16], symbol: u16) -> f64 {
        // Any symbol of an alphabet that has one more than those known.
        let mut p = 1.0 / (self.symbols.len() as f64 + 1.0);
        for order in 0..=context.len() {
            let Some(counts) = self.contexts.get(&context[context.len() - order..]) else {
                break;
            };
            let seen: f64 = counts.values().map(|n| f64::from(*n)).sum();
            let kinds = counts.len() as f64;
            let count = counts.get(&symbol).map_or(0.0, |n| f64::from(*n));
            if seen > 0.0 {
                p = (count + kinds * p) / (seen + kinds);
            }
        }
        p
    }
}

fn framed(episode: &[u16]) -> Vec<u16> {
    let mut steps = vec![EDGE; ORDER];
    steps.extend(episode.iter().map(|s| (*s).min(EDGE - 1)));
    steps.push(EDGE);
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_always_happens_does_not_surprise() {
        let mut markov = Markov::default();
        (0..50).for_each(|_| markov.learn(&[1, 2, 3]));
        assert!(markov.surprise(&[1, 2, 3]).bits < 0.2);
        let odd = markov.surprise(&[1, 3, 3]);
        assert!(odd.bits > 4.0 && odd.step == 1, "{odd:?}");
        assert!(markov.surprise(&[1, 2, 9]).bits > odd.bits);
    }

    proptest! {
        #[test]
        fn probabilities_are_positive_and_add_to_at_most_one(
            episodes in prop::collection::vec(prop::collection::vec(0..6u16, 0..8), 0..10),
            context in prop::collection::vec(0..6u16, ORDER),
        ) {
            let mut markov = Markov::default();
            episodes.iter().for_each(|e| markov.learn(e));
            let of = |s| markov.probability(&context, s);
            let sum: f64 = markov.symbols.iter().map(|s| of(*s)).sum();
            prop_assert!(sum <= 1.0 + 1e-9 && of(4242) > 0.0, "{}", sum);
        }

        #[test]
        fn two_hosts_learn_what_one_would(
            a in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..6), 0..6),
            b in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..6), 0..6),
        ) {
            let of = |episodes: &[Vec<u16>]| {
                let mut markov = Markov::default();
                episodes.iter().for_each(|e| markov.learn(e));
                markov
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(&merged, &of(&[a.clone(), b].concat()));
            let copy: Markov = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
            prop_assert_eq!(&copy, &merged);
            for episode in &a {
                prop_assert!(merged.surprise(episode).bits.is_finite());
            }
        }
    }
}
