//! `slmguard replay --accelerate`: when evidence would promote which family.

use std::time::Duration;

use serde::Serialize;
use slmguard_core::{
    baseline::evidence::lifecycle::Step,
    workload::{family_name, phase_name, role_name},
};

use super::out;
use crate::{
    daemon::{
        accelerate::{Pace, Promotion},
        replay::Replay,
    },
    exit::{Exit, Failure},
};

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    /// `promotion`, or `standing` at the end.
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<f64>,
    workload: &'a str,
    role: &'a str,
    phase: &'a str,
    family: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    tier: String,
    lines: &'a [String],
}

/// A step of the life cycle, by its word.
pub(super) fn step(word: &str) -> Result<Step, String> {
    Step::from_word(word)
        .filter(|step| step.may_not_apply())
        .ok_or_else(|| {
            let all = Step::ALL.iter().filter(|step| step.may_not_apply());
            let all: Vec<_> = all.map(|step| step.word()).collect();
            format!("write one of {}", all.join(", "))
        })
}

/// Repeats what was learned, and prints what comes of it.
pub(super) fn run(
    replay: &mut Replay,
    total: Duration,
    every: Duration,
    without: &[Step],
    json: bool,
) -> Result<Exit, Failure> {
    let pace = Pace {
        total,
        every,
        without: without.to_vec(),
    };
    let outcomes = replay
        .accelerate(&pace, |promotion| {
            if json {
                promoted(&promotion).map_err(anyhow::Error::msg)
            } else {
                out::line(&sentence(&promotion)).map_err(anyhow::Error::msg)
            }
        })
        .map_err(|e| Failure::new(Exit::Failure, format!("{e:#}")))?;
    for outcome in &outcomes {
        let scope = &outcome.scope;
        if json {
            out::json(&Line {
                what: "standing",
                day: None,
                workload: &scope.workload,
                role: role_name(scope.role),
                phase: phase_name(scope.phase),
                family: family_name(outcome.family),
                before: None,
                tier: outcome.standing.tier.to_string(),
                lines: &outcome.lines,
            })?;
            continue;
        }
        out::line(&format!(
            "{} {} {}, {}: {}",
            scope.workload,
            role_name(scope.role),
            phase_name(scope.phase),
            family_name(outcome.family),
            outcome.standing.tier
        ))?;
        for line in &outcome.lines {
            out::line(&format!("  {line}"))?;
        }
    }
    if !json {
        for (workload, lines) in replay.lifecycles() {
            out::line(&format!("Life of {workload}"))?;
            for line in lines {
                out::line(&format!("  {line}"))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn promoted(promotion: &Promotion) -> Result<(), Failure> {
    let scope = &promotion.scope;
    out::json(&Line {
        what: "promotion",
        day: Some(promotion.day),
        workload: &scope.workload,
        role: role_name(scope.role),
        phase: phase_name(scope.phase),
        family: family_name(promotion.family),
        before: Some(promotion.before.to_string()),
        tier: promotion.standing.tier.to_string(),
        lines: &promotion.standing.why,
    })
}

fn sentence(promotion: &Promotion) -> String {
    let scope = &promotion.scope;
    format!(
        "day {:6.2}  {} {} {}, {}: from {} to {}: {}",
        promotion.day,
        scope.workload,
        role_name(scope.role),
        phase_name(scope.phase),
        family_name(promotion.family),
        promotion.before,
        promotion.standing.tier,
        promotion.standing.why.join("; ")
    )
}
