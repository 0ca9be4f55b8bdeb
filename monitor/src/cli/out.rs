//! Standard output. Who reads it may stop reading (`| head`): that is no failure.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Prints a line.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::new(Exit::Ok, "")),
        Err(e) => Err(Failure::new(
            Exit::Failure,
            format!("cannot write the output: {e}"),
        )),
    }
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(e) => Err(Failure::new(
            Exit::Failure,
            format!("cannot write JSON: {e}"),
        )),
    }
}

/// A time as people read it in a table: to the second.
pub fn short_time(rfc3339: &str) -> String {
    match rfc3339.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => rfc3339.to_owned(),
    }
}

/// A duration as people say it.
pub fn duration(seconds: u64) -> String {
    match (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// `1 process`, `2 processes`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(
            short_time("2026-11-21T01:54:59.123456Z"),
            "2026-11-21T01:54:59Z"
        );
        assert_eq!(short_time("never"), "never");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(3 * 3600 + 120), "3 h 2 min");
        assert_eq!(duration(86_400 * 2 + 3600), "2 d 1 h");
        assert_eq!(count(1, "process", "processes"), "1 process");
        assert_eq!(count(0, "process", "processes"), "0 processes");
    }
}
