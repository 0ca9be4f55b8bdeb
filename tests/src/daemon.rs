//! The guard under test, spoken to as an operator would: by its command line.
//!
//! Every daemon has a configuration, state, socket, alerts and pins of its own,
//! so that several can run side by side. Stopping it takes its enforcement
//! away; that is what tests want, and it holds for a frozen or killed daemon
//! as well.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, process};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{child, command, http, wait};

/// How long the daemon may take to start; emulated machines are slow.
const START: Duration = Duration::from_secs(90);
/// How long it may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How long an alert may take from the deed to the file. It takes milliseconds; emulated machines on
/// which several daemons start at once have been seen to take longer than 20 s.
pub const ALERT: Duration = Duration::from_secs(90);

/// What is particular about a daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `slmguard` executable.
    pub program: PathBuf,
    /// A folder of the daemon's own.
    pub directory: PathBuf,
    /// The `[[workload]]` sections of its configuration.
    pub workloads: String,
    /// `auto`, `lsm` or `cgroup`.
    pub tier: String,
    /// Hooks that are left out, to prove that each of them matters.
    pub disabled_hooks: Vec<String>,
    /// Whether enforcement ends with a clean stop of the daemon.
    pub detach_on_exit: bool,
    /// Whether it looks for workloads that its configuration does not name. Off unless a test is
    /// about that: other tests' servers run on the same machine.
    pub detect: bool,
    /// A program and arguments that start the daemon, which must keep the process:
    /// [`masked`], `setpriv`.
    pub prefix: Vec<String>,
}

impl Options {
    /// The usual: the best tier of this kernel, and what the environment asks
    /// for: `SLMGUARD_TEST_TIER`, `SLMGUARD_TEST_DISABLE_HOOK` (names
    /// separated by commas).
    pub fn new(program: PathBuf, directory: &Path, workloads: String) -> Self {
        let hooks = env::var("SLMGUARD_TEST_DISABLE_HOOK").unwrap_or_default();
        Self {
            program,
            directory: directory.to_owned(),
            workloads,
            tier: env::var("SLMGUARD_TEST_TIER").unwrap_or_else(|_| "auto".into()),
            disabled_hooks: hooks
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            detach_on_exit: true,
            detect: false,
            prefix: Vec::new(),
        }
    }
}

/// A prefix that gives a command mounts of its own, changed by a shell `script`.
pub fn masked(script: &str) -> Vec<String> {
    let words = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
    ];
    let script = format!("{script}\nexec \"$@\"");
    words
        .into_iter()
        .map(str::to_owned)
        .chain([script, "sh".to_owned()])
        .collect()
}

/// The guard under test: `SLMGUARD_BIN`, or the one that was built together
/// with this program.
pub fn program() -> Result<PathBuf> {
    match env::var_os("SLMGUARD_BIN") {
        Some(path) => Ok(path.into()),
        None => crate::scene::beside("slmguard"),
    }
}

/// A daemon, running or not.
pub struct Daemon {
    options: Options,
    pins: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Daemon {
    /// Writes the configuration and starts the daemon; returns when it answers.
    pub fn start(options: Options) -> Result<Self> {
        let daemon = Self::prepare(options)?;
        daemon.launch()?;
        Ok(daemon)
    }

    /// Writes the configuration only.
    pub fn prepare(options: Options) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let pins = PathBuf::from(format!(
            "/sys/fs/bpf/slmguard-scene-{}-{number}",
            process::id()
        ));
        fs::create_dir_all(&options.directory)
            .with_context(|| format!("create {}", options.directory.display()))?;
        let daemon = Self {
            options,
            pins,
            child: Mutex::new(None),
        };
        let config = daemon.config();
        fs::write(&config, daemon.configuration())
            .with_context(|| format!("write {}", config.display()))?;
        Ok(daemon)
    }

    fn configuration(&self) -> String {
        let Options {
            directory,
            workloads,
            tier,
            disabled_hooks,
            detect,
            ..
        } = &self.options;
        let path = |name: &str| quote(&directory.join(name).display().to_string());
        let hooks: Vec<String> = disabled_hooks.iter().map(|hook| quote(hook)).collect();
        format!(
            "state_dir = {}\nsocket = {}\npin_dir = {}\n\n\
             [metrics]\nlisten = \"127.0.0.1:0\"\n\n\
             [alerts]\nfile = {}\n\n\
             [kernel]\ntier = {}\ndisable_hooks = [{}]\n\n\
             [detect]\nenabled = {detect}\n\n{workloads}",
            path("state"),
            path("api.sock"),
            quote(&self.pins.display().to_string()),
            path("alerts.jsonl"),
            quote(tier),
            hooks.join(", "),
        )
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.options.directory.join("config.toml")
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.options.directory.join("api.sock")
    }

