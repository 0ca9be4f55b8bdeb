//! Runs a list of test programs one after another, each with a deadline, and records what they
//! printed. The same code runs on the host and, started by `vm`, inside a guest.
//!
//! Knows processes and files; must not know what the tests test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::libtest;
use crate::ui;

/// Variable that says where a plan runs, shown in front of its lines: guests run side by side.
pub const AREA: &str = "SLMGUARD_TEST_AREA";

/// One run of one test program.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The test file's name, as in `connect` for `connect::denies_unknown`.
    pub label: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables, besides those of the whole run.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub dir: PathBuf,
    /// When to give up on it.
    pub limit: Duration,
}

/// How one run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The entry's label.
    pub label: String,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
    /// How the process ended, in words.
    pub status: String,
    /// Whether it exited with 0.
    pub success: bool,
    /// How long it took.
    pub time: Duration,
}

/// Runs a list of test programs; used inside guests.
#[derive(Args)]
pub struct Plan {
    /// What to run.
    plan: PathBuf,
    /// Where the outcomes go.
    outcomes: PathBuf,
}

/// Runs the hidden command `plan`.
pub fn run(args: &Plan) -> Result<()> {
    ui::use_stdout();
    let text = fs::read_to_string(&args.plan)
        .with_context(|| format!("reading {}", args.plan.display()))?;
    let plan: Value = serde_json::from_str(&text).context("reading the plan")?;
    let entries: Vec<Entry> = plan
        .as_array()
        .context("a plan is a list")?
        .iter()
        .map(entry_from)
        .collect::<Result<_>>()?;
    let outcomes: Vec<Value> = execute(&entries)?.iter().map(outcome_to).collect();
    fs::write(&args.outcomes, Value::from(outcomes).to_string())
        .with_context(|| format!("writing {}", args.outcomes.display()))
}

/// Runs all entries, printing a line for each.
pub fn execute(entries: &[Entry]) -> Result<Vec<Outcome>> {
    entries
        .iter()
        .map(|entry| {
            let outcome = execute_one(entry)?;
            let report = libtest::parse(&outcome.stdout);
            let mut remark = format!("{} passed", report.passed.len());
            if !report.failed.is_empty() {
                remark.push_str(&format!(", {} FAILED", report.failed.len()));
            }
            if !report.complete {
                remark.push_str(&format!(", then it ended early ({})", outcome.status));
            }
            let nothing = report.complete && report.passed.is_empty() && report.failed.is_empty();
            if !nothing {
                let what = format!("{}: {remark}", entry.label);
                let area = std::env::var(AREA).unwrap_or("test".into());
                ui::note(&area, &what, &ui::seconds(outcome.time));
            }
            Ok(outcome)
        })
        .collect()
}

fn execute_one(entry: &Entry) -> Result<Outcome> {
    // Output goes to files, not pipes: a process left behind may hold them as long as it likes.
    static RUN: AtomicU32 = AtomicU32::new(0);
    let run = RUN.fetch_add(1, Ordering::Relaxed);
    let scratch = std::env::temp_dir().join(format!("slmguard-test-{}-{run}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("creating {}", scratch.display()))?;
    let file = |name: &str| {
        let path = scratch.join(name);
        File::create(&path).with_context(|| format!("creating {}", path.display()))
    };
    let since = Instant::now();
    let mut child = Command::new(&entry.program)
        .args(&entry.args)
        .envs(&entry.env)
        .current_dir(&entry.dir)
        .stdin(Stdio::null())
        .stdout(file("stdout")?)
        .stderr(file("stderr")?)
        // A group of its own, so that a test that hangs is ended with what it started.
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", entry.program.display()))?;
    let mut overdue = false;
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for a test program")? {
            break status;
        }
        if since.elapsed() > entry.limit && !overdue {
            overdue = true;
            let group = format!("kill -KILL -{}", child.id());
            Command::new("sh")
                .args(["-c", &group])
                .status()
                .context("ending a test program")?;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let read = |name: &str| {
        fs::read(scratch.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let outcome = Outcome {
        label: entry.label.clone(),
        stdout: read("stdout").context("reading a test's stdout")?,
        stderr: read("stderr").context("reading a test's stderr")?,
        status: if overdue {
            format!("ended after {}", ui::seconds(entry.limit))
        } else if let Some(signal) = status.signal() {
            format!("signal {signal}")
        } else {
            format!("exit status {}", status.code().unwrap_or(-1))
        },
        success: status.success(),
        time: since.elapsed(),
    };
    let _ = fs::remove_dir_all(&scratch);
    Ok(outcome)
}

/// The plan file's text.
pub fn to_text(entries: &[Entry]) -> String {
    let list: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "label": entry.label,
                "program": entry.program.to_string_lossy(),
                "args": entry.args,
                "env": entry.env,
                "dir": entry.dir.to_string_lossy(),
                "limit": entry.limit.as_secs(),
            })
        })
        .collect();
    Value::from(list).to_string()
}

fn entry_from(value: &Value) -> Result<Entry> {
    let text = |name: &str| -> Result<String> {
        Ok(value[name]
            .as_str()
            .with_context(|| format!("a plan entry lacks `{name}`"))?
            .to_owned())
    };
    let args = value["args"]
        .as_array()
        .context("a plan entry lacks `args`")?;
    let env = value["env"]
        .as_object()
        .context("a plan entry lacks `env`")?;
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Entry {
        label: text("label")?,
        program: text("program")?.into(),
        args: args.iter().map(string).collect(),
        env: env
            .iter()
            .map(|(name, value)| (name.clone(), string(value)))
            .collect(),
        dir: text("dir")?.into(),
        limit: Duration::from_secs(
            value["limit"]
                .as_u64()
                .context("a plan entry lacks `limit`")?,
        ),
    })
}

fn outcome_to(outcome: &Outcome) -> Value {
    json!({
        "label": outcome.label,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "status": outcome.status,
        "success": outcome.success,
        "millis": u64::try_from(outcome.time.as_millis()).unwrap_or(u64::MAX),
    })
}

/// Reads the outcomes that a guest left.
pub fn outcomes_from(file: &Path) -> Result<Vec<Outcome>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let list: Value = serde_json::from_str(&text).context("reading a guest's outcomes")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(list
        .as_array()
        .context("outcomes are a list")?
        .iter()
        .map(|value| Outcome {
            label: text(&value["label"]),
            stdout: text(&value["stdout"]),
            stderr: text(&value["stderr"]),
            status: text(&value["status"]),
            success: value["success"].as_bool().unwrap_or(false),
            time: Duration::from_millis(value["millis"].as_u64().unwrap_or(0)),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Entry {
        Entry {
            label: "sh".into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("X".to_owned(), "y".to_owned())]),
            dir: "/".into(),
            limit: Duration::from_secs(limit),
        }
    }

    #[test]
    fn plans_survive_their_file() {
        let entry = shell("true", 7);
        let list: Value = serde_json::from_str(&to_text(std::slice::from_ref(&entry))).unwrap();
        let back = entry_from(&list[0]).unwrap();
        assert_eq!(format!("{back:?}"), format!("{entry:?}"));
    }

    #[test]
    fn a_test_that_hangs_is_ended_with_its_children() {
        let outcome = execute_one(&shell("echo $X; sleep 100 & sleep 100", 0)).unwrap();
        assert!(!outcome.success);
        assert!(
            outcome.status.starts_with("ended after"),
            "{}",
            outcome.status
        );
        assert!(outcome.time < Duration::from_secs(50));
    }
}
