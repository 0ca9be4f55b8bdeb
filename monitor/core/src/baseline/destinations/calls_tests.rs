//! Tests of odd calls: what was usual while learning is none, and neither clocks nor floods do harm.

use monitor_common::{class::Phase, event::Verdict};
use proptest::prelude::*;

use super::{super::told, *};
use crate::{
    observation::Lookup,
    testing::{connect, endpoint, scope, seen},
};

const START: u64 = 1_700_000_000_000_000_000;
const MINUTE: u64 = 60_000_000_000;
/// Names are judged from here on.
const LATER: u64 = START + 2 * HOUR;
const LEARNING: Standing = Standing {
    learning: true,
    known: false,
};
const JUDGED: Standing = Standing {
    learning: false,
    known: false,
};

fn at(time: u64, fact: Fact) -> Observation {
    Observation {
        time,
        ..seen(fact, Verdict::Known)
    }
}

fn hello(to: &str, name: Option<&str>, encrypted: bool) -> Fact {
    Fact::Hello {
        endpoint: endpoint(to),
        name: name.map(|name| name.as_bytes().to_vec()),
        encrypted,
        cut: false,
        cookie: 1,
    }
}

fn flow(to: Endpoint, sent: u64) -> Fact {
    Fact::Flow(Flow {
        peer: to,
        local_port: 40_000,
        inbound: false,
        sent,
        received: 0,
        duration: 0,
        cookie: 1,
    })
}

fn query(resolver: &str) -> Fact {
    Fact::Query(Lookup {
        name: b"a.example".to_vec(),
        qtype: 1,
        resolver: endpoint(resolver),
        cookie: 1,
    })
}

/// `a.example` at 10.0.0.1 was looked up at the time.
fn names(time: u64) -> NameTable {
    let mut names = NameTable::default();
    names.learn("assistant", b"a.example", [10, 0, 0, 1].into(), 60, time);
    names
}

/// It learned to ask 10.0.0.53, and to call 10.0.0.1 by name and 10.0.0.2 without one.
fn learned() -> Calls {
    let mut calls = Calls::default();
    let names = names(START);
    for fact in [
        query("10.0.0.53:53/udp"),
        connect("10.0.0.1:443/tcp"),
        hello("10.0.0.1:443/tcp", Some("a.example"), false),
        connect("10.0.0.2:80/tcp"),
    ] {
        calls.observe(&at(START, fact), &names, LEARNING);
    }
    calls
}

fn told(calls: &mut Calls) -> Vec<(Oddity, String, u64)> {
    let findings = calls.take_findings().into_iter();
    findings
        .map(|f| (f.call.what, f.call.endpoint.to_string(), f.call.count))
        .collect()
}

#[test]
fn what_was_learned_is_not_told_and_every_other_oddity_is() {
    let mut calls = learned();
    let names = names(LATER);
    for fact in [
        connect("10.0.0.1:443/tcp"),
        hello("10.0.0.1:443/tcp", Some("A.example."), false),
        connect("10.0.0.2:80/tcp"),
        Fact::Send(endpoint("10.0.0.53:53/udp")),
        connect("127.0.0.1:8080/tcp"),
        connect("[::ffff:127.0.0.1]:8080/tcp"),
        query("10.0.0.99:53/udp"),
    ] {
        calls.observe(&at(LATER, fact), &names, JUDGED);
    }
    assert_eq!(told(&mut calls), []);
    for (fact, what) in [
        (connect("10.0.0.9:443/tcp"), &[Oddity::DirectAddress][..]),
        (
            hello("10.0.0.1:443/tcp", Some("b\n.example"), false),
            &[Oddity::ServerNameDiffers],
        ),
        (
            hello("10.0.0.1:443/tcp", Some("front.example"), true),
            &[Oddity::ServerNameHidden],
        ),
        (
            Fact::Send(endpoint("10.0.0.99:53/udp")),
            &[Oddity::DirectAddress, Oddity::UnlearnedResolver],
        ),
        (connect("127.0.0.1:53/tcp"), &[Oddity::UnlearnedResolver]),
        (connect("10.0.0.1:853/tcp"), &[Oddity::EncryptedResolver]),
    ] {
        calls.observe(&at(LATER, fact.clone()), &names, JUDGED);
        let findings = calls.take_findings();
        let found: Vec<_> = findings.iter().map(|f| f.call.what).collect();
        assert_eq!(found, what, "{fact:?}");
        for name in findings.iter().filter_map(|f| f.call.name.as_deref()) {
            assert!(
                ["b\\u{a}.example", "front.example"].contains(&name),
                "{name}"
            );
        }
    }
}

