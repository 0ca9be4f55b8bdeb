//! The operator's way with baselines, against a real kernel: an approved list is what a workload is
//! held to, a rejected subject is refused for good, and a profile that was signed elsewhere applies.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use scene::daemon::{self, ALERT};
use scene::probe::{Fate, Launch, Order, Probe};
use scene::recording::Recording;
use scene::soak;
use scene::trial::{Setup, Trial, WORKLOAD, at, text};
use scene::wait;
use scene::world::{ATTACKER, WEATHER};
use serde_json::Value;

/// Runs `slmguard baseline …`, which must succeed, and returns what it printed.
fn baseline(trial: &Trial, arguments: &[&str]) -> Result<String> {
    let output = trial.daemon()?.cli(&[&["baseline"], arguments].concat())?;
    ensure!(
        output.status.success(),
        "slmguard baseline {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Switches to enforce on the strength of what was approved before.
fn enforce_what_is_approved(trial: &Trial) -> Result<()> {
    let output = trial.daemon()?.cli(&["mode", WORKLOAD, "enforce"])?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn what_is_learned_after_an_approval_is_not_allowed() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    baseline(&trial, &["approve", WORKLOAD, "--reason", "read it"])?;
    assert!(
        probe.ask(&Order::Connect(at(ATTACKER, 80)))?.worked(),
        "it still learns"
    );
    let attacker = format!("{ATTACKER}:80/tcp");
    trial
        .daemon()?
        .learned(WORKLOAD, "destination", &attacker, |s| s == attacker)?;
    let difference = baseline(&trial, &["diff", WORKLOAD])?;
    let news = format!("+ tool    start  destination {attacker}");
    assert!(difference.contains(&news), "{difference}");

    enforce_what_is_approved(&trial)?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(
        trial.world.attacker.evidence()?.connections,
        1,
        "while learning"
    );
    let alert = trial.alert("connect", &attacker)?;

    // The page about it ends with the command that allows it.
    let id = alert["id"].as_str().context("an id")?;
    let page = trial.daemon()?.cli(&["explain", id])?;
    let page = String::from_utf8(page.stdout)?;
    let command = page
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("slmguard baseline approve"))
        .with_context(|| format!("a command in {page}"))?;
    let command = command.replace("\"…\"", "wanted");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let output = trial.daemon()?.cli(&words)?;
    ensure!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?.worked());
    Ok(())
}

#[test]
fn the_kernel_refuses_what_a_simulation_over_a_recording_said() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let daemon = trial.daemon()?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    baseline(&trial, &["approve", WORKLOAD, "--reason", "read it"])?;
    let folder = tempfile::tempdir().context("create a folder")?;
    let file = folder.path().join("calls.recording");
    let recording = Recording::start(daemon, &file, "while it learns")?;
    let mut probe = trial.member()?;
    for host in [WEATHER, ATTACKER] {
        assert!(probe.ask(&Order::Connect(at(host, 80)))?.worked());
    }
    let attacker = format!("{ATTACKER}:80/tcp");
    daemon.learned(WORKLOAD, "destination", &attacker, |s| s == attacker)?;
    let file = recording.end()?.file.display().to_string();

    // By the list that the daemon holds: that one destination, and nothing else.
    let told = daemon.json(&["policy", "simulate", &file])?;
    let (sum, findings) = told.split_last().context("a line with the totals")?;
    let of_that_family = |f: &&Value| f["family"] == "destination";
    let found: Vec<&Value> = findings.iter().filter(of_that_family).collect();
    assert_eq!(found.len(), 1, "{told:?}");
    assert_eq!(found[0]["subject"], attacker.as_str());
    assert_eq!(found[0]["effect"], "refused");
    assert_eq!(found[0]["count"], 1);
    assert_eq!(found[0]["nearest"][0], format!("{WEATHER}:80/tcp"));
    assert!(sum["totals"]["allowed"].as_u64() > Some(0), "{sum}");
    let strict = daemon.cli(&["policy", "simulate", &file, "--expect-none"])?;
    assert_eq!(strict.status.code(), Some(1), "{strict:?}");
    let learned = ["policy", "simulate", &file, "--learned", "--expect-none"];
    let learned = daemon.cli(&learned)?;
    assert_eq!(learned.status.code(), Some(0), "{learned:?}");
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);

    // Nothing was changed by asking; and enforced, it comes as it was said.
    enforce_what_is_approved(&trial)?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn what_is_rejected_is_refused_though_it_was_learned() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut probe = trial.member()?;
    for host in [WEATHER, ATTACKER] {
        assert!(probe.ask(&Order::Connect(at(host, 80)))?.worked());
    }
    let attacker = format!("{ATTACKER}:80/tcp");
    trial
        .daemon()?
        .learned(WORKLOAD, "destination", &attacker, |s| s == attacker)?;
    let reason = ["--subject", &attacker, "--reason", "nobody's business"];
    baseline(&trial, &[&["reject", WORKLOAD], &reason[..]].concat())?;
    trial.daemon()?.mode(WORKLOAD, "monitor")?;
    let mut probe = trial.member()?;
    assert_eq!(
        probe.ask(&Order::Connect(at(ATTACKER, 80)))?,
        Fate::EPERM,
        "as a rule of the operator, in monitor mode already"
    );
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    trial.enforce()?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    Ok(())
}

