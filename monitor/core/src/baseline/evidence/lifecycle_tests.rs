//! Tests of the list: each step is recognised from what the kernel tells, and nothing else is.

use monitor_common::{class::Role, event::Verdict};

use super::*;
use crate::{
    observation::Scope,
    testing::{connect, endpoint, exec, open, seen},
};

fn server(phase: Phase) -> Scope {
    Scope {
        workload: "assistant".into(),
        role: Role::Server,
        phase,
    }
}

fn did(pid: u32, phase: Phase, fact: Fact) -> Observation {
    let mut observation = seen(fact, Verdict::Known);
    observation.scope = server(phase);
    observation.process.pid = pid;
    observation
}

fn start(pid: u32) -> Observation {
    let Fact::Exec { program, argv, .. } = exec("/usr/bin/server") else {
        unreachable!()
    };
    let after = Some(server(Phase::Start));
    did(
        pid,
        Phase::Start,
        Fact::Exec {
            program,
            argv,
            after,
        },
    )
}

fn exit(pid: u32, status: u32) -> Observation {
    did(pid, Phase::Serve, Fact::Exit { status })
}

fn file(path: &str, access: u8, inode: u64, phase: Phase) -> Observation {
    let Fact::Open(mut file) = open(path, access) else {
        unreachable!()
    };
    file.inode = (1, inode);
    did(7, phase, Fact::Open(file))
}

fn map(size: u64, phase: Phase) -> Observation {
    let Fact::Open(file) = open("/srv/a.gguf", READ) else {
        unreachable!()
    };
    let fact = Fact::Map {
        file,
        size,
        protection: 1,
        shared: true,
    };
    did(7, phase, fact)
}

#[test]
fn starts_stops_and_crashes_are_told_apart() {
    let mut list = Lifecycle::default();
    assert_eq!(list.observe(&start(7)), [Step::Start]);
    assert_eq!(
        list.observe(&start(7)),
        [],
        "a wrapper that becomes the server"
    );
    assert_eq!(list.observe(&exit(7, 15)), [Step::Stop]);
    assert_eq!(list.observe(&start(8)), [Step::Restart, Step::Start]);
    assert_eq!(list.observe(&exit(8, 11)), []);
    assert_eq!(
        list.observe(&start(9)),
        [Step::Restart, Step::Crash, Step::Start]
    );
    assert_eq!(list.observe(&start(10)), [Step::ScaleOut, Step::Start]);
    assert_eq!(list.observe(&exit(10, 143 << 8)), [Step::Stop]);
    assert_eq!(list.observe(&exit(9, 1 << 8)), []);
    assert_eq!(list.observe(&exit(4242, 0)), [], "somebody else");
}

#[test]
fn an_agent_beside_its_server_is_started_for_itself() {
    let agent = |pid| {
        let mut observation = start(pid);
        if let Fact::Exec {
            after: Some(after), ..
        } = &mut observation.fact
        {
            after.role = Role::Agent;
        }
        observation
    };
    let mut list = Lifecycle::default();
    assert_eq!(list.observe(&start(7)), [Step::Start]);
    assert_eq!(
        list.observe(&agent(8)),
        [Step::Start],
        "not a second server"
    );
    assert_eq!(list.observe(&exit(8, 0)), [Step::Stop]);
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(list.observe(&agent(9)), [Step::Restart, Step::Start]);
    assert_eq!(list.observe(&start(10)), [Step::ScaleOut, Step::Start]);
    let mut later: Lifecycle = serde_json::from_str(&text).unwrap();
    assert_eq!(later.observe(&agent(9)), [Step::Restart, Step::Start]);
}

#[test]
fn a_model_is_loaded_or_replaced() {
    let mut list = Lifecycle::default();
    assert_eq!(list.observe(&map(1 << 30, Phase::Start)), [Step::Load]);
    assert_eq!(list.observe(&map(1 << 10, Phase::Start)), []);
    assert_eq!(list.observe(&map(1 << 30, Phase::Serve)), [Step::Refresh]);
}

#[test]
fn the_first_call_counts_once() {
    let mut list = Lifecycle::default();
    let call = Fact::Accept {
        peer: endpoint("10.0.0.9:40000/tcp"),
        local: endpoint("10.0.0.1:8080/tcp"),
        uid: None,
    };
    assert_eq!(
        list.observe(&did(7, Phase::Serve, call.clone())),
        [Step::Serve]
    );
    assert_eq!(list.observe(&did(7, Phase::Serve, call)), []);
}

