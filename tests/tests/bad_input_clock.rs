//! A wall clock that jumps: enforcement, timers and order go on by the kernel's clock, and alerts
//! carry the time that it was when they were read.

use std::env;

use anyhow::{Context, Result};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime, clock_settime};
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at};
use scene::world::ATTACKER;
use serde_json::Value;

const YEAR: i64 = 365 * 86_400;

/// Moves the machine's wall clock; it is put back at the end.
struct Clock {
    moved: i64,
}

impl Clock {
    fn jump(&mut self, seconds: i64) -> Result<()> {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
        let then = now + TimeSpec::seconds(seconds);
        clock_settime(ClockId::CLOCK_REALTIME, then).context("set the clock")?;
        self.moved += seconds;
        Ok(())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let back = -self.moved;
        if let Err(error) = self.jump(back) {
            eprintln!("scene: the clock stays wrong by {}: {error:#}", self.moved);
        }
    }
}

/// The year, month, day, hour and minute of an alert as one number of minutes, near enough for
/// differences of a few.
fn minute(alert: &Value, field: &str) -> Result<i64> {
    let text = alert[field].as_str().context("a time")?;
    let number = |range: std::ops::Range<usize>| -> Result<i64> {
        let digits = text.get(range).context("a time")?;
        digits.parse().with_context(|| text.to_owned())
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let days = (year * 12 + month - 1) * 31 + day;
    Ok((days * 24 + number(11..13)?) * 60 + number(14..16)?)
}

/// This machine's idea of the same.
fn now() -> Result<i64> {
    let output = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    minute(&serde_json::json!({ "now": text.trim() }), "now")
}

#[test]
fn a_clock_that_jumps_stops_nothing_and_alerts_carry_sane_times() -> Result<()> {
    // Only a machine of its own may have its clock set.
    if env::var("SLMGUARD_KERNEL").map_or(true, |kernel| kernel == "native") {
        let test = "bad_input_clock::a_clock_that_jumps_stops_nothing_and_alerts_carry_sane_times";
        println!("not runnable: {test} (not in a guest), covered by vm-6.12:{test}");
        return Ok(());
    }
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let daemon = trial.daemon()?;
    let mut probe = trial.member()?;
    let mut clock = Clock { moved: 0 };
    for (port, jump) in [
        (81, 0),
        (82, 3 * YEAR),
        (83, -2 * YEAR),
        (84, -YEAR),
        (85, -3600),
    ] {
        clock.jump(jump)?;
        assert_eq!(
            probe.ask(&Order::Connect(at(ATTACKER, port)))?,
            Fate::EPERM,
            "after a jump of {jump} s"
        );
        let alert = trial.alert("connect", &format!("10.77.0.66:{port}/tcp"))?;
        for field in ["time", "first_seen", "last_seen"] {
            let off = now()? - minute(&alert, field)?;
            assert!(
                (-1..=3).contains(&off),
                "{field} is off by {off} min: {alert}"
            );
        }
        let status = daemon.status()?;
        assert!(status["uptime_s"].as_u64() < Some(3600), "{status}");
        assert_eq!(status["degraded"].to_string(), "[]", "{status}");
    }
    let ids: Vec<String> = daemon
        .alerts()?
        .iter()
        .filter_map(|alert| alert["id"].as_str().map(str::to_owned))
        .collect();
    assert!(
        ids.len() >= 5 && ids.is_sorted(),
        "in the order of things: {ids:?}"
    );
    // Timers: what is learned is saved, processes that end are noticed.
    daemon.mode(scene::trial::WORKLOAD, "learn")?;
    assert!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?.worked());
    daemon.learned(scene::trial::WORKLOAD, "destination", "the attacker", |s| {
        s == "10.77.0.66:80/tcp"
    })?;
    Ok(())
}
