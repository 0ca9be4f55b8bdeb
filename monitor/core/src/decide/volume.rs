//! From a finding about volumes to a decision: what was more than usual, and what an operator can do.
//!
//! It must not judge again, and it never claims that anything was stopped.

use monitor_common::{class::Mode, event::Verdict, hook::Hook};

use crate::{
    baseline::volume::ledger::Finding,
    decision::{Decision, Outcome},
    observation::{Connector, Excess, Fact, Observation},
    text::bytes,
    workload::{phase_name, role_name},
};

/// The decision to tell a finding. `mode` is that of the destinations of its scope.
pub fn volume(finding: &Finding, mode: Mode) -> Decision {
    let observation = Observation {
        time: finding.time,
        process: finding.process,
        thread: finding.process.pid,
        uid: 0,
        cgroup: 0,
        comm: String::new(),
        scope: finding.scope.clone(),
        hook: Hook::FlowState,
        verdict: Verdict::Audited,
        mode,
        policy: 0,
        invariant: false,
        single_thread: false,
        count: match finding.volume.excess {
            Excess::Burst { slots, .. } => slots.max(1),
            Excess::Leak { .. } => 1,
        },
        fact: Fact::Volume(finding.volume),
    };
    Decision {
        reasons: reasons(finding),
        observation,
        outcome: Outcome::Alert,
        name: None,
        nearest: vec![],
        before: None,
    }
}

fn reasons(finding: &Finding) -> Vec<String> {
    let volume = &finding.volume;
    let scope = &finding.scope;
    let workload = &scope.workload;
    let whom = match volume.connector {
        Connector::Out(endpoint) => format!("to {endpoint}"),
        Connector::In(..) => format!("to callers of {}", volume.connector),
    };
    let span = duration(volume.seconds);
    let who = format!(
        "The {} of workload {workload} (phase {})",
        role_name(scope.role),
        phase_name(scope.phase)
    );
    let mut reasons = match volume.excess {
        Excess::Burst {
            limit,
            largest,
            learned,
            extrapolated,
            slots,
        } => {
            let why = if extrapolated {
                format!(
                    "more than {} is expected about once in 10,000 times",
                    bytes(limit)
                )
            } else if limit > largest.saturating_mul(2) {
                format!("less than {} is never told", bytes(limit))
            } else {
                "twice as much is the limit, because so few cannot be extrapolated".to_owned()
            };
            let mut all = vec![
                format!("{who} sent {} {whom} within {span}.", bytes(volume.sent)),
                format!(
                    "The most that was learned, over {learned} times of {span} in which it sent \
                     anything, is {}; {why}.",
                    bytes(largest)
                ),
            ];
            if slots > 1 {
                all.push(format!(
                    "It has happened {slots} times since it was last told."
                ));
            }
            all
        }
        Excess::Leak { expected } => vec![
            format!(
                "{who} has sent {} {whom} over the last {span}; {} are usual for that.",
                bytes(volume.sent),
                bytes(expected)
            ),
            "No time of it was out of the ordinary: it was a little more than usual for so long that \
             chance does it once in a month."
                .to_owned(),
        ],
    };
    reasons.push("Nothing was stopped: what only a statistic says is told, not refused.".into());
    let mut remedy = format!(
        "If that is how it works now, let it learn again: `slmguard mode {workload} learn`."
    );
    if let Connector::Out(endpoint) = volume.connector {
        remedy.push_str(&format!(
            " To end it: `slmguard baseline reject {workload} --subject {endpoint} --role {} \
             --phase {} --family destination --reason \"…\"`.",
            role_name(scope.role),
            phase_name(scope.phase)
        ));
    }
    reasons.push(remedy);
    reasons
}

/// A time for people: `60 s`, `25 min`, `6.5 h`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{:.1} h", seconds as f64 / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::{ProcessKey, Volume},
        testing::{endpoint, scope},
    };

    fn told(connector: Connector, excess: Excess, seconds: u64) -> Decision {
        let finding = Finding {
            scope: scope(),
            volume: Volume {
                connector,
                sent: 12_300_000,
                seconds,
                excess,
            },
            process: ProcessKey {
                pid: 7,
                start_time: 1,
            },
            time: 1_700_000_000_000_000_000,
        };
        volume(&finding, Mode::Enforce)
    }

    fn burst(limit: u64, extrapolated: bool, slots: u64) -> Excess {
        Excess::Burst {
            limit,
            largest: 400_000,
            learned: 120,
            extrapolated,
            slots,
        }
    }

    #[test]
    fn a_burst_says_how_much_against_what_and_that_nothing_was_stopped() {
        let out = Connector::Out(endpoint("10.0.0.1:443/tcp"));
        let decision = told(out, burst(800_000, false, 1), 60);
        assert_eq!(
            decision.reasons[..3],
            [
                "The agent of workload assistant (phase serve) sent 12.3 MB to 10.0.0.1:443/tcp within 60 s.",
                "The most that was learned, over 120 times of 60 s in which it sent anything, is 400.0 kB; \
                 twice as much is the limit, because so few cannot be extrapolated.",
                "Nothing was stopped: what only a statistic says is told, not refused.",
            ]
        );
        assert!(decision.reasons[3].contains("slmguard mode assistant learn"));
        assert!(decision.reasons[3].contains("--subject 10.0.0.1:443/tcp --role agent"));
        assert_eq!(decision.outcome, Outcome::Alert);
        assert_eq!(decision.observation.subject(), "10.0.0.1:443/tcp");
        let again = told(out, burst(900_000, true, 3), 60);
        assert!(again.reasons[1].contains("once in 10,000"), "{again:?}");
        assert!(again.reasons[2].contains("3 times"), "{again:?}");
        assert_eq!(again.observation.count, 3);
    }

    #[test]
    fn a_leak_through_a_port_of_its_own_names_no_destination_to_reject() {
        let decision = told(
            Connector::In(8080, 6),
            Excess::Leak {
                expected: 11_000_000,
            },
            23_400,
        );
        let text = decision.reasons.join("\n");
        assert!(
            text.contains("to callers of *:8080/tcp over the last 6.5 h"),
            "{text}"
        );
        assert!(
            text.contains("12.3 MB") && text.contains("11.0 MB are usual"),
            "{text}"
        );
        assert!(!text.contains("reject"), "{text}");
    }
}
