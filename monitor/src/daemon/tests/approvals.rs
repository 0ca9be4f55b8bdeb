//! Lists that operators approve, reject, bring along, and what policies are made of them.

use slmguard_core::profile::{Profile, Provenance};

use super::*;
use crate::api::view;

fn order(fill: impl FnOnce(&mut view::BaselineOrder)) -> view::BaselineOrder {
    let mut order = view::BaselineOrder {
        reason: "a test".into(),
        ..view::BaselineOrder::default()
    };
    fill(&mut order);
    order
}

fn saw(engine: &Engine, fact: Fact) {
    engine.ingest(observation(fact, Verdict::New), None, Instant::now());
}

pub(super) fn decide(
    engine: &Engine,
    action: &str,
    fill: impl FnOnce(&mut view::BaselineOrder),
) -> Result<String, Refusal> {
    let done = Backend::order_baseline(engine, "a", action, &order(fill), ROOT)?;
    Ok(done.done)
}

fn agent(engine: &Engine, fake: &Fake) -> (Control, PolicyImage) {
    let told = fake.told();
    let (_, control, image) = &told.policies[&class(engine, Role::Agent, Phase::Start)];
    (*control, image.clone())
}

fn edges(image: &PolicyImage) -> usize {
    image.allow.transitions.len()
}

#[test]
fn an_approved_list_is_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    saw(&engine, connect(1));
    let done = decide(&engine, "approve", |_| {}).unwrap();
    assert_eq!(done, "approved all 1 subjects that a was seen to use");
    saw(&engine, connect(2));
    let learned = engine.profile("a", "learned").unwrap();
    let approved = engine.profile("a", "approved").unwrap();
    assert_ne!(learned.fingerprint, approved.fingerprint);
    assert!(approved.approved.unwrap().active);

    engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap();
    let (control, image) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Enforce as u8);
    assert_eq!(
        image.destinations.len(),
        1,
        "what was learned later is not in it"
    );

    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    assert!(
        !engine
            .profile("a", "approved")
            .unwrap()
            .approved
            .unwrap()
            .active
    );
    let refusal = engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap_err();
    assert!(refusal.to_string().contains("--declare"), "{refusal}");
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    assert_eq!(agent(&engine, &fake).1.destinations.len(), 2);
}

#[test]
fn families_that_nobody_approved_are_told_and_not_enforced() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    saw(&engine, connect(1));
    saw(&engine, open("/srv/data"));
    decide(&engine, "approve", |o| {
        o.families = vec!["destination".into()]
    })
    .unwrap();
    engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap();
    let (control, image) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Enforce as u8);
    assert_eq!(control.mode_bits(Family::Read), Mode::Monitor as u8);
    assert_eq!(image.destinations.len(), 1);
    assert!(
        edges(&image) > 0,
        "what was learned of files is no news either"
    );
    decide(&engine, "approve", |o| o.families = vec!["read".into()]).unwrap();
    let (control, _) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Read), Mode::Enforce as u8);
    assert_eq!(control.mode_bits(Family::Exec), Mode::Monitor as u8);
}

#[test]
fn a_subject_that_is_rejected_is_forbidden_for_good() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (engine, fake) = start(dir.path(), CONFIG);
        saw(&engine, connect(1));
        saw(&engine, connect(2));
        decide(&engine, "approve", |_| {}).unwrap();
        let subject = connect(1).subject();
        let done = decide(&engine, "reject", |o| o.subject = Some(subject.clone())).unwrap();
        assert!(
            done.starts_with(&format!("a shall never use {subject} as agent")),
            "{done}"
        );
        let (_, image) = agent(&engine, &fake);
        assert_eq!((image.destinations.len(), image.denied.len()), (1, 1));
        assert!(
            !engine
                .profile("a", "approved")
                .unwrap()
                .text
                .contains(&subject)
        );
    }
    let (engine, fake) = start(dir.path(), CONFIG);
    assert_eq!(
        agent(&engine, &fake).1.denied.len(),
        1,
        "after a restart as well"
    );
    let subject = connect(1).subject();
    let again = |o: &mut view::BaselineOrder| {
        o.subject = Some(subject);
        o.role = Some("agent".into());
        o.families = vec!["destination".into()];
    };
    let done = decide(&engine, "approve", again).unwrap();
    assert!(done.ends_with("from now on"), "{done}");
    assert_eq!(
        agent(&engine, &fake).1.denied.len(),
        0,
        "until it is approved"
    );
}

