//! The daemon's own log, on stderr: for people or as JSON. It carries no alerts; those go to sinks.

use std::{io::IsTerminal, str::FromStr};

use slmguard_core::config::Log;
use tracing_subscriber::{filter::LevelFilter, fmt};

/// Starts logging to stderr as the configuration says. A second start is ignored: tests and the
/// daemon share a process.
pub fn start(config: &Log) {
    let level = LevelFilter::from_str(&config.level).unwrap_or(LevelFilter::INFO);
    let builder = fmt()
        .with_max_level(level)
        .with_target(level >= LevelFilter::DEBUG)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = match config.format.as_str() {
        "json" => builder.json().flatten_event(true).try_init(),
        _ => builder.try_init(),
    };
}
