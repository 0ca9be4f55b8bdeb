//! The acts in their order, told as they happen.
//!
//! Knows the guard's command line and the scene; what an attack is, and what
//! proves it, is [`super::act`]'s.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::act::{self, AttackAct, Verdict};
use super::show::{Report, Show};
use super::{Freeze, Options, WORKLOAD, alert, approval};
use crate::daemon::Daemon;
use crate::recording::Recording;
use crate::scene::Scene;
use crate::script::{Attack, BENIGN};
use crate::trial::read_form;

/// How often each kind of benign request is learned, before and after a
/// restart of server and agent.
const ROUNDS: usize = 2;

/// A play under way.
pub struct Play<'a> {
    options: &'a Options,
    show: Show,
    scene: Scene,
    daemon: Option<Arc<Daemon>>,
    tier: String,
    recording: Option<Recording>,
    reports: Vec<Report>,
    problems: usize,
}

impl<'a> Play<'a> {
    /// Before the first act. `tier` is the guard's.
    pub fn new(
        options: &'a Options,
        show: Show,
        scene: Scene,
        daemon: Option<Arc<Daemon>>,
        tier: String,
    ) -> Self {
        Self {
            options,
            show,
            scene,
            daemon,
            tier,
            recording: None,
            reports: Vec::new(),
            problems: 0,
        }
    }

    /// A recording that began before server and agent did.
    pub fn record(&mut self, recording: Option<Recording>) {
        self.recording = recording;
    }

    /// Act 1: benign requests, a restart of those who serve them, and how complete that is.
    pub fn learn(&mut self) -> Result<()> {
        let name = if self.daemon.is_some() {
            "learn from benign requests"
        } else {
            "benign requests"
        };
        self.show.act(1, name);
        let mut failures = self.benign_round(ROUNDS)?;
        self.show.line(
            "restart",
            "server and agent, so that their start is known as well",
        );
        self.scene.restart()?;
        failures.extend(self.benign_round(ROUNDS)?);
        let mut proof = json!({});
        if let Some(daemon) = &self.daemon {
            self.show.line("baseline", &baseline(daemon, &self.scene)?);
            let forecast = approval::forecast(daemon)?;
            self.show.forecast(&forecast);
            proof["forecast"] = json!(forecast);
        }
        self.benign_report(1, name, 2 * ROUNDS * BENIGN.len(), failures, proof);
        Ok(())
    }

    /// Act 2: the list is approved and enforced; the same requests once more.
    pub fn enforce(&mut self) -> Result<()> {
        let name = if self.daemon.is_some() {
            "enforce; benign requests still work"
        } else {
            "benign requests again"
        };
        self.show.act(2, name);
        let mut proof = json!({});
        if let Some(daemon) = &self.daemon {
            let approval = approval::approve(daemon)?;
            for (command, answer) in &approval.steps {
                self.show.asked(command, std::slice::from_ref(answer));
            }
            proof["approval"] = approval.proof;
        }
        let failures = self.benign_round(1)?;
        self.benign_report(2, name, BENIGN.len(), failures, proof);
        Ok(())
    }

    /// Sends every benign request `rounds` times; returns what failed.
    fn benign_round(&self, rounds: usize) -> Result<Vec<String>> {
        let count = rounds * BENIGN.len();
        let mut failures = Vec::new();
        for number in 0..count {
            self.show
                .progress(number, count, BENIGN[number % BENIGN.len()].0);
            failures.extend(act::benign(&self.scene, number)?.err());
        }
        self.show.progress(count, count, "");
        Ok(failures)
    }

    fn benign_report(
        &mut self,
        act: u8,
        name: &str,
        asked: usize,
        failures: Vec<String>,
        mut proof: Value,
    ) {
        let served = asked - failures.len();
        let observed = if failures.is_empty() {
            Verdict::Works
        } else {
            Verdict::Fails
        };
        failures
            .iter()
            .for_each(|failure| self.show.problem(failure));
        proof["requests"] = json!(asked);
        proof["served"] = json!(served);
        proof["failures"] = json!(failures);
        self.finish(Report {
            act,
            name: name.to_owned(),
            expected: Verdict::Works,
            observed,
            prevented: false,
            tier: self.tier.clone(),
            proof,
            summary: format!("{served} of {asked} requests served"),
        });
    }

    fn finish(&mut self, report: Report) {
        self.show.report(&report);
        self.reports.push(report);
    }

    /// What is to happen to the daemon before the attacks.
    pub fn freeze(&self) -> Result<()> {
        match (self.options.freeze, &self.daemon) {
            (Some(Freeze::Stop), Some(daemon)) => {
                daemon.signal(Signal::SIGSTOP)?;
                self.show
                    .say("\n  The daemon is frozen (SIGSTOP). The kernel is on its own.");
            }
            (Some(Freeze::Kill), Some(daemon)) => {
                daemon.kill()?;
                self.show
                    .say("\n  The daemon is dead (SIGKILL). The kernel is on its own.");
            }
            _ => {}
        }
        Ok(())
    }