#[test]
fn a_log_is_rotated_when_its_name_leads_to_another_file() {
    let mut list = Lifecycle::default();
    let log = "/var/log/server.log";
    assert_eq!(list.observe(&file(log, WRITE, 5, Phase::Serve)), []);
    assert_eq!(list.observe(&file(log, WRITE, 5, Phase::Serve)), []);
    assert_eq!(
        list.observe(&file(log, WRITE, 6, Phase::Serve)),
        [Step::Rotation]
    );
    let Fact::Open(name) = open("/var/log/server.log.1", WRITE) else {
        unreachable!()
    };
    let moved = Fact::Change {
        action: Action::RenameTo,
        file: name,
    };
    assert_eq!(list.observe(&did(7, Phase::Serve, moved)), [Step::Rotation]);
}

#[test]
fn a_certificate_is_renewed_and_a_configuration_read_again() {
    let mut list = Lifecycle::default();
    let (tls, config) = ("/etc/server/tls.pem", "/etc/server/config.toml");
    assert_eq!(list.observe(&file(tls, READ, 5, Phase::Start)), []);
    assert_eq!(
        list.observe(&file(tls, READ, 9, Phase::Serve)),
        [Step::Renewal]
    );
    assert_eq!(list.observe(&file(config, READ, 5, Phase::Start)), []);
    assert_eq!(
        list.observe(&file(config, READ, 5, Phase::Serve)),
        [Step::Reload]
    );
    let resolver = "/etc/resolv.conf";
    for phase in [Phase::Start, Phase::Serve] {
        let seen = file(resolver, READ, 5, phase);
        assert_eq!(list.observe(&seen), [], "a look-up of a name");
    }
    let other = "/etc/other.toml";
    assert_eq!(
        list.observe(&file(other, READ, 5, Phase::Serve)),
        [],
        "not its own"
    );
    assert_eq!(
        list.observe(&did(7, Phase::Serve, connect("10.0.0.1:1/tcp"))),
        []
    );
}

#[test]
fn a_step_can_be_declared_but_not_a_start() {
    let mut list = Lifecycle::default();
    assert!(list.declare(Step::ScaleOut, "one replica only", 5).is_ok());
    assert_eq!(
        list.declare(Step::Restart, "never", 5).unwrap_err(),
        "every service has a restart: it has to be watched"
    );
    assert_eq!(
        list.declare(Step::Load, " ", 5).unwrap_err(),
        "a declaration needs a reason"
    );
    assert!(!list.missing().contains(&Step::ScaleOut));
    list.watched(Step::ScaleOut, 9);
    assert!(matches!(
        list.coverage(Step::ScaleOut),
        Some(Coverage::Watched { times: 1, last: 9 })
    ));
}

#[test]
fn the_list_reads_in_plain_words() {
    let mut list = Lifecycle::default();
    for _ in 0..3 {
        list.watched(Step::Start, 1);
    }
    for step in Step::ALL {
        if !matches!(
            step,
            Step::Rotation | Step::Crash | Step::Restart | Step::ScaleOut
        ) {
            list.watched(step, 1);
        }
    }
    list.declare(Step::ScaleOut, "one replica only", 5).unwrap();
    assert_eq!(
        list.lines(),
        [
            "watched: start (4 times), loading of a model, first call, replacement of a model or \
             cache, renewal of a certificate or token, reload of the configuration, stop in good \
             order",
            "does not apply: scaling out (one replica only)",
            "missing: log rotation: do it once; if it goes unnoticed or does not apply, declare that",
            "missing: restart: do it once",
            "missing: restart after a crash: do it once, or declare that it does not apply",
        ]
    );
    assert!(!list.is_whole());
}

#[test]
fn hosts_add_up_and_watching_beats_declaring() {
    let (mut a, mut b) = (Lifecycle::default(), Lifecycle::default());
    a.declare(Step::Crash, "never", 1).unwrap();
    a.watched(Step::Start, 1);
    b.watched(Step::Crash, 2);
    b.watched(Step::Start, 3);
    b.declare(Step::Load, "reads", 1).unwrap();
    a.merge(&b);
    assert_eq!(
        a.coverage(Step::Start),
        Some(&Coverage::Watched { times: 2, last: 3 })
    );
    assert!(matches!(
        a.coverage(Step::Crash),
        Some(Coverage::Watched { .. })
    ));
    assert!(matches!(
        a.coverage(Step::Load),
        Some(Coverage::NotApplicable { .. })
    ));
}

#[test]
fn every_word_leads_back_and_the_list_survives_storing() {
    for step in Step::ALL {
        assert_eq!(Step::from_word(step.word()), Some(step));
    }
    let mut list = Lifecycle::default();
    list.watched(Step::Start, 1);
    list.declare(Step::Crash, "never", 1).unwrap();
    let json = serde_json::to_string(&list).unwrap();
    assert_eq!(serde_json::from_str::<Lifecycle>(&json).unwrap(), list);
}
