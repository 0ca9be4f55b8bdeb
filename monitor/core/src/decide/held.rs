//! Alerts that were not told one by one: what is said when they are told together.
//!
//! When that is, the budget knows ([`super::evidence::budget`]).

use super::evidence::budget::Repeats;
use crate::{
    decision::Decision,
    observation::{Fact, Held, Observation},
    time::rfc3339,
};

/// The alert that stands for several of the same: the last of them, with their number.
pub fn again(repeats: &Repeats<Decision>) -> Decision {
    let mut decision = repeats.last.clone();
    let (first, last) = repeats.between;
    decision.observation.count = repeats.count;
    decision.first = Some(first);
    let times = match repeats.count {
        1 => "once more".to_owned(),
        n => format!("{n} more times"),
    };
    decision.reasons.insert(
        1.min(decision.reasons.len()),
        format!(
            "It was seen {times} since it was last told, from {} to {}; this shows the last.",
            rfc3339(first),
            rfc3339(last)
        ),
    );
    decision
}

/// The alert that sums up what was over the budget; `last` is the last of what it sums up.
pub fn held(held: &Held, last: &Observation) -> Decision {
    let scope = &last.scope;
    let kinds: Vec<String> = held
        .kinds
        .iter()
        .map(|(kind, count)| format!("{count} of kind {kind}"))
        .collect();
    let observation = Observation {
        count: held.alerts.max(1),
        uid: last.uid,
        cgroup: last.cgroup,
        hook: last.hook,
        ..Observation::derived(
            held.last,
            last.process,
            scope,
            last.mode,
            Fact::Held(Box::new(held.clone())),
        )
    };
    let reasons = vec![
        format!(
            "Workload {} was to be told {} more times between {} and {}: {}.",
            scope.workload,
            held.alerts,
            rfc3339(held.first),
            rfc3339(held.last),
            kinds.join(", ")
        ),
        format!("Among them: {}.", held.examples.join(", ")),
        "They are over the alert budget of the day ([alerts] new_per_day); nothing was stopped, and \
         nothing of it left the policy."
            .into(),
        format!(
            "`slmguard events --workload {}` shows each while it happens; so many usually mean that \
             the workload changed: approve what is meant, or let it learn again.",
            scope.workload
        ),
    ];
    Decision {
        first: Some(held.first),
        ..Decision::told(observation, reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_common::event::Verdict;

    use crate::{
        decision::Outcome,
        testing::{open, seen},
    };

    fn file() -> Observation {
        seen(open("/srv/a", 1), Verdict::Audited)
    }

    #[test]
    fn several_are_told_as_one_with_their_number() {
        let observation = file();
        let last = Decision::told(observation, vec!["It did.".into(), "Allow it.".into()]);
        let decision = again(&Repeats {
            last: last.clone(),
            count: 41,
            between: (1_000_000_000, 9_000_000_000),
        });
        assert_eq!(
            (decision.observation.count, decision.first),
            (41, Some(1_000_000_000))
        );
        assert_eq!(decision.reasons.len(), 3);
        assert!(
            decision.reasons[1].contains("41 more times"),
            "{:?}",
            decision.reasons
        );
        let without = Decision {
            reasons: vec![],
            ..last
        };
        let one = again(&Repeats {
            last: without,
            count: 1,
            between: (0, 0),
        });
        assert!(one.reasons[0].contains("once more"), "{:?}", one.reasons);
    }

    #[test]
    fn a_summary_says_how_many_of_what() {
        let last = file();
        let sum = Held {
            alerts: 3,
            first: 1_000_000_000,
            last: 2_000_000_000,
            kinds: [("odd", 1), ("open", 2)].into(),
            examples: vec!["/a".into(), "/b".into()],
        };
        let decision = held(&sum, &last);
        assert_eq!(decision.outcome, Outcome::Alert);
        assert_eq!(decision.observation.time, 2_000_000_000);
        assert!(
            decision.reasons[0].ends_with("1 of kind odd, 2 of kind open."),
            "{:?}",
            decision.reasons
        );
        assert_eq!(decision.reasons[1], "Among them: /a, /b.");
    }
}
