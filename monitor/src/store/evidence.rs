//! Evidence about baselines, as text that this module does not read, and the number of the next
//! episode.

use rusqlite::OptionalExtension;

use super::{
    Result, Store, integer,
    ledger::{self, Ledger},
    sql, unsigned,
};

impl Store {
    /// Keeps the evidence of every workload, and nothing of others; all or none.
    pub fn save_evidence(&self, next: u64, bodies: &[(String, String)]) -> Result<()> {
        let what = sql("save the evidence");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO episode VALUES (0, ?1)",
                [integer(next)],
            )
            .and_then(|_| ledger::write(&transaction, Ledger::Evidence, bodies))
            .map_err(&what)?;
        transaction.commit().map_err(&what)
    }

    /// The number of the next episode, and the evidence by workload.
    pub fn evidence(&self) -> Result<(u64, Vec<(String, String)>)> {
        let what = sql("read the evidence");
        let next = self
            .connection()
            .query_row("SELECT next FROM episode", [], |row| {
                row.get(0).map(unsigned)
            })
            .optional()
            .map_err(what)?;
        Ok((next.unwrap_or(0), self.ledger(Ledger::Evidence)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_survives_a_restart_and_what_is_gone_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.evidence().unwrap(), (0, vec![]));
        let body = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        store
            .save_evidence(5, &[body("a", "1"), body("b", "2")])
            .unwrap();
        store.save_evidence(6, &[body("b", "3")]).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.evidence().unwrap(), (6, vec![body("b", "3")]));
    }
}
