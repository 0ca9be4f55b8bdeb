//! What a connector carries: learned, judged once the workload is held to something, told, kept.

use slmguard_core::observation::Flow;

use super::*;

const SECOND: u64 = 1_000_000_000;
const SLOT: u64 = SECOND;
const SHORT: &str = "[volume]\nslot = \"1s\"\nleast = 5\n";

/// The agent has sent so much at a time.
fn sent(engine: &Engine, bytes: u64, time: u64) {
    let mut observation = observation(
        Fact::Flow(Flow {
            peer: Endpoint {
                address: [10, 0, 0, 1].into(),
                port: 443,
                protocol: 6,
            },
            local_port: 40_000,
            inbound: false,
            sent: bytes,
            received: 0,
            duration: 0,
            cookie: 1,
        }),
        Verdict::Known,
    );
    observation.time = time;
    assert!(engine.ingest(observation, None, Instant::now()).is_none());
}

/// Six slots of 100 kB, up to now.
fn learn(engine: &Engine) -> u64 {
    let now = clock::now();
    for n in 0..6 {
        sent(engine, 100_000, now - (6 - n) * SLOT);
    }
    now
}

fn told(engine: &Engine) -> Vec<serde_json::Value> {
    let alerts = engine.tell();
    engine.store_alerts(&alerts).unwrap();
    alerts
        .iter()
        .map(|alert| serde_json::from_str(&alert.stored.body).unwrap())
        .collect()
}

#[test]
fn a_burst_of_a_workload_that_is_held_to_something_becomes_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), &format!("{SHORT}{CONFIG}"));
    let now = learn(&engine);
    sent(&engine, 50_000_000, now);
    engine.weigh_volumes();
    assert_eq!(told(&engine), [0; 0], "it learns");
    let standing = engine.evidence("a").unwrap();
    assert!(!standing.volumes[0].bursts, "{standing:?}");

    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    engine.weigh_volumes();
    let standing = &engine.evidence("a").unwrap().volumes[0];
    assert!(standing.bursts && !standing.leaks, "{standing:?}");
    let line = &standing.lines[0];
    assert!(line.contains("more than 200.0 kB in 1 s is told"), "{line}");
    sent(&engine, 150_000, now + 2 * SLOT);
    assert_eq!(told(&engine), [0; 0]);
    sent(&engine, 60_000, now + 2 * SLOT);
    let alerts = told(&engine);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let alert = &alerts[0];
    for (key, value) in [
        ("kind", "volume"),
        ("subject", "10.0.0.1:443/tcp"),
        ("verdict", "audited"),
        ("mode", "monitor"),
        ("severity", "high"),
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
        first.contains("sent 210.0 kB to 10.0.0.1:443/tcp within 1 s"),
        "{first}"
    );
    assert_eq!(told(&engine), [0; 0], "once");
}

#[test]
fn what_was_learned_about_bytes_outlives_a_restart_and_a_reset_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("{SHORT}{CONFIG}");
    let (engine, _) = start(dir.path(), &config);
    let now = learn(&engine);
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    engine.weigh_volumes();
    engine.save_volumes();
    drop(engine);
    let (engine, _) = start(dir.path(), &config);
    engine.weigh_volumes();
    sent(&engine, 210_000, now + 2 * SLOT);
    assert_eq!(told(&engine).len(), 1);
    engine.save_volumes();
    drop(engine);

    // In minutes it cannot be used.
    let (engine, _) = start(dir.path(), CONFIG);
    assert_eq!(engine.evidence("a").unwrap().volumes, []);
    drop(engine);
    let (engine, _) = start(dir.path(), &config);
    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    let order = view::BaselineOrder {
        reason: "a test".into(),
        ..view::BaselineOrder::default()
    };
    Backend::order_baseline(&*engine, "a", "reset", &order, ROOT).unwrap();
    assert_eq!(engine.evidence("a").unwrap().volumes, []);
}
