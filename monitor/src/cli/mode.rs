//! `slmguard mode`

use clap::{Args, ValueEnum};

use super::{Format, Global, in_url, out};
use crate::{
    api::view::{Mode, ModeChange},
    exit::{Exit, Failure},
};

/// Which workload, and what to make of it.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the workload.
    workload: String,
    /// The mode to change to; without it the present one is shown.
    mode: Option<ModeWord>,
    /// Approve what was learned as the list of what may be done.
    ///
    /// Needed for `enforce` as long as there is no evidence that the list is complete: look at
    /// `slmguard baseline show` first.
    #[arg(long, requires = "mode", requires = "reason")]
    declare: bool,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT", requires = "mode")]
    reason: Option<String>,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeWord {
    /// Observe and learn; breaches of invariants alert.
    Learn,
    /// Invariants are enforced; deviations alert.
    Monitor,
    /// Invariants and the baseline are enforced.
    Enforce,
    /// Each family of behaviour goes from one of these to the next when there is evidence enough;
    /// `slmguard baseline explain` says how far each is.
    Auto,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let path = format!("/v1/mode/{}", in_url(&options.workload)?);
    let client = global.client()?;
    let mode: Mode = match options.mode {
        None => client.get(&path)?,
        Some(word) => {
            let mode = match word {
                ModeWord::Learn => "learn",
                ModeWord::Monitor => "monitor",
                ModeWord::Enforce => "enforce",
                ModeWord::Auto => "auto",
            };
            let change = ModeChange {
                mode: mode.into(),
                declare: options.declare,
                reason: options.reason.clone().unwrap_or_default(),
            };
            client.post(&path, &change)?
        }
    };
    if options.format.json {
        out::json(&mode)?;
        return Ok(Exit::Ok);
    }
    let basis = if mode.basis == "none" {
        String::new()
    } else {
        format!(" ({})", mode.basis)
    };
    let since = out::short_time(&mode.since);
    out::line(&format!(
        "{}: {}{basis} since {since}",
        mode.workload, mode.mode
    ))?;
    Ok(Exit::Ok)
}
