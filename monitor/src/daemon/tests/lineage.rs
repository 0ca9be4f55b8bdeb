//! Lineages: another shape is told and relaxes nothing, what was tried waits, an operator or enough
//! replicas add it, and what is pinned is expected again after a reset.

use std::os::unix::fs::MetadataExt;

use slmguard_core::alert::ProcessInfo;

use super::*;
use crate::enrich::{
    detect::{FileId, digest::Known},
    procfs::TICK_NS,
};

const DAY: u64 = 86_400_000_000_000;

fn serve() -> Scope {
    Scope {
        workload: "a".into(),
        role: Role::Server,
        phase: Phase::Serve,
    }
}

/// A server with these arguments: this process, as far as `/proc` is asked.
fn serves(engine: &Engine, arguments: &[&str]) {
    let pid = std::process::id();
    let stat = engine.proc.stat(pid).unwrap();
    let info = ProcessInfo {
        pid,
        start_time: stat.start_ticks * TICK_NS,
        argv: arguments.iter().map(|a| (*a).to_owned()).collect(),
        ..ProcessInfo::default()
    };
    engine.state().processes.enter(info, serve());
}

/// The program of this process has that digest.
fn remember(engine: &Engine, digest: &str) {
    let meta = std::fs::metadata("/proc/self/exe").unwrap();
    let id = FileId {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        changed: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
    };
    let known = Known {
        digest: Some(digest.into()),
        ..Known::default()
    };
    engine.digests.remember(id, known);
}

fn told(engine: &Engine) -> Vec<serde_json::Value> {
    engine.weigh_lineages();
    let alerts = engine.tell();
    let text = |a: &engine::NewAlert| serde_json::from_str(&a.stored.body).unwrap();
    alerts.iter().map(text).collect()
}

const CONFIG: &str = r#"
[[workload]]
name = "a"
[[workload.process]]
role = "server"
exe = "/bin/sh"
argv = ["no-such-server"]
[[workload.process]]
role = "agent"
exe = "/bin/sh"
argv = ["no-such-agent"]
"#;

#[test]
fn other_flags_are_told_once_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    serves(&engine, &["llama-server", "-m", "a.gguf"]);
    remember(&engine, "aa");
    assert_eq!(told(&engine), [0; 0], "the first");
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    engine.save_lineages();
    drop(engine);

    let (engine, _) = start(dir.path(), CONFIG);
    serves(&engine, &["llama-server", "-m", "a.gguf", "--tools", "all"]);
    remember(&engine, "aa");
    let alerts = told(&engine);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    for (key, value) in [
        ("kind", "lineage"),
        ("subject", "lineage 2: other flags"),
        ("verdict", "audited"),
        ("severity", "medium"),
    ] {
        assert_eq!(alerts[0][key], value, "{}", alerts[0]);
    }
    let reasons = alerts[0]["reasons"].to_string();
    assert!(
        reasons.contains("llama-server -m a.gguf --tools all"),
        "{reasons}"
    );
    assert_eq!(told(&engine), [0; 0], "once");
    let page = engine.evidence("a").unwrap().lineage;
    assert_eq!(page.began.len(), 2);
    assert!(page.began[1].ends_with(": other flags"), "{page:?}");
}

/// The agent tried a destination, so long after a time three days ago, in that replica.
fn tried(engine: &Engine, fact: Fact, (time, pid): (u64, u32)) {
    let mut seen = observation(fact, Verdict::Blocked);
    let time = clock::now() - 3 * DAY + time;
    (seen.time, seen.mode, seen.process.pid) = (time, Mode::Enforce, pid);
    engine.ingest(seen, None, Instant::now());
}

fn decide(engine: &Engine, action: &str, subject: Option<&str>) -> Result<String, Refusal> {
    approvals::decide(engine, action, |o| o.subject = subject.map(str::to_owned))
}

/// One destination is learned, and enforced.
fn enforcing(engine: &Engine) {
    engine.ingest(observation(connect(1), Verdict::New), None, Instant::now());
    engine
        .set_mode("a", &change("enforce", true), ROOT)
        .unwrap();
}

