//! `slmguard workloads`

use clap::{Args, Subcommand};

use super::{Format, Global, explain_workload, in_url, out, table::Table};
use crate::{
    api::view::{Decide, Decided, Search, Workload},
    exit::{Exit, Failure},
};

/// What to show, or what to decide.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Only this workload.
    workload: Option<String>,
    /// Show the evidence as well: why it is a workload, what it was told it may do, its models.
    #[arg(long)]
    explain: bool,
    /// Output format.
    #[command(flatten)]
    format: Format,
    /// What to decide.
    #[command(subcommand)]
    action: Option<Action>,
}

/// Decisions about what slmguard found by itself.
#[derive(Debug, Subcommand)]
enum Action {
    /// Say that a detected workload is one: only then can it be switched to monitor or enforce.
    Confirm(One),
    /// Say that a detected workload is none: let its processes go and do not find it again.
    Dismiss(One),
    /// Let a dismissed workload be found again.
    Restore(One),
    /// Guard a local process that calls the workload, with its children, as its agent.
    EnrolAgent(OneAgent),
    /// Do not offer a process as agent any more.
    DismissAgent(OneAgent),
    /// Show what came near, what was dismissed, and what could not be guarded.
    Candidates(Format),
}

#[derive(Debug, Args)]
struct One {
    /// Name of the workload.
    workload: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct OneAgent {
    /// Name of the workload.
    workload: String,
    /// The agent: its name, or the number of one of its processes.
    agent: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Output format.
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    match &options.action {
        None => list(global, options),
        Some(Action::Candidates(format)) => candidates(global, *format),
        Some(Action::Confirm(one)) => decide_one(global, "confirm", one),
        Some(Action::Dismiss(one)) => decide_one(global, "dismiss", one),
        Some(Action::Restore(one)) => decide_one(global, "restore", one),
        Some(Action::EnrolAgent(agent)) => decide_agent(global, "enrol-agent", agent),
        Some(Action::DismissAgent(agent)) => decide_agent(global, "dismiss-agent", agent),
    }
}

fn decide_one(global: &Global, action: &str, one: &One) -> Result<Exit, Failure> {
    let decide = Decide {
        agent: None,
        reason: one.reason.clone().unwrap_or_default(),
    };
    decide_about(global, action, &one.workload, &decide, one.format)
}

fn decide_agent(global: &Global, action: &str, one: &OneAgent) -> Result<Exit, Failure> {
    let decide = Decide {
        agent: Some(one.agent.clone()),
        reason: one.reason.clone().unwrap_or_default(),
    };
    decide_about(global, action, &one.workload, &decide, one.format)
}

fn decide_about(
    global: &Global,
    action: &str,
    workload: &str,
    decide: &Decide,
    format: Format,
) -> Result<Exit, Failure> {
    let path = format!("/v1/workloads/{}/{action}", in_url(workload)?);
    let decided: Decided = global.client()?.post(&path, decide)?;
    if format.json {
        out::json(&decided)?;
    } else {
        out::line(&decided.done)?;
    }
    Ok(Exit::Ok)
}

fn list(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let mut workloads: Vec<Workload> = global.client()?.get("/v1/workloads")?;
    if let Some(wanted) = &options.workload {
        workloads.retain(|w| w.name == *in_url(wanted).unwrap_or_default());
        if workloads.is_empty() {
            return Err(Failure::new(
                Exit::Failure,
                format!(
                    "there is no workload {}; `slmguard workloads` lists them",
                    slmguard_core::text::escape(wanted.as_bytes())
                ),
            ));
        }
    }
    if options.format.json {
        for workload in &workloads {
            out::json(workload)?;
        }
        return Ok(Exit::Ok);
    }
    if workloads.is_empty() {
        out::line(
            "No workload is configured, and none was found; `[[workload]]` in the configuration \
             names one, `slmguard workloads candidates` shows what came near.",
        )?;
    }
    for (i, workload) in workloads.iter().enumerate() {
        if i > 0 {
            out::line("")?;
        }
        for line in lines(workload, options.explain) {
            out::line(&line)?;
        }
    }
    Ok(Exit::Ok)
}

fn candidates(global: &Global, format: Format) -> Result<Exit, Failure> {
    let search: Search = global.client()?.get("/v1/detection")?;
    if format.json {
        out::json(&search)?;
        return Ok(Exit::Ok);
    }
    for line in explain_workload::search(&search) {
        out::line(&line)?;
    }
    Ok(Exit::Ok)
}

fn lines(workload: &Workload, explain: bool) -> Vec<String> {
    let b = &workload.baseline;
    let basis = match workload.basis.as_str() {
        "none" => String::new(),
        basis => format!(" ({basis})"),
    };
    let origin = match (workload.origin.as_str(), workload.confirmed) {
        ("detected", false) => ", detected, not confirmed",
        ("detected", true) => ", detected, confirmed",
        _ => "",
    };
    let mut lines = vec![format!(
        "{}: {}{basis}{origin}",
        workload.name, workload.mode
    )];
    lines.extend(explain_workload::summary(workload));
    if explain {
        lines.extend(explain_workload::evidence(workload));
    }
    lines.push(format!(
        "  learned   {}, {} read, {} written, {}; {}",
        out::count(b.destinations as u64, "destination", "destinations"),
        out::count(b.reads as u64, "file", "files"),
        b.writes,
        out::count(b.execs as u64, "program", "programs"),
        out::count(workload.episodes, "episode", "episodes"),
    ));
    if workload.processes.is_empty() {
        lines.push("  no process of it is running".into());
    } else {
        lines.extend(processes(workload));
    }
    lines.extend(explain_workload::agents(workload, explain));
    if workload.origin == "detected" && !workload.confirmed {
        let name = &workload.name;
        lines.push(format!(
            "  found by slmguard itself: `slmguard workloads confirm {name}` if it is one, \
             `slmguard workloads dismiss {name}` if not"
        ));
    }
    lines
}

fn processes(workload: &Workload) -> Vec<String> {
    let mut table = Table::new(&["  PID", "ROLE", "PHASE", "FOUND", "PROGRAM"]);
    for process in &workload.processes {
        let role = match &process.kind {
            Some(kind) => format!("{} ({kind})", process.role),
            None => process.role.clone(),
        };
        table.row([
            format!("  {}", process.pid),
            role,
            process.phase.clone(),
            if process.adopted {
                "running"
            } else {
                "at start"
            }
            .into(),
            process.exe.clone(),
        ]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::{BaselineSize, Member};

    #[test]
    fn a_workload_reads_well() {
        let workload = Workload {
            name: "assistant".into(),
            mode: "enforce".into(),
            basis: "declared".into(),
            processes: vec![Member {
                pid: 42,
                role: "server".into(),
                phase: "serve".into(),
                exe: "/usr/bin/node".into(),
                adopted: true,
                found: vec![],
                kind: None,
            }],
            baseline: BaselineSize {
                destinations: 1,
                reads: 20,
                writes: 2,
                execs: 0,
                ..BaselineSize::default()
            },
            episodes: 3,
            origin: "configured".into(),
            confirmed: true,
            ..Workload::default()
        };
        let text = lines(&workload, false).join("\n");
        assert!(
            text.starts_with("assistant: enforce (declared)\n"),
            "{text}"
        );
        assert!(
            text.contains("1 destination, 20 files read, 2 written, 0 programs; 3 episodes"),
            "{text}"
        );
        assert!(
            text.contains("  42   server  serve  running  /usr/bin/node"),
            "{text}"
        );
        assert!(!text.contains("confirm"), "{text}");
    }

    #[test]
    fn a_detected_workload_says_what_to_do() {
        let workload = Workload {
            name: "llama".into(),
            mode: "learn".into(),
            basis: "none".into(),
            origin: "detected".into(),
            processes: vec![Member {
                pid: 7,
                role: "tool".into(),
                phase: "start".into(),
                exe: "/usr/bin/python3".into(),
                adopted: false,
                kind: Some("mcp".into()),
                ..Member::default()
            }],
            ..Workload::default()
        };
        let text = lines(&workload, true).join("\n");
        assert!(
            text.starts_with("llama: learn, detected, not confirmed\n"),
            "{text}"
        );
        assert!(text.contains("slmguard workloads confirm llama"), "{text}");
        assert!(text.contains("tool (mcp)"), "{text}");
    }
}
