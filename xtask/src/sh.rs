//! Runs other programs: quietly while they succeed, with everything they said when they fail.
//!
//! Knows how to clean the environment that `cargo run` leaves behind; must not know any command's
//! purpose.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::ui::Progress;

/// A command in the repository root, without the variables that `cargo run` set for xtask itself:
/// left in place they would make other builds look changed, or load another toolchain's libraries.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(paths::root());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let from_cargo_run = text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_BIN_")
            || matches!(
                text.as_ref(),
                "CARGO_MANIFEST_DIR"
                    | "CARGO_MANIFEST_PATH"
                    | "CARGO_CRATE_NAME"
                    | "CARGO_PRIMARY_PACKAGE"
                    | "LD_LIBRARY_PATH"
                    | "OUT_DIR"
            );
        if from_cargo_run {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that started xtask.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command line as a person would type it.
pub fn display(command: &Command) -> String {
    let mut text = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&quote(&arg.to_string_lossy()));
    }
    text
}

/// `text` as one word of a POSIX shell.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Runs a command and returns its stdout; on failure the error holds all that it printed.
pub fn output(mut command: Command) -> Result<String> {
    let shown = display(&command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !out.status.success() {
        bail!(
            "`{shown}` failed ({})\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What a command that ran under [`watch`] left behind.
pub struct Watched {
    /// Whether it exited with 0.
    pub success: bool,
    /// Its exit status in words.
    pub status: String,
    /// All of its stdout.
    pub stdout: String,
    /// Stdout and stderr, line by line as they came.
    pub all: String,
}

/// Runs a command to its end, showing its latest line of stderr as progress.
pub fn watch(mut command: Command, progress: &Progress) -> Result<Watched> {
    let shown = display(&command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let all = Arc::new(Mutex::new(String::new()));
    let out = child.stdout.take().context("stdout was not piped")?;
    let err = child.stderr.take().context("stderr was not piped")?;
    let reader = {
        let all = Arc::clone(&all);
        thread::spawn(move || collect(out, &all, |_| ()))
    };
    collect(err, &all, |line| progress.busy(line.trim()));
    let stdout = reader.join().unwrap_or_default();
    let status = child
        .wait()
        .with_context(|| format!("waiting for `{shown}`"))?;
    let all = std::mem::take(&mut *all.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    Ok(Watched {
        success: status.success(),
        status: status.to_string(),
        stdout,
        all,
    })
}

/// As [`watch`], where failure is an error that holds all that the command printed.
pub fn run(command: Command, progress: &Progress) -> Result<String> {
    let shown = display(&command);
    let watched = watch(command, progress)?;
    if !watched.success {
        bail!(
            "`{shown}` failed ({})\n{}",
            watched.status,
            words(&watched.all).trim_end()
        );
    }
    Ok(watched.stdout)
}

/// What cargo said to a person: without its JSON, and without its list of what went well.
pub fn words(all: &str) -> String {
    let lines: Vec<&str> = all
        .lines()
        .filter(|line| !line.starts_with('{') && !is_progress(line))
        .collect();
    lines.join("\n")
}

/// Cargo sets these words flush right in twelve columns.
fn is_progress(line: &str) -> bool {
    const DONE: [&str; 10] = [
        "Compiling",
        "Checking",
        "Finished",
        "Updating",
        "Locking",
        "Adding",
        "Downloading",
        "Downloaded",
        "Executable",
        "Blocking",
    ];
    line.starts_with(' ')
        && line
            .trim_start()
            .split_once(' ')
            .is_some_and(|(word, _)| DONE.contains(&word))
}

fn collect(from: impl Read, all: &Mutex<String>, seen: impl Fn(&str)) -> String {
    let mut mine = String::new();
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        let line = String::from_utf8_lossy(&bytes);
        seen(&line);
        mine.push_str(&line);
        all.lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push_str(&line);
        bytes.clear();
    }
    mine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_a_shell() {
        for word in ["plain", "two words", "it's", "", "$HOME;`id`", "a\nb"] {
            let script = format!("printf %s {}", quote(word));
            let mut sh = Command::new("sh");
            sh.args(["-c", &script]);
            assert_eq!(output(sh).unwrap(), word);
        }
    }

    #[test]
    fn cargos_progress_is_left_out_and_its_warnings_are_not() {
        let all = "   Compiling a v1.0.0\nwarning: unused\n --> src/a.rs:1\n{\"reason\":1}\n    \
                   Finished `release` profile\n  | Compiling is a word here\n";
        assert_eq!(
            words(all),
            "warning: unused\n --> src/a.rs:1\n  | Compiling is a word here"
        );
    }

    #[test]
    fn a_failure_shows_what_was_printed() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = output(sh).unwrap_err().to_string();
        assert!(
            error.contains("out") && error.contains("err") && error.contains('3'),
            "{error}"
        );
    }
}
