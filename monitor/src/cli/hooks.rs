//! `slmguard hooks`: the table of kernel programs, for tests and documentation.

use serde::Serialize;

use super::{Format, out, table::Table};
use crate::{
    exit::{Exit, Failure},
    kernel::table::TABLE,
};

#[derive(Debug, Serialize)]
struct Row {
    hook: &'static str,
    family: &'static str,
    tier: &'static str,
    test: &'static str,
}

pub(super) fn run(format: Format) -> Result<Exit, Failure> {
    let rows = TABLE.iter().map(|row| Row {
        hook: row.name,
        family: row.family,
        tier: row.only.map_or("both", |tier| tier.name()),
        test: row.test,
    });
    if format.json {
        for row in rows {
            out::json(&row)?;
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["HOOK", "FAMILY", "TIER", "TEST"]);
    for row in rows {
        table.row([row.hook, row.family, row.tier, row.test]);
    }
    for line in table.lines() {
        out::line(&line)?;
    }
    Ok(Exit::Ok)
}
