//! What operators said about baselines: the lists that they approved, and subjects that they
//! rejected. A list is a profile's text, which this module does not read.

use rusqlite::params;
use slmguard_core::{
    observation::Scope,
    workload::{family_from, family_name, phase_from, phase_name, role_from, role_name},
};

use super::{Result, Store, integer, sql, unsigned, word};
use monitor_common::class::Family;

/// A list of what a workload may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedRow {
    /// Workload.
    pub workload: String,
    /// The profile.
    pub body: String,
    /// Whether policies are made of it: until the workload learns again.
    pub active: bool,
    /// When it was approved, nanoseconds since the epoch.
    pub time: u64,
    /// User who did.
    pub uid: u32,
    /// Why.
    pub reason: String,
}

/// A subject that is not to be learned.
pub type Rejected = (Scope, Family, String);

impl Store {
    /// Keeps a list; one list a workload.
    pub fn approve(&self, row: &ApprovedRow) -> Result<()> {
        self.connection()
            .execute(
                "INSERT OR REPLACE INTO approved VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    row.workload,
                    row.body,
                    row.active,
                    integer(row.time),
                    row.uid,
                    row.reason
                ],
            )
            .map_err(sql("keep an approved list"))?;
        Ok(())
    }

    /// Takes the list of a workload away.
    pub fn forget_approved(&self, workload: &str) -> Result<()> {
        self.connection()
            .execute("DELETE FROM approved WHERE workload = ?1", [workload])
            .map_err(sql("forget an approved list"))?;
        Ok(())
    }

    /// Every list.
    pub fn approved(&self) -> Result<Vec<ApprovedRow>> {
        let what = sql("read the approved lists");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, body, active, time, uid, reason FROM approved")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| {
                Ok(ApprovedRow {
                    workload: row.get(0)?,
                    body: row.get(1)?,
                    active: row.get(2)?,
                    time: unsigned(row.get(3)?),
                    uid: row.get(4)?,
                    reason: row.get(5)?,
                })
            })
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// Takes subjects out of what was learned, for good; all or none.
    pub fn reject(&self, subjects: &[Rejected]) -> Result<()> {
        let what = sql("keep what was rejected");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        for (scope, family, subject) in subjects {
            let key = params![
                scope.workload,
                role_name(scope.role),
                phase_name(scope.phase),
                family_name(*family),
                subject
            ];
            transaction
                .execute(
                    "INSERT OR IGNORE INTO rejected VALUES (?1, ?2, ?3, ?4, ?5)",
                    key,
                )
                .and_then(|_| {
                    transaction.execute(
                        "DELETE FROM baseline WHERE workload = ?1 AND role = ?2 AND phase = ?3
                         AND family = ?4 AND subject = ?5",
                        key,
                    )
                })
                .map_err(&what)?;
        }
        transaction.commit().map_err(&what)
    }

    /// A subject is no longer rejected.
    pub fn readmit(&self, (scope, family, subject): &Rejected) -> Result<()> {
        self.connection()
            .execute(
                "DELETE FROM rejected WHERE workload = ?1 AND role = ?2 AND phase = ?3
                 AND family = ?4 AND subject = ?5",
                params![
                    scope.workload,
                    role_name(scope.role),
                    phase_name(scope.phase),
                    family_name(*family),
                    subject
                ],
            )
            .map_err(sql("readmit what was rejected"))?;
        Ok(())
    }

    /// Everything that was rejected.
    pub fn rejected(&self) -> Result<Vec<Rejected>> {
        let what = sql("read what was rejected");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, role, phase, family, subject FROM rejected")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| {
                let text = |at| row.get::<_, String>(at);
                Ok([text(0)?, text(1)?, text(2)?, text(3)?, text(4)?])
            })
            .map_err(&what)?;
        let mut all = vec![];
        for row in rows {
            let [workload, role, phase, family, subject] = row.map_err(&what)?;
            let scope = Scope {
                workload,
                role: word("a role", &role, role_from)?,
                phase: word("a phase", &phase, phase_from)?,
            };
            all.push((scope, word("a family", &family, family_from)?, subject));
        }
        Ok(all)
    }

    /// Forgets everything that was learned, approved and rejected for a workload; all or none.
    pub fn forget_baseline(&self, workload: &str) -> Result<()> {
        let what = sql("forget a baseline");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        for table in ["baseline", "approved", "rejected", "ledger"] {
            transaction
                .execute(
                    &format!("DELETE FROM {table} WHERE workload = ?1"),
                    [workload],
                )
                .map_err(&what)?;
        }
        transaction.commit().map_err(&what)
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::class::{Phase, Role};
    use slmguard_core::baseline::Row;

    use super::*;

    fn rejected(subject: &str) -> Rejected {
        let scope = Scope {
            workload: "a".into(),
            role: Role::Agent,
            phase: Phase::Serve,
        };
        (scope, Family::Read, subject.into())
    }

    fn learned(subject: &str) -> Row {
        Row {
            workload: "a".into(),
            role: "agent".into(),
            phase: "serve".into(),
            family: "read".into(),
            subject: subject.into(),
            count: 1,
            first_seen: 1,
            last_seen: 1,
        }
    }

    #[test]
    fn what_operators_said_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let row = ApprovedRow {
            workload: "a".into(),
            body: "format = 1".into(),
            active: true,
            time: 5,
            uid: 7,
            reason: "because".into(),
        };
        store.approve(&row).unwrap();
        let row = ApprovedRow {
            active: false,
            ..row
        };
        store.approve(&row).unwrap();
        store.reject(&[rejected("/a"), rejected("/b")]).unwrap();
        store.readmit(&rejected("/b")).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.approved().unwrap(), [row]);
        assert_eq!(store.rejected().unwrap(), [rejected("/a")]);
    }

    #[test]
    fn what_is_rejected_is_no_longer_learned_and_a_reset_forgets_it_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store
            .save_baseline(&[learned("/a"), learned("/b")])
            .unwrap();
        store.reject(&[rejected("/a")]).unwrap();
        assert_eq!(store.load_baseline().unwrap(), [learned("/b")]);
        store.forget_baseline("a").unwrap();
        assert_eq!(store.load_baseline().unwrap(), []);
        assert_eq!(store.rejected().unwrap(), []);
    }
}
