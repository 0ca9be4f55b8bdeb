//! `slmguard alerts`

use slmguard_core::alert::{Alert, Severity};

use super::{Global, Stream, lines, out};
use crate::exit::{Exit, Failure};

pub(super) fn run(global: &Global, stream: &Stream) -> Result<Exit, Failure> {
    lines::run(global, stream, "alerts", describe)
}

pub(super) fn describe(alert: &Alert) -> Vec<String> {
    let severity = match alert.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    };
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