#[test]
fn an_oddity_is_told_once_an_hour_with_the_calls_since_then() {
    let mut calls = learned();
    let to = endpoint("10.0.0.9:443/tcp");
    let names = NameTable::default();
    let known = Standing {
        known: true,
        ..JUDGED
    };
    let mut call = |time, count| {
        let fact = Observation {
            count,
            ..at(time, flow(to, 10))
        };
        calls.observe(&fact, &names, known);
        told(&mut calls)
    };
    let direct = |count| vec![(Oddity::DirectAddress, to.to_string(), count)];
    assert_eq!(call(LATER, 1), direct(1));
    assert_eq!(call(LATER + MINUTE, 3), []);
    assert_eq!(call(LATER + HOUR - 1, 3), []);
    assert_eq!(call(LATER + HOUR, 1), direct(7));
    assert_eq!(call(LATER + HOUR + 1, 1), []);
    // A clock that was set back does not silence it.
    assert_eq!(call(START - 24 * HOUR, 1), [], "names are not judged yet");
    assert_eq!(call(START - 22 * HOUR, 2), direct(3));
}

#[test]
fn what_was_refused_has_an_alert_of_its_own_and_is_not_learned() {
    let mut calls = learned();
    let none = NameTable::default();
    let refused = |time| Observation {
        time,
        ..seen(connect("10.0.0.9:443/tcp"), Verdict::WouldBlock)
    };
    calls.observe(&refused(START), &none, LEARNING);
    calls.observe(&refused(LATER), &none, JUDGED);
    let to = endpoint("10.0.0.9:443/tcp");
    calls.observe(&at(LATER + 1, flow(to, 1)), &none, JUDGED);
    assert_eq!(told(&mut calls), []);
    calls.observe(&at(LATER + HOUR, flow(to, 1)), &none, JUDGED);
    assert_eq!(
        told(&mut calls),
        [(Oddity::DirectAddress, to.to_string(), 2)]
    );
}

#[test]
fn nobody_is_judged_who_has_not_learned_and_no_name_from_before_the_beginning() {
    let none = NameTable::default();
    let mut calls = Calls::default();
    calls.observe(&at(START, connect("10.0.0.9:443/tcp")), &none, JUDGED);
    calls.observe(&at(LATER, connect("10.0.0.9:443/tcp")), &none, JUDGED);
    assert_eq!(told(&mut calls), []);
    assert!(
        calls
            .unwatched("assistant")
            .unwrap()
            .contains("not learned")
    );
    calls.expect(["assistant"]);
    assert_eq!(calls.unwatched("assistant"), None);
    calls.observe(&at(LATER, connect("10.0.0.9:443/tcp")), &none, JUDGED);
    assert_eq!(told(&mut calls).len(), 1);

    // Begun anew: a flow that is older than what is known of names says nothing.
    let mut again = Calls::default();
    assert_eq!(again.restore(calls.rows()), [""; 0]);
    let to = endpoint("10.0.0.8:443/tcp");
    again.observe(&at(LATER, flow(to, 1)), &none, JUDGED);
    assert_eq!(told(&mut again), []);
    let Fact::Flow(long) = flow(to, 1) else {
        unreachable!()
    };
    let long = Fact::Flow(Flow {
        duration: 3 * HOUR,
        ..long
    });
    again.observe(&at(LATER + 2 * HOUR, long), &none, JUDGED);
    assert_eq!(told(&mut again), []);
    again.observe(&at(LATER + 2 * HOUR, flow(to, 1)), &none, JUDGED);
    assert_eq!(told(&mut again).len(), 1);
}

