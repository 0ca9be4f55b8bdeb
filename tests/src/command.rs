//! Running a program to its end, with a deadline.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::wait;

/// Runs `command`, kills it when `patience` is over, returns what it printed.
pub fn output(mut command: Command, patience: Duration) -> Result<Output> {
    let told = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {told}"))?;
    let (stdout, stderr) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let status = wait::until(&format!("{told} ends"), patience, || Ok(child.try_wait()?));
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            child.kill().with_context(|| format!("kill {told}"))?;
            child.wait().with_context(|| format!("wait for {told}"))?;
            return Err(error);
        }
    };
    Ok(Output {
        status,
        stdout: collect(stdout)?,
        stderr: collect(stderr)?,
    })
}

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<std::io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    })
}

fn collect(reader: Option<JoinHandle<std::io::Result<Vec<u8>>>>) -> Result<Vec<u8>> {
    let Some(reader) = reader else {
        return Ok(Vec::new());
    };
    let bytes = reader
        .join()
        .map_err(|_| anyhow!("reading a program's output panicked"))?;
    bytes.context("read a program's output")
}