#[test]
fn families_that_nobody_approved_only_alert() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let unknown = trial.file("unknown", "content")?;
    drop(trial.member()?);
    baseline(
        &trial,
        &[
            "approve",
            WORKLOAD,
            "--family",
            "destination",
            "--reason",
            "read it",
        ],
    )?;
    enforce_what_is_approved(&trial)?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(
        probe.ask(&Order::Read(unknown.clone()))?,
        Fate::Done("content".into())
    );
    assert_eq!(
        trial.alert("open", &text(&unknown))?["verdict"],
        "would_block"
    );
    Ok(())
}

/// A server that was started in another way is told, held to the same list, and can be given what it
/// is refused by one command that the page about its baseline shows.
#[test]
fn a_server_with_other_flags_is_told_and_held_to_the_same_list() -> Result<()> {
    let started = |flags: &str| Launch {
        arguments: vec![flags.into()],
        ..Launch::default()
    };
    let serve = |trial: &Trial, flags: &str| -> Result<Probe> {
        let mut probe = trial.member_with(started(flags))?;
        let port = Order::Listen(at(IpAddr::from([127, 0, 0, 1]), 8080));
        ensure!(probe.ask(&port)?.worked(), "it cannot listen");
        ensure!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
        Ok(probe)
    };
    let trial = Trial::guarded(Setup::role("server"))?;
    let daemon = trial.daemon()?;
    let page = || baseline(&trial, &["explain", WORKLOAD]);
    let probe = serve(&trial, "--model-a")?;
    wait::until("the first lineage is known", ALERT, || {
        let page = page()?;
        Ok(page.contains("lineage 1 since").then_some(()))
    })?;
    drop(probe);
    trial.enforce()?;
    let probe = serve(&trial, "--model-a")?;
    drop(probe);

    let mut probe = serve(&trial, "--tools=all")?;
    let alert = trial.alert("lineage", "lineage 2: other flags")?;
    assert_eq!(alert["verdict"], "audited");
    let reasons = alert["reasons"].to_string();
    assert!(reasons.contains("--tools=all"), "{reasons}");
    let attacker = Order::Connect(at(ATTACKER, 80));
    assert_eq!(probe.ask(&attacker)?, Fate::EPERM, "nothing was relaxed");
    let subject = format!("{ATTACKER}:80/tcp");
    trial.alert("connect", &subject)?;
    let waits = page()?;
    assert!(waits.contains("lineage 2 since"), "{waits}");
    assert!(
        waits.contains(&format!("destination: {subject}")),
        "{waits}"
    );
    assert!(
        waits.contains("waits for an operator's approval"),
        "{waits}"
    );
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);

    let one = ["--subject", &subject, "--reason", "meant"];
    baseline(&trial, &[&["approve", WORKLOAD], &one[..]].concat())?;
    assert!(probe.ask(&attacker)?.worked());
    baseline(&trial, &[&["pin", WORKLOAD], &one[..]].concat())?;
    let known = daemon.json(&["baseline", "show", WORKLOAD])?;
    let weather = format!("{WEATHER}:80/tcp");
    let state = |subject: &str| {
        let entry = known.iter().find(|entry| entry["subject"] == subject);
        entry.map(|entry| entry["state"].clone())
    };
    assert_eq!(state(&weather), Some(Value::Null), "{known:?}");
    let profile = baseline(&trial, &["export", WORKLOAD, "--approved"])?;
    assert!(profile.contains(&subject), "{profile}");
    Ok(())
}

