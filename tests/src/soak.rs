//! A soak: a real server and a real agent live a long ordinary life under enforcement, and everything
//! that the guard refuses or ends in it was a mistake of the guard.
//!
//! They learn for a while, an operator approves the list, and then the same kinds of work go on, with
//! requests side by side, restarts of agent, server and guard, and models that are swapped. Nothing is
//! attacked. Knows scene and guard; must not know how either works.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;
use slmguard_core::baseline::evidence::bound;

use crate::daemon::{self, Daemon, quote};
use crate::demo::act;
use crate::scene::{Parts, Scene};
use crate::script::BENIGN;

const WORKLOAD: &str = "soak";
/// Rounds of requests in each of the two lives that are learned.
const LEARNED: u64 = 3;
/// Requests side by side.
const ABREAST: usize = 4;

/// How to soak.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `slmguard` executable.
    pub slmguard: PathBuf,
    /// A folder of this run's own; it is removed by the caller.
    pub directory: PathBuf,
    /// Where `npm ci` put what the server needs.
    pub modules: PathBuf,
    /// Rounds of requests under enforcement, one of each kind.
    pub rounds: u64,
    /// Requests of a day, as which they are counted.
    pub per_day: u64,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Which tier guarded.
    pub tier: String,
    /// Requests under enforcement.
    pub requests: u64,
    /// Of these, sent while others were being answered.
    pub side_by_side: u64,
    /// Restarts of the agent, of the server, and of the guard.
    pub restarts: [u64; 3],
    /// Models that were swapped.
    pub swaps: u64,
    /// Requests that were not answered as they should have been.
    pub failed: Vec<String>,
    /// Alerts about something that was refused.
    pub blocked: u64,
    /// Alerts about a process that was ended.
    pub killed: u64,
    /// Other alerts.
    pub told: u64,
    /// What the alerts are about, each once.
    pub subjects: Vec<String>,
    /// Days of the workload that the requests stand for.
    pub days: f64,
    /// Upper 95 % limit of refusals per day.
    pub blocked_per_day: f64,
    /// The same of ends.
    pub killed_per_day: f64,
}

impl Report {
    /// Whether nothing was refused, nobody ended, and every request answered.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.blocked == 0 && self.killed == 0
    }

    fn count(&mut self, alerts: &[Value]) {
        for alert in alerts {
            // Several may be told together.
            let times = alert["count"].as_u64().unwrap_or(1);
            let counter = match alert["verdict"].as_str() {
                Some("blocked") => &mut self.blocked,
                Some("killed") => &mut self.killed,
                _ => &mut self.told,
            };
            *counter += times;
            let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
            let subject = format!("{} {}: {}", text("kind"), text("subject"), text("verdict"));
            if !self.subjects.contains(&subject) {
                self.subjects.push(subject);
            }
        }
    }

    fn rates(&mut self, per_day: u64) {
        self.days = self.requests as f64 / per_day.max(1) as f64;
        let limit = |count: u64| bound::upper(count as f64) / self.days;
        (self.blocked_per_day, self.killed_per_day) = (limit(self.blocked), limit(self.killed));
    }
}

/// Soaks; `progress` is told the number of rounds that are over.
pub fn run(options: &Options, mut progress: impl FnMut(u64)) -> Result<Report> {
    let parts = Parts::lay_out(&options.directory, &options.modules)?;
    let stage = Scene::prepare(parts.clone())?;
    let exe = |path: &std::path::Path| quote(&path.display().to_string());
    let workload = format!(
        "[[workload]]\nname = {}\nmode = \"learn\"\n\n\
         [[workload.process]]\nrole = \"server\"\nexe = {}\nargv = [\"server.mjs\"]\n\n\
         [[workload.process]]\nrole = \"agent\"\nexe = {}\n",
        quote(WORKLOAD),
        exe(&parts.node),
        exe(&parts.agent),
    );
    let mut settings = daemon::Options::new(
        options.slmguard.clone(),
        &options.directory.join("guard"),
        workload,
    );
    // What is enforced outlives a restart of the guard, as it would for an operator.
    settings.detach_on_exit = false;
    let daemon = Daemon::start(settings)?;
    let result = soak(options, &daemon, stage.open()?, &mut progress);
    // Whatever became of it, nothing stays in the kernel.
    let stopped = daemon.stop();
    let report = result?;
    stopped?;
    Ok(report)
}

