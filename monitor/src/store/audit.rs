//! The audit trail: who changed what, and why they said they did.

use rusqlite::params;

use super::{Result, Store, integer, sql, unsigned};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// User that asked, as the kernel says.
    pub uid: u32,
    /// Process that asked, as the kernel says.
    pub pid: u32,
    /// What was changed.
    pub action: String,
    /// Why, in the words of who asked.
    pub reason: String,
}

impl Store {
    /// Records a change.
    pub fn record(&self, entry: &AuditEntry) -> Result<()> {
        self.connection()
            .execute(
                "INSERT INTO audit (time, uid, pid, action, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    integer(entry.time),
                    entry.uid,
                    entry.pid,
                    entry.action,
                    entry.reason
                ],
            )
            .map_err(sql("record a change"))?;
        Ok(())
    }

    /// The latest changes, oldest first.
    pub fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        let what = sql("read the audit trail");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached(
                "SELECT time, uid, pid, action, reason FROM audit ORDER BY sequence DESC LIMIT ?1",
            )
            .map_err(&what)?;
        let rows = statement
            .query_map([integer(limit as u64)], |row| {
                Ok(AuditEntry {
                    time: unsigned(row.get(0)?),
                    uid: row.get(1)?,
                    pid: row.get(2)?,
                    action: row.get(3)?,
                    reason: row.get(4)?,
                })
            })
            .map_err(&what)?;
        let mut entries = rows.collect::<Result<Vec<_>, _>>().map_err(&what)?;
        entries.reverse();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |time, action: &str| AuditEntry {
            time,
            uid: 0,
            pid: 7,
            action: action.into(),
            reason: "it's \"fine\"; DROP TABLE audit".into(),
        };
        let store = Store::open(dir.path()).unwrap();
        for (time, action) in [(1, "a"), (2, "b"), (3, "c")] {
            store.record(&entry(time, action)).unwrap();
        }
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.audit(2).unwrap(), [entry(2, "b"), entry(3, "c")]);
    }
}