#[test]
fn what_was_never_seen_needs_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let refused = |fill: fn(&mut view::BaselineOrder)| {
        decide(&engine, "reject", fill).unwrap_err().to_string()
    };
    assert!(refused(|o| o.subject = Some("/never".into())).contains("--role and --family"));
    assert!(
        refused(|o| {
            o.subject = Some("never".into());
            o.role = Some("agent".into());
            o.families = vec!["read".into()];
        })
        .contains("cannot be a rule about read")
    );
    assert!(refused(|_| {}).contains("which subject?"));
    assert!(refused(|o| o.families = vec!["hats".into()]).contains("`hats` is not a family"));
    assert!(refused(|o| o.reason = " ".into()).contains("--reason"));
    let stranger = Peer { uid: 12345, pid: 1 };
    let refusal = Backend::order_baseline(&*engine, "a", "reset", &order(|_| {}), stranger);
    assert!(matches!(refusal, Err(Refusal::Forbidden(_))));
}

#[test]
fn a_profile_from_elsewhere_is_what_the_workload_is_held_to() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let text = {
        let (engine, _) = start(elsewhere.path(), CONFIG);
        saw(&engine, connect(7));
        engine.profile("a", "learned").unwrap().text
    };
    let (engine, fake) = start(dir.path(), CONFIG);
    saw(&engine, connect(1));
    decide(&engine, "import", |o| o.profile = Some(text.clone())).unwrap();
    engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap();
    let (_, image) = agent(&engine, &fake);
    assert_eq!(image.destinations.len(), 1);
    assert_eq!(engine.profile("a", "approved").unwrap().text, text);
    let refusal = decide(&engine, "import", |o| o.profile = Some("x = 1".into())).unwrap_err();
    assert!(
        refusal.to_string().starts_with("not a profile"),
        "{refusal}"
    );
}

#[test]
fn what_a_derived_profile_expects_is_approved_only_once_it_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    saw(&engine, connect(1));
    let mut profile = Profile::from_toml(&engine.profile("a", "learned").unwrap().text).unwrap();
    profile.provenance = Provenance::Derived;
    profile.parts[0].connect.push("10.0.0.9:443/tcp".into());
    let done = decide(&engine, "import", |o| o.profile = Some(profile.to_toml())).unwrap();
    assert!(done.contains("expected"), "{done}");
    assert_eq!(
        agent(&engine, &fake).1.destinations.len(),
        2,
        "neither is news"
    );
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    assert_eq!(agent(&engine, &fake).1.destinations.len(), 1);
}

#[test]
fn a_reset_leaves_nothing_and_hears_everything_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    saw(&engine, connect(1));
    decide(&engine, "approve", |_| {}).unwrap();
    engine
        .set_mode("a", &change("enforce", false), ROOT)
        .unwrap();
    let refusal = decide(&engine, "reset", |_| {}).unwrap_err();
    assert!(refusal.to_string().contains("mode a learn"), "{refusal}");
    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    let key = SeenKey {
        hash: 1,
        tgid: 0,
        class: class(&engine, Role::Agent, Phase::Start),
        kind: 1,
        verdict: Verdict::New as u8,
    };
    fake.told().seen.push((key, Seen::default()));
    decide(&engine, "reset", |_| {}).unwrap();
    assert!(engine.baseline("a").unwrap().is_empty());
    assert!(engine.profile("a", "approved").is_err());
    assert_eq!(agent(&engine, &fake).1.destinations.len(), 0);
    assert!(fake.told().seen.is_empty());
    drop(engine);
    let (engine, _) = start(dir.path(), CONFIG);
    assert!(engine.baseline("a").unwrap().is_empty());
}

