//! From a finding about calls to a decision: what is odd about a call, what was usual instead, and what
//! an operator can do.
//!
//! It must not judge again, and it never claims that anything was stopped.

use monitor_common::class::Mode;

use crate::{
    baseline::destinations::calls::Finding,
    decision::Decision,
    observation::{Fact, Observation, OddCall, Oddity},
    workload::{phase_name, role_name},
};

/// The decision to tell a finding. `mode` is that of the destinations of its scope.
pub fn odd(finding: &Finding, mode: Mode) -> Decision {
    let observation = Observation {
        count: finding.call.count.max(1),
        ..Observation::derived(
            finding.time,
            finding.process,
            &finding.scope,
            mode,
            Fact::Odd(finding.call.clone()),
        )
    };
    Decision {
        nearest: finding.call.nearest.clone(),
        ..Decision::told(observation, reasons(finding))
    }
}

fn reasons(finding: &Finding) -> Vec<String> {
    let call = &finding.call;
    let mut reasons = vec![seen(finding), why(call), instead(call)];
    if call.count > 1 && call.what != Oddity::Beacon {
        reasons.insert(
            1,
            format!("It was seen {} times since it was last told.", call.count),
        );
    }
    reasons.push("Nothing was stopped: an odd call is told, not refused.".into());
    reasons.push(remedy(finding));
    reasons
}

/// What was seen.
fn seen(finding: &Finding) -> String {
    let (call, scope) = (&finding.call, &finding.scope);
    let to = call.endpoint;
    let name = call.name.as_deref().unwrap_or("no name");
    let host = call.host.as_deref().unwrap_or("a host");
    let did = match call.what {
        Oddity::DirectAddress => {
            format!("called {to} without having looked up a name for that address")
        }
        Oddity::ServerNameDiffers => format!(
            "asked {to} for the server name {name}, and looked that address up for another name"
        ),
        Oddity::ServerNameHidden => {
            format!("called {to} with an encrypted server name (outside it says {name})")
        }
        Oddity::UnlearnedResolver => {
            format!("called {to}, the port of a name server that it was not learned to ask")
        }
        Oddity::EncryptedResolver => {
            format!("called {to}, a name server whose questions and answers are encrypted")
        }
        Oddity::Beacon => format!("calls {to} regularly, a destination that it did not learn"),
        Oddity::UnlearnedHost => format!("asked the proxy {to} for {host}, which it did not learn"),
        Oddity::Blind => format!("called the proxy {to}, and the host behind it could not be seen"),
    };
    format!(
        "The {} of workload {} (phase {}) {did}.",
        role_name(scope.role),
        scope.workload,
        phase_name(scope.phase)
    )
}

/// Why that is rare.
fn why(call: &OddCall) -> String {
    match (call.what, &call.score) {
        (Oddity::DirectAddress, _) => {
            "Servers are configured with names: an address by itself is what a model or a payload was \
             given. Programs that keep addresses for longer than their answers last do it too."
        }
        (Oddity::ServerNameDiffers, _) => {
            "Another name at an address that is allowed is how a service behind a shared front is \
             reached without looking it up."
        }
        (Oddity::ServerNameHidden, _) => {
            "Who is really called there cannot be seen from outside; programs of servers seldom do that."
        }
        (Oddity::UnlearnedResolver, _) => {
            "Questions to a name server can carry data out, and what it answers replaces what your own \
             name servers say."
        }
        (Oddity::EncryptedResolver, _) => {
            "Names that are asked there are not seen here, and questions can carry data out."
        }
        (Oddity::Beacon, Some(score)) => {
            return format!(
                "{} Parts: intervals {:.2}, sizes {:.2}, hours {:.2}, coverage {:.2}. People and jobs \
                 do not call so evenly; health checks, telemetry and remote control do.",
                score.sentence(&call.endpoint.to_string()),
                score.intervals,
                score.sizes,
                score.hours,
                score.coverage
            );
        }
        (Oddity::UnlearnedHost, _) => {
            "Behind a proxy the host that is asked for is the destination; the proxy is allowed, and with \
             it every host that it lets through."
        }
        (Oddity::Blind, _) => {
            "It can lead anywhere that the proxy lets through. TLS to the proxy, HTTP/2, requests in \
             pieces and connections that were there before the guard look like this."
        }
        (Oddity::Beacon, None) => "People and jobs do not call so evenly.",
    }
    .to_owned()
}