    /// The executable.
    pub fn program(&self) -> &Path {
        &self.options.program
    }

    /// The file to which alerts are written.
    pub fn alerts_file(&self) -> PathBuf {
        self.options.directory.join("alerts.jsonl")
    }

    /// The file that holds what the daemon logged.
    pub fn log(&self) -> PathBuf {
        self.options.directory.join("slmguard.log")
    }

    /// The folder of the daemon's pins.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// Starts the daemon, again if it ran before, and waits until it answers.
    pub fn launch(&self) -> Result<()> {
        self.launch_with(&[])
    }

    /// The same with more arguments for `run`.
    pub fn launch_with(&self, arguments: &[&str]) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .context("open the daemon's log")?;
        let mut command = self.command(&self.options.prefix);
        command
            .args(["run", "--config"])
            .arg(self.config())
            .args(self.options.detach_on_exit.then_some("--detach-on-exit"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the daemon's log")?)
            .stderr(log);
        let child = child::tie(&mut command, Signal::SIGTERM)
            .spawn()
            .with_context(|| format!("start {}", self.options.program.display()))?;
        *self.lock() = Some(child);
        wait::until("slmguard answers", START, || {
            if let Some(status) = self
                .lock()
                .as_mut()
                .and_then(|child| child.try_wait().transpose())
                .transpose()?
            {
                bail!(
                    "slmguard ended with {status} instead of starting:\n{}",
                    self.last_words()
                );
            }
            Ok((self.socket().exists() && self.status().is_ok()).then_some(()))
        })
        .with_context(|| format!("start the daemon; its log is {}", self.log().display()))
    }

    /// The program, started by a prefix.
    fn command(&self, prefix: &[String]) -> Command {
        match prefix {
            [] => Command::new(&self.options.program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.options.program);
                command
            }
        }
    }

    /// Runs a command of `slmguard` to its end, started by a prefix; `run` too, where it is to be
    /// refused.
    pub fn ended(&self, prefix: &[String], arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(prefix);
        command.args(arguments).arg("--config").arg(self.config());
        command::output(command, COMMAND)
    }

    /// Everything that is pinned: hooks that are attached, and maps.
    pub fn pinned(&self) -> Vec<PathBuf> {
        files_below(&self.pins)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The daemon's process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.lock().as_ref().map(|child| child.id() as i32)
    }

