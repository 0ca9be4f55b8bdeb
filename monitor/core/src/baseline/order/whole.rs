//! Whole episodes: how odd is one, taken together, by the order of its calls, by their number and by
//! how much each carried.
//!
//! None of the three says much alone. Together they are calibrated: the first episodes teach a model,
//! the later ones are scored by it and are what "usual" means ([`crate::decide::evidence::fuse`]). So
//! the share of good episodes that would be told is known beforehand, and is chosen to spend a budget
//! of false alarms a day. Where there are too few to say it, nothing is told.
//!
//! Evidence of the weakest class: told, never more. Knows numbers of connectors; what they are called
//! comes from the caller.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::markov::Markov;
use crate::{
    baseline::volume::peaks::{Anchor, Tail},
    decide::evidence::fuse::{Fused, Fusion, alpha},
    text::bytes,
};

/// Episodes that teach the model.
pub const TRAINING: usize = 500;
/// Scored episodes from which on others are judged.
pub const LEAST: usize = 200;
/// Scored episodes that are kept; with more, no rarer one could be told at a sensible budget.
pub const ROWS: usize = 8_192;
/// What is scored.
const FAMILIES: [&str; 3] = ["order", "calls", "bytes"];
/// Score of a call to a connector that the model does not have.
const UNKNOWN: f64 = 1e3;
/// Nanoseconds of a day, and of the shortest time that a rate is worked out from.
const DAY: f64 = 86_400e9;
const HOUR: f64 = 3_600e9;

/// One episode: for each call, in order, the connector's number and the bytes that were sent to it.
pub type Calls = [(u8, u64)];

/// What is learned before anything is scored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Model {
    order: Markov,
    calls: Option<Anchor>,
    bytes: BTreeMap<u8, Anchor>,
}

/// What is usual in the episodes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    training: Vec<Vec<(u8, u64)>>,
    model: Model,
    /// Scores of episodes that the model was not made of.
    rows: Vec<[f32; 3]>,
    learned: u64,
    first: u64,
    last: u64,
    #[serde(skip)]
    fusion: Option<Fusion>,
}

/// An episode that is odd as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Odd {
    /// The share of good episodes that are as odd, at most.
    pub p: f64,
    /// Calls.
    pub calls: u64,
    /// Bytes that were sent in it.
    pub sent: u64,
    /// Learned episodes that this is compared with.
    pub compared: u64,
    /// Episodes a day.
    pub per_day: f64,
    /// What made it odd, for a person.
    pub sentence: String,
}

impl Whole {
    /// Takes in a good episode that ended at `time`, nanoseconds since the epoch.
    pub fn learn(&mut self, calls: &Calls, time: u64) {
        if calls.is_empty() {
            return;
        }
        if self.learned == 0 {
            self.first = time;
        }
        self.learned = self.learned.saturating_add(1);
        // A clock that was set back makes the rate no higher.
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        if self.model.calls.is_none() {
            self.training.push(calls.to_vec());
            if self.training.len() >= TRAINING {
                self.model = Model::of(&std::mem::take(&mut self.training));
            }
        } else if self.rows.len() < ROWS {
            let scores = self.model.scores(calls).map(|(score, _)| score as f32);
            self.rows.push(scores);
            self.fusion = None;
        }
    }

    /// Whether an episode is so odd that telling all that are as odd spends at most `budget` false
    /// alarms a day. `name` says what connectors are called.
    pub fn judge(
        &mut self,
        calls: &Calls,
        budget: f64,
        name: impl Fn(u8) -> String,
    ) -> Option<Odd> {
        if calls.is_empty() || self.rows.len() < LEAST {
            return None;
        }
        let rate = self.rate(budget);
        let scores = self.model.scores(calls);
        let fused = self.fusion().fuse(
            &scores.map(|(score, _)| score),
            &reasons(calls, scores.map(|(_, at)| at), name),
        );
        (fused.p <= rate).then(|| self.odd(calls, &fused))
    }

