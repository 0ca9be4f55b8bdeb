//! Workloads that nobody configured, with processes that are real and a kernel that is not.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use monitor_common::limits::MAX_CLASSES;
use slmguard_core::decode::ClassNames;

use super::*;
use crate::enrich::detect::{Scanner, callers::Callers};

/// A program that looks like a server: its name, and a model that it holds open.
struct Server {
    child: Child,
    _directory: tempfile::TempDir,
    exe: PathBuf,
    model: PathBuf,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let exe = directory.path().join("llama-server");
        std::fs::copy("/bin/sleep", &exe).unwrap();
        // Of a name that no other test's server has: the whole machine is searched, and a workload
        // is called after its model.
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("tiny-{}-{number}.gguf", std::process::id());
        let model = directory.path().join(name);
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.resize(2 << 20, 0);
        std::fs::write(&model, bytes).unwrap();
        let child = Self::run(&exe, &model);
        Self {
            child,
            _directory: directory,
            exe,
            model,
        }
    }

    fn run(exe: &Path, model: &Path) -> Child {
        // The shell keeps a descriptor open over the exec.
        let script = format!("exec 7<{}; exec {} 600", model.display(), exe.display());
        Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Searches until the workload of a process is there, and returns its name.
fn find(engine: &SharedEngine, pid: u32) -> Option<String> {
    let mut scanner = Scanner::new(Proc::default());
    let cgroups = Cgroups::at("/nowhere");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        engine.search_once(&mut scanner, &mut Callers::default(), &cgroups);
        let workloads = engine.workloads().unwrap();
        let of = |w: &view::Workload| {
            let seen = w.detection.as_ref();
            seen.is_some_and(|d| d.servers.contains(&pid))
        };
        if let Some(found) = workloads.into_iter().find(of) {
            return Some(found.name);
        }
        let settled = scanner.sighting(pid).is_some_and(|s| s.verdict.found());
        if settled || Instant::now() >= deadline {
            return None;
        }
    }
}

fn decide(engine: &SharedEngine, action: &str, name: &str) -> Result<view::Decided, Refusal> {
    engine.decide(name, action, &view::Decide::default(), ROOT)
}

#[test]
fn a_server_that_runs_is_found_learned_and_confirmed_before_it_can_enforce() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let (engine, fake) = start(dir.path(), "");
    let name = find(&engine, server.child.id()).expect("it is found");
    let shown = |engine: &SharedEngine| {
        let mut all = engine.workloads().unwrap();
        all.retain(|w| w.name == name);
        all.remove(0)
    };
    let workload = shown(&engine);
    assert_eq!(
        (workload.mode.as_str(), workload.origin.as_str()),
        ("learn", "detected")
    );
    assert!(!workload.confirmed);
    let seen = workload.detection.unwrap();
    assert_eq!(seen.detector, "llama.cpp");
    assert!(seen.score >= 1.0 && seen.evidence.len() >= 2, "{seen:?}");
    assert_eq!(seen.models[0].path, server.model.to_str().unwrap());
    let member = workload
        .processes
        .iter()
        .find(|p| p.pid == server.child.id())
        .unwrap();
    assert!(member.role == "server" && member.adopted, "{member:?}");
    assert!(fake.told().watched > 0, "the hooks for files are attached");
    let key = crate::enrich::identity::of_path(&server.exe).unwrap();
    assert!(fake.told().rules.iter().any(|r| r.executable == Some(key)));

    for mode in ["monitor", "enforce"] {
        let refusal = engine
            .set_mode(&name, &change(mode, true), ROOT)
            .unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Conflict(m) if m.contains("workloads confirm")),
            "{refusal}"
        );
    }
    decide(&engine, "confirm", &name).unwrap();
    assert_eq!(
        engine
            .set_mode(&name, &change("enforce", true), ROOT)
            .unwrap()
            .mode,
        "enforce"
    );
    drop(engine);

    let (engine, fake) = start(dir.path(), "");
    let workload = shown(&engine);
    assert!(
        workload.confirmed && workload.mode == "enforce",
        "{workload:?}"
    );
    engine.refresh_enrolment(&Cgroups::at("/nowhere")).unwrap();
    assert!(
        fake.told().rules.iter().any(|r| r.executable == Some(key)),
        "at once after a start"
    );
    assert_ne!(
        fake.member(server.child.id()),
        NONE,
        "and what runs is adopted"
    );
    let mut replica = Server::run(&server.exe, &server.model);
    assert_eq!(
        find(&engine, replica.id()).as_deref(),
        Some(name.as_str()),
        "the same workload"
    );
    replica.kill().unwrap();
    replica.wait().unwrap();
}