    /// Acts 3 to 10: an attack.
    pub fn attack(&mut self, act: &AttackAct) -> Result<()> {
        self.show.act(act.number, act.name);
        let watching = self
            .daemon
            .clone()
            .filter(|_| self.options.freeze.is_none());
        let known = watching
            .as_ref()
            .map_or(Ok(Vec::new()), |daemon| daemon.alerts())?;
        if watching.is_some() {
            // Equal denials of one process within a second are one alert, with a count.
            thread::sleep(Duration::from_millis(1100));
        }
        let course = act::play(&self.scene, act)?;
        self.show.course(&course);
        let prevented = course.observed == Verdict::Prevented;
        let mut proof = course.proof;
        if let Some(daemon) = &watching {
            match alert::find(
                daemon,
                &self.scene,
                act.attack,
                self.options.allow_io_uring,
                &known,
                prevented,
            ) {
                Ok(alert) => {
                    self.show.alert(&alert);
                    proof["alert"] = json!(alert);
                }
                Err(error) => self.problem(&format!("{error:#}")),
            }
        }
        self.finish(Report {
            act: act.number,
            name: act.name.to_owned(),
            expected: if self.daemon.is_some() {
                Verdict::Prevented
            } else {
                Verdict::Succeeds
            },
            observed: course.observed,
            prevented,
            tier: self.tier.clone(),
            proof,
            summary: course.summary,
        });
        Ok(())
    }

    fn problem(&mut self, text: &str) {
        self.show.problem(text);
        self.problems += 1;
    }

    /// A daemon that was frozen tells about the attacks once it is awake.
    pub fn thaw(&mut self) -> Result<()> {
        let (Some(Freeze::Stop), Some(daemon)) = (self.options.freeze, self.daemon.clone()) else {
            return Ok(());
        };
        daemon.signal(Signal::SIGCONT)?;
        self.show
            .say("\n  The daemon is awake again. It tells what the kernel kept for it:");
        for attack in Attack::ALL {
            match alert::find(
                &daemon,
                &self.scene,
                attack,
                self.options.allow_io_uring,
                &[],
                true,
            ) {
                Ok(alert) => self.show.alert(&alert),
                Err(error) => self.problem(&format!("{error:#}")),
            }
        }
        Ok(())
    }

    /// Benign requests once more, and the table; true if all went as expected.
    pub fn closing(mut self) -> Result<bool> {
        let failures = self.benign_round(1)?;
        match failures.is_empty() {
            true => self
                .show
                .say("\n  After the attacks, benign requests are still served."),
            false => failures.iter().for_each(|failure| self.problem(failure)),
        }
        if let (Some(recording), Some(daemon)) = (self.recording.take(), &self.daemon) {
            let recorded = recording.end()?;
            recorded.agrees_with(&daemon.alerts_file())?;
            self.show.say(&format!(
                "  A replay of {} decides as the daemon did.",
                recorded.file.display()
            ));
        }
        self.show.table(&self.reports, self.problems);
        if self.options.keep {
            self.keep()?;
        }
        Ok(self.problems == 0 && self.reports.iter().all(Report::passed))
    }

    /// Leaves everything running until a signal ends the program.
    fn keep(&self) -> Result<()> {
        let pid = self.scene.agent.pid()?;
        let ask = format!(
            "curl -s -d '{{\"prompt\":\"{}\"}}' http://{}/ask",
            Attack::Shell.phrase(),
            self.scene.agent_address
        );
        let mut text = format!(
            "  Everything is left running. Files and logs: {}\n\n  Give the agent a prompt:\n    \
             nsenter -t {pid} -n {ask}\n",
            self.scene.parts.directory.display()
        );
        if let Some(daemon) = self.daemon.as_ref().filter(|daemon| daemon.pid().is_some()) {
            text += "\n  Ask the daemon:\n";
            for command in [
                "status",
                "doctor",
                "alerts",
                "events --limit 20",
                "baseline show assistant",
                "baseline explain assistant",
            ] {
                let (program, config) = (daemon.program().display(), daemon.config());
                text += &format!("    {program} {command} --config {}\n", config.display());
            }
        }
        self.show.say(&(text + "\n  Ctrl-C ends it all."));
        loop {
            thread::park();
        }
    }
}

/// Waits until what the benign requests need is in the baseline; counts it.
fn baseline(daemon: &Daemon, scene: &Scene) -> Result<String> {
    let notes = read_form(&scene.script.notes);
    for (family, subject) in [
        ("destination", "10.77.0.10:80/tcp"),
        ("destination", "10.77.0.20:8125/udp"),
        ("destination", "10.77.0.53:53/udp"),
        ("destination", "127.0.0.1:8080/tcp"),
        ("read", &notes),
    ] {
        daemon.learned(WORKLOAD, family, subject, |found| found == subject)?;
    }
    daemon.learned(WORKLOAD, "exec", "date", |found| found.ends_with("/date"))?;
    let entries = daemon.json(&["baseline", "show", WORKLOAD])?;
    let count = |family: &str| {
        entries
            .iter()
            .filter(|entry| entry["family"] == family)
            .count()
    };
    Ok(format!(
        "{} destinations, {} files to read, {} to write, {} to run, each by role and phase",
        count("destination"),
        count("read"),
        count("write"),
        count("exec")
    ))
}