    /// For a person: whether episodes are judged, and at what price.
    pub fn line(&self, budget: f64) -> String {
        let needed = TRAINING + LEAST;
        if self.rows.len() < LEAST {
            return format!(
                "not judged as a whole: {} of at least {needed} were learned",
                self.learned
            );
        }
        let floor = 2.0 / (self.rows.len() as f64 + 2.0);
        let per_day = self.per_day();
        if self.rate(budget) < floor {
            return format!(
                "not judged as a whole: of {per_day:.0} a day {:.0} would be told falsely, which is \
                 more than the {budget} of [alerts] odd_per_day",
                per_day * floor
            );
        }
        format!(
            "judged as a whole against {} that were learned; of {per_day:.0} a day at most {budget} \
             is told falsely",
            self.learned
        )
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        let training: usize = self
            .training
            .iter()
            .map(|calls| 24 + 16 * calls.len())
            .sum();
        let fusion = if self.fusion.is_some() { 16 } else { 0 };
        training + self.rows.len() * (12 + fusion) + self.model.order.len() * 96
    }

    fn fusion(&mut self) -> &Fusion {
        let rows = &self.rows;
        self.fusion.get_or_insert_with(|| {
            let rows: Vec<Vec<f64>> = rows.iter().map(|r| r.map(f64::from).to_vec()).collect();
            Fusion::calibrate(&FAMILIES, &rows)
        })
    }

    fn per_day(&self) -> f64 {
        let span = (self.last.saturating_sub(self.first) as f64).max(HOUR);
        self.learned as f64 * DAY / span
    }

    /// The share of good episodes that may be told.
    fn rate(&self, budget: f64) -> f64 {
        alpha(budget, self.per_day())
    }

    fn odd(&self, calls: &Calls, fused: &Fused) -> Odd {
        Odd {
            p: fused.p,
            calls: calls.len() as u64,
            sent: calls.iter().map(|(_, sent)| sent).sum(),
            compared: self.learned,
            per_day: self.per_day(),
            sentence: fused.sentence(),
        }
    }
}

impl Model {
    fn of(episodes: &[Vec<(u8, u64)>]) -> Self {
        let (mut order, mut number) = (Markov::default(), Tail::default());
        let mut carried: BTreeMap<u8, Tail> = BTreeMap::new();
        for calls in episodes {
            order.learn(&symbols(calls));
            number.add(calls.len() as f64);
            for (connector, sent) in calls {
                carried.entry(*connector).or_default().add(*sent as f64);
            }
        }
        Self {
            order,
            calls: Some(number.freeze()),
            bytes: carried.into_iter().map(|(c, t)| (c, t.freeze())).collect(),
        }
    }

    /// A score per family, higher is odder, and the call that it comes from.
    fn scores(&self, calls: &Calls) -> [(f64, usize); 3] {
        let surprise = self.order.surprise(&symbols(calls));
        let number = self.calls.as_ref().map_or(0.0, |anchor| {
            let count = calls.len() as f64;
            // Few are as odd as many to nobody.
            if count <= anchor.largest() {
                -anchor.p(count).ln()
            } else {
                -anchor.p(count).ln() + count / anchor.largest().max(1.0)
            }
        });
        let odd = |(at, (connector, sent)): (usize, &(u8, u64))| {
            let score = match self.bytes.get(connector) {
                Some(anchor) => {
                    let sent = *sent as f64;
                    let beyond = (sent / anchor.largest().max(1.0)).max(1.0).ln();
                    -anchor.p(sent).ln() + beyond
                }
                None => UNKNOWN,
            };
            (score, at)
        };
        let most = calls.iter().enumerate().map(odd);
        let bytes = most.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
        [(surprise.bits, surprise.step), (number, 0), bytes]
    }
}

/// What the order is learned of: whom, and in which power of two how much.
fn symbols(calls: &Calls) -> Vec<u16> {
    let size = |sent: u64| (64 - sent.leading_zeros() as u16) / 4;
    let symbol = |(connector, sent): &(u8, u64)| u16::from(*connector) * 32 + size(*sent);
    calls.iter().map(symbol).collect()
}

