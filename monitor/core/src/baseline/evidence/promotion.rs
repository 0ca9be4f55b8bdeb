//! Promotion: what a family of a scope may be used for, given what is known about it.
//!
//! Never from time alone: every tier asks for a bound on what was not seen yet, and that bound falls
//! with episodes only. What cannot be shown can be declared by the operator, and the two are never
//! mixed up. Knows numbers and the list of steps; nothing of policies, and nothing of what is done
//! at a tier.
//!
//! **When events were lost**, what was learned stays known, but it is no evidence any more: counting
//! begins anew at that moment ([`super::incidence::Incidence::restart`]). A tier that was reached
//! before is held, because losing events makes no rule wrong that was right; it only cannot rise.

use std::fmt;

use monitor_common::class::{Family, Mode, Role};
use serde::{Deserialize, Serialize};

use super::{
    incidence::Estimate,
    lifecycle::{Lifecycle, Step},
    words,
};

/// What a deviation may lead to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Nothing: it is learned.
    #[default]
    Learn,
    /// An alert.
    Alert,
    /// A clamped budget for what is unknown.
    Throttle,
    /// A denial.
    Block,
    /// The end of a tool process, if a second, independent family deviates as well.
    Kill,
}

impl Tier {
    /// The tiers above learning, lowest first.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Throttle, Self::Block, Self::Kill];

    /// Unknown subjects per day that the tier bears, and episodes and days of watching that it
    /// needs at least.
    pub const fn needs(self) -> Needs {
        let (per_day, episodes, days) = match self {
            Self::Learn => (f64::INFINITY, 0, 0.0),
            Self::Alert => (3.0, 200, 0.0),
            Self::Throttle => (1.0, 200, 0.0),
            Self::Block | Self::Kill => (0.1, 200, 2.0),
        };
        Needs {
            per_day,
            episodes,
            days,
        }
    }

    /// The tier above.
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| *tier > self)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Learn => "learning",
            Self::Alert => "alerting",
            Self::Throttle => "throttling",
            Self::Block => "blocking",
            Self::Kill => "ending tool processes",
        })
    }
}

/// What a tier asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needs {
    /// Upper limit of new subjects per day of one host.
    pub per_day: f64,
    /// Episodes.
    pub episodes: u64,
    /// Days of watching.
    pub days: f64,
}

/// What is known about a family of a scope.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Role of the scope.
    pub role: Role,
    /// The family.
    pub family: Family,
    /// What follows from the counts.
    pub estimate: Estimate,
    /// Episodes per day of one host.
    pub per_day: f64,
    /// Days of watching, of all hosts together.
    pub days: f64,
    /// Hosts that watch.
    pub hosts: u32,
    /// The list of the workload.
    pub lifecycle: &'a Lifecycle,
    /// When events were lost the last time, nanoseconds since the epoch.
    pub lost: Option<u64>,
    /// Its memory is full: it does not learn any more.
    pub full: bool,
    /// The operator approved the list as it is.
    pub declared: bool,
    /// The tier that it reached before, on evidence.
    pub held: Tier,
    /// A family that does not go hand in hand with this one may block as well.
    pub second: bool,
}

impl Facts<'_> {
    /// Upper 95 % limit of new subjects per day.
    pub fn upper_per_day(&self) -> f64 {
        self.estimate.upper * self.per_day
    }

    /// New subjects to be expected per day.
    pub fn new_per_day(&self) -> f64 {
        if self.estimate.once == 0 && self.estimate.episodes > 0 {
            return 0.0;
        }
        self.estimate.unseen * self.per_day
    }

    /// What a tier asks for and is not there, most telling first.
    pub fn unmet(&self, tier: Tier) -> Vec<Unmet> {
        let needs = tier.needs();
        let mut unmet = vec![];
        if self.full {
            unmet.push(Unmet::Full);
        }
        // 3/T times T per day is not exactly 3 per day in binary fractions.
        let upper = self.upper_per_day();
        if upper.is_nan() || upper > needs.per_day * (1.0 + 1e-9) {
            unmet.push(Unmet::Bound {
                upper,
                budget: needs.per_day,
                family: self.family,
            });
        }
        if self.estimate.episodes < needs.episodes {
            unmet.push(Unmet::Episodes {
                have: self.estimate.episodes,
                need: needs.episodes,
            });
        }
        if self.days < needs.days {
            unmet.push(Unmet::Days {
                have: self.days,
                need: needs.days,
            });
        }
        if tier >= Tier::Throttle {
            let missing = self.lifecycle.missing();
            if !missing.is_empty() {
                unmet.push(Unmet::Steps(missing));
            }
        }
        if tier == Tier::Kill {
            if self.role != Role::Tool {
                unmet.push(Unmet::NotATool);
            } else if !self.second {
                unmet.push(Unmet::NoSecond);
            }
        }
        unmet
    }
}

