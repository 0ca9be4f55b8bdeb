//! What is counted about workloads, as one text per kind and workload that this module does not read.

use rusqlite::{Transaction, params};

use super::{Result, Store, sql};

/// A kind of ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// How complete baselines are.
    Evidence,
    /// Bytes per connector.
    Volume,
    /// Days on which paths were used.
    Path,
    /// Calls of destinations that were not learned.
    Call,
    /// Models by digest.
    Model,
    /// Pairs of connectors that follow each other.
    Order,
    /// Shapes, and what waits to be on lists.
    Lineage,
}

impl Ledger {
    /// The word for it in the table.
    const fn word(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Volume => "volume",
            Self::Path => "path",
            Self::Call => "call",
            Self::Model => "model",
            Self::Order => "order",
            Self::Lineage => "lineage",
        }
    }
}

impl Store {
    /// Keeps one kind for every workload, and nothing of others; all or none.
    pub fn save_ledger(&self, kind: Ledger, bodies: &[(String, String)]) -> Result<()> {
        let what = sql("save what was counted");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        write(&transaction, kind, bodies).map_err(&what)?;
        transaction.commit().map_err(&what)
    }

    /// One kind by workload.
    pub fn ledger(&self, kind: Ledger) -> Result<Vec<(String, String)>> {
        let what = sql("read what was counted");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, body FROM ledger WHERE kind = ?1 ORDER BY workload")
            .map_err(&what)?;
        let rows = statement
            .query_map([kind.word()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }
}

/// Puts one kind in the place of what there was of it.
pub(super) fn write(
    transaction: &Transaction<'_>,
    kind: Ledger,
    bodies: &[(String, String)],
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM ledger WHERE kind = ?1", [kind.word()])?;
    let mut insert = transaction.prepare_cached("INSERT INTO ledger VALUES (?1, ?2, ?3)")?;
    for (workload, body) in bodies {
        insert.execute(params![kind.word(), workload, body])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_survives_a_restart_and_what_is_gone_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let body = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let store = Store::open(dir.path()).unwrap();
        let save = |kind, bodies: &[_]| store.save_ledger(kind, bodies).unwrap();
        save(Ledger::Volume, &[body("a", "1"), body("b", "2")]);
        save(Ledger::Path, &[body("a", "4")]);
        save(Ledger::Volume, &[body("b", "3")]);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.ledger(Ledger::Volume).unwrap(), [body("b", "3")]);
        assert_eq!(store.ledger(Ledger::Path).unwrap(), [body("a", "4")]);
    }
}
