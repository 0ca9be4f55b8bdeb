//! `slmguard status`

use super::{Format, Global, out, table::Table};
use crate::{
    api::view::Status,
    exit::{Exit, Failure},
};

pub(super) fn run(global: &Global, format: Format) -> Result<Exit, Failure> {
    let status: Status = global.client()?.get("/v1/status")?;
    if format.json {
        out::json(&status)?;
        return Ok(Exit::Ok);
    }
    for line in lines(&status) {
        out::line(&line)?;
    }
    Ok(Exit::Ok)
}

fn lines(status: &Status) -> Vec<String> {
    let metrics = match &status.metrics {
        Some(address) => format!("http://{address}/metrics"),
        None => "off".into(),
    };
    let events: u64 = status.events.values().sum();
    let mut lines = vec![
        format!(
            "slmguard {} runs since {} (pid {})",
            status.version,
            out::duration(status.uptime_s),
            status.pid
        ),
        format!("tier     {}", status.tier),
        format!("metrics  {metrics}"),
        format!("events   {events} read, {} dropped", status.drops),
    ];
    if status.alerts_waiting + status.alerts_lost > 0 {
        lines.push(format!(
            "alerts   {} wait in memory for room in the store, {} lost",
            status.alerts_waiting, status.alerts_lost
        ));
    }
    match status.degraded.as_slice() {
        [] => lines.push("health   everything that this kernel offers is in use".into()),
        some => {
            lines.push(format!(
                "health   degraded: {}",
                out::count(some.len() as u64, "thing", "things")
            ));
            lines.extend(some.iter().map(|d| format!("         - {d}")));
        }
    }
    lines.extend(
        status
            .unenforced
            .iter()
            .map(|what| format!("reported only: {what}")),
    );
    lines.push(String::new());
    if status.workloads.is_empty() {
        lines.push(
            "No workload is configured; `[[workload]]` in the configuration names one.".into(),
        );
        return lines;
    }
    let mut table = Table::new(&["WORKLOAD", "MODE", "BASIS", "PROCESSES", "ALERTS"]);
    for workload in &status.workloads {
        table.row([
            workload.name.clone(),
            workload.mode.clone(),
            workload.basis.clone(),
            workload.processes.to_string(),
            workload.alerts.to_string(),
        ]);
    }
    lines.extend(table.lines());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::WorkloadStatus;

    #[test]
    fn the_state_reads_at_a_glance() {
        let mut status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_s: 61,
            tier: "lsm".into(),
            metrics: Some("127.0.0.1:9464".into()),
            workloads: vec![WorkloadStatus {
                name: "assistant".into(),
                mode: "learn".into(),
                basis: "none".into(),
                processes: 2,
                alerts: 0,
            }],
            ..Status::default()
        };
        status.events.insert("open".into(), 3);
        let text = lines(&status).join("\n");
        assert!(text.contains("runs since 1 min 1 s (pid 7)"), "{text}");
        assert!(
            text.contains("3 read, 0 dropped") && text.contains("in use"),
            "{text}"
        );
        status.degraded.push("hook bind4 is not attached".into());
        status.workloads.clear();
        let text = lines(&status).join("\n");
        assert!(
            text.contains("degraded: 1 thing\n         - hook bind4"),
            "{text}"
        );
        assert!(text.contains("[[workload]]"), "{text}");
    }
}
