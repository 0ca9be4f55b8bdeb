//! From observations to what is learned, stored, delivered and counted.

use super::*;

#[test]
fn before_anybody_is_a_member_every_class_has_a_policy_with_invariants() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let told = fake.told();
    assert_eq!(told.classes.len(), 4, "agent and tool, start and serve");
    assert!(told.invariants > 0);
    let agent = class(&engine, Role::Agent, Phase::Start);
    assert!(agent >= FIRST);
    let (_, control, image) = &told.policies[&agent];
    assert_eq!(control.mode_bits(Family::Exec), Mode::Learn as u8);
    assert!(!image.deny.transitions.is_empty(), "credential files");
    assert_eq!(
        told.classes[&agent].after_bind,
        class(&engine, Role::Agent, Phase::Serve)
    );
}

#[test]
fn a_deviation_becomes_an_alert_that_is_stored_before_it_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    engine.ingest(observation(connect(1), Verdict::New), None, Instant::now());
    let query = Query {
        limit: 10,
        workload: Some("a".into()),
        follow: true,
    };
    let mut follower = engine.alerts(&query).unwrap().follow.unwrap();
    let alert = engine
        .ingest(
            observation(connect(66), Verdict::Blocked),
            None,
            Instant::now(),
        )
        .unwrap();
    assert!(engine.alerts(&query).unwrap().lines.is_empty() && follower.try_recv().is_err());
    engine.store_alerts(&[alert]).unwrap();
    let line = engine.alerts(&query).unwrap().lines.remove(0);
    assert_eq!(&*follower.try_recv().unwrap().text, line);
    let alert = slmguard_core::alert::Alert::from_json_line(&line).unwrap();
    assert_eq!(
        (alert.subject.as_str(), alert.verdict.as_str()),
        ("10.0.0.66:80/tcp", "blocked")
    );
    assert!(alert.prevented && alert.process.pid == 4_000_000);
    assert_eq!(alert.nearest, ["10.0.0.1:80/tcp"]);
    assert_ne!(
        alert.policy_version, 0,
        "the version behind the kernel's policy number"
    );
    assert_eq!(engine.status().unwrap().workloads[0].alerts, 1);
    assert!(
        engine
            .baseline("a")
            .unwrap()
            .iter()
            .all(|e| !e.subject.contains("66"))
    );
}

#[test]
fn alerts_reach_the_file_through_the_pipeline_and_the_sink() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let (sender, receiver) = std::sync::mpsc::sync_channel(16);
    let pipeline = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || threads::pipeline(&engine, &receiver))
    };
    for n in 0..3 {
        let blocked = observation(connect(n), Verdict::Blocked);
        sender.send(arrived(blocked)).unwrap();
    }
    sender
        .send(threads::Input::Mark(engine.barrier.requested()))
        .unwrap();
    drop(sender);
    pipeline.join().unwrap();
    let file = dir.path().join("alerts.jsonl");
    assert_eq!(
        JsonLines::new(&file, slmguard_core::alert::Format::Json)
            .deliver(&engine.store)
            .unwrap(),
        3
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(
        text.lines()
            .all(|l| slmguard_core::alert::Alert::from_json_line(l).is_ok())
    );
    assert_eq!(
        engine
            .events(&Query {
                limit: 10,
                ..Query::default()
            })
            .unwrap()
            .lines
            .len(),
        3
    );
}

#[test]
fn a_policy_is_published_again_only_when_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    let before = fake.told().published;
    assert_eq!(engine.publish_learned(), 0);
    engine.ingest(observation(connect(1), Verdict::New), None, Instant::now());
    assert_eq!(engine.publish_learned(), 1);
    assert_eq!(engine.publish_learned(), 0);
    engine.ingest(
        observation(connect(1), Verdict::Known),
        None,
        Instant::now(),
    );
    assert_eq!(engine.publish_learned(), 0, "it is known already");
    assert_eq!(fake.told().published, before + 1);
}

#[test]
fn counts_of_the_kernel_come_back_into_the_baseline() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    engine.ingest(
        observation(open("/srv/data"), Verdict::New),
        None,
        Instant::now(),
    );
    let path = slmguard_core::text::components(b"/srv/data");
    let key = SeenKey {
        hash: monitor_common::hash::path(KEY, path),
        tgid: 0,
        class: class(&engine, Role::Agent, Phase::Start),
        kind: monitor_common::event::Kind::Open as u8,
        verdict: Verdict::Known as u8 | permission::READ << 4,
    };
    fake.told().seen = vec![(
        key,
        Seen {
            count: 10,
            reported: 1,
            reported_at: 0,
        },
    )];
    let mut counts = counts::Counts::default();
    for _ in 0..2 {
        engine.merge_counts(&mut counts);
    }
    assert_eq!(engine.baseline("a").unwrap()[0].count, 10);
    engine.save_baseline().unwrap();
    assert_eq!(engine.store.load_baseline().unwrap()[0].count, 10);
}

#[test]
fn state_and_metrics_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    engine.ingest(observation(connect(1), Verdict::New), None, Instant::now());
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    let status = engine.status().unwrap();
    assert_eq!((status.drops, status.events["connect"]), (2, 1));
    assert_eq!(status.workloads[0].mode, "monitor");
    let text = http::Source::openmetrics(&*engine);
    for line in [
        "slmguard_events_total{kind=\"connect\"} 1",
        "slmguard_events_lost_total{hook=\"connect4\"} 2",
        "slmguard_enforcement_mode{workload=\"a\",mode=\"monitor\"} 1",
        "slmguard_baseline_entries{workload=\"a\",family=\"destination\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
    }
    assert!(engine.health().is_ok());
}

#[test]
fn the_pipeline_takes_every_observation_however_many_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let count = 3 * threads::BATCH + 5;
    let (sender, receiver) = std::sync::mpsc::sync_channel(count);
    for n in 0..count {
        let seen = observation(open(&format!("/srv/{n}")), Verdict::New);
        sender.send(arrived(seen)).unwrap();
    }
    drop(sender);
    threads::pipeline(&engine, &receiver);
    assert_eq!(engine.baseline("a").unwrap().len(), count);
}
