//! The command line as people script against it: exit codes, `--json`, and the
//! daemon's own surfaces behind it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use scene::daemon::ALERT;
use scene::http;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::wait;
use scene::world::{ATTACKER, WEATHER};

fn code(trial: &Trial, arguments: &[&str]) -> Result<Option<i32>> {
    Ok(trial.daemon()?.cli(arguments)?.status.code())
}

#[test]
fn exit_codes_tell_what_is_wrong() -> Result<()> {
    let trial = Trial::prepared(Setup::tool())?;
    assert_eq!(code(&trial, &["config", "check"])?, Some(0));
    for command in [
        &["status"][..],
        &["workloads"],
        &["events"],
        &["baseline", "show", WORKLOAD],
    ] {
        assert_eq!(
            code(&trial, command)?,
            Some(3),
            "{command:?} without a daemon"
        );
    }
    assert_eq!(code(&trial, &["no-such-command"])?, Some(2));
    fs::write(trial.daemon()?.config(), "no_such_key = 1\n")?;
    let output = trial.daemon()?.cli(&["config", "check"])?;
    assert_eq!(output.status.code(), Some(78));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no_such_key"),
        "it names the key"
    );
    Ok(())
}

#[test]
fn enforcing_without_evidence_needs_the_operator_s_word() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    assert_eq!(code(&trial, &["mode", WORKLOAD, "enforce"])?, Some(4));
    assert_eq!(
        code(&trial, &["mode", "no-such-workload", "learn"])?.map(|code| code != 0),
        Some(true)
    );
    trial.enforce()?;
    let workloads = trial.daemon()?.json(&["workloads"])?;
    assert_eq!(
        (
            workloads[0]["mode"].as_str(),
            workloads[0]["basis"].as_str()
        ),
        (Some("enforce"), Some("declared"))
    );
    Ok(())
}

#[test]
fn status_counts_what_happens() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[Order::Connect(at(WEATHER, 80))])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    trial.alert("connect", "10.77.0.66:80/tcp")?;
    let status = trial.daemon()?.status()?;
    assert_eq!(status["pid"].as_i64(), trial.daemon()?.pid().map(i64::from));
    assert!(
        status["version"].is_string() && status["uptime_s"].is_number(),
        "{status}"
    );
    assert_eq!(status["drops"], 0, "{status}");
    let workload = &status["workloads"][0];
    assert_eq!(
        (workload["name"].as_str(), workload["mode"].as_str()),
        (Some(WORKLOAD), Some("enforce"))
    );
    assert_eq!(
        (
            &workload["processes"],
            workload["alerts"].as_u64() > Some(0)
        ),
        (&1.into(), true),
        "{status}"
    );
    Ok(())
}

#[test]
fn events_and_alerts_tell_the_story() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[Order::Connect(at(WEATHER, 80))])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    let from_file = trial.alert("connect", "10.77.0.66:80/tcp")?;

    let events = trial
        .daemon()?
        .json(&["events", "--limit", "500", "--workload", WORKLOAD])?;
    let learned = events
        .iter()
        .find(|e| e["subject"] == "10.77.0.10:80/tcp")
        .context("the known destination")?;
    assert_eq!(
        (learned["kind"].as_str(), learned["role"].as_str()),
        (Some("connect"), Some("tool"))
    );
    let alerts = trial.daemon()?.json(&["alerts", "--workload", WORKLOAD])?;
    assert!(
        alerts.contains(&from_file),
        "the command and the file tell the same"
    );
    for field in [
        "id",
        "time",
        "host",
        "workload",
        "role",
        "phase",
        "mode",
        "kind",
        "subject",
        "verdict",
        "prevented",
        "tier",
        "hook",
        "severity",
        "reasons",
        "nearest",
        "process",
        "policy_version",
        "attack",
        "atlas",
        "owasp",
        "count",
        "first_seen",
        "last_seen",
    ] {
        assert!(!from_file[field].is_null(), "{field} in {from_file}");
    }
    let process = &from_file["process"];
    assert_eq!(process["pid"], probe.pid());
    assert!(
        process["exe"]
            .as_str()
            .is_some_and(|exe| exe.ends_with("/member")),
        "{process}"
    );
    assert!(
        process["start_time"].as_u64() > Some(0) && process["ancestors"].is_array(),
        "{process}"
    );
    assert!(
        from_file["reasons"]
            .as_array()
            .is_some_and(|reasons| !reasons.is_empty()),
        "{from_file}"
    );
    assert_eq!(
        from_file["nearest"][0], "10.77.0.10:80/tcp",
        "what is known instead"
    );
    Ok(())
}

#[test]
fn metrics_are_served_and_only_here() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    assert_eq!(
        trial.member()?.ask(&Order::Connect(at(ATTACKER, 80)))?,
        Fate::EPERM
    );
    trial.alert("connect", "10.77.0.66:80/tcp")?;
    let status = trial.daemon()?.status()?;
    let address = status["metrics"]
        .as_str()
        .context("the metrics' address")?
        .parse()?;
    wait::until("the alert is counted", ALERT, || {
        let answer = http::ask(address, "/metrics", None, Duration::from_secs(5))?;
        assert_eq!(answer.status, 200);
        let counted = |name: &str| {
            answer
                .body
                .lines()
                .any(|l| l.starts_with(name) && !l.ends_with(" 0"))
        };
        let all = ["slmguard_alerts", "slmguard_events", "slmguard_decisions"]
            .iter()
            .all(|name| counted(name));
        Ok(all.then_some(()))
    })
}

#[test]
fn the_socket_is_the_owner_s_alone() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mode = |path: &std::path::Path| -> Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    };
    assert_eq!(mode(&trial.daemon()?.socket())? & 0o007, 0);
    assert_eq!(mode(&trial.path("guard/state"))?, 0o700);
    Ok(())
}

#[test]
fn rubbish_on_the_socket_does_not_stop_the_daemon() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    for rubbish in [
        &b"\0\0\0\0"[..],
        b"GET",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
        &[0xff; 70_000],
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(trial.daemon()?.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        // The daemon may hang up at any moment, and say anything.
        let _ = stream.write_all(rubbish);
        let _ = stream.read(&mut [0; 1024]);
    }
    let address: String = trial.daemon()?.status()?["metrics"]
        .as_str()
        .context("the metrics' address")?
        .into();
    TcpStream::connect(&address)?.write_all(b"\xff\xff\r\n\r\n")?;
    trial.daemon()?.status()?;
    Ok(())
}
