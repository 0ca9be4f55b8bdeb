//! `slmguard baseline …`

use clap::Subcommand;

use super::{Format, Global, in_url, out, table::Table};
use crate::{
    api::view::BaselineEntry,
    exit::{Exit, Failure},
};

/// What to do with baselines.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what was learned for a workload.
    Show {
        /// Name of the workload.
        workload: String,
        /// Output format.
        #[command(flatten)]
        format: Format,
    },
}

pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let Command::Show { workload, format } = command;
    let entries: Vec<BaselineEntry> = global
        .client()?
        .get(&format!("/v1/baseline/{}", in_url(workload)?))?;
    if format.json {
        for entry in &entries {
            out::json(entry)?;
        }
        return Ok(Exit::Ok);
    }
    if entries.is_empty() {
        out::line(&format!("Nothing was learned for {workload} yet."))?;
        return Ok(Exit::Ok);
    }
    for line in table(&entries).lines() {
        out::line(&line)?;
    }
    Ok(Exit::Ok)
}

fn table(entries: &[BaselineEntry]) -> Table {
    let mut table = Table::new(&["ROLE", "PHASE", "FAMILY", "COUNT", "LAST SEEN", "SUBJECT"]);
    for entry in entries {
        table.row([
            entry.role.clone(),
            entry.phase.clone(),
            entry.family.clone(),
            entry.count.to_string(),
            out::short_time(&entry.last_seen),
            entry.subject.clone(),
        ]);
    }
    table
}
