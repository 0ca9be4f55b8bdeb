//! From what was learned to what is enforced, as an operator goes there: by the guard's own command
//! line, whose words are shown as they come, cut to what fits on a screen.
//!
//! Knows how `slmguard baseline explain` is laid out; must not know what is in it.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use slmguard_core::profile::Profile;

use super::WORKLOAD;
use crate::daemon::Daemon;

/// The family that the play shows: where the agent goes while it serves.
const SHOWN: &str = "agent serve, destination:";
/// How much of it.
const LINES: usize = 5;
/// What a line about a step that was not watched begins with.
const MISSING: &str = "  missing: ";
/// What the operator says.
const REASON: &str = "the audience read it";

/// What the guard says of what it learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// How one asks for it.
    pub command: String,
    /// Its words on one family, the first of which names it.
    pub told: Vec<String>,
    /// How many more families it told of.
    pub more: usize,
    /// Its words on the life of the workload, the first of which names that.
    pub life: Vec<String>,
}

/// The approval, and what followed from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Each command, and what it answered.
    pub steps: [(String, String); 2],
    /// The same for scripts: `listed` is what the guard says that the workload is held to.
    pub proof: Value,
}

/// Asks what was learned, what is missing and what is to be expected.
pub fn forecast(daemon: &Daemon) -> Result<Forecast> {
    let arguments = ["baseline", "explain", WORKLOAD];
    let text = answer(daemon, &arguments)?;
    read(command(&arguments), &text)
}

/// Approves what was learned, and enforces it.
pub fn approve(daemon: &Daemon) -> Result<Approval> {
    let approve = ["baseline", "approve", WORKLOAD, "--reason", REASON];
    let approved = answer(daemon, &approve)?;
    let enforce = ["mode", WORKLOAD, "enforce"];
    let enforced = answer(daemon, &enforce)?;
    let mode = daemon.json(&["mode", WORKLOAD])?;
    let mode = mode.first().context("`slmguard mode` printed nothing")?;
    let list = answer(daemon, &["baseline", "export", WORKLOAD, "--approved"])?;
    let list = Profile::from_toml(&list).context("read the approved list")?;
    let listed: usize = list.sizes().values().sum();
    ensure!(listed > 0, "the approved list is empty");
    ensure!(
        mode["mode"] == "enforce" && mode["basis"] == "declared",
        "the workload is not held to the list that was approved: {mode}"
    );
    let proof = json!({
        "approved": approved, "listed": listed, "mode": mode["mode"], "basis": mode["basis"],
    });
    Ok(Approval {
        steps: [(command(&approve), approved), (command(&enforce), enforced)],
        proof,
    })
}

/// Cuts what `baseline explain` says.
fn read(command: String, text: &str) -> Result<Forecast> {
    let is_head = |line: &str| !line.starts_with(' ') && line.contains(", ");
    let families = text.lines().filter(|line| is_head(line)).count();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(SHOWN));
    let head = lines.next();
    let head = head.with_context(|| format!("nothing is told of `{SHOWN}` in:\n{text}"))?;
    let mut told = vec![head.to_owned()];
    let about = lines.take_while(|line| line.starts_with(' '));
    told.extend(about.take(LINES).map(str::to_owned));
    ensure!(
        told.len() > 1,
        "no forecast is told of `{SHOWN}` in:\n{text}"
    );

    let mut life: Vec<String> = text
        .lines()
        .skip_while(|line| *line != "Life of the workload")
        .map(str::to_owned)
        .collect();
    ensure!(
        life.iter().any(|line| line.starts_with("  watched: ")),
        "no step was watched in:\n{text}"
    );
    // What is missing in one line: each of them comes with advice.
    let missing: Vec<String> = life
        .extract_if(.., |line| line.starts_with(MISSING))
        .map(|line| {
            line[MISSING.len()..]
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    if !missing.is_empty() {
        life.push(format!("{MISSING}{}", missing.join(", ")));
    }
    Ok(Forecast {
        command,
        told,
        more: families - 1,
        life,
    })
}

/// What a command that must succeed prints.
fn answer(daemon: &Daemon, arguments: &[&str]) -> Result<String> {
    let output = daemon.cli(arguments)?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        command(arguments),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().into())
}

/// As one would type it.
fn command(arguments: &[&str]) -> String {
    let word = |word: &&str| match word.contains(' ') {
        true => format!("\"{word}\""),
        false => (*word).to_owned(),
    };
    let words: Vec<_> = arguments.iter().map(word).collect();
    format!("slmguard {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
server start, read: learn
  45 files read known; no episode has ended yet
agent serve, destination: learn
  4 destinations known after 60 episodes in 2.2 days; 4 in one episode only
  too early to say how many new destinations per day are to be expected
agent serve, read: learn
  6 files read known

Life of the workload
  watched: start (7 times), first call
  missing: log rotation: do it once, or declare it
  missing: restart: do it once
";

    #[test]
    fn one_family_and_the_life_of_the_workload_are_shown() {
        let forecast = read(command(&["a", "b c"]), TEXT).unwrap();
        assert_eq!(forecast.command, "slmguard a \"b c\"");
        assert_eq!(
            forecast.told,
            [
                "agent serve, destination: learn",
                "  4 destinations known after 60 episodes in 2.2 days; 4 in one episode only",
                "  too early to say how many new destinations per day are to be expected",
            ]
        );
        assert_eq!(
            forecast.life,
            [
                "Life of the workload",
                "  watched: start (7 times), first call",
                "  missing: log rotation, restart",
            ]
        );
        assert_eq!(forecast.more, 2);
    }

    #[test]
    fn a_forecast_that_is_missing_is_an_error() {
        let without = |part: &str| read(String::new(), &TEXT.replace(part, "")).unwrap_err();
        assert!(
            without("agent serve, destination: learn\n")
                .to_string()
                .contains("nothing is told")
        );
        assert!(
            without("  watched: start (7 times), first call\n")
                .to_string()
                .contains("watched")
        );
        let text = "agent serve, destination: learn\nLife of the workload\n  watched: start\n";
        let error = read(String::new(), text).unwrap_err();
        assert!(error.to_string().contains("no forecast"), "{error}");
    }
}
