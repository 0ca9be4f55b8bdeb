//! Tables, and the way from older ones to today's.

use std::path::Path;

use rusqlite::Connection;

use super::{Result, StoreError, sql};

/// Each step takes the schema from its index to the next number. Never edit one that was released.
const STEPS: &[&str] = &[
    "
    CREATE TABLE class (
        id       INTEGER PRIMARY KEY,
        workload TEXT NOT NULL,
        role     TEXT NOT NULL,
        phase    TEXT NOT NULL,
        UNIQUE (workload, role, phase)
    );
    CREATE TABLE workload (
        name    TEXT PRIMARY KEY,
        mode    TEXT NOT NULL,
        basis   TEXT NOT NULL,
        changed INTEGER NOT NULL
    );
    CREATE TABLE baseline (
        workload   TEXT NOT NULL,
        role       TEXT NOT NULL,
        phase      TEXT NOT NULL,
        family     TEXT NOT NULL,
        subject    TEXT NOT NULL,
        count      INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen  INTEGER NOT NULL,
        PRIMARY KEY (workload, role, phase, family, subject)
    ) WITHOUT ROWID;
    CREATE TABLE alert (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT NOT NULL UNIQUE,
        workload TEXT NOT NULL,
        body     TEXT NOT NULL
    );
    CREATE INDEX alert_workload ON alert (workload, sequence);
    CREATE TABLE cursor (
        sink     TEXT PRIMARY KEY,
        sequence INTEGER NOT NULL
    );
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        time     INTEGER NOT NULL,
        uid      INTEGER NOT NULL,
        pid      INTEGER NOT NULL,
        action   TEXT NOT NULL,
        reason   TEXT NOT NULL
    );
",
    "
    CREATE TABLE detected (
        name      TEXT PRIMARY KEY,
        key       TEXT NOT NULL UNIQUE,
        confirmed INTEGER NOT NULL,
        since     INTEGER NOT NULL,
        body      TEXT NOT NULL
    );
    CREATE TABLE dismissed (
        key  TEXT PRIMARY KEY,
        name TEXT NOT NULL
    );
    CREATE TABLE agent (
        workload TEXT NOT NULL,
        id       TEXT NOT NULL,
        enrolled INTEGER NOT NULL,
        body     TEXT NOT NULL,
        PRIMARY KEY (workload, id)
    );
",
];

/// The schema that this version writes.
pub(super) const LATEST: i64 = STEPS.len() as i64;

/// Brings the database to [`LATEST`] in one transaction; refuses one that is ahead of it.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let what = sql("bring the tables up to date");
    let transaction = connection.transaction().map_err(&what)?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)")
        .map_err(&what)?;
    let found: i64 = transaction
        .query_row("SELECT coalesce(max(version), 0) FROM schema", [], |row| {
            row.get(0)
        })
        .map_err(&what)?;
    if found > LATEST {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: LATEST,
        });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(&what)?;
    }
    if found < LATEST {
        transaction
            .execute("DELETE FROM schema", [])
            .map_err(&what)?;
        transaction
            .execute("INSERT INTO schema VALUES (?1)", [LATEST])
            .map_err(&what)?;
    }
    transaction.commit().map_err(&what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DATABASE, Store};

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let file = dir.path().join(DATABASE);
        let bump = |to: i64| {
            Connection::open(&file)
                .unwrap()
                .execute("UPDATE schema SET version = ?1", [to])
                .unwrap()
        };
        bump(LATEST + 1);
        let error = Store::open(dir.path()).unwrap_err();
        assert!(
            matches!(error, StoreError::Newer { found, .. } if found == LATEST + 1),
            "{error}"
        );
        assert!(error.to_string().contains("move the file away"), "{error}");
        bump(LATEST);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn opening_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            drop(Store::open(dir.path()).unwrap());
        }
        let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM schema", [], |r| r.get(0))
            .unwrap();
        assert_eq!(rows, 1);
    }
}
