//! `slmguard baseline show`

use crate::{
    api::view::{BaselineEntry, Standing},
    cli::{Format, Global, in_url, out, table::Table},
    exit::{Exit, Failure},
};

pub(super) fn run(global: &Global, workload: &str, format: Format) -> Result<Exit, Failure> {
    let client = global.client()?;
    let name = in_url(workload)?;
    let entries: Vec<BaselineEntry> = client.get(&format!("/v1/baseline/{name}"))?;
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
    let standing: Standing = client.get(&format!("/v1/evidence/{name}"))?;
    if let Some(unwatched) = standing.unwatched {
        out::line("")?;
        out::line(&unwatched)?;
    }
    Ok(Exit::Ok)
}

fn table(entries: &[BaselineEntry]) -> Table {
    let mut table = Table::new(&[
        "ROLE",
        "PHASE",
        "FAMILY",
        "COUNT",
        "LAST SEEN",
        "STATE",
        "SUBJECT",
    ]);
    for entry in entries {
        // Expected by a profile, and seen by nobody yet.
        let seen = match entry.count {
            0 => "never".to_owned(),
            _ => out::short_time(&entry.last_seen),
        };
        table.row([
            entry.role.clone(),
            entry.phase.clone(),
            entry.family.clone(),
            entry.count.to_string(),
            seen,
            entry.state.clone().unwrap_or_default(),
            entry.subject.clone(),
        ]);
    }
    table
}
