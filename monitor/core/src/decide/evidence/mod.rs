//! Evidence: what speaks against an operation, and what may be done about it.
//!
//! Four classes, weighed by rules and not by a sum: an **invariant** broken, **hard novelty** of a
//! promoted family, **taint**, and **statistics**. A statistic alone never kills; deny comes before
//! kill; what keeps the host running is never touched. Everything here is a value with its reasons:
//! the shell carries it out, and only what is written here.

pub mod breaker;
pub mod budget;
pub mod conformal;
pub mod fuse;
pub mod guard;

use serde::{Deserialize, Serialize};

use breaker::Breaker;
use guard::Subject;

/// A fused p-value below this is told.
pub const P_ALERT: f64 = 1e-3;
/// A fused p-value below this throttles.
pub const P_THROTTLE: f64 = 1e-5;

/// How far a family has been promoted: the hardest answer to its news alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Still learning: news is no evidence.
    Learn,
    /// News is told.
    Alert,
    /// News is let through slowly.
    Throttle,
    /// News is refused.
    Block,
    /// News is refused, and the tool that tried is killed where a second family agrees.
    Kill,
}

/// One piece of evidence; each carries its sentence for a person.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// A rule that learning cannot relax was broken.
    Invariant {
        /// Which.
        reason: String,
        /// Memory of other processes, or credentials: what leaves afterwards may be a secret.
        secret: bool,
    },
    /// Not in the baseline.
    Novelty {
        /// Family, as a word; two pieces are independent if theirs differ.
        family: String,
        /// How far the family is.
        tier: Tier,
        /// What is new.
        reason: String,
    },
    /// Untrusted and private were read before the way out, or the destination's own text came from
    /// what a tool returned.
    Taint {
        /// The chain.
        reason: String,
    },
    /// A fused and calibrated p-value.
    Statistic {
        /// The p-value.
        p: f64,
        /// The largest shares.
        reason: String,
    },
    /// A CUSUM found a lasting shift.
    Shift {
        /// Of what, and for how long.
        reason: String,
    },
}

/// What is done, from the mildest to the hardest. [`Action::Page`] stands apart: it is what happens
/// in place of a kill too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Tell.
    Alert,
    /// Wake somebody.
    Page,
    /// Clamp the flow to its anchor's rate.
    Throttle,
    /// Refuse the operation.
    Deny,
    /// End the flows that are open.
    CutFlow,
    /// Kill the tool process.
    KillTool,
    /// Freeze the process group and cut it off.
    Quarantine,
    /// Kill the workload.
    KillWorkload,
}

impl Action {
    /// Whether a process dies of it.
    pub fn kills(self) -> bool {
        matches!(self, Self::KillTool | Self::KillWorkload)
    }
}

/// What the operator allows beyond the rules' own bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// A workload may be killed: something restarts it.
    pub kill_workload: bool,
}

/// What is done about an operation, mildest first, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// In order, without repetition; empty if nothing is to be done.
    pub actions: Vec<Action>,
    /// In whole sentences, the most important first.
    pub reasons: Vec<String>,
}

impl Response {
    /// The hardest action.
    pub fn hardest(&self) -> Option<Action> {
        self.actions.iter().copied().max()
    }

    /// Whether the operation is refused.
    pub fn refuses(&self) -> bool {
        self.actions.contains(&Action::Deny)
    }

    fn take(&mut self, actions: &[Action], reason: String) {
        for action in actions {
            if !self.actions.contains(action) {
                self.actions.push(*action);
            }
        }
        self.reasons.push(reason);
    }
}

/// What is to be done about an operation of `subject`, given everything that speaks against it.
/// `now` is in nanoseconds since the epoch; the breaker counts the kills that are decided here.
pub fn respond(
    evidence: &[Evidence],
    subject: &Subject<'_>,
    permission: Permission,
    breaker: &mut Breaker,
    now: u64,
) -> Response {
    let mut response = weigh(evidence, permission);
    if let Some(why) = guard::spared(subject)
        && response.actions.iter().any(|a| *a > Action::Page)
    {
        response.actions = vec![Action::Alert];
        response.reasons.push(why);
        return response;
    }
    if !subject.role_is_tool && response.actions.contains(&Action::KillTool) {
        response.actions.retain(|a| *a != Action::KillTool);
        response.take(
            &[Action::CutFlow],
            "It is not a tool process, so its flows are cut and it lives on.".into(),
        );
    }
    if response.actions.iter().any(|a| a.kills())
        && let Err(full) = breaker.admit(subject.workload, now)
    {
        response.actions.retain(|a| !a.kills());
        response.take(&[Action::Deny, Action::Page], full.to_string());
    }
    response.actions.sort_unstable();
    response
}

/// The rules, without regard to whom they meet.
fn weigh(evidence: &[Evidence], permission: Permission) -> Response {
    let mut response = Response::default();
    let taints = || {
        evidence
            .iter()
            .filter(|e| matches!(e, Evidence::Taint { .. }))
    };
    for piece in evidence {
        if let Evidence::Invariant { reason, secret } = piece {
            let mut actions = vec![Action::Alert, Action::Deny, Action::KillTool];
            let leaves = taints().next().is_some();
            if *secret && leaves {
                actions.push(Action::Quarantine);
            }
            if *secret && leaves && permission.kill_workload {
                actions.push(Action::KillWorkload);
            }
            response.take(&actions, reason.clone());
        }
    }
    let news: Vec<(&str, Tier, &str)> = evidence
        .iter()
        .filter_map(|piece| match piece {
            Evidence::Novelty {
                family,
                tier,
                reason,
            } if *tier > Tier::Learn => Some((family.as_str(), *tier, reason.as_str())),
            _ => None,
        })
        .collect();
    for (family, tier, reason) in &news {
        let agreed = news.iter().any(|(other, _, _)| other != family);
        let actions: &[Action] = match tier {
            Tier::Learn => &[],
            Tier::Alert => &[Action::Alert],
            Tier::Throttle => &[Action::Alert, Action::Throttle],
            Tier::Kill if agreed => &[Action::Alert, Action::Deny, Action::KillTool],
            Tier::Block | Tier::Kill => &[Action::Alert, Action::Deny],
        };
        response.take(actions, (*reason).to_owned());
    }
    for piece in evidence {
        match piece {
            Evidence::Taint { reason } if !news.is_empty() => {
                response.take(&[Action::Deny, Action::KillTool], reason.clone());
            }
            // Everyday work of an agent: told with other evidence, and nothing by itself.
            Evidence::Taint { reason } if !response.actions.is_empty() => {
                response.reasons.push(reason.clone());
            }
            Evidence::Statistic { p, reason } if *p < P_THROTTLE => {
                response.take(&[Action::Alert, Action::Throttle], reason.clone());
            }
            Evidence::Statistic { p, reason } if *p < P_ALERT => {
                response.take(&[Action::Alert], reason.clone());
            }
            Evidence::Shift { reason } => {
                response.take(&[Action::Alert, Action::Throttle], reason.clone());
            }
            _ => {}
        }
    }
    response
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
