//! The chain of an episode: inbound request, reads by class, programs, egress; with five taint bits.
//!
//! *Trifecta*: untrusted input, a private read, and then a way out to a destination that is not in
//! the baseline. Any two of them are everyday work. Taint is kept per episode and not per token: a
//! model mixes everything that it reads.

use serde::{Deserialize, Serialize};

/// Steps that are kept for telling; the bits keep everything.
pub const MAX_STEPS: usize = 16;

/// Taint bits.
pub mod bit {
    /// Took untrusted input.
    pub const UNTRUSTED: u8 = 1;
    /// Read something private.
    pub const PRIVATE: u8 = 2;
    /// Something left.
    pub const EGRESS: u8 = 4;
    /// Read a secret.
    pub const SECRET: u8 = 8;
    /// To a destination that is not in the baseline.
    pub const NEW: u8 = 16;
}

/// What kind of thing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Model, program, library: says nothing.
    Ordinary,
    /// Written by others: web pages, mail, retrieved documents, results of tools.
    Untrusted,
    /// The owner's data.
    Private,
    /// Written by others about the owner: an inbox is both.
    UntrustedPrivate,
    /// Keys, passwords, tokens.
    Secret,
}

impl Class {
    /// Its taint bits.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ordinary => 0,
            Self::Untrusted => bit::UNTRUSTED,
            Self::Private => bit::PRIVATE,
            Self::UntrustedPrivate => bit::UNTRUSTED | bit::PRIVATE,
            Self::Secret => bit::SECRET | bit::PRIVATE,
        }
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Untrusted => "untrusted",
            Self::Private => "private",
            Self::UntrustedPrivate => "private and untrusted",
            Self::Secret => "secret",
        }
    }
}

/// One step. Its texts are escaped already, as subjects are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A request came in, from whom.
    Inbound(String),
    /// Something was read.
    Read(Class, String),
    /// A program was started.
    Exec(String),
    /// Something left.
    Egress {
        /// Where to.
        destination: String,
        /// Whether that is in the baseline.
        known: bool,
        /// Bytes, where they are known.
        bytes: Option<u64>,
    },
}

/// An episode so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    bits: u8,
    /// With nanoseconds since the first step.
    steps: Vec<(u64, Step)>,
    began: Option<u64>,
    left_out: u32,
}

impl Chain {
    /// Takes in a step at `time`, nanoseconds on any one clock. Whether it completes the trifecta:
    /// true once for each way out that does.
    pub fn step(&mut self, time: u64, step: Step) -> bool {
        let began = *self.began.get_or_insert(time);
        let completes = self.completes(&step);
        self.bits |= match &step {
            Step::Inbound(_) | Step::Exec(_) => 0,
            Step::Read(class, _) => class.bits(),
            Step::Egress { known: true, .. } => bit::EGRESS,
            Step::Egress { known: false, .. } => bit::EGRESS | bit::NEW,
        };
        if self.steps.len() < MAX_STEPS {
            self.steps.push((time.saturating_sub(began), step));
        } else {
            // The way out is what a person must see: the last place is always the latest.
            self.left_out = self.left_out.saturating_add(1);
            self.steps[MAX_STEPS - 1] = (time.saturating_sub(began), step);
        }
        completes
    }

    /// Whether a step would complete the trifecta now.
    pub fn completes(&self, step: &Step) -> bool {
        let both = bit::UNTRUSTED | bit::PRIVATE;
        matches!(step, Step::Egress { known: false, .. }) && self.bits & both == both
    }

    /// Whether a step is among those kept.
    pub fn has(&self, step: &Step) -> bool {
        self.steps.iter().any(|(_, kept)| kept == step)
    }

    /// The taint bits, see [`bit`].
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether untrusted input was taken.
    pub fn is_tainted(&self) -> bool {
        self.bits & bit::UNTRUSTED != 0
    }

    /// Another chain joins this one, because a process serves both and cannot be told apart.
    pub fn join(&mut self, other: &Self) {
        self.bits |= other.bits;
    }

    /// The steps kept, each with nanoseconds since the first one.
    pub fn steps(&self) -> &[(u64, Step)] {
        &self.steps
    }