#[test]
fn an_alert_is_found_by_the_beginning_of_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    let seen = observation(connect(9), Verdict::Blocked);
    let alert = engine.ingest(seen, None, Instant::now()).unwrap();
    engine.store_alerts(std::slice::from_ref(&alert)).unwrap();
    let id = &alert.stored.id;
    for beginning in [id.as_str(), &id[..8]] {
        assert_eq!(&Backend::alert(&*engine, beginning).unwrap().id, id);
    }
    let refusal = Backend::alert(&*engine, "%").unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound(_)), "{refusal}");
}

#[test]
fn an_approval_that_the_kernel_has_no_room_for_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    saw(&engine, connect(1));
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
    let before = engine.profile("a", "approved").unwrap();
    fake.told().room = Some(0);
    let subject = |o: &mut view::BaselineOrder| {
        o.subject = Some("10.0.0.9:443/tcp".into());
        o.role = Some("agent".into());
        o.families = vec!["destination".into()];
    };
    assert!(decide(&engine, "approve", subject).is_err());
    fake.told().room = None;
    assert_eq!(engine.profile("a", "approved").unwrap(), before);
    assert_eq!(engine.mode("a").unwrap().mode, "enforce");
}

/// So many tool processes live and end, each in its own minute, doing what `fact` says.
fn lives(engine: &Engine, count: u32, verdict: Verdict, fact: impl Fn(u32) -> Fact) {
    for life in 0..count {
        let mut seen = observation(fact(life), verdict);
        seen.time += u64::from(life) * 120_000_000_000;
        seen.process.pid += life;
        engine.ingest(seen, None, Instant::now());
    }
}

#[test]
fn how_complete_a_baseline_is_is_told_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (engine, _) = start(dir.path(), CONFIG);
        lives(&engine, 1, Verdict::New, |_| connect(1));
        lives(&engine, 300, Verdict::Known, |_| connect(1));
        let standing = Backend::evidence(&*engine, "a").unwrap();
        let [family] = standing.families.as_slice() else {
            panic!("{standing:?}")
        };
        assert_eq!(
            (family.role.as_str(), family.family.as_str()),
            ("agent", "destination")
        );
        let text = family.lines.join("\n");
        assert!(text.contains("1 destination known after"), "{text}");
        assert!(
            text.contains("had it enforced during the last 7 days"),
            "{text}"
        );
        assert!(!standing.lifecycle.is_empty());
        engine.save_evidence();
    }
    let (engine, _) = start(dir.path(), CONFIG);
    let again = Backend::evidence(&*engine, "a").unwrap();
    assert!(
        again.families[0].lines[0].starts_with("1 destination known after"),
        "it survives a restart: {again:?}"
    );
}

#[test]
fn in_mode_auto_a_family_goes_as_far_as_evidence_takes_it_and_no_farther() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    lives(&engine, 1, Verdict::New, |_| connect(1));
    let mode = engine.set_mode("a", &change("auto", false), ROOT).unwrap();
    assert_eq!(
        (mode.mode.as_str(), mode.basis.as_str()),
        ("auto", "evidence")
    );
    engine.promote();
    let (control, _) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Learn as u8);

    // Two days in which nothing new comes: the bound on what is new allows alerts, and no more.
    lives(&engine, 3000, Verdict::Known, |_| connect(1));
    engine.promote();
    let (control, _) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Monitor as u8);
    assert_eq!(
        control.mode_bits(Family::Exec),
        Mode::Monitor as u8,
        "nothing in all that time says as much"
    );
    let audit = engine.store.audit(10).unwrap();
    let news = "destination goes from learning to alerting";
    assert!(
        audit.iter().any(|entry| entry.action.contains(news)),
        "{audit:?}"
    );

    decide(&engine, "approve", |o| {
        o.families = vec!["destination".into()]
    })
    .unwrap();
    assert_eq!(
        engine.mode("a").unwrap().mode,
        "auto",
        "an approval leaves the mode"
    );
    let (control, image) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Enforce as u8);
    assert_eq!(image.destinations.len(), 1);
    drop(engine);
    let (engine, fake) = start(dir.path(), CONFIG);
    assert_eq!(engine.mode("a").unwrap().mode, "auto");
    let (control, _) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Enforce as u8);
    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    let (control, _) = agent(&engine, &fake);
    assert_eq!(control.mode_bits(Family::Destination), Mode::Learn as u8);
}