#[test]
fn a_long_flow_is_judged_by_the_names_of_its_beginning() {
    let mut calls = learned();
    let to = endpoint("10.0.0.1:8443/tcp");
    let Fact::Flow(short) = flow(to, 1) else {
        unreachable!()
    };
    let long = Fact::Flow(Flow {
        duration: 9 * HOUR,
        ..short
    });
    let names = names(LATER);
    calls.observe(&at(LATER + 9 * HOUR, long), &names, JUDGED);
    assert_eq!(told(&mut calls), []);
    calls.observe(&at(LATER + 9 * HOUR, flow(to, 1)), &names, JUDGED);
    assert_eq!(told(&mut calls).len(), 1);
}

/// A call every ten minutes for a day and a half, each told of twice.
fn beats(calls: &mut Calls, to: Endpoint, standing: Standing) -> Vec<Finding> {
    let mut names = NameTable::default();
    for n in 0..216 {
        let time = LATER + n * 10 * MINUTE;
        names.learn("assistant", b"b.example", to.address, 86_400, time);
        calls.observe(&at(time, flow(to, 512)), &names, standing);
        let Fact::Flow(again) = flow(to, 100) else {
            unreachable!()
        };
        let again = Fact::Flow(Flow {
            duration: MINUTE,
            ..again
        });
        calls.observe(&at(time + MINUTE, again), &names, standing);
    }
    calls.take_findings()
}

#[test]
fn regular_calls_of_a_destination_that_was_not_learned_are_told_once_a_day() {
    let mut calls = learned();
    let found = beats(&mut calls, endpoint("10.0.0.9:443/tcp"), JUDGED);
    assert_eq!(found.len(), 2, "{found:?}");
    let call = &found[0].call;
    let score = call.score.unwrap();
    assert_eq!(call.what, Oddity::Beacon);
    assert!(score.total >= TOLD, "{score:?}");
    assert_eq!(call.count, u64::from(score.connections));
    assert!(
        (36..216).contains(&call.count),
        "a flow counts once: {call:?}"
    );
    assert!(found[1].time - found[0].time >= DAY);

    let learned_one = beats(&mut learned(), endpoint("10.0.0.1:443/tcp"), JUDGED);
    assert_eq!(learned_one, []);
    let approved = Standing {
        known: true,
        ..JUDGED
    };
    let to = endpoint("10.0.0.9:443/tcp");
    assert_eq!(beats(&mut learned(), to, approved), []);
    assert_eq!(
        beats(&mut learned(), endpoint("127.0.0.1:9/tcp"), JUDGED),
        []
    );
    // It learns again, and then knows it.
    calls.observe(&at(LATER, flow(to, 1)), &names(LATER), LEARNING);
    assert_eq!(beats(&mut calls, to, JUDGED), []);
}