    /// The chain in one sentence for a person. Calls of destinations in the baseline are left out of
    /// it, unless one is the last step.
    pub fn sentence(&self) -> String {
        if self.steps.is_empty() {
            return "Nothing happened.".into();
        }
        let words: Vec<String> = self
            .steps
            .iter()
            .enumerate()
            .filter(|(at, (_, step))| {
                let listed = matches!(step, Step::Egress { known: true, .. });
                !listed || at + 1 == self.steps.len()
            })
            .map(|(_, (after, step))| format!("{} (+{:.1} s)", words(step), *after as f64 / 1e9))
            .collect();
        let mut text = words.join(", then ");
        if let Some(first) = text.get(..1).map(str::to_uppercase) {
            text.replace_range(..1, &first);
        }
        match self.left_out {
            0 => format!("{text}."),
            1 => format!("{text}; one step between is not shown."),
            n => format!("{text}; {n} steps between are not shown."),
        }
    }
}

fn words(step: &Step) -> String {
    match step {
        Step::Inbound(from) => format!("a request came in from {from}"),
        Step::Read(class, what) => match class {
            Class::Ordinary => format!("it read {what}"),
            class => format!("it read {} {what}", class.word()),
        },
        Step::Exec(program) => format!("it started {program}"),
        Step::Egress {
            destination,
            known,
            bytes,
        } => {
            let did = match bytes {
                Some(n) => format!("it sent {n} bytes to"),
                None => "it called".to_owned(),
            };
            let news = if *known {
                ""
            } else {
                ", which is not in the baseline"
            };
            format!("{did} {destination}{news}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn out(known: bool) -> Step {
        Step::Egress {
            destination: "evil.example".into(),
            known,
            bytes: Some(900),
        }
    }

    #[test]
    fn all_three_in_this_order_are_the_trifecta() {
        let mut chain = Chain::default();
        assert!(!chain.step(0, Step::Inbound("127.0.0.1".into())));
        assert!(!chain.step(1_000_000_000, Step::Read(Class::Private, "inbox".into())));
        assert!(
            !chain.step(2_000_000_000, out(false)),
            "no untrusted input yet"
        );
        chain.step(
            2_500_000_000,
            Step::Read(Class::Untrusted, "https://a.test".into()),
        );
        assert!(!chain.step(3_000_000_000, out(true)), "a known destination");
        assert!(chain.step(3_500_000_000, out(false)));
        assert_eq!(
            chain.bits(),
            bit::UNTRUSTED | bit::PRIVATE | bit::EGRESS | bit::NEW
        );
        let text = chain.sentence();
        assert!(
            text.starts_with(
                "A request came in from 127.0.0.1 (+0.0 s), then it read private inbox (+1.0 s)"
            ),
            "{text}"
        );
        assert!(
            text.ends_with(
                "it sent 900 bytes to evil.example, which is not in the baseline (+3.5 s)."
            ),
            "{text}"
        );
    }

    #[test]
    fn a_secret_is_private_too() {
        let mut chain = Chain::default();
        chain.step(5, Step::Read(Class::Secret, "~/.aws/credentials".into()));
        chain.step(6, Step::Read(Class::Untrusted, "page".into()));
        assert!(chain.step(7, out(false)));
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_the_latest_step_is_shown(
            times in prop::collection::vec(any::<u64>(), 1..60),
        ) {
            let mut chain = Chain::default();
            for time in &times {
                chain.step(*time, Step::Exec(format!("program {time}")));
            }
            prop_assert!(chain.steps().len() <= MAX_STEPS);
            let last = format!("program {}", times[times.len() - 1]);
            prop_assert!(chain.sentence().contains(&last));
        }

        #[test]
        fn the_trifecta_never_happens_without_untrusted_input(
            steps in prop::collection::vec((0..3u8, any::<bool>()), 0..30),
        ) {
            let mut chain = Chain::default();
            for (kind, known) in steps {
                let step = match kind {
                    0 => Step::Read(Class::Secret, "s".into()),
                    1 => Step::Exec("p".into()),
                    _ => out(known),
                };
                prop_assert!(!chain.step(0, step));
            }
        }
    }
}
