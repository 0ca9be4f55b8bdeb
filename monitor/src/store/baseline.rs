//! Rows of the baseline, as the pure core writes and reads them.

use rusqlite::params;
use slmguard_core::{
    baseline::Row,
    workload::{family_name, phase_name, role_name},
};

use super::{Rejected, Result, Store, integer, sql, unsigned};

impl Store {
    /// Writes rows, all or none. A row that is there already is replaced.
    pub fn save_baseline(&self, rows: &[Row]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let what = sql("save the baseline");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        {
            let mut statement = transaction
                .prepare_cached(
                    "INSERT INTO baseline VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                     ON CONFLICT (workload, role, phase, family, subject) DO UPDATE SET
                     count = excluded.count, first_seen = excluded.first_seen,
                     last_seen = excluded.last_seen",
                )
                .map_err(&what)?;
            for row in rows {
                statement
                    .execute(params![
                        row.workload,
                        row.role,
                        row.phase,
                        row.family,
                        row.subject,
                        integer(row.count),
                        integer(row.first_seen),
                        integer(row.last_seen),
                    ])
                    .map_err(&what)?;
            }
        }
        transaction.commit().map_err(&what)
    }

    /// Takes subjects out, all or none; what is not there is no error.
    pub fn forget_subjects(&self, subjects: &[Rejected]) -> Result<()> {
        let what = sql("take names out of the baseline");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        for (scope, family, subject) in subjects {
            transaction
                .execute(
                    "DELETE FROM baseline WHERE workload = ?1 AND role = ?2 AND phase = ?3
                     AND family = ?4 AND subject = ?5",
                    params![
                        scope.workload,
                        role_name(scope.role),
                        phase_name(scope.phase),
                        family_name(*family),
                        subject
                    ],
                )
                .map_err(&what)?;
        }
        transaction.commit().map_err(&what)
    }

    /// Reads every row.
    pub fn load_baseline(&self) -> Result<Vec<Row>> {
        let what = sql("read the baseline");
        let connection = self.connection();
        let mut statement = connection
            .prepare(
                "SELECT workload, role, phase, family, subject, count, first_seen, last_seen
                 FROM baseline",
            )
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| {
                Ok(Row {
                    workload: row.get(0)?,
                    role: row.get(1)?,
                    phase: row.get(2)?,
                    family: row.get(3)?,
                    subject: row.get(4)?,
                    count: unsigned(row.get(5)?),
                    first_seen: unsigned(row.get(6)?),
                    last_seen: unsigned(row.get(7)?),
                })
            })
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, count: u64) -> Row {
        Row {
            workload: "a".into(),
            role: "agent".into(),
            phase: "serve".into(),
            family: "read".into(),
            subject: subject.into(),
            count,
            first_seen: 1,
            last_seen: 2,
        }
    }

    #[test]
    fn what_was_learned_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_baseline(&[row("/a", 1), row("/b", 2)]).unwrap();
        store.save_baseline(&[row("/a", 5)]).unwrap();
        store.save_baseline(&[]).unwrap();
        drop(store);
        let rows = Store::open(dir.path()).unwrap().load_baseline().unwrap();
        assert_eq!(rows, [row("/a", 5), row("/b", 2)]);
    }

    #[test]
    fn numbers_beyond_what_sqlite_holds_are_cut_not_wrapped() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_baseline(&[row("/a", u64::MAX)]).unwrap();
        assert_eq!(store.load_baseline().unwrap()[0].count, i64::MAX as u64);
    }

    #[test]
    fn what_was_not_committed_before_a_crash_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save_baseline(&[row("/kept", 1)]).unwrap();
        {
            let mut connection = store.connection();
            let transaction = connection.transaction().unwrap();
            transaction.execute("DELETE FROM baseline", []).unwrap();
            // Dropped without a commit, as a crash would.
        }
        drop(store);
        assert_eq!(
            Store::open(dir.path())
                .unwrap()
                .load_baseline()
                .unwrap()
                .len(),
            1
        );
    }
}
