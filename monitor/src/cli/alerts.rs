//! `slmguard alerts`

use clap::Args;
use slmguard_core::alert::{Alert, Format};

use super::{Global, Stream, lines, out};
use crate::exit::{Exit, Failure};

/// What to show, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Alerts to show.
    #[command(flatten)]
    stream: Stream,
    /// Print each in this format: json, ocsf, ecs, cef, leef, rfc5424.
    #[arg(
        long = "format",
        id = "alert-format",
        value_name = "FORMAT",
        conflicts_with = "json"
    )]
    shape: Option<Format>,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let stream = &options.stream;
    let Some(format) = options.shape else {
        return lines::run(global, stream, "alerts", out::line, describe);
    };
    // Whoever reads a format gets nothing else on standard output.
    let aside = |text: &str| {
        eprintln!("{text}");
        Ok(())
    };
    lines::run(global, stream, "alerts", aside, |alert: &Alert| {
        vec![format.render(alert)]
    })
}

pub(super) fn describe(alert: &Alert) -> Vec<String> {
    let severity = alert.severity.word();
    let access = alert
        .access
        .as_deref()
        .map(|a| format!(" for {a}"))
        .unwrap_or_default();
    let count = if alert.count > 1 {
        format!(" ×{}", alert.count)
    } else {
        String::new()
    };
    let prevented = if alert.prevented {
        "prevented"
    } else {
        "not prevented"
    };
    let mut lines = vec![
        format!(
            "{}  {severity:<8}  {}/{}  {} {}{access}{count}: {}, {prevented}",
            out::short_time(&alert.time),
            alert.workload,
            alert.role,
            alert.kind,
            alert.subject,
            alert.verdict,
        ),
        format!("    by {} {}", alert.process.pid, alert.process.exe),
    ];
    if let Some(parent) = alert.process.ancestors.first() {
        lines[1].push_str(&format!(", started by {parent}"));
    }
    lines.extend(alert.reasons.iter().map(|reason| format!("    {reason}")));
    if !alert.nearest.is_empty() {
        lines.push(format!("    known instead: {}", alert.nearest.join(", ")));
    }
    lines.push(format!("    more: slmguard explain {}", alert.id));
    lines
}