#[test]
fn a_dismissed_workload_is_let_go_and_not_found_again_before_it_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let pid = server.child.id();
    let (engine, fake) = start(dir.path(), "");
    let name = find(&engine, pid).expect("it is found");
    assert_ne!(fake.member(pid), NONE);
    decide(&engine, "dismiss", &name).unwrap();
    assert_eq!(fake.member(pid), NONE);
    assert_eq!(find(&engine, pid), None);
    assert!(engine.search().unwrap().dismissed.contains(&name));
    decide(&engine, "restore", &name).unwrap();
    assert_eq!(find(&engine, pid), Some(name.clone()));
    for (action, error) in [
        ("confirm", "nobody"),
        ("dismiss", "nobody"),
        ("restore", "nobody"),
    ] {
        let refusal = decide(&engine, action, error).unwrap_err();
        assert!(
            matches!(refusal, Refusal::NotFound(_)),
            "{action}: {refusal}"
        );
    }
    let stranger = Peer {
        uid: 65_534,
        pid: 7,
    };
    let refusal = engine
        .decide(&name, "confirm", &view::Decide::default(), stranger)
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Forbidden(_)), "{refusal}");
    assert_eq!(engine.store.audit(10).unwrap().len(), 2);
}

#[test]
fn a_workload_that_does_not_fit_is_refused_whole_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let (engine, fake) = start(dir.path(), "");
    let full: Vec<Scope> = (u32::from(FIRST)..MAX_CLASSES)
        .map(|n| Scope {
            workload: format!("w{n}"),
            role: Role::Tool,
            phase: Phase::Start,
        })
        .collect();
    engine.store.add_classes(&full).unwrap();
    assert_eq!(find(&engine, server.child.id()), None);
    assert_eq!(fake.member(server.child.id()), NONE);
    assert!(engine.workloads().unwrap().is_empty() && engine.store.detected().unwrap().is_empty());
    let refused = engine.search().unwrap().refused;
    assert!(refused.iter().any(|r| r.contains("classes")), "{refused:?}");
    assert!(
        engine.degraded().iter().any(|d| d.contains("not guarded")),
        "{:?}",
        engine.degraded()
    );
}

#[test]
fn a_workload_whose_policy_does_not_fit_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let (engine, fake) = start(dir.path(), "");
    fake.told().room = Some(2);
    assert_eq!(find(&engine, server.child.id()), None);
    assert!(engine.store.detected().unwrap().is_empty() && engine.classes.configured().is_empty());
    fake.told().room = None;
    assert!(
        find(&engine, server.child.id()).is_some(),
        "there is room again"
    );
}

#[test]
fn an_agent_is_offered_and_guarded_once_it_is_enrolled() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let (engine, fake) = start(dir.path(), "");
    let name = find(&engine, server.child.id()).expect("it is found");
    // The kernel tells of a call; the caller is a shell that runs a script.
    let script = dir.path().join("caller.sh");
    std::fs::write(&script, "read until_the_end\n").unwrap();
    let mut caller = Command::new("/bin/sh")
        .arg(&script)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let fact = Fact::Caller {
        endpoint: Endpoint {
            address: [127, 0, 0, 1].into(),
            port: 8080,
            protocol: 6,
        },
        program: (0, 0),
    };
    let call = Observation {
        scope: Scope {
            workload: name.clone(),
            role: Role::Server,
            phase: Phase::Serve,
        },
        process: ProcessKey {
            pid: caller.id(),
            start_time: 0,
        },
        ..observation(fact, Verdict::Known)
    };
    let agents = || {
        let mut all = engine.workloads().unwrap();
        all.retain(|w| w.name == name);
        all.remove(0).agents
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while agents()
        .first()
        .is_none_or(|a| a.exe.is_empty() || a.arguments.is_empty())
    {
        assert!(Instant::now() < deadline, "{:?}", agents());
        engine.ingest(call.clone(), None, Instant::now());
        engine.search_once(
            &mut Scanner::new(Proc::default()),
            &mut Callers::default(),
            &Cgroups::at("/nowhere"),
        );
    }
    let agent = agents().remove(0);
    assert_eq!(
        (agent.id.as_str(), agent.state.as_str()),
        ("caller.sh", "offered")
    );
    assert!(agent.evidence[0].contains("127.0.0.1:8080"), "{agent:?}");
    assert_eq!(
        fake.member(caller.id()),
        NONE,
        "nothing happens without an operator"
    );
    let who = view::Decide {
        agent: Some(caller.id().to_string()),
        reason: "ours".into(),
    };
    engine.decide(&name, "enrol-agent", &who, ROOT).unwrap();
    let class = engine.classes.scope(fake.member(caller.id())).unwrap();
    assert_eq!(
        (class.workload.as_str(), class.role),
        (name.as_str(), Role::Agent)
    );
    assert!(
        fake.told()
            .rules
            .iter()
            .any(|r| r.arguments.iter().any(|a| a.ends_with("caller.sh")))
    );
    assert_eq!(agents()[0].state, "enrolled");
    engine.decide(&name, "dismiss-agent", &who, ROOT).unwrap();
    assert_eq!(agents()[0].state, "dismissed");
    caller.kill().unwrap();
    caller.wait().unwrap();
}
