//! Tests of trying a list on what was observed: nothing that is on it would have been refused,
//! everything else would, and the compiled policy agrees.

use monitor_common::hash::HashKey;
use proptest::prelude::*;

use super::*;
use crate::{
    decide::{
        automaton::walk,
        policy::{PolicyInputs, PolicyLimits, compile_policy},
    },
    observation::Lookup,
    testing::{connect, endpoint, exec, open, scope, seen},
};

const SECOND: u64 = 1_000_000_000;

fn at(second: u64, fact: Fact) -> Observation {
    Observation {
        time: 1_700_000_000 * SECOND + second * SECOND,
        ..seen(fact, Verdict::New)
    }
}

fn list(of: &[Observation]) -> Profile {
    let mut baseline = Baseline::default();
    for observation in of {
        assert!(baseline.absorb(observation), "{observation:?}");
    }
    Profile::of("assistant", &baseline)
}

fn simulate(profile: &Profile, operator: &Operator, over: &[Observation]) -> Simulation {
    let mut simulation = Simulation::new("assistant", profile, operator).unwrap();
    over.iter().for_each(|seen| simulation.take(seen));
    simulation
}

fn none() -> Profile {
    Profile::of("assistant", &Baseline::default())
}

#[track_caller]
fn one(profile: &Profile, operator: &Operator, seen: Observation) -> Option<(Effect, Why)> {
    let simulation = simulate(profile, operator, &[seen]);
    let findings = simulation.findings();
    assert!(findings.len() <= 1, "{findings:?}");
    let totals = simulation.totals();
    assert_eq!(totals.allowed + totals.refused + totals.reported, 1);
    findings.first().map(|f| (f.effect, f.why))
}

#[test]
fn what_is_not_on_the_list_is_told_with_count_times_and_what_is_known_instead() {
    let profile = list(&[at(0, connect("10.0.0.1:443/tcp"))]);
    let mut blocked = at(9, connect("10.0.0.2:443/tcp"));
    (blocked.verdict, blocked.count) = (Verdict::Blocked, 3);
    let over = [
        at(1, connect("10.0.0.1:443/tcp")),
        at(7, connect("10.0.0.2:443/tcp")),
        blocked,
    ];
    let simulation = simulate(&profile, &Operator::default(), &over);
    assert_eq!(
        simulation.findings(),
        [Finding {
            workload: "assistant".into(),
            role: "agent",
            phase: "serve",
            family: "destination",
            subject: "10.0.0.2:443/tcp".into(),
            effect: Effect::Refused,
            why: Why::NotListed,
            count: 4,
            refused_then: 3,
            first_seen: "2023-11-14T22:13:27.000000Z".into(),
            last_seen: "2023-11-14T22:13:29.000000Z".into(),
            nearest: vec!["10.0.0.1:443/tcp".into()],
        }]
    );
    let totals = Totals {
        allowed: 1,
        refused: 4,
        reported: 0,
    };
    assert_eq!(simulation.totals(), totals);
}

fn answered(name: &str, address: [u8; 4]) -> Fact {
    Fact::Answer {
        lookup: Lookup {
            name: name.into(),
            qtype: 1,
            resolver: endpoint("10.0.0.53:53/udp"),
            cookie: 1,
        },
        code: 0,
        addresses: vec![(address.into(), 60)],
        total: 1,
    }
}

#[test]
fn a_host_is_allowed_while_an_answer_for_it_counts() {
    let mut operator = Operator::default();
    operator
        .allow
        .connect
        .push("api.example.com:443/tcp".into());
    let call = || connect("9.9.9.9:443/tcp");
    let refused = |over: &[Observation]| simulate(&none(), &operator, over).totals().refused;
    let named = at(1, answered("api.example.com", [9, 9, 9, 9]));
    assert_eq!(refused(&[at(0, call())]), 1, "nobody has said whose it is");
    assert_eq!(refused(&[named.clone(), at(2, call())]), 0);
    let other = at(1, answered("evil.example.com", [9, 9, 9, 9]));
    assert_eq!(refused(&[other, at(2, call())]), 1);
    let elsewhere = at(2, connect("9.9.9.9:80/tcp"));
    assert_eq!(refused(&[named.clone(), elsewhere]), 1);
    // Five minutes and a quarter of an hour.
    assert_eq!(refused(&[named.clone(), at(1200, call())]), 0);
    assert_eq!(refused(&[named, at(1202, call())]), 1);
}