/// What is missing for a tier.
#[derive(Clone, Debug, PartialEq)]
pub enum Unmet {
    /// Too many new subjects may still come.
    Bound {
        /// Upper limit per day.
        upper: f64,
        /// What the tier bears.
        budget: f64,
        /// Of which family.
        family: Family,
    },
    /// Too few episodes.
    Episodes {
        /// There are.
        have: u64,
        /// There must be.
        need: u64,
    },
    /// Too few days of watching.
    Days {
        /// There are.
        have: f64,
        /// There must be.
        need: f64,
    },
    /// Steps of the lifecycle were not watched.
    Steps(Vec<Step>),
    /// It does not learn any more, so that what it does not know says little.
    Full,
    /// Only tool processes are ended.
    NotATool,
    /// No second family.
    NoSecond,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound {
                upper,
                budget,
                family,
            } if upper.is_finite() => write!(
                f,
                "up to {} new {} per day must still be reckoned with; {} is the most",
                words::amount(*upper),
                words::plural(*family),
                words::amount(*budget)
            ),
            Self::Bound { family, .. } => {
                let what = words::plural(*family);
                write!(f, "nothing can be said about new {what} yet")
            }
            Self::Episodes { have, need } => {
                let have = words::count(*have);
                write!(f, "{have} of at least {need} episodes were watched")
            }
            Self::Days { have, need } => {
                let (have, need) = (words::amount(*have), words::amount(*need));
                write!(f, "{have} of at least {need} days were watched")
            }
            Self::Steps(steps) => {
                let steps: Vec<_> = steps.iter().map(Step::to_string).collect();
                write!(f, "not watched yet: {}", steps.join(", "))
            }
            Self::Full => f.write_str("its memory is full and it does not learn any more"),
            Self::NotATool => f.write_str("only tool processes are ended"),
            Self::NoSecond => f.write_str("no second, independent family may block yet"),
        }
    }
}

/// What a standing rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Nothing yet.
    #[default]
    None,
    /// What was watched.
    Evidence,
    /// The operator's word.
    Declared,
}

/// State of a family in the words of the modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Observed and learned.
    Learning,
    /// Deviations alert.
    Monitor,
    /// Deviations are denied.
    Enforce,
}

/// Where a family stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// How far it got.
    pub tier: Tier,
    /// What that rests on.
    pub basis: Basis,
    /// Why, one sentence each.
    pub why: Vec<String>,
    /// What is missing for the tier above.
    pub missing: Vec<Unmet>,
}

impl Standing {
    /// The state that its tier amounts to.
    pub fn state(&self) -> State {
        match self.tier {
            Tier::Learn => State::Learning,
            Tier::Alert | Tier::Throttle => State::Monitor,
            Tier::Block | Tier::Kill => State::Enforce,
        }
    }
}

/// Where a family stands.
///
/// The highest tier whose demands are met, together with those of all tiers below it, or the one
/// that it had before. An approval lifts it to blocking at once and never to ending processes. A
/// family whose memory is full is at most alerting, whatever it had, unless it was approved: then
/// the list is the operator's, and complete by his word.
pub fn stand(facts: &Facts) -> Standing {
    let shown = Tier::ALL
        .into_iter()
        .take_while(|tier| facts.unmet(*tier).is_empty())
        .last()
        .unwrap_or_default();
    let mut why = vec![];
    let mut tier = shown.max(facts.held);
    let mut basis = match tier {
        Tier::Learn => Basis::None,
        _ => Basis::Evidence,
    };
    if facts.declared && (tier < Tier::Block || facts.full) {
        (tier, basis) = (Tier::Block, Basis::Declared);
        why.push("the operator approved the list".into());
    } else if facts.full {
        (tier, basis) = (Tier::Alert, Basis::None);
        why.push(format!("{}: it is at most {tier}", Unmet::Full));
    } else if tier > shown {
        why.push(format!("{tier} was reached earlier and is held"));
    }
    if basis == Basis::Evidence && shown > Tier::Learn {
        why.push(format!(
            "at most {} new {} per day (95 %) after {} in {}",
            words::amount(facts.upper_per_day()),
            words::plural(facts.family),
            words::episodes(facts.estimate.episodes),
            words::days(facts.days)
        ));
    }
    if facts.lost.is_some() {
        why.push("events were lost: evidence counts from then on".into());
    }
    let missing = tier.next().map_or_else(Vec::new, |next| facts.unmet(next));
    Standing {
        tier,
        basis,
        why,
        missing,
    }
}

/// What the operator set a workload to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// This mode, until it is changed.
    Fixed(Mode),
    /// Each family as far as it got.
    Auto {
        /// The operator confirmed a workload that was found, or configured it.
        confirmed: bool,
    },
}

/// The mode that the kernel applies to a family. A workload that was only found is at most
/// monitored until the operator has confirmed it.
pub fn mode(setting: Setting, standing: &Standing) -> Mode {
    let earned = match standing.state() {
        State::Learning => Mode::Learn,
        State::Monitor => Mode::Monitor,
        State::Enforce => Mode::Enforce,
    };
    match setting {
        Setting::Fixed(mode) => mode,
        Setting::Auto { confirmed: true } => earned,
        Setting::Auto { confirmed: false } => earned.min(Mode::Monitor),
    }
}

/// Whether two families do not go hand in hand: a new name nearly always comes with a new address,
/// and a file that is written is often read.
pub fn independent(a: Family, b: Family) -> bool {
    let group = |family| match family {
        Family::Destination | Family::Name => 0,
        Family::Read | Family::Write => 1,
        Family::Exec => 2,
        Family::Unix => 3,
        Family::Listen => 4,
        Family::Facility => 5,
    };
    group(a) != group(b)
}

#[cfg(test)]
#[path = "promotion_tests.rs"]
mod tests;
