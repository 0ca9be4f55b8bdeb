//! The demo itself, as a newcomer runs it: what it prints and how it exits.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use scene::command;
use serde_json::Value;

/// The demo promises less on a machine like this; emulated ones are slow.
const PATIENCE: Duration = Duration::from_secs(400);

/// Plays, and returns the acts and what a person is shown.
fn play_shown(arguments: &[&str]) -> Result<(Vec<Value>, String)> {
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
    let shown = log.into_owned();
    match arguments.contains(&"--without-guard") {
        true => {
            assert!(acts[0]["proof"]["forecast"].is_null(), "{}", acts[0]);
            assert!(acts[1]["proof"]["approval"].is_null(), "{}", acts[1]);
        }
        false => the_list_was_read_and_approved(&acts, &shown),
    }
    Ok((acts, shown))
}

fn play(arguments: &[&str]) -> Result<Vec<Value>> {
    play_shown(arguments).map(|(acts, _)| acts)
}

/// After learning one is shown how complete that is, and what is enforced is a list that somebody
/// approved.
fn the_list_was_read_and_approved(acts: &[Value], shown: &str) {
    let forecast = &acts[0]["proof"]["forecast"];
    let lines = |of: &str| -> Vec<&str> {
        let list = forecast[of].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).collect()
    };
    let (told, life) = (lines("told"), lines("life"));
    let says = |lines: &[&str], words: &str| lines.iter().any(|line| line.contains(words));
    assert!(says(&told, "destinations known after"), "{forecast}");
    assert!(says(&told, "to be expected"), "{forecast}");
    assert!(says(&life, "watched: start"), "{forecast}");
    assert!(says(&life, "missing: loading of a model"), "{forecast}");
    let approval = &acts[1]["proof"]["approval"];
    let listed = approval["listed"].as_u64().unwrap_or_default();
    assert!(listed > 20, "{approval}");
    assert_eq!(
        approval["approved"],
        format!("approved all {listed} subjects that assistant was seen to use")
    );
    assert_eq!(approval["mode"], "enforce", "{approval}");
    assert_eq!(approval["basis"], "declared", "{approval}");
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    let at = |what: &str| {
        let found = lines.iter().position(|line| line.starts_with(what));
        found.unwrap_or_else(|| panic!("`{what}` is not shown:\n{shown}"))
    };
    let steps = [
        at("Act 1"),
        at("$ slmguard baseline explain assistant"),
        at(told[1].trim()),
        at("missing: loading of a model"),
        at("Act 2"),
        at("$ slmguard baseline approve assistant --reason"),
        at("approved all"),
        at("$ slmguard mode assistant enforce"),
        at("assistant: enforce (declared)"),
        at("Act 3"),
    ];
    assert!(steps.is_sorted(), "{steps:?}:\n{shown}");
    assert!(steps[8] - steps[0] < 24, "more than a screen:\n{shown}");
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
