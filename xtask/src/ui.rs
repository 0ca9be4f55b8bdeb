//! What the person at the terminal sees: one short aligned line per step, with its time.
//!
//! Knows nothing about what a step does. Lines go to stderr, so that a command's result alone is
//! on stdout; `test` moves them to stdout, because there they are the result.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

static ON_STDOUT: AtomicBool = AtomicBool::new(false);
/// The instant of the last redraw, so that a chatty compiler costs no time at the terminal.
static LAST_DRAW: Mutex<Option<Instant>> = Mutex::new(None);

/// From now on, steps are printed on stdout.
pub fn use_stdout() {
    ON_STDOUT.store(true, Ordering::Relaxed);
}

fn is_terminal() -> bool {
    if ON_STDOUT.load(Ordering::Relaxed) {
        std::io::stdout().is_terminal()
    } else {
        std::io::stderr().is_terminal()
    }
}

fn put(text: &str) {
    // A closed terminal must not stop the work.
    if ON_STDOUT.load(Ordering::Relaxed) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    } else {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Prints one line as it is.
pub fn line(text: &str) {
    put(&format!("{text}\n"));
}

/// Prints one aligned line: the area, what, and a remark.
pub fn note(area: &str, what: &str, remark: &str) {
    line(format!("{area:>8}  {what:<46} {remark}").trim_end());
}

/// Prints a headline that opens a part of the output.
pub fn section(title: &str) {
    line(&format!(
        "\n── {title} {}",
        "─".repeat(68_usize.saturating_sub(title.chars().count()))
    ));
}

/// A running step; tells the terminal how far it is.
pub struct Progress {
    area: String,
    what: String,
    since: Instant,
}

impl Progress {
    /// Shows what the step is busy with; silent where output is not a terminal.
    pub fn busy(&self, detail: &str) {
        if !is_terminal() {
            return;
        }
        let mut last = LAST_DRAW
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if last.is_some_and(|at| at.elapsed() < Duration::from_millis(100)) {
            return;
        }
        *last = Some(Instant::now());
        let detail: String = detail.chars().take(40).collect();
        put(&format!(
            "\r\x1b[2K{:>8}  {:<46} {} {detail}",
            self.area,
            self.what,
            seconds(self.since.elapsed())
        ));
    }
}

/// Runs `work` as one step and prints how long it took, or that it failed.
pub fn step<T>(area: &str, what: &str, work: impl FnOnce(&Progress) -> Result<T>) -> Result<T> {
    let progress = Progress {
        area: area.to_owned(),
        what: what.to_owned(),
        since: Instant::now(),
    };
    if is_terminal() {
        put(&format!("{area:>8}  {what:<46} …"));
    }
    let result = work(&progress);
    if is_terminal() {
        put("\r\x1b[2K");
    }
    let time = seconds(progress.since.elapsed());
    note(
        area,
        what,
        &if result.is_ok() {
            time
        } else {
            format!("FAILED after {time}")
        },
    );
    result
}

/// A duration, readable: `0.4 s`, `12.3 s`, `4 min 07 s`.
pub fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(100) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(412)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(247)), "4 min 07 s");
    }
}