#[test]
fn what_is_kept_is_bounded_and_the_least_recently_used_goes() {
    let mut calls = learned();
    let names = NameTable::default();
    let to = |n: u32| Endpoint {
        address: IpAddr::V4((0x0b00_0000 + n).into()),
        port: 443,
        protocol: 6,
    };
    let total = 2 * told::MAX_TOLD as u32;
    for n in 0..total {
        calls.observe(&at(LATER + u64::from(n), flow(to(n), 1)), &names, JUDGED);
    }
    assert_eq!(calls.take_findings().len(), MAX_FINDINGS);
    let other = Scope {
        phase: Phase::Stop,
        ..scope()
    };
    let elsewhere = Observation {
        scope: other.clone(),
        ..at(LATER + HOUR, flow(to(7), 1))
    };
    calls.observe(&elsewhere, &names, JUDGED);
    let known = &calls.workloads["assistant"];
    let count: usize = known.scopes.values().map(|s| s.beacons.len()).sum();
    assert_eq!(count, MAX_BEACONS);
    assert!(known.scopes[&other].beacons.contains_key(&to(7)));
    assert!(known.scopes[&scope()].beacons.contains_key(&to(total - 1)));
    assert!(!known.scopes[&scope()].beacons.contains_key(&to(0)));
    assert!(
        known
            .scopes
            .values()
            .all(|s| s.told.iter().count() <= told::MAX_TOLD)
    );

    // A scope that learned more than there is room for cannot tell new from old.
    for n in 0..=MAX_LEARNED as u32 {
        calls.observe(&at(LATER, connect(&to(n).to_string())), &names, LEARNING);
    }
    calls.take_findings();
    assert!(
        calls
            .unwatched("assistant")
            .unwrap()
            .contains("agent (serve)")
    );
    calls.observe(&at(LATER, connect("12.0.0.1:443/tcp")), &names, JUDGED);
    assert_eq!(told(&mut calls), []);
    calls.forget("assistant");
    assert_eq!(calls.rows(), []);
}

proptest! {
    #[test]
    fn any_calls_are_taken_and_survive_the_store(
        steps in proptest::collection::vec((any::<u64>(), 0u8..7, 0u8..4, any::<u16>(), any::<u64>(), 0u8..4), 0..60)
    ) {
        let mut calls = Calls::default();
        let mut names = NameTable::default();
        for (time, kind, last, port, number, how) in steps {
            let to = Endpoint {
                address: [10, 0, 0, last].into(),
                port: if port % 3 == 0 { 53 } else { port },
                protocol: 6,
            };
            let fact = match kind {
                0 => Fact::Connect(to),
                1 => hello(&to.to_string(), Some("a.example"), how == 0),
                2 => query(&to.to_string()),
                3 => Fact::Found(Box::new(Fact::Connect(to))),
                _ => {
                    let Fact::Flow(one) = flow(to, number) else { unreachable!() };
                    Fact::Flow(Flow { duration: number, ..one })
                }
            };
            names.learn("assistant", b"b.example", to.address, port.into(), time);
            let standing = Standing { learning: how == 1, known: how == 2 };
            let mut observation = at(time, fact);
            observation.count = number;
            calls.observe(&observation, &names, standing);
        }
        for finding in calls.take_findings() {
            prop_assert!(finding.call.count > 0);
            prop_assert!(calls.workloads.contains_key(&finding.scope.workload));
        }
        let text = serde_json::to_string(&calls.rows()).unwrap();
        let mut copy = Calls::default();
        prop_assert_eq!(copy.restore(serde_json::from_str(&text).unwrap()), [""; 0]);
        prop_assert_eq!(copy.workloads, calls.workloads);
    }

    #[test]
    fn what_was_learned_is_never_told(
        facts in proptest::collection::vec((0u8..4, 0u8..4, 0u16..3, any::<bool>()), 1..40)
    ) {
        let mut calls = Calls::default();
        let names = names(LATER);
        let fact = |(kind, last, port, flag): (u8, u8, u16, bool)| {
            let to = Endpoint {
                address: [10, 0, 0, last].into(),
                port: [53, 443, 853][usize::from(port)],
                protocol: 6,
            };
            match kind {
                0 => Fact::Connect(to),
                1 => hello(&to.to_string(), flag.then_some("b.example"), !flag),
                2 => Fact::Send(to),
                _ => flow(to, 1),
            }
        };
        for one in &facts {
            calls.observe(&at(LATER, fact(*one)), &names, LEARNING);
        }
        for one in facts.iter().rev() {
            calls.observe(&at(LATER + MINUTE, fact(*one)), &names, JUDGED);
        }
        prop_assert_eq!(told(&mut calls), []);
    }
}
