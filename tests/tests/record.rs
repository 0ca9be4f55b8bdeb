//! Recordings: what the daemon took in, decided again without it. The proof is that a replay says
//! what the daemon itself wrote down, byte by byte.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use scene::daemon::parse_lines;
use scene::probe::{Fate, Order};
use scene::recording::Recording;
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::world::{ATTACKER, WEATHER};

/// A workload learns under the recorder, is held to what it learned, and is refused something.
fn recorded(trial: &Trial) -> Result<(scene::recording::Recorded, i32)> {
    let file = trial.path("trial.recording");
    let recording = Recording::start(trial.daemon()?, &file, "a trial")?;
    trial.learn_and_enforce(&[Order::Connect(at(WEATHER, 80))])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    trial.alert("connect", "10.77.0.66:80/tcp")?;
    Ok((recording.end()?, probe.pid()))
}

#[test]
fn a_replay_says_what_the_daemon_said() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let (recorded, pid) = recorded(&trial)?;
    recorded.agrees_with(&trial.daemon()?.alerts_file())?;
    let mode = fs::metadata(&recorded.file)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what it holds is its owner's");

    let decisions = recorded.decisions()?;
    let of = |verdict: &str, subject: &str| {
        decisions
            .iter()
            .filter(|d| d["verdict"] == verdict && d["subject"] == subject)
            .count()
    };
    assert_eq!(of("new", "10.77.0.10:80/tcp"), 1);
    let blocked = "10.77.0.66:80/tcp";
    assert_eq!(
        of("blocked", blocked),
        2,
        "the event, and the alert about it"
    );
    assert!(decisions.iter().any(|d| d["process"]["pid"] == pid));
    let events = trial.daemon()?.json(&["events", "--limit", "10000"])?;
    let replayed: Vec<_> = decisions
        .iter()
        .filter(|d| d["id"].is_null())
        .cloned()
        .collect();
    // The daemon has told of a few more by now: the recording has ended.
    assert!(replayed.len() > 5 && events.len() >= replayed.len());
    assert_eq!(events[..replayed.len()], replayed);
    Ok(())
}

#[test]
fn a_recording_that_is_cut_off_is_replayed_up_to_there() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let (mut recorded, _) = recorded(&trial)?;
    let whole = recorded.decisions()?;
    let bytes = fs::read(&recorded.file)?;
    recorded.file = trial.path("cut.recording");
    fs::write(&recorded.file, &bytes[..bytes.len() * 3 / 4])?;
    let (success, told, log) = recorded.replay(&["--json"])?;
    assert!(success && log.contains("cut off"), "{log}");
    let cut = parse_lines(&told)?;
    assert!(!cut.is_empty() && cut.len() < whole.len());
    assert_eq!(cut[..], whole[..cut.len()]);

    let mut damaged = bytes;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    fs::write(&recorded.file, damaged)?;
    let (success, _, log) = recorded.replay(&[])?;
    assert!(!success && log.contains("damaged"), "{log}");
    Ok(())
}

#[test]
fn a_daemon_that_stops_leaves_a_whole_recording() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let file = trial.path("trial.recording");
    let recording = Recording::start(trial.daemon()?, &file, "")?;
    trial.member()?.ask(&Order::Connect(at(WEATHER, 80)))?;
    trial.daemon()?.end()?;
    let recorded = recording.wait()?;
    let (success, told, log) = recorded.replay(&[])?;
    assert!(success && !log.contains("broken off"), "{log}");
    assert!(told.contains("connect"), "{told}");
    assert!(fs::read_to_string(&file)?.contains("the daemon was stopped"));
    Ok(())
}

#[test]
fn a_recorder_that_was_killed_makes_room_for_the_next() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let daemon = trial.daemon()?;
    let first = Recording::start(daemon, &trial.path("first.recording"), "")?;
    let busy = trial.path("second.recording");
    let refused = daemon.cli(&["events", "--record", &busy.display().to_string()])?;
    assert_eq!(refused.status.code(), Some(4), "one at a time");
    assert!(!busy.exists());
    first.kill()?;
    let next = scene::wait::until("another can start", scene::daemon::ALERT, || {
        Ok(Recording::start(daemon, &trial.path("third.recording"), "").ok())
    })?;
    trial.member()?.ask(&Order::Connect(at(WEATHER, 80)))?;
    assert!(next.end()?.decisions()?.len() > 1);
    assert_eq!(daemon.status()?["workloads"][0]["name"], WORKLOAD);
    Ok(())
}
