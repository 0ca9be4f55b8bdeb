//! A recording of what a daemon takes in, made by its own command line.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::daemon::{Daemon, parse_lines};
use crate::{child, command, wait};

/// How long a recording may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a replay may take.
const REPLAY: Duration = Duration::from_secs(120);

/// A recording under way.
pub struct Recording {
    child: Child,
    file: PathBuf,
    program: PathBuf,
}

impl Recording {
    /// Has the daemon record into a new file; returns when the file says that it has begun.
    pub fn start(daemon: &Daemon, file: &Path, note: &str) -> Result<Self> {
        let mut command = Command::new(daemon.program());
        command
            .args(["events", "--config"])
            .arg(daemon.config())
            .args(["--note", note, "--record"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = child::tie(&mut command, Signal::SIGINT)
            .spawn()
            .context("start `slmguard events --record`")?;
        let mut recording = Self {
            child,
            file: file.to_owned(),
            program: daemon.program().to_owned(),
        };
        wait::until("the recording begins", PATIENCE, || {
            if let Some(status) = recording.child.try_wait()? {
                bail!("`slmguard events --record` ended with {status}");
            }
            let text = std::fs::read(&recording.file).unwrap_or_default();
            let begun = b"{\"record\":\"begin\"}\n";
            Ok(text
                .windows(begun.len())
                .any(|window| window == begun)
                .then_some(()))
        })?;
        Ok(recording)
    }

    /// Ends it, whole.
    pub fn end(self) -> Result<Recorded> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).context("end the recording")?;
        self.wait()
    }

    /// Kills whoever writes it.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the recorder")?;
        self.child.wait().context("wait for the recorder").map(drop)
    }

    /// Waits until it is ended by somebody else.
    pub fn wait(mut self) -> Result<Recorded> {
        let status = wait::until("the recording ends", PATIENCE, || {
            Ok(self.child.try_wait()?)
        })?;
        if !status.success() {
            bail!("`slmguard events --record` ended with {status}");
        }
        Ok(Recorded {
            file: self.file,
            program: self.program,
        })
    }
}

/// A recording that is whole.
pub struct Recorded {
    /// Where it is.
    pub file: PathBuf,
    program: PathBuf,
}

impl Recorded {
    /// What `slmguard replay` says of it, one value per line, and how it ended.
    pub fn replay(&self, arguments: &[&str]) -> Result<(bool, String, String)> {
        let mut command = Command::new(&self.program);
        command.arg("replay").arg(&self.file).args(arguments);
        let output = command::output(command, REPLAY)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        ))
    }

    /// The decisions of a replay.
    pub fn decisions(&self) -> Result<Vec<Value>> {
        let (success, told, log) = self.replay(&["--json"])?;
        if !success {
            bail!("the recording cannot be replayed: {log}");
        }
        parse_lines(&told)
    }

    /// Waits until the daemon's own file of alerts, begun with the recording, holds what a replay
    /// decides, byte by byte.
    pub fn agrees_with(&self, alerts: &Path) -> Result<()> {
        let expected = alerts.to_string_lossy().into_owned();
        let mut last = String::new();
        let agreed = wait::until("the alerts are those of a replay", PATIENCE, || {
            let (success, told, log) =
                self.replay(&["--alerts", "--json", "--expect", &expected])?;
            last = told + &log;
            Ok(success.then_some(()))
        });
        agreed.with_context(|| format!("the last comparison said: {last}"))
    }
}
