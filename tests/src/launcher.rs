//! `slmguard exec` in a trial: starting probes and commands inside the guard.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command;
use crate::probe::{Launch, Probe};
use crate::trial::{Setup, Trial, WORKLOAD, text};

/// How long a command in the guard may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server on the tier that cannot deny by itself.
pub fn setup() -> Setup {
    Setup::role("server").tier("cgroup")
}

/// What stands in front of a command to start it in the guard.
pub fn arguments(trial: &Trial, options: &[&str], words: &[&str]) -> Result<Vec<String>> {
    let config = text(&trial.daemon()?.config());
    let guard = ["exec", "--config", &config, "--workload", WORKLOAD];
    let all = [&guard, options, &["--"], words].concat();
    Ok(all.into_iter().map(str::to_owned).collect())
}

/// Starts a probe for which no enrolment rule exists.
pub fn start(trial: &Trial, options: &[&str], more: &[&str]) -> Result<Probe> {
    let program = text(&trial.path("outsider"));
    let words = [&[program.as_str()], more].concat();
    let launch = Launch {
        arguments: arguments(trial, options, &words)?,
        user: None,
    };
    Probe::start(&trial.namespace, trial.daemon()?.program(), launch)
}

/// Runs a command in the guard to its end.
pub fn run(trial: &Trial, options: &[&str], words: &[&str]) -> Result<Output> {
    let mut command = Command::new(trial.daemon()?.program());
    command.args(arguments(trial, options, words)?);
    command::output(command, PATIENCE)
}

/// What a command said on its standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `slmguard exec --print-plan` says, with these options.
pub fn plan(trial: &Trial, options: &[&str]) -> Result<Value> {
    let options = [options, &["--print-plan", "--json"]].concat();
    let output = run(trial, &options, &["/bin/true"])?;
    ensure!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).context("the plan")
}
