//! `slmguard hooks`: the table of kernel programs, for tests and documentation.

use serde::Serialize;

use super::{Format, out, table::Table};
use crate::{
    exit::{Exit, Failure},
    kernel::{
        Tier,
        table::{self, TABLE},
    },
};

#[derive(Debug, Serialize)]
struct Row {
    hook: &'static str,
    family: &'static str,
    tier: &'static str,
    guards: &'static str,
    /// What it does on the lsm and on the cgroup tier; none where it is not attached there.
    lsm: Option<&'static str>,
    cgroup: Option<&'static str>,
    test: &'static str,
}

fn effect(row: &table::Row, tier: Tier) -> Option<&'static str> {
    let there = row.only.is_none_or(|only| only == tier);
    there.then(|| row.effect_on(tier).name())
}

pub(super) fn run(format: Format) -> Result<Exit, Failure> {
    let rows = TABLE.iter().map(|row| Row {
        hook: row.name,
        family: row.family,
        tier: row.only.map_or("both", |tier| tier.name()),
        guards: row.guards,
        lsm: effect(row, Tier::Lsm),
        cgroup: effect(row, Tier::Cgroup),
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