#[test]
fn the_operator_s_rules_count_and_a_deny_rule_wins() {
    let mut operator = Operator::default();
    operator.allow.connect.push("10.0.0.0/8:*".into());
    operator.allow.read.push("/srv/**".into());
    operator.allow.facilities.push("io_uring:files".into());
    operator.deny.connect.push("10.6.0.0/16:*".into());
    operator.deny.read.push("/srv/private/**".into());
    let judged = |fact| one(&none(), &operator, at(0, fact));
    assert_eq!(judged(connect("10.9.9.9:1/udp")), None);
    assert_eq!(judged(open("/srv/a", READ)), None);
    let denied = Some((Effect::Refused, Why::DenyRule));
    assert_eq!(judged(connect("10.6.0.1:80/tcp")), denied);
    assert_eq!(judged(open("/srv/private/a", READ)), denied);
    let unlisted = Some((Effect::Refused, Why::NotListed));
    assert_eq!(judged(connect("192.0.2.1:80/tcp")), unlisted);
    assert_eq!(judged(open("/srv/a", WRITE)), unlisted);
    let facility = |facility| Fact::Facility {
        facility,
        detail: [0; 3],
    };
    assert_eq!(judged(facility(Facility::IoUringFiles)), None);
    assert_eq!(judged(facility(Facility::IoUring)), unlisted);
    let invariant = Some((Effect::Refused, Why::Invariant));
    assert_eq!(judged(facility(Facility::Ptrace)), invariant);
    assert_eq!(judged(connect("169.254.169.254:80/tcp")), invariant);
    assert_eq!(judged(open("/srv/.aws/credentials", READ)), invariant);
}

#[test]
fn what_cannot_be_refused_is_reported() {
    let told = Some((Effect::Reported, Why::NotListed));
    let found = Fact::Found(Box::new(connect("10.0.0.1:1/tcp")));
    assert_eq!(one(&none(), &Operator::default(), at(0, found)), told);
    let looked_up = Fact::Query(Lookup {
        name: b"a.example".to_vec(),
        qtype: 1,
        resolver: endpoint("10.0.0.53:53/udp"),
        cookie: 1,
    });
    let query = at(0, looked_up);
    assert_eq!(one(&none(), &Operator::default(), query.clone()), told);
    assert_eq!(
        one(
            &list(std::slice::from_ref(&query)),
            &Operator::default(),
            query
        ),
        None
    );
    let mut partial = none();
    partial.families = vec!["read".into()];
    assert_eq!(
        one(&partial, &Operator::default(), at(0, exec("/bin/sh"))),
        told
    );
    let refused = Some((Effect::Refused, Why::NotListed));
    assert_eq!(
        one(&partial, &Operator::default(), at(0, open("/a", READ))),
        refused
    );
}

#[test]
fn a_rejection_holds_and_a_deny_rule_can_be_taken_back() {
    let profile = list(&[at(0, connect("10.0.0.1:443/tcp"))]);
    let mut met = at(1, connect("10.0.0.1:443/tcp"));
    (met.verdict, met.invariant) = (Verdict::Blocked, true);
    let rejected = Some((Effect::Refused, Why::Rejected));
    assert_eq!(one(&profile, &Operator::default(), met.clone()), rejected);
    let mut operator = Operator::default();
    operator.denied_then.connect.push("10.0.0.1:443".into());
    assert_eq!(one(&profile, &operator, met.clone()), None, "taken back");
    operator.deny = operator.denied_then.clone();
    let denied = Some((Effect::Refused, Why::DenyRule));
    assert_eq!(one(&profile, &operator, met), denied);
}

#[test]
fn enrolment_is_no_exec_of_a_member_and_two_reports_of_one_exec_are_one() {
    let mut enrolled = at(0, exec("/usr/bin/node"));
    (enrolled.policy, enrolled.verdict) = (0, Verdict::Known);
    let simulation = simulate(&none(), &Operator::default(), &[enrolled]);
    assert_eq!(simulation.findings(), []);
    assert_eq!(simulation.totals(), Totals::default());

    let by = |hook, path| Observation {
        hook,
        ..at(0, exec(path))
    };
    let over: Vec<_> = ["/bin/date", "/bin/sh"]
        .into_iter()
        .flat_map(|path| [by(Hook::LsmExec, path), by(Hook::ProcessExec, path)])
        .collect();
    let profile = list(&[at(0, exec("/bin/date"))]);
    let simulation = simulate(&profile, &Operator::default(), &over);
    let findings = simulation.findings();
    assert_eq!((findings.len(), findings[0].count), (1, 1), "{findings:?}");
    let totals = Totals {
        allowed: 1,
        refused: 1,
        reported: 0,
    };
    assert_eq!(simulation.totals(), totals);
}

#[test]
fn other_workloads_and_other_phases_are_told_apart() {
    let profile = list(&[at(0, exec("/bin/date"))]);
    let mut other = at(0, exec("/bin/sh"));
    other.scope.workload = "other".into();
    let mut start = at(0, exec("/bin/date"));
    start.scope.phase = Phase::Start;
    let findings = simulate(&profile, &Operator::default(), &[other, start]).findings();
    let phases: Vec<_> = findings.iter().map(|f| (f.phase, &*f.subject)).collect();
    assert_eq!(phases, [("start", "/bin/date")]);
}

