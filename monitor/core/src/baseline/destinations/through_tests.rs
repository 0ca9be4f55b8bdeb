//! Tests of hosts behind declared proxies: what was learned is not told, every other host is, and so is
//! what could not be seen.

use monitor_common::event::Verdict;
use proptest::prelude::*;

use super::*;
use crate::{
    baseline::destinations::calls::{Calls, MAX_FINDINGS, Standing},
    names::NameTable,
    testing::{connect, endpoint, seen},
};

const START: u64 = 1_700_000_000_000_000_000;
const HOUR: u64 = HOST_QUIET;
const PROXY: &str = "10.0.0.5:3128/tcp";
const LEARNING: Standing = Standing {
    learning: true,
    known: false,
};
const JUDGED: Standing = Standing {
    learning: false,
    known: true,
};

fn request(proxy: &str, host: &str) -> Fact {
    Fact::Request(Request {
        proxy: endpoint(proxy),
        target: Target::parse(host.as_bytes(), None),
        tunnel: true,
        cookie: 1,
    })
}

fn observe(calls: &mut Calls, time: u64, fact: Fact, standing: Standing) {
    let seen = Observation {
        time,
        ..seen(fact, Verdict::Known)
    };
    calls.observe(&seen, &NameTable::default(), standing);
}

/// What is told of a request after learning: the oddity, the host and how often.
fn told(calls: &mut Calls, time: u64, host: &str) -> Vec<(Oddity, Option<String>, u64)> {
    observe(calls, time, request(PROXY, host), JUDGED);
    let findings = calls.take_findings().into_iter();
    findings
        .map(|f| (f.call.what, f.call.host, f.call.count))
        .collect()
}

fn declared() -> Calls {
    let mut calls = Calls::default();
    calls.declare("assistant", [endpoint(PROXY)]);
    calls
}

/// It learned three hosts, one of them as one of many.
fn learned() -> Calls {
    let mut calls = declared();
    for host in [
        "api.example.com:443",
        "cdn-7.example.com:443",
        "10.9.9.9:22",
    ] {
        observe(&mut calls, START, request(PROXY, host), LEARNING);
    }
    calls
}

#[test]
fn a_host_that_was_learned_is_not_told_and_another_one_is_once_an_hour() {
    let mut calls = learned();
    for host in [
        "API.example.com.:443",
        "cdn-12.example.com:443",
        "10.9.9.9:22",
        "[::ffff:10.9.9.9]:22",
    ] {
        assert_eq!(told(&mut calls, START, host), [], "{host}");
    }
    let new = |host: &str, count| vec![(Oddity::UnlearnedHost, Some(host.to_owned()), count)];
    for host in ["evil.example:443", "api.example.com:80", "10.9.9.8:22"] {
        assert_eq!(told(&mut calls, START, host), new(host, 1), "{host}");
        assert_eq!(told(&mut calls, START + HOUR / 2, host), []);
        assert_eq!(told(&mut calls, START + HOUR, host), new(host, 2));
    }
}

#[test]
fn what_is_most_like_a_new_host_is_told_with_it() {
    let mut calls = learned();
    observe(
        &mut calls,
        START,
        request(PROXY, "aqi.example.com:443"),
        JUDGED,
    );
    let call = calls.take_findings().remove(0).call;
    assert_eq!(call.endpoint, endpoint(PROXY));
    assert_eq!(call.nearest[0], "api.example.com:443");
    assert_eq!(call.nearest.len(), 3);
}

#[test]
fn a_call_that_shows_no_host_is_blind_whatever_was_learned_and_told_once_a_day() {
    let mut calls = learned();
    observe(&mut calls, START, request(PROXY, ""), LEARNING);
    let blind = |count| vec![(Oddity::Blind, None, count)];
    assert_eq!(told(&mut calls, START, ""), blind(1));
    assert_eq!(told(&mut calls, START + 23 * HOUR, "no-port"), []);
    assert_eq!(told(&mut calls, START + 24 * HOUR, ""), blind(2));
    let found = Fact::Found(Box::new(connect(PROXY)));
    observe(&mut calls, START + 48 * HOUR, found, JUDGED);
    assert_eq!(calls.take_findings()[0].call.what, Oddity::Blind);
    assert_eq!(
        calls.unwatched("assistant").unwrap(),
        "5 calls of the proxy 10.0.0.5:3128/tcp did not show their host: where that led is not known."
    );
}