#[test]
fn a_profile_that_was_reviewed_and_signed_applies_on_another_host() -> Result<()> {
    let here = Trial::guarded(Setup::tool())?;
    let mut probe = here.member()?;
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    let weather = format!("{WEATHER}:80/tcp");
    here.daemon()?
        .learned(WORKLOAD, "destination", &weather, |s| s == weather)?;
    drop(probe);
    let (key, trusted, profile) = (here.path("key"), here.path("key.pub"), here.path("profile"));
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &text(&key)])?;
    openssl(&[
        "pkey",
        "-in",
        &text(&key),
        "-pubout",
        "-out",
        &text(&trusted),
    ])?;
    let (key, trusted, profile) = (text(&key), text(&trusted), text(&profile));
    baseline(&here, &["export", WORKLOAD, "--sign", &key, "-o", &profile])?;
    drop(here.daemon()?.end());

    // The probe of the other trial lies elsewhere: what it needs to start is learned there, so only
    // destinations are taken over.
    let there = Trial::guarded(Setup::tool())?;
    let signed = std::fs::read_to_string(&profile)?;
    let import = |file: &str| {
        there.daemon()?.cli(&[
            "baseline", "import", WORKLOAD, file, "--trust", &trusted, "--reason", "reviewed",
        ])
    };
    let forged = there.path("forged");
    std::fs::write(
        &forged,
        signed.replace(&weather, &format!("{ATTACKER}:80/tcp")),
    )?;
    let refused = import(&text(&forged))?;
    assert_eq!(refused.status.code(), Some(4));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("changed after it was signed"), "{why}");

    let taken = there.path("taken");
    std::fs::write(&taken, signed)?;
    let output = import(&text(&taken))?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    drop(there.member()?);
    baseline(
        &there,
        &[
            "approve", WORKLOAD, "--family", "read", "--family", "exec", "--reason", "its own",
        ],
    )?;
    enforce_what_is_approved(&there)?;
    let mut probe = there.member()?;
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(there.world.attacker.evidence()?.connections, 0);
    Ok(())
}

fn openssl(arguments: &[&str]) -> Result<()> {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .context("run openssl")?;
    ensure!(
        output.status.success(),
        "openssl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A short one of `cargo xtask soak`: ordinary work under an approved list, with
/// restarts of everybody, is never refused.
#[test]
fn an_ordinary_life_under_an_approved_list_is_left_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let options = soak::Options {
        slmguard: daemon::program()?,
        directory: folder.path().canonicalize()?,
        modules: scene::scene::installed_modules()?,
        rounds: 25,
        per_day: 1_440,
    };
    let mut over = 0;
    let report = soak::run(&options, |round| over = round)?;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((over, report.requests, report.side_by_side), (25, 100, 20));
    assert_eq!(report.restarts, [2, 1, 1], "{report:?}");
    assert_eq!(report.told, 0, "{report:?}");
    Ok(())
}
