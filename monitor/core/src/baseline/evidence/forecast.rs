//! Forecast: in plain words, what is learned, what is missing, and how long it will take.
//!
//! Everything that a person reads about evidence is written here. Knows numbers; asks nobody.

use serde::Serialize;

use super::{
    bound,
    promotion::{Basis, Facts, Standing, Tier, Unmet},
    words,
};

/// Waiting longer than that is no plan.
const LONGEST_DAYS: f64 = 365.0;

/// Days before which a rate per day means nothing: an hour.
const EARLY: f64 = 1.0 / 24.0;

/// When a tier will be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// There is no tier above, or nothing but steps, approvals or other families is missing.
    NotOfTime,
    /// After so many days more, if all goes on as now.
    Days(f64),
    /// New subjects keep coming too often.
    NotAtThisRate,
}

/// What can be said of a family of a scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The tier above, where there is one.
    pub next: Option<Tier>,
    /// When it will be reached.
    pub when: When,
    /// For a person, one sentence each.
    pub lines: Vec<String>,
}

/// How long until a tier is reached, if new subjects keep coming at the present rate. With none
/// seen lately that is what the rule of three asks for.
pub fn until(facts: &Facts, tier: Tier) -> When {
    let needs = tier.needs();
    let unmet = facts.unmet(tier);
    let waits = |u: &Unmet| {
        matches!(
            u,
            Unmet::Bound { .. } | Unmet::Episodes { .. } | Unmet::Days { .. }
        )
    };
    if !unmet.iter().any(waits) {
        return When::NotOfTime;
    }
    let rate = facts.per_day;
    let have = facts.estimate.episodes as f64;
    if !(rate.is_finite() && facts.days > 0.0 && have > 0.0) {
        return When::NotAtThisRate;
    }
    // Several hosts watch several days in one.
    let hosts = f64::from(facts.hosts.max(1));
    let per_day = have / facts.days * hosts;
    let unseen = if facts.estimate.once == 0 {
        0.0
    } else {
        facts.estimate.unseen
    };
    let Some(episodes) = bound::episodes_until(unseen, rate, needs.per_day, |once| {
        facts.estimate.limit(once)
    }) else {
        return When::NotAtThisRate;
    };
    let wanted = episodes.max(needs.episodes as f64) - have;
    let days = (wanted / per_day)
        .max((needs.days - facts.days) / hosts)
        .max(0.0);
    if days > LONGEST_DAYS {
        return When::NotAtThisRate;
    }
    When::Days(days)
}

/// The forecast for where a family stands; `blocked` are subjects and times that would have been
/// blocked in the last `of_days` days.
pub fn forecast(facts: &Facts, standing: &Standing, blocked: (u64, u64), of_days: u64) -> Forecast {
    let estimate = &facts.estimate;
    let family = facts.family;
    let what = words::plural(family);
    let mut lines = vec![];
    let known = words::of(estimate.subjects as u64, family);
    let after = words::episodes(estimate.episodes);
    let in_days = words::days(facts.days);
    lines.push(match estimate.once {
        _ if estimate.episodes == 0 => format!("{known} known; no episode has ended yet"),
        0 => format!("{known} known after {after} in {in_days}; each in several episodes"),
        n => format!(
            "{known} known after {after} in {in_days}; {} in one episode only",
            words::count(n as u64)
        ),
    });
    let early = estimate.episodes > 0 && facts.days < EARLY;
    if early {
        lines.push(format!(
            "too early to say how many new {what} per day are to be expected"
        ));
    } else if facts.upper_per_day().is_finite() {
        lines.push(format!(
            "about {} new {what} per day, at most {} (95 %)",
            words::amount(facts.new_per_day()),
            words::amount(facts.upper_per_day())
        ));
    }
    let more = estimate.more.round() as u64;
    if more > 0 {
        lines.push(format!("at least {} more to come", words::count(more)));
    }
    let basis = match standing.basis {
        Basis::None => "",
        Basis::Evidence => ", on evidence",
        Basis::Declared => ", because the operator approved the list",
    };
    lines.push(format!("stands at {}{basis}", standing.tier));
    let next = standing.tier.next();
    let when = next.map_or(When::NotOfTime, |tier| until(facts, tier));
    if let Some(tier) = next {
        for unmet in &standing.missing {
            if matches!(unmet, Unmet::Bound { .. }) && early {
                continue;
            }
            lines.push(format!("for {tier}: {unmet}"));
        }
        match when {
            When::NotOfTime => {}
            When::Days(days) => lines.push(format!(
                "for {tier}: {} more at this rate",
                words::days(days.max(0.1))
            )),
            When::NotAtThisRate => lines.push(format!(
                "for {tier}: not at this rate; approve the list, or allow what keeps changing by a \
                 pattern"
            )),
        }
    }
    let last = match of_days {
        1 => "the last day".to_owned(),
        n => format!("the last {n} days"),
    };
    lines.push(match blocked {
        (0, _) => format!("had it enforced during {last}, nothing would have been blocked"),
        (subjects, times) => format!(
            "had it enforced during {last}, {} would have been blocked, {}",
            words::of(subjects, family),
            if times == 1 {
                "once".into()
            } else {
                format!("{} times", words::count(times))
            }
        ),
    });
    Forecast { next, when, lines }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
