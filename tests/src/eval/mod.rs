//! The evaluation: targets, what was reached, and the page that says so.
//!
//! One file per question. Each feeds committed or simulated data to the daemon's own library
//! ([`slmguard_core::baseline`], [`slmguard_core::decide`]) and only counts what comes out: nothing
//! here may score, learn or decide. Everything is repeatable from the committed data and the seeds
//! in these files, except what is marked as measured.

mod agents;
mod calibration;
mod convergence;
mod cost;
mod data;
mod leak;
mod page;
mod paths;
mod poisoning;
mod sockets;

use anyhow::Result;
use serde::Serialize;

pub use data::{Call, Open, Run, Value, agentdojo, decoys, opens};
pub use page::page;

/// What is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Between these, both included.
    Within(f64, f64),
    /// Told for comparison only.
    Told,
}

impl Goal {
    /// Whether a value meets it.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Within(least, most) => (least..=most).contains(&value),
            Self::Told => true,
        }
    }
}

/// One value, what is asked of it, and whether it is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Section of the page.
    pub section: &'static str,
    /// What it is, unique: `agentdojo_known_tasks_tpr`.
    pub name: String,
    /// In words, with the unit.
    pub what: String,
    /// The value.
    pub value: f64,
    /// Its 95 % interval, where it is an estimate.
    pub interval: Option<(f64, f64)>,
    /// What is asked.
    pub target: Goal,
    /// Whether that is reached.
    pub met: bool,
    /// Seen only after all settings were committed.
    pub held_out: bool,
    /// Depends on the machine: not compared with the committed page.
    pub measured: bool,
}

impl Target {
    /// A value without an interval, of data that settings were chosen on.
    pub fn new(section: &'static str, name: &str, what: &str, value: f64, target: Goal) -> Self {
        Self {
            section,
            name: name.into(),
            what: what.into(),
            value,
            interval: None,
            target,
            met: target.is_met(value),
            held_out: false,
            measured: false,
        }
    }

    /// With a 95 % interval.
    pub fn between(self, low: f64, high: f64) -> Self {
        Self {
            interval: Some((low, high)),
            ..self
        }
    }

    /// Of data that no setting was chosen on.
    pub fn held_out(self) -> Self {
        Self {
            held_out: true,
            ..self
        }
    }

    /// Of this machine.
    pub fn measured(self) -> Self {
        Self {
            measured: true,
            ..self
        }
    }
}

/// Wilson's 95 % interval of a share.
pub fn share(hits: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (of as f64, 1.959_963_985);
    let p = hits as f64 / n;
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// What answers a question; called with something to tell progress to.
pub type Ask = fn(&mut dyn FnMut(&str)) -> Result<Vec<Target>>;

/// A question: the name that the command line knows it by, and what answers it.
pub struct Question {
    /// Name.
    pub name: &'static str,
    /// Answers it.
    pub ask: Ask,
}

/// Every question, in the order of the page.
pub const QUESTIONS: &[Question] = &[
    convergence::QUESTION,
    paths::QUESTION,
    Question {
        name: "agents",
        ask: agents::ask,
    },
    Question {
        name: "leak",
        ask: leak::ask,
    },
    poisoning::QUESTION,
    Question {
        name: "calibration",
        ask: calibration::ask,
    },
    Question {
        name: "cost",
        ask: cost::ask,
    },
];