    /// Runs a command of `slmguard` against this daemon.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.options.program);
        command.args(arguments).arg("--config").arg(self.config());
        command::output(command, COMMAND)
    }

    /// Runs a command that must succeed, with `--json`, and returns what it
    /// printed, one value per line.
    pub fn json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let told = arguments.join(" ");
        let output = self.cli(&arguments)?;
        if !output.status.success() {
            bail!(
                "slmguard {told} ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        parse_lines(&String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("slmguard {told}"))
    }

    /// What `slmguard doctor` says of each hook; it also says so, by its exit
    /// status, when something is missing.
    pub fn doctor(&self) -> Result<Vec<Value>> {
        let output = self.cli(&["doctor", "--json"])?;
        parse_lines(&String::from_utf8_lossy(&output.stdout)).context("slmguard doctor")
    }

    /// What `slmguard status` says.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status"])?
            .into_iter()
            .next()
            .context("slmguard status printed nothing")
    }

    /// The tier at which the daemon works: `lsm` or `cgroup`.
    pub fn tier(&self) -> Result<String> {
        let status = self.status()?;
        status["tier"]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no tier in {status}"))
    }

    /// Sets a workload's mode, approving what was learned.
    pub fn mode(&self, workload: &str, mode: &str) -> Result<()> {
        let mut arguments = vec!["mode", workload, mode];
        if mode == "enforce" {
            arguments.extend(["--declare", "--reason", "the test's operator read the list"]);
        }
        let output = self.cli(&arguments)?;
        if !output.status.success() {
            bail!(
                "switch {workload} to {mode}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// The metrics, as a scraper gets them.
    pub fn metrics(&self) -> Result<String> {
        let status = self.status()?;
        let address = status["metrics"].as_str().context("no metrics endpoint")?;
        let address = address.parse().context("the metrics' address")?;
        let answer = http::ask(address, "/metrics", None, COMMAND).context("ask for metrics")?;
        Ok(answer.body)
    }

    /// Waits for events of a kind, the latest first, until `enough`.
    pub fn events<T>(
        &self,
        kind: &str,
        mut enough: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T> {
        wait::until(&format!("events of kind {kind}"), ALERT, || {
            let mut events = self.json(&["events", "--limit", "2000"])?;
            events.retain(|event| event["kind"] == kind);
            events.reverse();
            Ok(enough(&events))
        })
    }

    /// All alerts so far, from the file.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        match fs::read_to_string(self.alerts_file()) {
            // The last line may still be on its way.
            Ok(text) => parse_lines(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
                .context("read the alerts"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context("read the alerts"),
        }
    }

    /// Waits for an alert that `matches`.
    pub fn alert(&self, what: &str, mut matches: impl FnMut(&Value) -> bool) -> Result<Value> {
        wait::until(&format!("an alert about {what}"), ALERT, || {
            Ok(self.alerts()?.into_iter().find(|alert| matches(alert)))
        })
        .with_context(|| self.what_it_knows())
    }

    /// For a test that waits in vain: what the daemon told instead, and what it counted as lost.
    fn what_it_knows(&self) -> String {
        let alerts = self.alerts().unwrap_or_default();
        let told: Vec<String> = alerts
            .iter()
            .map(|alert| {
                format!(
                    "{} {} {}",
                    alert["verdict"], alert["kind"], alert["subject"]
                )
            })
            .collect();
        let metrics = self.metrics().unwrap_or_default();
        let lost: Vec<&str> = metrics
            .lines()
            .filter(|line| !line.starts_with('#') && !line.ends_with(" 0"))
            .filter(|line| line.contains("error") || line.contains("drop"))
            .collect();
        format!(
            "alerts instead: {}\ncounted: {}\nlog: {}",
            told.join("; "),
            lost.join("; "),
            self.last_words()
        )
    }

    /// Waits until the baseline of `workload` holds a `family` entry whose
    /// subject `matches`.
    pub fn learned(
        &self,
        workload: &str,
        family: &str,
        what: &str,
        matches: impl Fn(&str) -> bool,
    ) -> Result<Value> {
        wait::until(
            &format!("{family} {what} in the baseline of {workload}"),
            ALERT,
            || {
                let baseline = self.json(&["baseline", "show", workload])?;
                Ok(baseline.into_iter().find(|entry| {
                    entry["family"] == family && entry["subject"].as_str().is_some_and(&matches)
                }))
            },
        )
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.lock();
        let pid = child.as_ref().context("the daemon does not run")?.id() as i32;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to the daemon"))
    }

    /// Kills the daemon outright; what it pinned stays.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        if let Some(mut child) = self.lock().take() {
            child.wait().context("wait for the killed daemon")?;
        }
        Ok(())
    }

    /// Ends the daemon cleanly, frozen or not.
    pub fn end(&self) -> Result<()> {
        let child = self.lock().take();
        if let Some(mut child) = child {
            let pid = Pid::from_raw(child.id() as i32);
            kill(pid, Signal::SIGTERM).context("end the daemon")?;
            kill(pid, Signal::SIGCONT).context("wake the daemon")?;
            let ended = wait::until("slmguard ends", STOP, || Ok(child.try_wait()?));
            if ended.is_err() {
                child.kill().context("kill the daemon")?;
                child.wait().context("wait for the killed daemon")?;
            }
            ended.context("the daemon had to be killed")?;
        }
        Ok(())
    }

    /// Ends the daemon and takes away what it pinned.
    pub fn stop(&self) -> Result<()> {
        let ended = self.end();
        if self.pins.exists() {
            let output = self.cli(&["detach"])?;
            if !output.status.success() {
                bail!(
                    "take away the daemon's pins: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
        ended
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("scene: {error:#}");
        }
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        })
        .collect()
}

/// A TOML string.
pub fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// One value per line.
pub fn parse_lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
        .collect()
}