fn destinations(engine: &Engine, fake: &Fake) -> usize {
    let told = fake.told();
    let (_, _, image) = &told.policies[&class(engine, Role::Agent, Phase::Start)];
    image.destinations.len()
}

#[test]
fn what_was_refused_waits_and_can_be_approved_without_saying_where() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, fake) = start(dir.path(), CONFIG);
    enforcing(&engine);
    tried(&engine, connect(2), (0, 77));
    let waiting = engine.evidence("a").unwrap().lineage.waiting;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(
        (waiting[0].subject.as_str(), waiting[0].times),
        ("10.0.0.2:80/tcp", 1)
    );
    assert!(
        waiting[0]
            .waits
            .contains(&"waits for an operator's approval".to_owned()),
        "{waiting:?}"
    );
    engine.save_lineages();
    let before = destinations(&engine, &fake);
    decide(&engine, "approve", Some("10.0.0.2:80/tcp")).unwrap();
    assert_eq!(destinations(&engine, &fake), before + 1);
    assert_eq!(engine.evidence("a").unwrap().lineage.waiting, []);
    // Approved, and never learned.
    decide(&engine, "pin", Some("10.0.0.2:80/tcp")).unwrap();
}

#[test]
fn enough_replicas_add_what_they_all_tried_for_days_if_the_operator_wants_that() {
    for (adapt, expected) in [("approve", 0), ("quorum", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let config = CONFIG.replace(
            "name = \"a\"",
            &format!("name = \"a\"\nadapt = \"{adapt}\""),
        );
        let (engine, fake) = start(dir.path(), &config);
        enforcing(&engine);
        for pid in [71, 72, 73] {
            let info = ProcessInfo {
                pid,
                cgroup: format!("/replica/{pid}"),
                ..ProcessInfo::default()
            };
            engine.state().processes.enter(info, serve());
        }
        for (last, replicas) in [(2, &[71, 72][..]), (3, &[71])] {
            for day in 0..3 {
                for pid in replicas {
                    (0..20).for_each(|_| tried(&engine, connect(last), (day * DAY, *pid)));
                }
            }
        }
        let before = destinations(&engine, &fake);
        engine.tend_lineages();
        engine.publish_learned();
        assert_eq!(destinations(&engine, &fake), before + expected, "{adapt}");
        let page = engine.evidence("a").unwrap().lineage;
        assert_eq!(page.waiting.len(), 2 - expected, "{page:?}");
        let profile = engine.profile("a", "approved").unwrap().text;
        assert_eq!(profile.contains("10.0.0.2"), expected == 1, "{profile}");
        assert!(!profile.contains("10.0.0.3"), "one replica is no quorum");
        let trail = engine.store.audit(99).unwrap();
        let added = trail.iter().filter(|e| e.reason == "quorum").count();
        assert_eq!(added, expected);
    }
}

#[test]
fn what_is_pinned_is_shown_and_expected_after_a_reset() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    enforcing(&engine);
    let subject = "10.0.0.1:80/tcp";
    let state = |engine: &Engine| {
        let entries = Backend::baseline(engine, "a").unwrap();
        let entry = entries.iter().find(|e| e.subject == subject);
        entry.and_then(|e| e.state.clone())
    };
    assert_eq!(state(&engine), None);
    decide(&engine, "pin", Some(subject)).unwrap();
    assert_eq!(state(&engine).as_deref(), Some("pinned"));
    let refused = decide(&engine, "pin", Some("10.0.0.9:80/tcp")).unwrap_err();
    assert!(matches!(refused, Refusal::NotFound(_)), "{refused:?}");
    engine.set_mode("a", &change("learn", false), ROOT).unwrap();
    decide(&engine, "reset", None).unwrap();
    let entries = Backend::baseline(&*engine, "a").unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(
        (entries[0].count, state(&engine).as_deref()),
        (0, Some("pinned"))
    );
    decide(&engine, "unpin", Some(subject)).unwrap();
    assert_eq!(state(&engine), None);
    assert!(decide(&engine, "unpin", Some(subject)).is_err());
}
