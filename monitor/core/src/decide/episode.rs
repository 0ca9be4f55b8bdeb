//! From an episode that is odd as a whole to a decision: in what it is odd, compared with how many,
//! and what an operator can do.
//!
//! It must not judge again, and it never claims that anything was stopped.

use monitor_common::class::Mode;

use crate::{
    baseline::order::{follow::Finding, trace},
    decision::Decision,
    observation::{Fact, Observation, OddEpisode},
    text::bytes,
    workload::{phase_name, role_name},
};

/// The decision to tell a finding. `mode` is that of the destinations of its scope.
pub fn episode(finding: &Finding, mode: Mode) -> Decision {
    let (odd, scope) = (&finding.odd, &finding.scope);
    let observation = Observation::derived(
        finding.time,
        finding.process,
        scope,
        mode,
        Fact::Episode(Box::new(OddEpisode {
            calls: odd.calls,
            sent: odd.sent,
            p: odd.p,
        })),
    );
    let workload = &scope.workload;
    let reasons = vec![
        format!(
            "The {} of workload {workload} (phase {}) made {} calls and sent {} in an episode that is \
             odd as a whole, compared with {} {} that were learned.",
            role_name(scope.role),
            phase_name(scope.phase),
            odd.calls,
            bytes(odd.sent),
            odd.compared,
            trace::kind(finding.kind)
        ),
        odd.sentence.clone(),
        format!(
            "Each call by itself is in the policy. At {:.0} episodes a day the limit is set so that \
             chance alone is told as often as [alerts] odd_per_day says.",
            odd.per_day
        ),
        "Nothing was stopped: what only a statistic says is told, not refused.".to_owned(),
        format!(
            "Look at what it did: `slmguard events --workload {workload}`. If that is how it works now, \
             let it learn again: `slmguard mode {workload} learn`."
        ),
    ];
    Decision::told(observation, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baseline::{evidence::episode::Kind, order::whole::Odd},
        observation::ProcessKey,
        testing::scope,
    };

    #[test]
    fn it_says_how_much_against_what_and_that_nothing_was_stopped() {
        let finding = Finding {
            scope: scope(),
            kind: Kind::ToolLife,
            process: ProcessKey {
                pid: 1,
                start_time: 2,
            },
            time: 5,
            odd: Odd {
                p: 2e-4,
                calls: 3,
                sent: 9_001_400,
                compared: 6_000,
                per_day: 1_440.0,
                sentence: "Taken together as odd as one good episode in 5000: 80 % bytes (9.0 MB)."
                    .into(),
            },
        };
        let decision = episode(&finding, Mode::Enforce);
        let text = decision.reasons.join("\n");
        assert!(text.contains("made 3 calls and sent 9.0 MB"), "{text}");
        assert!(text.contains("compared with 6000 lives of tools"), "{text}");
        assert!(text.contains("one good episode in 5000") && text.contains("Nothing was stopped"));
        assert!(decision.budgeted);
        assert_eq!(decision.observation.fact.kind(), "episode");
    }
}