#[test]
fn a_rule_that_cannot_be_read_is_named() {
    let mut operator = Operator::default();
    operator.deny.read = vec!["/a".into(), "b".into()];
    let error = Simulation::new("assistant", &none(), &operator).unwrap_err();
    assert!(
        error.starts_with("the operator's deny rules, read, entry 2: "),
        "{error}"
    );
}

fn path() -> impl Strategy<Value = String> {
    "(/[ab]{1,2}){1,3}"
}

fn pattern() -> impl Strategy<Value = String> {
    "(/(a|b|ab|\\*|\\*\\*)){1,3}"
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        (path(), 1u8..4).prop_map(|(path, access)| open(&path, access)),
        path().prop_map(|path| exec(&path)),
        (0u8..4, 0u16..3).prop_map(|(a, p)| connect(&format!("10.0.0.{a}:{}/tcp", p + 1))),
    ]
}

proptest! {
    #[test]
    fn a_list_lets_through_what_it_was_made_of(facts in proptest::collection::vec(fact(), 1..20)) {
        let over: Vec<_> = facts.into_iter().map(|fact| at(0, fact)).collect();
        let mut baseline = Baseline::default();
        for seen in &over {
            baseline.absorb(seen);
        }
        let profile = Profile::of("assistant", &baseline);
        let simulation = simulate(&profile, &Operator::default(), &over);
        prop_assert_eq!(simulation.findings(), vec![]);
        let operations: usize = over.iter().map(|seen| seen.families().len()).sum();
        prop_assert_eq!(simulation.totals().allowed, operations as u64);
    }

    #[test]
    fn what_is_taken_off_the_list_is_found_with_all_its_occurrences_in_any_order(
        facts in proptest::collection::vec(fact(), 1..20),
        which in any::<prop::sample::Index>(),
    ) {
        let mut over: Vec<_> = facts.into_iter().zip(0..).map(|(fact, n)| at(n, fact)).collect();
        let mut baseline = Baseline::default();
        for seen in &over {
            baseline.absorb(seen);
        }
        let mut profile = Profile::of("assistant", &baseline);
        let entries: Vec<_> = baseline.entries(&scope()).map(|(f, s, e)| (f, s.to_owned(), *e)).collect();
        let (family, subject, entry) = which.get(&entries).clone();
        prop_assert!(profile.remove(Role::Agent, Phase::Serve, family, &subject));
        let simulation = simulate(&profile, &Operator::default(), &over);
        let findings = simulation.findings();
        prop_assert_eq!(findings.len(), 1);
        let found = &findings[0];
        prop_assert_eq!((found.family, &found.subject), (family_name(family), &subject));
        prop_assert_eq!((found.count, found.effect), (entry.count, Effect::Refused));
        prop_assert_eq!(&found.first_seen, &rfc3339(entry.first_seen));
        prop_assert_eq!(&found.last_seen, &rfc3339(entry.last_seen));
        let totals = simulation.totals();
        over.reverse();
        let again = simulate(&profile, &Operator::default(), &over);
        prop_assert_eq!(again.findings(), findings);
        prop_assert_eq!(again.totals(), totals);
    }
}

proptest! {
    // Each case compiles the invariants as well.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_compiled_policy_says_the_same(
        listed in proptest::collection::vec(path(), 0..6),
        allow in proptest::collection::vec(pattern(), 0..4),
        deny in proptest::collection::vec(pattern(), 0..2),
        asked in path(),
    ) {
        let mut baseline = Baseline::default();
        for path in &listed {
            baseline.absorb(&at(0, open(path, READ)));
        }
        let rules = |read: Vec<String>| Rules { read, ..Rules::default() };
        let operator = Operator { allow: rules(allow), deny: rules(deny), ..Operator::default() };
        let key = HashKey { k0: 3, k1: 4 };
        let image = compile_policy(&PolicyInputs {
            policy: 7,
            key,
            first_state: 50,
            baseline: &baseline,
            scope: &scope(),
            allow: &operator.allow,
            deny: &operator.deny,
            limits: PolicyLimits::default(),
        }).unwrap();
        let parts: Vec<&[u8]> = text::components(asked.as_bytes()).collect();
        let allowed = walk(&image.allow, key, &parts, false) & READ != 0;
        let denied = walk(&image.deny, key, &parts, false) & READ != 0;
        let profile = Profile::of("assistant", &baseline);
        let refused = one(&profile, &operator, at(0, open(&asked, READ)));
        prop_assert_eq!(refused.is_none(), allowed && !denied);
        prop_assert_eq!(refused.is_some_and(|(_, why)| why == Why::DenyRule), denied);
    }
}