fn reasons(calls: &Calls, at: [usize; 3], name: impl Fn(u8) -> String) -> Vec<String> {
    let [step, _, largest] = at;
    let whom = |at: usize| calls.get(at).map(|(connector, _)| name(*connector));
    let order = match (step.checked_sub(1).and_then(whom), whom(step)) {
        (None, Some(first)) => format!("it began with {first}"),
        (Some(before), Some(after)) => format!("{after} after {before}"),
        (Some(last), None) => format!("it ended with {last}"),
        (None, None) => String::new(),
    };
    let sent = calls.get(largest).map_or(0, |(_, sent)| *sent);
    vec![
        order,
        format!("{} calls", calls.len()),
        format!("{} to {}", bytes(sent), whom(largest).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    /// An everyday episode: look something up, ask a service, store the result.
    fn everyday(n: u64) -> Vec<(u8, u64)> {
        let vary = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let mut calls = vec![(1, 300 + vary % 200), (2, 900 + vary % 700)];
        if vary.is_multiple_of(3) {
            calls.push((2, 500 + vary % 900));
        }
        calls.push((3, 4_000 + vary % 3_000));
        calls
    }

    fn learned(episodes: u64) -> Whole {
        let mut whole = Whole::default();
        (0..episodes).for_each(|n| whole.learn(&everyday(n), n * MINUTE));
        whole
    }

    fn name(connector: u8) -> String {
        format!("c{connector}")
    }

    #[test]
    fn too_few_are_no_measure() {
        let mut whole = learned((TRAINING + LEAST) as u64 - 1);
        let odd = [(9, 1 << 40), (9, 1 << 40)];
        assert_eq!(whole.judge(&odd, 1.0, name), None);
        assert_eq!(
            whole.line(1.0),
            "not judged as a whole: 699 of at least 700 were learned"
        );
        whole.learn(&everyday(5), 700 * MINUTE);
        assert!(whole.judge(&odd, 100.0, name).is_some());
    }

    #[test]
    fn everyday_episodes_are_told_within_the_budget() {
        let mut whole = learned(6_000);
        let mut told = 0;
        for n in 10_000..20_000 {
            told += usize::from(whole.judge(&everyday(n), 10.0, name).is_some());
        }
        // 1,440 a day, ten of them may be told: seven in a thousand.
        assert!(told < 120, "{told}");
        let line = whole.line(10.0);
        assert!(
            line.contains("against 6000") && line.contains("of 1440 a day at most 10"),
            "{line}"
        );
    }

    #[test]
    fn a_hijacked_one_is_told_with_what_made_it_odd() {
        let mut whole = learned(6_000);
        let leak = [(1, 400), (2, 1_000), (3, 9_000_000)];
        let odd = whole.judge(&leak, 1.0, name).unwrap();
        assert!(
            odd.p < 1e-3 && odd.calls == 3 && odd.sent > 9_000_000,
            "{odd:?}"
        );
        assert!(odd.sentence.contains("9.0 MB to c3"), "{}", odd.sentence);
        let backwards = [(3, 5_000), (1, 400), (3, 5_000), (1, 400), (2, 1_000)];
        let odd = whole.judge(&backwards, 1.0, name).unwrap();
        assert!(odd.sentence.contains("order ("), "{}", odd.sentence);
        let many: Vec<(u8, u64)> = (0..60).map(|_| (2, 900)).collect();
        assert!(whole.judge(&many, 1.0, name).is_some());
    }

    #[test]
    fn what_cannot_be_told_at_the_budget_is_not_told() {
        let mut whole = Whole::default();
        (0..1_000).for_each(|n| whole.learn(&everyday(n), n * 1_000_000_000));
        assert_eq!(whole.judge(&[(9, 1 << 40)], 1.0, name), None);
        assert!(
            whole.line(1.0).contains("would be told falsely"),
            "{}",
            whole.line(1.0)
        );
        assert_eq!(
            whole.judge(&[(9, 1 << 40)], 0.0, name),
            None,
            "switched off"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn any_episodes_give_finite_scores_and_come_back_from_the_store(
            episodes in prop::collection::vec(prop::collection::vec((any::<u8>(), any::<u64>()), 0..6), 0..40),
            judged in prop::collection::vec((any::<u8>(), any::<u64>()), 0..70),
        ) {
            let mut whole = learned((TRAINING + LEAST) as u64);
            for (n, calls) in episodes.iter().enumerate() {
                whole.learn(calls, n as u64);
            }
            prop_assert!(whole.model.scores(&judged).iter().all(|(score, _)| score.is_finite()));
            let text = serde_json::to_string(&whole).unwrap();
            let mut again: Whole = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(again.judge(&judged, 1.0, name), whole.judge(&judged, 1.0, name));
            prop_assert!(whole.bytes() < 1 << 20);
        }
    }
}
