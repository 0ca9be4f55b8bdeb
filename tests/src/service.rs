//! Keeps a process running, as a service manager would.
//!
//! A process that ends, or is killed, is started again. How each one ended is
//! kept: a kill by the guard is part of the evidence.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::child;
use crate::namespace::Namespace;

/// A service that ends this often without being asked to is broken, not attacked.
const STARTS: usize = 100;
/// How long a process may take to be started or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// What people call it.
    pub name: &'static str,
    /// The executable.
    pub exe: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Program {
    fn start(&self) -> Result<Child> {
        let log = || -> Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(&self.log);
            file.with_context(|| format!("open the log {}", self.log.display()))
        };
        let mut command = Command::new(&self.exe);
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", "/nonexistent")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?);
        child::tie(&mut command, Signal::SIGKILL)
            .spawn()
            .with_context(|| format!("start {} ({})", self.name, self.exe.display()))
    }
}

#[derive(Default)]
struct State {
    running: Option<Child>,
    ended: Vec<ExitStatus>,
    /// Ends that were asked for.
    restarts: usize,
    stopping: bool,
    failure: Option<String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` returns something.
    fn wait<T>(&self, what: &str, mut done: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let (state, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| {
                done(state).is_none() && state.failure.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &state.failure {
            bail!("{failure}");
        }
        if timeout.timed_out() {
            bail!("waited {} s in vain: {what}", PATIENCE.as_secs());
        }
        done(&state).ok_or_else(|| anyhow!("{what}: the service changed its mind"))
    }
}

/// A supervised process in a namespace.
pub struct Service {
    name: &'static str,
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the program and looks after it.
    pub fn start(namespace: &Namespace, program: Program) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let name = program.name;
        let supervisor = namespace
            .run({
                let shared = shared.clone();
                move || {
                    thread::Builder::new()
                        .name(format!("scene-{name}"))
                        .spawn(move || supervise(&program, &shared))
                }
            })?
            .context("start a supervisor")?;
        let service = Self {
            name,
            shared,
            supervisor: Some(supervisor),
        };
        service.pid()?;
        Ok(service)
    }

    /// The process that runs now; waits for a restart in progress.
    pub fn pid(&self) -> Result<i32> {
        self.shared.wait(&format!("{} runs", self.name), |state| {
            state.running.as_ref().map(|child| child.id() as i32)
        })
    }

    /// How many processes of this service have ended so far.
    pub fn ends(&self) -> usize {
        self.shared.lock().ended.len()
    }

    /// How the process ended that ran when [`Self::ends`] returned `ends`.
    pub fn ending(&self, ends: usize) -> Result<ExitStatus> {
        self.shared.wait(&format!("{} ends", self.name), |state| {
            state.ended.get(ends).copied()
        })
    }

    /// Ends the process and waits until the next one runs.
    pub fn restart(&self) -> Result<i32> {
        let (before, ends) = (self.pid()?, self.ends());
        self.shared.lock().restarts += 1;
        self.signal(Signal::SIGTERM)?;
        self.ending(ends)?;
        let now = self.pid()?;
        if now == before {
            bail!("{} was not restarted", self.name)
        } else {
            Ok(now)
        }
    }

    /// Sends a signal to the process, if one runs. The lock keeps the process
    /// from being reaped, and its number from being reused, meanwhile.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let state = self.shared.lock();
        match &state.running {
            Some(child) => kill(Pid::from_raw(child.id() as i32), signal)
                .with_context(|| format!("send {signal} to {}", self.name)),
            None => Ok(()),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        // It may have ended by itself.
        let _ = self.signal(Signal::SIGKILL);
        if let Some(supervisor) = self.supervisor.take() {
            // A panic in there has already been printed.
            let _ = supervisor.join();
        }
    }
}

/// "killed by SIGKILL" or "ended with exit status: 1".
pub fn describe(ending: ExitStatus) -> String {
    // A container's runtime tells of a signal as shells do.
    let told = ending.code().map(|code| code - 128).filter(|&n| n > 0);
    match ending.signal().or(told).map(Signal::try_from) {
        Some(Ok(signal)) => format!("killed by {signal}"),
        _ => format!("ended with {ending}"),
    }
}

fn supervise(program: &Program, shared: &Shared) {
    loop {
        {
            let mut state = shared.lock();
            if state.stopping {
                return;
            }
            if state.ended.len() >= STARTS + state.restarts {
                break;
            }
            match program.start() {
                Ok(child) => state.running = Some(child),
                Err(error) => return fail(shared, state, format!("{error:#}")),
            }
        }
        shared.changed.notify_all();
        if let Err(error) = reap(shared) {
            return fail(
                shared,
                shared.lock(),
                format!("wait for {}: {error:#}", program.name),
            );
        }
        shared.changed.notify_all();
    }
    fail(
        shared,
        shared.lock(),
        format!(
            "{} ended {STARTS} times; see {}",
            program.name,
            program.log.display()
        ),
    );
}

fn fail(shared: &Shared, mut state: MutexGuard<'_, State>, why: String) {
    state.failure = Some(why);
    drop(state);
    shared.changed.notify_all();
}

/// Waits for the end first and reaps under the lock afterwards, so that nobody
/// signals a process number that is no longer ours.
fn reap(shared: &Shared) -> Result<()> {
    let pid = shared
        .lock()
        .running
        .as_ref()
        .map(|child| Pid::from_raw(child.id() as i32));
    let Some(pid) = pid else { return Ok(()) };
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let mut state = shared.lock();
    if let Some(mut child) = state.running.take() {
        let status = child.wait()?;
        state.ended.push(status);
    }
    Ok(())
}
