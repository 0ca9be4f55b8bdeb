//! The demo itself, as a newcomer runs it: what it prints and how it exits.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use scene::command;
use serde_json::Value;

/// The demo promises less on a machine like this; emulated ones are slow.
const PATIENCE: Duration = Duration::from_secs(400);

fn play(arguments: &[&str]) -> Result<Vec<Value>> {
    let folder = tempfile::tempdir().context("create a folder")?;
    let mut demo = Command::new(scene::scene::beside("demo")?);
    demo.args(["--json", "--work-dir"])
        .arg(folder.path())
        .args(arguments);
    let output = command::output(demo, PATIENCE)?;
    let (told, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{}\n{told}\n{log}", output.status);
    let acts: Vec<Value> = told
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("not JSON")?;
    assert_eq!(
        acts.iter()
            .map(|act| act["act"].as_u64())
            .collect::<Vec<_>>(),
        (1..=10).map(Some).collect::<Vec<_>>()
    );
    for act in &acts {
        assert_eq!(act["expected"], act["observed"], "{act}");
        assert!(act["proof"].is_object(), "{act}");
    }
    assert_eq!(
        folder.path().read_dir()?.count(),
        0,
        "it leaves nothing behind"
    );
    Ok(acts)
}

#[test]
fn with_the_guard_every_attack_is_prevented() -> Result<()> {
    for act in play(&[])?.iter().skip(2) {
        assert_eq!(act["prevented"], true, "{act}");
        assert!(act["proof"]["alert"]["verdict"].is_string(), "{act}");
    }
    Ok(())
}

#[test]
fn with_rings_allowed_every_attack_is_prevented() -> Result<()> {
    let acts = play(&["--allow-io-uring"])?;
    for act in acts.iter().skip(2) {
        assert_eq!(act["prevented"], true, "{act}");
    }
    let last = |n: usize| acts[acts.len() - n]["proof"]["alert"].clone();
    assert_eq!(
        last(2)["kind"],
        "connect",
        "rings are let through, this is not"
    );
    let judged = match last(1)["tier"].as_str() {
        Some("lsm") => "open",
        _ => "facility",
    };
    assert_eq!(last(1)["kind"], judged);
    Ok(())
}

#[test]
fn without_a_guard_every_attack_succeeds() -> Result<()> {
    for act in play(&["--without-guard"])?.iter().skip(2) {
        assert_eq!(
            (act["observed"].as_str(), &act["prevented"]),
            (Some("succeeds"), &false.into()),
            "{act}"
        );
    }
    Ok(())
}

#[test]
fn in_a_container_every_attack_is_prevented() -> Result<()> {
    for act in play(&["--container"])?.iter().skip(2) {
        assert_eq!(act["prevented"], true, "{act}");
        assert!(act["proof"]["alert"]["verdict"].is_string(), "{act}");
    }
    Ok(())
}

#[test]
fn in_a_container_without_a_guard_every_attack_succeeds() -> Result<()> {
    for act in play(&["--container", "--without-guard"])?.iter().skip(2) {
        assert_eq!(
            (act["observed"].as_str(), &act["prevented"]),
            (Some("succeeds"), &false.into()),
            "{act}"
        );
    }
    Ok(())
}

#[test]
fn with_the_daemon_frozen_every_attack_is_prevented() -> Result<()> {
    play(&["--freeze", "stop"]).map(drop)
}

#[test]
fn with_the_daemon_killed_every_attack_is_prevented() -> Result<()> {
    play(&["--freeze", "kill"]).map(drop)
}
