//! From a finding about lineages to a decision: another shape of a workload, or something that it had
//! not used for so long that it was taken off its list.
//!
//! It must not judge again, and it never claims that anything was stopped.

use monitor_common::{class::Mode, event::Verdict};

use crate::{
    baseline::lineage::{Change, Finding, UNUSED_DAYS},
    decision::Decision,
    observation::{Fact, Observation, Shape},
    text::shell_word,
    time::rfc3339,
    workload::{family_name, phase_name, role_name},
};

/// News of a shape that are written out.
const SHOWN: usize = 4;

/// The decision to tell a finding. `mode` is that of the family, or of the files that are read.
pub fn lineage(finding: &Finding, mode: Mode) -> Decision {
    match finding {
        Finding::Began(change) => began(change, mode),
        Finding::Stale {
            seen,
            family,
            subject,
            since,
        } => {
            let observation = Observation {
                mode,
                // It was in the policy, and is told all the same.
                verdict: Verdict::Audited,
                ..(**seen).clone()
            };
            let scope = &seen.scope;
            let place = format!(
                "--subject {} --role {} --phase {} --family {}",
                shell_word(subject),
                role_name(scope.role),
                phase_name(scope.phase),
                family_name(*family)
            );
            let workload = &scope.workload;
            let reasons = vec![
                format!(
                    "The {} of workload {workload} (phase {}) used {subject}, which it had not used \
                     for {UNUSED_DAYS} days and more: since {} that counts as known but stale.",
                    role_name(scope.role),
                    phase_name(scope.phase),
                    rfc3339(*since)
                ),
                "A new shape of the workload began in the meantime, so that nobody knows whether it \
                 is still meant. Leftovers of that kind are what attackers live off."
                    .to_owned(),
                "Nothing was stopped: it is still in the policy.".to_owned(),
                format!(
                    "If it is meant, keep it: `slmguard baseline pin {workload} {place} --reason \
                     \"…\"`. If not, take it away: `slmguard baseline reject {workload} {place} \
                     --reason \"…\"`. Until then it counts as stale."
                ),
            ];
            Decision::told(observation, reasons)
        }
    }
}

fn began(change: &Change, mode: Mode) -> Decision {
    let workload = &change.scope.workload;
    let observation = Observation::derived(
        change.time,
        change.process,
        &change.scope,
        mode,
        Fact::Lineage(Box::new(Shape {
            lineage: change.lineage,
            differs: change.differs.clone(),
            news: change.news.clone(),
        })),
    );
    let mut reasons = vec![format!(
        "Workload {workload} is not what it was: {}. Lineage {} of it begins.",
        change.differs.join(", "),
        change.lineage
    )];
    let shown: Vec<&str> = change.news.iter().take(SHOWN).map(String::as_str).collect();
    let more = change.news.len().saturating_sub(SHOWN);
    let rest = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    reasons.push(format!("New is: {}{rest}.", shown.join("; ")));
    reasons.push(
        "It is held to the lists of the lineage before: nothing was relaxed. What it does beyond them \
         is refused or told as before, and waits with what is known about it."
            .to_owned(),
    );
    if !change.dropped.is_empty() {
        reasons.push(format!(
            "{} subjects that had been added since the lists were frozen have to be seen anew.",
            change.dropped.len()
        ));
    }
    reasons.push(format!(
        "If it was a deploy, look at what waits: `slmguard baseline explain {workload}`, and approve \
         what is right. If nobody deployed anything, stop the service and look who may write its \
         program or its unit."
    ));
    Decision {
        // Seldom, and never a trifle: it waits for nobody's budget.
        budgeted: false,
        ..Decision::told(observation, reasons)
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::{class::Family, path::permission::READ};

    use super::*;
    use crate::{
        observation::ProcessKey,
        testing::{open, scope, seen},
    };

    #[test]
    fn another_shape_says_what_is_new_and_that_nothing_was_relaxed() {
        let change = Change {
            scope: scope(),
            process: ProcessKey {
                pid: 1,
                start_time: 2,
            },
            time: 5,
            lineage: 3,
            differs: vec!["another program", "other flags"],
            news: (0..6).map(|n| format!("n{n}")).collect(),
            dropped: vec![],
        };
        let decision = lineage(&Finding::Began(change), Mode::Enforce);
        let text = decision.reasons.join("\n");
        assert!(
            text.contains("another program, other flags. Lineage 3"),
            "{text}"
        );
        assert!(text.contains("n0; n1; n2; n3, and 2 more."), "{text}");
        assert!(text.contains("nothing was relaxed") && !text.contains("anew"));
        assert!(!decision.budgeted);
        assert_eq!(decision.observation.fact.kind(), "lineage");
        assert_eq!(
            decision.observation.subject(),
            "lineage 3: another program, other flags"
        );
    }

    #[test]
    fn a_stale_file_is_told_with_both_ways_out() {
        let finding = Finding::Stale {
            seen: Box::new(seen(open("/srv/it's", READ), Verdict::Known)),
            family: Family::Read,
            subject: "/srv/it's".into(),
            since: 1_700_000_000_000_000_000,
        };
        let decision = lineage(&finding, Mode::Enforce);
        let text = decision.reasons.join("\n");
        assert!(text.contains("since 2023-11-14T22:13:20"), "{text}");
        let place = r"assistant --subject '/srv/it'\''s' --role agent --phase serve --family read";
        for word in ["pin", "reject"] {
            assert!(text.contains(&format!("baseline {word} {place}")), "{text}");
        }
        assert!(decision.budgeted);
        assert_eq!(decision.observation.fact.kind(), "open");
    }
}
