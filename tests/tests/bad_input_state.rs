//! A state that cannot be used, a disk without room, and policies that do not fit: what is enforced
//! stays enforced, nothing is overwritten or written by half, and the operator hears what to do.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use scene::daemon::{ALERT, Daemon, masked};
use scene::http;
use scene::probe::{Fate, Order, Probe};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::wait;
use scene::world::{ATTACKER, WEATHER};
use serde_json::Value;

fn known() -> Order {
    Order::Connect(at(WEATHER, 80))
}

fn attack() -> Order {
    Order::Connect(at(ATTACKER, 80))
}

/// The daemon does not start, says these words, and changes neither state nor enforcement.
fn refused(trial: &Trial, probe: &mut Probe, words: &[&str]) -> Result<()> {
    let state = trial.path("guard/state");
    let before = contents(&state)?;
    let output = trial.daemon()?.ended(&[], &["run"])?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{told}");
    for word in words {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
    assert!(contents(&state)? == before, "not a byte was changed");
    assert_eq!(probe.ask(&attack())?, Fate::EPERM, "{told}");
    assert!(probe.ask(&known())?.worked(), "{told}");
    Ok(())
}

/// The files of a state, but for the lock and SQLite's index of its log, which is made anew.
fn contents(state: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut all = vec![];
    for entry in fs::read_dir(state)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name != "daemon.lock" && !name.ends_with("-shm") {
            all.push((path.clone(), fs::read(&path)?));
        }
    }
    all.sort();
    Ok(all)
}

fn put_back(state: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    for (path, _) in contents(state)? {
        fs::remove_file(path)?;
    }
    for (path, bytes) in files {
        fs::write(path, bytes)?;
    }
    Ok(())
}

#[test]
fn a_state_of_a_later_version_is_refused_and_left_alone() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[known()])?;
    let mut probe = trial.member()?;
    trial.daemon()?.kill()?;
    let file = trial.path("guard/state/state.db");
    let set = |version: u32| -> Result<u32> {
        let store = rusqlite::Connection::open(&file)?;
        let was = store.query_row("SELECT version FROM schema", [], |row| row.get(0))?;
        store.execute("UPDATE schema SET version = ?1", [version])?;
        Ok(was)
    };
    let version = set(999)?;
    let words = ["state.db", "schema 999", "--reset-state", "goes on"];
    refused(&trial, &mut probe, &words)?;
    set(version)?;
    trial.daemon()?.launch()?;
    assert_eq!(probe.ask(&attack())?, Fate::EPERM);
    Ok(())
}

#[test]
fn a_damaged_state_is_refused_and_left_alone_until_the_operator_says_so() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[known()])?;
    let mut probe = trial.member()?;
    let daemon = trial.daemon()?;
    daemon.kill()?;
    let state = trial.path("guard/state");
    let (file, log) = (state.join("state.db"), state.join("state.db-wal"));
    let whole = contents(&state)?;
    assert!(
        fs::metadata(&log)?.len() > 10_000,
        "a killed daemon leaves its log"
    );

    // Its write-ahead log: one bit early in it.
    let mut bytes = fs::read(&log)?;
    bytes[32 + 24 + 50] ^= 1;
    fs::write(&log, bytes)?;
    refused(&trial, &mut probe, &["damaged", "-wal", "--reset-state"])?;
    put_back(&state, &whole)?;

    // The rest is about the file itself, as a clean stop leaves it.
    fold(&file)?;
    let whole = contents(&state)?;
    let damage = |change: &dyn Fn(&mut File, u64) -> std::io::Result<()>| -> Result<()> {
        let mut opened = OpenOptions::new().write(true).open(&file)?;
        let length = opened.metadata()?.len();
        change(&mut opened, length).context("damage the state")
    };
    // Its header.
    damage(&|file, _| file.write_all(&[0; 16]))?;
    refused(&trial, &mut probe, &["damaged", "state.db", "put a copy"])?;
    put_back(&state, &whole)?;
    // Its pages.
    damage(&|file, length| {
        for page in 1..length / 4096 {
            file.seek(SeekFrom::Start(page * 4096))?;
            file.write_all(&[0xa5; 32])?;
        }
        Ok(())
    })?;
    refused(&trial, &mut probe, &["damaged", "state.db"])?;
    put_back(&state, &whole)?;
    // Its end.
    damage(&|file, length| file.set_len(length / 2))?;
    refused(&trial, &mut probe, &["damaged", "state.db"])?;
    let damaged = fs::read(&file)?;

    trial.daemon()?.launch_with(&["--reset-state"])?;
    assert_eq!(fs::read(state.join("state.db.aside-1"))?, damaged);
    let workloads = trial.daemon()?.json(&["workloads"])?;
    assert_eq!(workloads[0]["mode"], "learn", "it begins anew");
    trial.enrolled(probe.pid())?;
    trial.enforce()?;
    assert_eq!(
        probe.ask(&attack())?,
        Fate::EPERM,
        "who was a member is found again"
    );
    // A state that can be used is kept, whatever the command line says.
    trial.daemon()?.end()?;
    trial.daemon()?.launch_with(&["--reset-state"])?;
    assert_eq!(
        trial.daemon()?.json(&["workloads"])?[0]["mode"],
        "enforce",
        "nothing was reset"
    );
    assert!(!state.join("state.db.aside-2").exists());
    Ok(())
}