#[test]
fn what_was_not_declared_is_no_proxy() {
    let mut calls = learned();
    for fact in [
        request("10.0.0.6:3128/tcp", "evil.example:443"),
        request("10.0.0.6:3128/tcp", ""),
        request("10.0.0.5:3129/tcp", ""),
    ] {
        observe(&mut calls, START, fact, JUDGED);
    }
    assert_eq!(calls.take_findings(), []);
    let mut nobody = Calls::default();
    observe(&mut nobody, START, request(PROXY, ""), JUDGED);
    assert_eq!(nobody.take_findings(), []);
    assert_eq!(nobody.rows(), []);
}

#[test]
fn hosts_behind_a_proxy_that_was_declared_after_learning_are_not_judged() {
    let mut calls = learned();
    calls.declare("assistant", [PROXY, "10.0.0.7:8080/tcp"].map(endpoint));
    let other = request("10.0.0.7:8080/tcp", "evil.example:443");
    observe(&mut calls, START, other.clone(), JUDGED);
    assert_eq!(calls.take_findings(), []);
    let unwatched = calls.unwatched("assistant").unwrap();
    assert!(
        unwatched.contains("10.0.0.7:8080/tcp was declared") && !unwatched.contains(PROXY),
        "{unwatched}"
    );
    // It learns again: a host is the same behind each proxy.
    calls.expect(["assistant"]);
    assert_eq!(calls.unwatched("assistant"), None);
    let known = request("10.0.0.7:8080/tcp", "api.example.com:443");
    observe(&mut calls, START, known, JUDGED);
    assert_eq!(calls.take_findings(), []);
    observe(&mut calls, START, other, JUDGED);
    assert_eq!(calls.take_findings().len(), 1);
}

#[test]
fn what_is_known_outlives_the_store_and_rows_of_before_are_read() {
    let mut calls = learned();
    assert_eq!(told(&mut calls, START, "evil.example:443").len(), 1);
    assert_eq!(told(&mut calls, START, "").len(), 1);
    let mut again = declared();
    let text = serde_json::to_string(&calls.rows()).unwrap();
    assert_eq!(again.restore(serde_json::from_str(&text).unwrap()), [""; 0]);
    for host in ["api.example.com:443", "evil.example:443", ""] {
        assert_eq!(told(&mut again, START + 1, host), [], "{host}");
    }
    assert_eq!(told(&mut again, START, "other.example:443").len(), 1);
    assert!(again.unwatched("assistant").unwrap().starts_with("2 calls"));

    let old = r#"[{"workload":"assistant","resolvers":[],"scopes":[]}]"#;
    let mut before = declared();
    assert_eq!(before.restore(serde_json::from_str(old).unwrap()), [""; 0]);
    assert_eq!(told(&mut before, START, "evil.example:443"), []);
    assert!(
        before
            .unwatched("assistant")
            .unwrap()
            .contains("has not learned since")
    );
}

#[test]
fn what_is_kept_is_bounded() {
    let mut calls = learned();
    for n in 0..=2 * MAX_HOSTS {
        let host = format!("h{n}.corp:443");
        observe(&mut calls, START, request(PROXY, &host), JUDGED);
    }
    assert_eq!(calls.take_findings().len(), MAX_FINDINGS);
    for n in 0..=MAX_HOSTS {
        let host = format!("h{n}.corp:443");
        observe(&mut calls, START, request(PROXY, &host), LEARNING);
    }
    assert_eq!(told(&mut calls, START, "evil.example:443"), []);
    let unwatched = calls.unwatched("assistant").unwrap();
    assert!(unwatched.contains("More than 4096 hosts"), "{unwatched}");
    assert_eq!(
        told(&mut calls, START, "").len(),
        1,
        "blind is told nevertheless"
    );
}

proptest! {
    #[test]
    fn what_was_learned_is_never_told(hosts in proptest::collection::vec("([a-z0-9%_~-]{1,6}\\.){0,3}(com|corp|[0-9]{1,3}):[0-9]{1,4}", 1..8)) {
        let mut calls = declared();
        for host in &hosts {
            observe(&mut calls, START, request(PROXY, host), LEARNING);
        }
        let text = serde_json::to_string(&calls.rows()).unwrap();
        let mut again = declared();
        again.restore(serde_json::from_str(&text).unwrap());
        for host in hosts.iter().filter(|host| Target::parse(host.as_bytes(), None).is_some()) {
            prop_assert_eq!(told(&mut again, START, host), []);
        }
    }
}
