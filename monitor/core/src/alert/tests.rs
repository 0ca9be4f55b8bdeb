//! Tests of alerts: golden lines, and that no text breaks one.

use monitor_common::{
    class::{Mode, Phase, Role},
    event::Verdict,
    hook::Hook,
    path::permission::{READ, WRITE},
};
use proptest::prelude::*;

use super::*;
use crate::{
    baseline::Baseline,
    decide::decide,
    observation::{Fact, Observation},
    testing::{connect, endpoint, exec, open, seen},
};

fn context() -> AlertContext {
    AlertContext {
        id: "01".into(),
        host: "edge-1".into(),
        tier: "lsm".into(),
        process: ProcessInfo {
            pid: 4711,
            start_time: 99,
            exe: "/usr/bin/node".into(),
            argv: vec!["node".into(), "agent.mjs".into()],
            uid: 1000,
            cgroup: "/system.slice/agent.service".into(),
            ancestors: vec!["1 /sbin/init".into()],
            adopted: false,
        },
        policy_version: 12,
    }
}

fn alert(observation: Observation) -> Alert {
    let mut baseline = Baseline::default();
    baseline.absorb(&seen(connect("10.77.0.10:8080/tcp"), Verdict::New));
    baseline.absorb(&seen(open("/srv/notes/today.txt", READ), Verdict::New));
    Alert::from_decision(&decide(observation, &baseline), context())
}

/// Compares with the committed line; the test's output is the line to commit.
#[track_caller]
fn is_golden(alert: &Alert, golden: &str) {
    let line = alert.to_json_line();
    assert_eq!(line, golden.trim_end(), "\nnow:\n{line}");
    assert_eq!(Alert::from_json_line(&line).unwrap(), *alert);
}

#[test]
fn a_refused_connect_looks_like_this() {
    let observation = seen(connect("10.77.0.66:80/tcp"), Verdict::Blocked);
    is_golden(
        &alert(observation),
        include_str!("golden/connect_blocked.json"),
    );
}

#[test]
fn a_file_that_would_be_refused_looks_like_this() {
    let mut observation = seen(
        open("/srv/notes/secret\u{202e}.txt", READ | WRITE),
        Verdict::WouldBlock,
    );
    observation.count = 3;
    is_golden(
        &alert(observation),
        include_str!("golden/open_would_block.json"),
    );
}

#[test]
fn a_breach_of_an_invariant_looks_like_this() {
    let mut observation = seen(open("/home/ada/.ssh/id_ed25519", READ), Verdict::Killed);
    observation.invariant = true;
    observation.mode = Mode::Monitor;
    observation.hook = Hook::OpenExit;
    let mut alert = alert(observation);
    alert.tier = "cgroup".into();
    is_golden(&alert, include_str!("golden/open_invariant_killed.json"));
}

#[test]
fn a_refused_shell_looks_like_this() {
    is_golden(
        &alert(seen(exec("/bin/sh"), Verdict::Blocked)),
        include_str!("golden/exec_blocked.json"),
    );
}

#[test]
fn only_what_took_no_effect_is_called_prevented() {
    let prevented = |fact, verdict| alert(seen(fact, verdict)).prevented;
    assert!(prevented(connect("10.0.0.1:1/tcp"), Verdict::Blocked));
    assert!(prevented(exec("/bin/sh"), Verdict::Killed));
    assert!(!prevented(open("/a", READ), Verdict::Killed));
    let alone = |access| {
        alert(Observation {
            single_thread: true,
            ..seen(open("/a", access), Verdict::Killed)
        })
        .prevented
    };
    assert!(alone(READ));
    assert!(!alone(READ | WRITE));
    assert!(!prevented(connect("10.0.0.1:1/tcp"), Verdict::WouldBlock));
    assert!(!prevented(connect("10.0.0.1:1/tcp"), Verdict::Audited));
}

#[test]
fn access_is_told_for_files_only() {
    let access = |fact| alert(seen(fact, Verdict::Blocked)).access;
    assert_eq!(access(open("/a", READ)).as_deref(), Some("read"));
    assert_eq!(access(open("/a", WRITE)).as_deref(), Some("write"));
    assert_eq!(
        access(open("/a", READ | WRITE)).as_deref(),
        Some("read+write")
    );
    assert_eq!(access(exec("/a")), None);
    assert_eq!(access(connect("10.0.0.1:1/tcp")), None);
}