/// Brings the log into the database, as a clean stop does.
fn fold(file: &Path) -> Result<()> {
    rusqlite::Connection::open(file)?
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

// --- a full disk

/// The state directory on a file system of two megabytes, alerts beside it.
fn cramped() -> Result<Trial> {
    let trial = Trial::unguarded()?;
    let state = trial.path("guard/state");
    let script = format!(
        "mkdir -p {0}; mount -t tmpfs -o size=2m none {0}",
        state.display()
    );
    let trial = trial.configured(Setup::tool().inside(masked(&script)))?;
    let daemon = trial.daemon()?;
    let text = fs::read_to_string(daemon.config())?;
    let inside = text.replace("guard/alerts.jsonl", "guard/state/alerts.jsonl");
    assert_ne!(inside, text);
    fs::write(daemon.config(), inside)?;
    daemon.launch()?;
    Ok(trial)
}

/// A file of the daemon's as it sees it.
fn seen_by(daemon: &Daemon, path: &Path) -> Result<PathBuf> {
    let pid = daemon.pid().context("the daemon runs")?;
    let below = path.strip_prefix("/")?;
    Ok(Path::new("/proc")
        .join(pid.to_string())
        .join("root")
        .join(below))
}

/// Writes until nothing fits any more.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path).context("create what fills the disk")?;
    for size in [65_536, 4096, 512, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(())
}

fn alerts_file_is_whole(path: &Path) -> Result<Vec<Value>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_string(&mut text)?,
        Err(_) => 0,
    };
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let parsed = text.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().context("whole lines")
}

