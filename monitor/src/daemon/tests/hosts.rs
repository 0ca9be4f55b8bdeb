//! Destinations by name: learned beside their addresses, counted, rejected, approved.

use slmguard_core::observation::Lookup;

use super::*;

const NOW: u64 = 1_800_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn seen(engine: &Engine, fact: Fact, verdict: Verdict, time: u64) {
    let mut observation = observation(fact, verdict);
    observation.time = time;
    engine.ingest(observation, None, Instant::now());
}

/// A name server says where a name is.
fn answered(engine: &Engine, name: &str, last: u8, time: u64) {
    let fact = Fact::Answer {
        lookup: Lookup {
            name: name.into(),
            qtype: 1,
            resolver: odd::to(53, 53),
            cookie: 1,
        },
        code: 0,
        addresses: vec![([10, 0, 0, last].into(), 60)],
        total: 1,
    };
    seen(engine, fact, Verdict::Known, time);
}

fn called(engine: &Engine, last: u8, verdict: Verdict, time: u64) {
    seen(engine, Fact::Connect(odd::to(last, 443)), verdict, time);
}

/// Destinations, each with how often it was seen.
fn destinations(engine: &Engine) -> Vec<(String, u64)> {
    let state = engine.state();
    let rows = state.baseline.rows();
    let names = rows.filter(|row| row.family == "destination");
    names.map(|row| (row.subject, row.count)).collect()
}

#[test]
fn a_call_is_learned_by_address_and_by_name_and_counted_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    called(&engine, 9, Verdict::New, NOW);
    answered(&engine, "cdn-1.example.com", 1, NOW);
    called(&engine, 1, Verdict::New, NOW);
    // The kernel knows it by name: no address is learned any more.
    answered(&engine, "cdn-22.example.com", 2, NOW);
    called(&engine, 2, Verdict::Known, NOW + 1);
    let rule = "cdn-{n}.example.com@private:443/tcp".to_owned();
    let expected = [
        ("10.0.0.1:443/tcp".into(), 1),
        ("10.0.0.9:443/tcp".into(), 1),
        (rule.clone(), 2),
    ];
    assert_eq!(destinations(&engine), expected);
    engine.save_baseline().unwrap();
    drop(engine);
    let (engine, fake) = start(dir.path(), CONFIG);
    assert_eq!(destinations(&engine), expected, "as it was stored");
    engine.publish_all().unwrap();
    let told = fake.told();
    let image = told.policies.values().map(|(.., image)| image);
    assert!(
        image
            .clone()
            .any(|image| image.hosts_below && image.hosts.len() == 2)
    );
}

#[test]
fn an_answer_that_has_ended_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    answered(&engine, "api.example.com", 1, NOW);
    // Five minutes and a quarter of an hour.
    called(&engine, 1, Verdict::New, NOW + 1201 * SECOND);
    assert_eq!(destinations(&engine), [("10.0.0.1:443/tcp".into(), 1)]);
}

#[test]
fn nothing_is_learned_by_name_that_is_not_learned_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    answered(&engine, "api.example.com", 1, NOW);
    called(&engine, 1, Verdict::WouldBlock, NOW);
    called(&engine, 1, Verdict::Known, NOW);
    assert_eq!(destinations(&engine), []);
    // A straggler from before the change.
    called(&engine, 1, Verdict::New, NOW);
    assert_eq!(destinations(&engine), []);
}

#[test]
fn what_looks_like_a_pattern_is_looked_up_in_vain() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    for name in [
        "*.example.com",
        "x{n}.example.com",
        "a b.example.com",
        "api.example.com@private",
    ] {
        answered(&engine, name, 1, NOW);
        called(&engine, 1, Verdict::New, NOW);
    }
    let learned = destinations(&engine);
    assert_eq!(learned.len(), 1, "{learned:?}");
}