/// What is known instead.
fn instead(call: &OddCall) -> String {
    if call.what == Oddity::UnlearnedHost && !call.nearest.is_empty() {
        return format!(
            "Most like it among the hosts that were learned: {}.",
            call.nearest.join(", ")
        );
    }
    match call.what {
        Oddity::DirectAddress => {
            "While it learned, this role did not call that endpoint in this way."
        }
        Oddity::ServerNameDiffers => {
            "While it learned, this role sent no such server name to that endpoint."
        }
        Oddity::ServerNameHidden => {
            "While it learned, this role sent no encrypted server name to that endpoint."
        }
        Oddity::UnlearnedResolver => "While it learned, no look-up went to that endpoint.",
        Oddity::EncryptedResolver => "While it learned, this role did not call that name server.",
        Oddity::Beacon => "While it learned, this role did not call that endpoint at all.",
        Oddity::UnlearnedHost => "While it learned, it asked its proxies for no such host.",
        Oddity::Blind => "A call that shows its host is judged by that.",
    }
    .to_owned()
}

/// What to do.
fn remedy(finding: &Finding) -> String {
    let (scope, to) = (&finding.scope, finding.call.endpoint);
    let workload = &scope.workload;
    let subject = format!(
        "{workload} --subject {to} --role {} --phase {} --family destination --reason \"…\"",
        role_name(scope.role),
        phase_name(scope.phase)
    );
    let usual = match finding.call.what {
        Oddity::Beacon => {
            format!("If it is meant, approve it: `slmguard baseline approve {subject}`.")
        }
        // What is not seen is never learned to be usual.
        Oddity::Blind => {
            "Let the program speak HTTP/1.1 to the proxy without TLS, if it can; this is told once a day."
                .into()
        }
        _ => format!(
            "If that is how it works now, let it learn again: `slmguard mode {workload} learn`; \
             approving the destination does not silence this."
        ),
    };
    let end = match finding.call.what {
        Oddity::UnlearnedHost | Oddity::Blind => "To end it, refuse the proxy, with all behind it:",
        _ => "To end it:",
    };
    format!(
        "{usual} {end} `slmguard baseline reject {subject}`, or add connect = [\"{to}\"] to \
         [workload.deny] of workload {workload} in the configuration."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baseline::volume::beacon::Score,
        decision::Outcome,
        observation::ProcessKey,
        testing::{endpoint, scope},
    };

    fn told(what: Oddity, name: Option<&str>, count: u64, score: Option<Score>) -> Decision {
        let finding = Finding {
            scope: scope(),
            call: OddCall {
                endpoint: endpoint("10.0.0.1:443/tcp"),
                what,
                name: name.map(str::to_owned),
                host: None,
                nearest: vec![],
                count,
                score,
            },
            process: ProcessKey {
                pid: 7,
                start_time: 1,
            },
            time: 1_700_000_000_000_000_000,
        };
        odd(&finding, Mode::Enforce)
    }

    #[test]
    fn every_oddity_says_what_and_why_and_that_nothing_was_stopped() {
        for what in Oddity::ALL {
            let decision = told(what, Some("a.example"), 3, None);
            let text = decision.reasons.join("\n");
            assert!(text.starts_with("The agent of workload assistant (phase serve) "));
            assert!(text.contains("10.0.0.1:443/tcp") && text.contains("Nothing was stopped"));
            assert!(text.contains("slmguard baseline reject assistant --subject 10.0.0.1:443/tcp"));
            let approve = text.contains("slmguard baseline approve");
            assert_eq!(approve, what == Oddity::Beacon, "{text}");
            assert_eq!(approve, !text.contains("seen 3 times"), "{text}");
            assert_eq!(decision.outcome, Outcome::Alert);
            assert_eq!(decision.observation.count, 3);
            assert_eq!(decision.observation.subject(), "10.0.0.1:443/tcp");
            assert_eq!(decision.observation.fact.kind(), "odd");
            assert_eq!(decision.observation.families(), []);
            let detail = decision.observation.fact.detail().unwrap();
            assert_eq!(detail["what"], what.word());
        }
    }

    #[test]
    fn a_server_name_and_a_score_are_told() {
        let name = told(Oddity::ServerNameDiffers, Some("b\\u{a}.example"), 1, None);
        assert_eq!(
            name.reasons[0],
            "The agent of workload assistant (phase serve) asked 10.0.0.1:443/tcp for the server name \
             b\\u{a}.example, and looked that address up for another name."
        );
        let score = Score {
            total: 0.9,
            intervals: 1.0,
            sizes: 0.9,
            hours: 0.8,
            coverage: 0.9,
            every: 60.0,
            connections: 500,
        };
        let beacon = told(Oddity::Beacon, None, 500, Some(score));
        let text = beacon.reasons.join("\n");
        assert!(
            text.contains("called 500 times, about every 60 s"),
            "{text}"
        );
        assert!(text.contains("hours 0.80, coverage 0.90"), "{text}");
        let detail = beacon.observation.fact.detail().unwrap();
        assert_eq!(detail["score"]["connections"], 500);
    }
}
