//! `slmguard workloads`

use super::{Format, Global, out, table::Table};
use crate::{
    api::view::Workload,
    exit::{Exit, Failure},
};

pub(super) fn run(global: &Global, format: Format) -> Result<Exit, Failure> {
    let workloads: Vec<Workload> = global.client()?.get("/v1/workloads")?;
    if format.json {
        for workload in &workloads {
            out::json(workload)?;
        }
        return Ok(Exit::Ok);
    }
    if workloads.is_empty() {
        out::line("No workload is configured; `[[workload]]` in the configuration names one.")?;
    }
    for (i, workload) in workloads.iter().enumerate() {
        if i > 0 {
            out::line("")?;
        }
        for line in lines(workload) {
            out::line(&line)?;
        }
    }
    Ok(Exit::Ok)
}

fn lines(workload: &Workload) -> Vec<String> {
    let b = &workload.baseline;
    let basis = match workload.basis.as_str() {
        "none" => String::new(),
        basis => format!(" ({basis})"),
    };
    let mut lines = vec![
        format!("{}: {}{basis}", workload.name, workload.mode),
        format!(
            "  learned   {}, {} read, {} written, {}; {}",
            out::count(b.destinations as u64, "destination", "destinations"),
            out::count(b.reads as u64, "file", "files"),
            b.writes,
            out::count(b.execs as u64, "program", "programs"),
            out::count(workload.episodes, "episode", "episodes"),
        ),
    ];
    if workload.processes.is_empty() {
        lines.push("  no process of it is running".into());
        return lines;
    }
    let mut table = Table::new(&["  PID", "ROLE", "PHASE", "FOUND", "PROGRAM"]);
    for process in &workload.processes {
        table.row([
            format!("  {}", process.pid),
            process.role.clone(),
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
    lines.extend(table.lines());
    lines
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
            }],
            baseline: BaselineSize {
                destinations: 1,
                reads: 20,
                writes: 2,
                execs: 0,
                ..BaselineSize::default()
            },
            episodes: 3,
        };
        let text = lines(&workload).join("\n");
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
    }
}
