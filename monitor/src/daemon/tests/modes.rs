//! Changes of mode, and what is enforced after them.

use super::*;

#[test]
fn what_is_learned_is_enforced_after_the_operator_declares_it() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    for fact in [connect(1), open("/srv/data")] {
        assert!(
            engine
                .ingest(observation(fact, Verdict::New), None, Instant::now())
                .is_none()
        );
    }
    let refusal = engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Conflict(m) if m.contains("--declare")),
        "{refusal}"
    );
    let mode = engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    assert_eq!(
        (mode.mode.as_str(), mode.basis.as_str()),
        ("enforce", "declared")
    );
    {
        let told = fake.told();
        let (_, control, image) = &told.policies[&class(&engine, Role::Agent, Phase::Start)];
        assert_eq!(control.mode_bits(Family::Destination), Mode::Enforce as u8);
        assert!(control.has(Control::KILL_DEVIATION) && control.has(Control::KILL_INVARIANT));
        assert_eq!(image.destinations.len(), 1);
        assert!(!image.allow.transitions.is_empty());
        let (_, tool, _) = &told.policies[&class(&engine, Role::Tool, Phase::Serve)];
        assert_eq!(
            tool.mode_bits(Family::Read),
            Mode::Enforce as u8,
            "every class of the workload"
        );
    }
    let audit = engine.store.audit(10).unwrap();
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0].reason, "a test");
    assert!(
        audit[0]
            .action
            .contains("learn (none) -> enforce (declared)"),
        "{}",
        audit[0].action
    );
}

#[test]
fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let agent = {
        let (engine, _) = start(dir.path(), CONFIG);
        engine.ingest(observation(connect(1), Verdict::New), None, Instant::now());
        engine
            .set_mode("a", &change("enforce", true), ROOT)
            .unwrap();
        class(&engine, Role::Agent, Phase::Start)
    };
    let (engine, fake) = start(dir.path(), CONFIG);
    assert_eq!(class(&engine, Role::Agent, Phase::Start), agent);
    assert_eq!(engine.mode("a").unwrap().mode, "enforce");
    let told = fake.told();
    let (_, control, image) = &told.policies[&agent];
    assert_eq!(control.mode_bits(Family::Destination), Mode::Enforce as u8);
    assert_eq!(
        image.destinations.len(),
        1,
        "enforced from the first moment"
    );
}

#[test]
fn stragglers_from_learn_mode_are_not_learned_after_the_approval() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    engine.ingest(observation(connect(66), Verdict::New), None, Instant::now());
    assert!(engine.baseline("a").unwrap().is_empty());
}

#[test]
fn a_change_that_fails_halfway_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    fake.told().room = Some(2);
    let refusal = engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Failed(_)), "{refusal}");
    assert_eq!(engine.mode("a").unwrap().mode, "learn");
    // What had changed could not be changed back without room; with room it is.
    fake.told().room = None;
    engine.publish_all().unwrap();
    let told = fake.told();
    for (id, _) in engine.classes.configured() {
        assert_eq!(
            told.policies[&id].1.mode_bits(Family::Read),
            Mode::Learn as u8
        );
    }
}

#[test]
fn only_root_changes_modes() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let stranger = Peer {
        uid: 65_534,
        pid: 7,
    };
    let refusal = engine
        .set_mode("a", &change("monitor", false), stranger)
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Forbidden(_)), "{refusal}");
    for (mode, declare, reason) in [("paranoid", false, "x"), ("enforce", true, " ")] {
        let bad = view::ModeChange {
            mode: mode.into(),
            declare,
            reason: reason.into(),
        };
        let refusal = engine.set_mode("a", &bad, ROOT).unwrap_err();
        assert!(matches!(refusal, Refusal::Bad(_)), "{refusal}");
    }
    let refusal = engine
        .set_mode("zz", &change("monitor", false), ROOT)
        .unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound(_)), "{refusal}");
}