#[test]
fn a_full_disk_stops_no_enforcement_and_loses_no_alert() -> Result<()> {
    let trial = cramped()?;
    trial.learn_and_enforce(&[known()])?;
    let daemon = trial.daemon()?;
    let mut probe = trial.member()?;
    let alerts = seen_by(daemon, &trial.path("guard/state/alerts.jsonl"))?;
    let ballast = seen_by(daemon, &trial.path("guard/state/ballast"))?;
    fill(&ballast)?;

    let mut ports = 1..20_000_u16;
    let mut tried = vec![];
    let degraded = wait::until("the store refuses alerts", Duration::from_secs(60), || {
        for port in ports.by_ref().take(20) {
            let fate = probe.ask(&Order::Connect(at(ATTACKER, port)))?;
            assert_eq!(fate, Fate::EPERM, "port {port}");
            tried.push(port);
        }
        let status = daemon.status()?;
        let refused = status["alerts_waiting"].as_u64() > Some(0);
        Ok(refused.then_some(status))
    })?;
    let reasons = degraded["degraded"].to_string();
    assert!(
        reasons.contains("cannot be stored") && reasons.contains("make room"),
        "{degraded}"
    );
    assert_eq!(degraded["alerts_lost"], 0, "{degraded}");
    assert_eq!(daemon.cli(&["doctor"])?.status.code(), Some(1));
    alerts_file_is_whole(&alerts)?;
    let address = degraded["metrics"].as_str().context("metrics")?.parse()?;
    let metrics = http::ask(address, "/metrics", None, Duration::from_secs(5))?.body;
    for line in ["slmguard_degraded 1", "slmguard_alerts_lost_total 0"] {
        assert!(metrics.contains(line), "no `{line}`");
    }
    assert!(!metrics.contains("slmguard_alerts_waiting 0"));
    assert!(probe.ask(&known())?.worked());

    fs::remove_file(&ballast)?;
    let all = wait::until(
        "every alert is in the file",
        Duration::from_secs(90),
        || {
            let written = alerts_file_is_whole(&alerts)?;
            let has = |port: &u16| {
                let subject = format!("10.77.0.66:{port}/tcp");
                written.iter().any(|alert| alert["subject"] == subject)
            };
            Ok(tried.iter().all(has).then_some(written))
        },
    )?;
    assert_eq!(all.len(), tried.len(), "each once");
    let mut last = Value::Null;
    wait::until("it is well again", Duration::from_secs(90), || {
        last = daemon.status()?;
        let well = last["degraded"].as_array().is_some_and(Vec::is_empty);
        Ok((well && last["alerts_waiting"] == 0).then_some(()))
    })
    .with_context(|| format!("the last status: {last}"))?;
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    Ok(())
}

#[test]
fn a_change_of_mode_that_cannot_be_stored_is_refused_whole() -> Result<()> {
    let trial = cramped()?;
    trial.learn_and_enforce(&[known()])?;
    let daemon = trial.daemon()?;
    fill(&seen_by(daemon, &trial.path("guard/state/ballast"))?)?;
    let mut probe = trial.member()?;
    let refused = wait::until("the disk is full for a mode too", ALERT, || {
        let output = daemon.cli(&["mode", WORKLOAD, "learn"])?;
        if output.status.success() {
            daemon.mode(WORKLOAD, "enforce")?;
            return Ok(None);
        }
        Ok(Some(String::from_utf8(output.stderr)?))
    })?;
    assert!(refused.contains("full"), "{refused}");
    assert_eq!(daemon.json(&["workloads"])?[0]["mode"], "enforce");
    assert_eq!(probe.ask(&attack())?, Fate::EPERM);
    Ok(())
}

// --- maps that are full

/// As many destinations as one policy can hold, less a few.
fn nearly_full() -> String {
    let rules: Vec<String> = (0..16_380)
        .map(|n| format!("\"10.1.{}.{}:443/tcp\"", n / 256, n % 256))
        .collect();
    format!("[workload.allow]\nconnect = [{}]", rules.join(", "))
}

#[test]
fn a_policy_that_does_not_fit_leaves_the_old_one_in_force_and_says_which_rule() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().with(&nearly_full()))?;
    let daemon = trial.daemon()?;
    trial.learn_and_enforce(&[known()])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&attack())?, Fate::EPERM);
    daemon.mode(WORKLOAD, "learn")?;
    for port in 1..10 {
        let order = Order::UdpConnect(at(WEATHER, port));
        assert!(probe.ask(&order)?.worked());
    }
    let output = daemon.cli(&[
        "mode",
        WORKLOAD,
        "enforce",
        "--declare",
        "--reason",
        "a test",
    ])?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{told}");
    for word in [WORKLOAD, "tool", "16384", "first that does not fit"] {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
    assert_eq!(daemon.json(&["workloads"])?[0]["mode"], "learn");
    assert!(
        probe.ask(&Order::UdpConnect(at(WEATHER, 11)))?.worked(),
        "it goes on learning"
    );
    // A restart finds a baseline that does not fit: it guards, and says what is the matter.
    daemon.end()?;
    daemon.launch()?;
    let status = daemon.status()?;
    let degraded = status["degraded"].to_string();
    assert!(
        degraded.contains("first that does not fit") && degraded.contains("stays in force"),
        "{status}"
    );
    Ok(())
}
