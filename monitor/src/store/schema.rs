//! Tables, and the way from older ones to today's.

use rusqlite::{Connection, OptionalExtension};

use super::{Result, sql};

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
    "
    CREATE TABLE approved (
        workload TEXT PRIMARY KEY,
        body     TEXT NOT NULL,
        active   INTEGER NOT NULL,
        time     INTEGER NOT NULL,
        uid      INTEGER NOT NULL,
        reason   TEXT NOT NULL
    );
    CREATE TABLE rejected (
        workload TEXT NOT NULL,
        role     TEXT NOT NULL,
        phase    TEXT NOT NULL,
        family   TEXT NOT NULL,
        subject  TEXT NOT NULL,
        PRIMARY KEY (workload, role, phase, family, subject)
    ) WITHOUT ROWID;
    CREATE TABLE evidence (
        workload TEXT PRIMARY KEY,
        body     TEXT NOT NULL
    );
    CREATE TABLE episode (
        id   INTEGER PRIMARY KEY CHECK (id = 0),
        next INTEGER NOT NULL
    );
",
    "
    CREATE TABLE volume (
        workload TEXT PRIMARY KEY,
        body     TEXT NOT NULL
    );
",
    "
    CREATE TABLE ledger (
        kind     TEXT NOT NULL,
        workload TEXT NOT NULL,
        body     TEXT NOT NULL,
        PRIMARY KEY (kind, workload)
    ) WITHOUT ROWID;
    INSERT INTO ledger SELECT 'evidence', workload, body FROM evidence;
    INSERT INTO ledger SELECT 'volume', workload, body FROM volume;
    DROP TABLE evidence;
    DROP TABLE volume;
",
];

/// The schema that this version writes.
pub(super) const LATEST: i64 = STEPS.len() as i64;

/// The schema that a database has; 0 for an empty one, `None` for one that is not ours.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Some(0));
    }
    let ours = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    let Some(()) = ours else { return Ok(None) };
    let what = "SELECT coalesce(max(version), 0) FROM schema";
    connection.query_row(what, [], |row| row.get(0)).map(Some)
}

/// Brings the database to [`LATEST`] in one transaction. That it is not ahead of it was seen before.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let what = sql("bring the tables up to date");
    let transaction = connection.transaction().map_err(&what)?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)")
        .map_err(&what)?;
    let found = version(&transaction).map_err(&what)?.unwrap_or(0);
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
    use crate::store::{DATABASE, Store, StoreError};

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
        let before = std::fs::read(&file).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert_eq!(
            std::fs::read(&file).unwrap(),
            before,
            "not a byte was changed"
        );
        assert!(
            matches!(error, StoreError::Newer { found, .. } if found == LATEST + 1),
            "{error}"
        );
        assert!(error.to_string().contains("--reset-state"), "{error}");
        bump(LATEST);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn what_older_tables_held_is_in_the_newer_ones() {
        let mut connection = Connection::open_in_memory().unwrap();
        for step in &STEPS[..4] {
            connection.execute_batch(step).unwrap();
        }
        connection
            .execute_batch(
                "CREATE TABLE schema (version INTEGER NOT NULL);
                 INSERT INTO schema VALUES (4);
                 INSERT INTO evidence VALUES ('a', 'one');
                 INSERT INTO volume VALUES ('a', 'two');",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let body = |kind: &str| -> String {
            let of = "SELECT body FROM ledger WHERE kind = ?1 AND workload = 'a'";
            connection.query_row(of, [kind], |row| row.get(0)).unwrap()
        };
        assert_eq!(
            (body("evidence"), body("volume")),
            ("one".into(), "two".into())
        );
        assert_eq!(version(&connection).unwrap(), Some(LATEST));
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