#[test]
fn each_kind_of_attack_has_its_technique() {
    let of = |fact| mapping(&seen(fact, Verdict::Blocked));
    for (fact, technique, severity) in [
        (
            connect("169.254.169.254:80/tcp"),
            "T1552.005",
            Severity::Critical,
        ),
        (
            connect("[::ffff:169.254.169.254]:80/tcp"),
            "T1552.005",
            Severity::Critical,
        ),
        (connect("10.0.0.9:22/tcp"), "T1021", Severity::High),
        (connect("[fd00::9]:22/tcp"), "T1021", Severity::High),
        (connect("198.51.100.9:443/tcp"), "T1071.001", Severity::High),
        (
            Fact::Send(endpoint("198.51.100.9:9999/udp")),
            "T1048.003",
            Severity::High,
        ),
        (
            Fact::Send(endpoint("198.51.100.9:53/udp")),
            "T1071.004",
            Severity::High,
        ),
        (open("/etc/shadow", READ), "T1003.008", Severity::Critical),
        (
            open("/home/a/.ssh/id_rsa", READ),
            "T1552.004",
            Severity::Critical,
        ),
        (
            open("/home/a/.aws/credentials", READ),
            "T1552.001",
            Severity::Critical,
        ),
        (
            open("/proc/1/environ", READ),
            "T1003.007",
            Severity::Critical,
        ),
        (open("/proc/1/mem", WRITE), "T1055.009", Severity::Critical),
        (open("/etc/cron.d/x", WRITE), "T1053.003", Severity::High),
        (open("/home/a/.bashrc", WRITE), "T1546.004", Severity::High),
        (
            open("/srv/models/m.gguf", WRITE),
            "T1565.001",
            Severity::High,
        ),
        (open("/srv/x", READ), "T1005", Severity::Medium),
        (exec("/bin/dash"), "T1059.004", Severity::High),
        (exec("/usr/bin/python3.12"), "T1059.006", Severity::High),
        (exec("/tmp/miner"), "T1105", Severity::Critical),
        (exec("/usr/bin/curl"), "T1059", Severity::High),
    ] {
        let found = of(fact.clone());
        assert_eq!(
            (found.attack[0], found.severity),
            (technique, severity),
            "{fact:?}"
        );
        assert!(!found.atlas.is_empty() && !found.owasp.is_empty());
    }
    assert_eq!(of(Fact::Exit { status: 0 }).severity, Severity::Info);
}

#[test]
fn a_servers_unknown_file_is_a_trifle_unless_the_operator_forbade_it() {
    let mut observation = seen(open("/srv/x", READ), Verdict::Audited);
    observation.scope.role = Role::Server;
    assert_eq!(mapping(&observation).severity, Severity::Low);
    observation.invariant = true;
    assert_eq!(mapping(&observation).severity, Severity::High);
}

#[test]
fn a_program_started_while_a_model_loads_points_at_the_model() {
    let mut observation = seen(exec("/bin/sh"), Verdict::Blocked);
    observation.scope.role = Role::Server;
    observation.scope.phase = Phase::Start;
    assert_eq!(mapping(&observation).atlas[0], "AML.T0011.000");
}

proptest! {
    #[test]
    fn any_alert_is_one_line_that_reads_back(path in proptest::collection::vec(any::<u8>(), 0..80), texts in proptest::collection::vec("\\PC{0,12}|.{0,12}|[\u{85}\u{2028}\u{2029}\u{202e}\n\r\"\\\\\u{e0001}]{0,6}", 4), verdict in 2u8..6) {
        let file = crate::observation::FileAccess { name: path.clone(), path, inode: (0, 0), access: READ, cut: false, incomplete: false };
        let mut alert = alert(seen(Fact::Open(file), Verdict::from_u8(verdict).unwrap()));
        // Texts that somebody forgot to escape.
        alert.host = texts[0].clone();
        alert.process.exe = texts[1].clone();
        alert.process.argv = texts[2..].to_vec();
        let line = alert.to_json_line();
        prop_assert!(!line.chars().any(crate::text::is_hostile), "{:?}", line);
        prop_assert_eq!(line.lines().count(), 1);
        prop_assert_eq!(Alert::from_json_line(&line).unwrap(), alert);
    }
}
