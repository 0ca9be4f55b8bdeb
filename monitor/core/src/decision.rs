//! Decision: what is made of one observation, with its reasons.

use crate::{baseline::order::trace::Trace, observation::Observation};

/// What is made of one observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What it is about.
    pub observation: Observation,
    /// What follows.
    pub outcome: Outcome,
    /// Why, in whole sentences for a person; the most important first.
    pub reasons: Vec<String>,
    /// Name that the workload was given the address for; the first, where there are several.
    pub name: Option<String>,
    /// The nearest known subjects of the same family and scope, best first, at most three.
    pub nearest: Vec<String>,
    /// An operator is only told: nothing was stopped and nothing left the policy. Alerts like this
    /// have a budget ([`crate::decide::evidence::budget`]).
    pub budgeted: bool,
    /// When the first was, nanoseconds since the epoch, where this stands for several that are told
    /// together.
    pub first: Option<u64>,
    /// What came before in the same episode; for alerts only.
    pub before: Option<Trace>,
}

impl Decision {
    /// Tells something that no hook saw and that stopped nothing.
    pub fn told(observation: Observation, reasons: Vec<String>) -> Self {
        Self {
            observation,
            outcome: Outcome::Alert,
            reasons,
            name: None,
            nearest: vec![],
            budgeted: true,
            first: None,
            before: None,
        }
    }
}

/// What follows from an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Known, or of no interest: counted only.
    Count,
    /// New while learning: becomes part of the baseline.
    Learn,
    /// Worth an operator's attention.
    Alert,
}
