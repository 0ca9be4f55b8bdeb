//! The alert budget in the flow: the same thing is not told for ever, and nothing is lost.

use super::*;

const HOUR: u64 = 3_600_000_000_000;

fn blocked(engine: &Engine, last: u8, time: u64) -> Option<serde_json::Value> {
    let fact = Fact::Connect(Endpoint {
        address: [10, 0, 0, last].into(),
        port: 443,
        protocol: 6,
    });
    let mut observation = observation(fact, Verdict::Blocked);
    observation.time = time;
    let alert = engine.ingest(observation, None, Instant::now())?;
    serde_json::from_str(&alert.stored.body).ok()
}

fn texts(alerts: &[engine::NewAlert]) -> Vec<serde_json::Value> {
    let text = |a: &engine::NewAlert| serde_json::from_str(&a.stored.body).unwrap();
    alerts.iter().map(text).collect()
}

/// A line of the metrics.
fn metric(engine: &Engine, line: &str) -> bool {
    engine.metrics.openmetrics().lines().any(|l| l == line)
}

#[test]
fn what_is_stopped_again_and_again_is_told_singly_and_then_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let then = clock::now() - 2 * HOUR;
    let singly = (0..13).filter_map(|n| blocked(&engine, 66, then + n * 1_000_000));
    assert_eq!(singly.count(), 10);
    assert!(blocked(&engine, 67, then + 20).is_some(), "another thing");
    let held = r#"slmguard_alerts_held_total{workload="a",reason="repeat"} 3"#;
    assert!(metric(&engine, held), "{}", engine.metrics.openmetrics());

    let alerts = texts(&engine.tell());
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let alert = &alerts[0];
    for (key, value) in [
        ("kind", "connect"),
        ("verdict", "blocked"),
        ("subject", "10.0.0.66:443/tcp"),
    ] {
        assert_eq!(alert[key], value, "{alert}");
    }
    assert_eq!(alert["count"], 3, "{alert}");
    assert!(alert["first_seen"].as_str() < alert["last_seen"].as_str());
    assert_eq!(alert["prevented"], true);
    assert_eq!(texts(&engine.tell()), [0; 0]);
}

#[test]
fn what_waits_is_told_when_the_daemon_ends_or_the_workload_is_reset() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let now = clock::now();
    for n in 0..11 {
        blocked(&engine, 66, now + n);
    }
    assert_eq!(texts(&engine.tell()), [0; 0], "the hour is not over");
    engine.state().told.forget("a");
    assert_eq!(engine.tell().len(), 1);
    for n in 0..11 {
        blocked(&engine, 66, now + n);
    }
    assert_eq!(engine.tell_rest().len(), 1);
    assert_eq!(engine.tell_rest().len(), 0);
}

#[test]
fn what_is_only_told_has_a_budget_and_the_rest_is_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("{CONFIG}\n[alerts]\nnew_per_day = 1\n");
    let (engine, _) = start(dir.path(), &config);
    let now = clock::now();
    odd::usual(&engine, now);
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    let later = now + 2 * HOUR;
    odd::usual(&engine, later);
    for last in [7, 8, 9] {
        odd::called(&engine, odd::to(last, 443), later);
    }
    let told = texts(&engine.tell());
    assert_eq!(told[0]["kind"], "odd", "{told:?}");
    let held = r#"slmguard_alerts_held_total{workload="a",reason="budget"} 2"#;
    assert!(metric(&engine, held), "{}", engine.metrics.openmetrics());

    // By the clock of the test it is two hours later, so that the sum is due.
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(engine.tell_rest().len(), 0);
    let summary = &told[1];
    assert_eq!(
        (&summary["kind"], &summary["count"]),
        (&"held".into(), &2.into())
    );
    let reasons = summary["reasons"].to_string();
    for text in ["2 of kind odd", "10.0.0.8:443/tcp", "new_per_day"] {
        assert!(reasons.contains(text), "{text}: {reasons}");
    }
}
