//! What was there before its process became a member: no hook was asked about it, so that it is
//! held against the policy here, by the same rules. It can only be told: it has happened.

use monitor_common::{
    class::Mode,
    event::Verdict,
    path::permission::{READ, WRITE},
};

use super::{
    endpoint_rule::EndpointRule,
    invariants::{guarded_endpoint, guarded_file},
    pattern::PathPattern,
};
use crate::{
    baseline::Baseline,
    config::Rules,
    observation::{Endpoint, Fact, FileAccess, Scope},
    text,
};

/// Verdict on something that was found, and whether an invariant or a deny rule forbids it.
pub fn judge_found(
    fact: &Fact,
    scope: &Scope,
    baseline: &Baseline,
    (allow, deny): (&Rules, &Rules),
    mode: Mode,
) -> (Verdict, bool) {
    let forbidden = match fact.inner() {
        Fact::Connect(endpoint) => {
            guarded_endpoint(endpoint).is_some() || reaches(&deny.connect, endpoint)
        }
        Fact::Open(file) => {
            guarded_file(file).is_some()
                || touches(&deny.read, file, READ)
                || touches(&deny.write, file, WRITE)
        }
        _ => false,
    };
    if forbidden {
        return (Verdict::Audited, true);
    }
    let learned = |family| baseline.known_as(scope, family, fact).is_some();
    let known = match fact.inner() {
        Fact::Connect(endpoint) => {
            fact.families().into_iter().all(learned) || reaches(&allow.connect, endpoint)
        }
        Fact::Open(file) => fact.families().into_iter().all(|family| {
            let (rules, access) = match family {
                monitor_common::class::Family::Write => (&allow.write, WRITE),
                _ => (&allow.read, READ),
            };
            learned(family) || touches(rules, file, access)
        }),
        _ => true,
    };
    let verdict = match mode {
        _ if known => Verdict::Known,
        Mode::Learn => Verdict::New,
        Mode::Monitor => Verdict::WouldBlock,
        Mode::Enforce => Verdict::Audited,
    };
    (verdict, false)
}

fn reaches(rules: &[String], endpoint: &Endpoint) -> bool {
    // Rules that cannot be read were refused with the configuration.
    rules
        .iter()
        .filter_map(|rule| EndpointRule::parse(rule).ok())
        .any(|rule| rule.matches(endpoint))
}

fn touches(rules: &[String], file: &FileAccess, access: u8) -> bool {
    let path: Vec<&[u8]> = text::components(&file.name).collect();
    file.access & access != 0
        && rules
            .iter()
            .filter_map(|rule| PathPattern::parse(rule, access).ok())
            .any(|pattern| pattern.matches(&path, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{connect, open, scope, seen};

    fn found(fact: Fact) -> Fact {
        Fact::Found(Box::new(fact))
    }

    fn rules(connect: &[&str], read: &[&str]) -> Rules {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Rules {
            connect: owned(connect),
            read: owned(read),
            ..Rules::default()
        }
    }

    #[track_caller]
    fn is(fact: Fact, allow: &Rules, deny: &Rules, mode: Mode, expected: (Verdict, bool)) {
        let mut baseline = Baseline::default();
        baseline.absorb(&seen(connect("10.0.0.1:80/tcp"), Verdict::New));
        baseline.absorb(&seen(open("/srv/a", READ), Verdict::New));
        let verdict = judge_found(&found(fact), &scope(), &baseline, (allow, deny), mode);
        assert_eq!(verdict, expected);
    }

    #[test]
    fn what_is_known_or_allowed_is_known_in_every_mode() {
        let allow = rules(&["10.0.0.0/24:*"], &["/opt/**"]);
        let none = Rules::default();
        for mode in [Mode::Learn, Mode::Monitor, Mode::Enforce] {
            let known = (Verdict::Known, false);
            is(connect("10.0.0.1:80/tcp"), &none, &none, mode, known);
            is(connect("10.0.0.9:1/udp"), &allow, &none, mode, known);
            is(open("/srv/a", READ), &none, &none, mode, known);
            is(open("/opt/b/c", READ), &allow, &none, mode, known);
        }
    }

    #[test]
    fn what_is_not_is_learned_or_told_by_the_mode() {
        let none = Rules::default();
        for (mode, verdict) in [
            (Mode::Learn, Verdict::New),
            (Mode::Monitor, Verdict::WouldBlock),
            (Mode::Enforce, Verdict::Audited),
        ] {
            let expected = (verdict, false);
            is(connect("10.0.0.2:80/tcp"), &none, &none, mode, expected);
            is(open("/srv/a", READ | WRITE), &none, &none, mode, expected);
        }
    }

    #[test]
    fn what_is_forbidden_is_never_learned() {
        let deny = rules(&["10.0.0.1:*"], &["/srv/**"]);
        let none = Rules::default();
        let expected = (Verdict::Audited, true);
        for mode in [Mode::Learn, Mode::Enforce] {
            is(connect("10.0.0.1:80/tcp"), &none, &deny, mode, expected);
            is(open("/srv/a", READ), &none, &deny, mode, expected);
            is(
                connect("169.254.169.254:80/tcp"),
                &none,
                &none,
                mode,
                expected,
            );
        }
    }
}
