//! Calls that are odd: what is usual is learned, what is not is told, and kept.

use slmguard_core::observation::{Flow, Lookup};

use super::*;

const HOUR: u64 = 3_600_000_000_000;

pub(super) fn to(last: u8, port: u16) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, last].into(),
        port,
        protocol: 6,
    }
}

pub(super) fn seen(engine: &Engine, fact: Fact, time: u64) {
    let mut observation = observation(fact, Verdict::Known);
    observation.time = time;
    assert!(engine.ingest(observation, None, Instant::now()).is_none());
}

fn hello(engine: &Engine, name: &str, time: u64) {
    let fact = Fact::Hello {
        endpoint: to(1, 443),
        name: Some(name.into()),
        encrypted: false,
        cut: false,
        cookie: 1,
    };
    seen(engine, fact, time);
}

pub(super) fn called(engine: &Engine, peer: Endpoint, time: u64) {
    let fact = Fact::Flow(Flow {
        peer,
        local_port: 40_000,
        inbound: false,
        sent: 512,
        received: 0,
        duration: 0,
        cookie: 1,
    });
    seen(engine, fact, time);
}

/// `a.example` is 10.0.0.1.
fn looked_up(engine: &Engine, time: u64) {
    let fact = Fact::Answer {
        lookup: Lookup {
            name: b"a.example".to_vec(),
            qtype: 1,
            resolver: to(53, 53),
            cookie: 1,
        },
        code: 0,
        addresses: vec![([10, 0, 0, 1].into(), 60)],
        total: 1,
    };
    seen(engine, fact, time);
}

/// By name to 10.0.0.1, without one to 10.0.0.2.
pub(super) fn usual(engine: &Engine, time: u64) {
    looked_up(engine, time);
    hello(engine, "a.example", time);
    called(engine, to(1, 443), time);
    called(engine, to(2, 80), time);
    called(engine, to(53, 53), time);
}

pub(super) fn told(engine: &Engine) -> Vec<serde_json::Value> {
    let alerts = engine.tell();
    engine.store_alerts(&alerts).unwrap();
    alerts
        .iter()
        .map(|alert| serde_json::from_str(&alert.stored.body).unwrap())
        .collect()
}

#[test]
fn an_odd_call_of_a_workload_that_is_held_to_something_becomes_one_alert() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let now = clock::now();
    usual(&engine, now);
    assert_eq!(told(&engine), [0; 0], "it learns");
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    let later = now + 2 * HOUR;
    usual(&engine, later);
    assert_eq!(told(&engine), [0; 0], "it was learned");
    hello(&engine, "b\n.example", later);
    hello(&engine, "b\n.example", later + 1);
    let alerts = told(&engine);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let alert = &alerts[0];
    for (key, value) in [
        ("kind", "odd"),
        ("subject", "10.0.0.1:443/tcp"),
        ("name", "a.example"),
        ("verdict", "audited"),
        ("mode", "monitor"),
        ("severity", "medium"),
        ("workload", "a"),
        ("role", "agent"),
    ] {
        assert_eq!(alert[key], value, "{key}: {alert}");
    }
    assert_eq!(alert["prevented"], false);
    assert_eq!(alert["process"]["pid"], 4_000_000);
    assert_ne!(alert["policy_version"], 0);
    let first = alert["reasons"][0].as_str().unwrap();
    assert!(
        first.contains("for the server name b\\u{a}.example"),
        "{first}"
    );
    assert_eq!(told(&engine), [0; 0], "once");
}

#[test]
fn what_was_learned_about_calls_outlives_a_restart_and_a_reset_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let now = clock::now();
    usual(&engine, now);
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    engine.save_calls();
    drop(engine);

    let (engine, _) = start(dir.path(), CONFIG);
    looked_up(&engine, now + HOUR);
    let later = now + 3 * HOUR;
    usual(&engine, later);
    assert_eq!(told(&engine), [0; 0]);
    called(&engine, to(9, 443), later);
    let alerts = told(&engine);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["subject"], "10.0.0.9:443/tcp");
    engine.save_calls();
    drop(engine);

    // What was told is kept too.
    let (engine, _) = start(dir.path(), CONFIG);
    looked_up(&engine, later - 2 * HOUR);
    called(&engine, to(9, 443), later + HOUR / 2);
    assert_eq!(told(&engine), [0; 0]);

    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    let order = view::BaselineOrder {
        reason: "a test".into(),
        ..view::BaselineOrder::default()
    };
    Backend::order_baseline(&*engine, "a", "reset", &order, ROOT).unwrap();
    let unwatched = engine.evidence("a").unwrap().unwatched.unwrap();
    assert!(unwatched.contains("has not learned"), "{unwatched}");
    engine.weigh_calls();
    assert_eq!(engine.evidence("a").unwrap().unwatched, None);
}