fn soak(
    options: &Options,
    daemon: &Daemon,
    scene: Scene,
    progress: &mut impl FnMut(u64),
) -> Result<Report> {
    for life in 0..2 {
        for number in 0..LEARNED as usize * BENIGN.len() {
            if let Err(failure) = act::benign(&scene, number)? {
                bail!("a request failed while learning: {failure}");
            }
        }
        if life == 0 {
            swap(&scene)?;
            scene.restart()?;
        }
    }
    approve(daemon)?;

    let mut report = Report {
        tier: daemon.tier()?,
        ..Report::default()
    };
    for round in 1..=options.rounds {
        if round % 5 == 0 {
            abreast(&scene, &mut report)?;
        } else {
            for number in 0..BENIGN.len() {
                report.failed.extend(act::benign(&scene, number)?.err());
            }
        }
        report.requests += BENIGN.len() as u64;
        // Each of them now and then, and now and then two of them at once.
        if round % 10 == 0 {
            scene.agent.restart()?;
            report.restarts[0] += 1;
        }
        if round % 25 == 0 {
            scene.server.restart()?;
            report.restarts[1] += 1;
        }
        if round % 40 == 0 {
            swap(&scene)?;
            scene.restart()?;
            report.swaps += 1;
        }
        if round % 20 == 0 {
            daemon.end()?;
            daemon.launch()?;
            report.restarts[2] += 1;
        }
        scene.ready()?;
        progress(round);
    }
    report.count(&daemon.alerts()?);
    report.rates(options.per_day);
    Ok(report)
}

/// The operator's part: the list is approved as it is, and enforced.
fn approve(daemon: &Daemon) -> Result<()> {
    for arguments in [
        &["baseline", "approve", WORKLOAD, "--reason", "a soak"][..],
        &["mode", WORKLOAD, "enforce"][..],
    ] {
        let output = daemon.cli(arguments)?;
        ensure!(
            output.status.success(),
            "slmguard {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// One request of each kind, several at a time.
fn abreast(scene: &Scene, report: &mut Report) -> Result<()> {
    let outcomes: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..ABREAST)
            .map(|number| scope.spawn(move || act::benign(scene, number)))
            .collect();
        asked.into_iter().map(|thread| thread.join()).collect()
    });
    for outcome in outcomes {
        let outcome = outcome.map_err(|_| anyhow::anyhow!("a client panicked"))?;
        report.failed.extend(outcome?.err());
        report.side_by_side += 1;
    }
    Ok(())
}

/// Puts a new file in the place of the model, as a roll-out does.
fn swap(scene: &Scene) -> Result<()> {
    let model = scene.parts.directory.join("model.gguf");
    let next = scene.parts.directory.join("model.gguf.next");
    fs::copy(&model, &next).context("copy the model")?;
    fs::rename(&next, &model).context("swap the model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn alerts_are_counted_by_what_became_of_them() {
        let mut report = Report {
            requests: 2_880,
            ..Report::default()
        };
        assert!(report.is_clean());
        let alert = |verdict: &str| json!({"kind": "open", "subject": "/x", "verdict": verdict});
        report.rates(1_440);
        assert!((report.killed_per_day - 1.5).abs() < 0.01, "{report:?}");
        report.count(&[
            alert("blocked"),
            alert("blocked"),
            alert("killed"),
            alert("audited"),
        ]);
        assert_eq!((report.blocked, report.killed, report.told), (2, 1, 1));
        assert_eq!(report.subjects.len(), 3);
        assert!(!report.is_clean());
        report.rates(1_440);
        assert!(report.blocked_per_day > report.killed_per_day);
        assert!((report.days - 2.0).abs() < 1e-9);
    }
}
