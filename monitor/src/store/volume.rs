//! What was counted about volumes, as text that this module does not read.

use rusqlite::params;

use super::{Result, Store, sql};

impl Store {
    /// Keeps the volumes of every workload, and nothing of others; all or none.
    pub fn save_volumes(&self, bodies: &[(String, String)]) -> Result<()> {
        let what = sql("save the volumes");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        transaction
            .execute("DELETE FROM volume", [])
            .map_err(&what)?;
        for (workload, body) in bodies {
            transaction
                .execute(
                    "INSERT INTO volume VALUES (?1, ?2)",
                    params![workload, body],
                )
                .map_err(&what)?;
        }
        transaction.commit().map_err(&what)
    }

    /// The volumes by workload.
    pub fn volumes(&self) -> Result<Vec<(String, String)>> {
        let what = sql("read the volumes");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, body FROM volume ORDER BY workload")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_survive_a_restart_and_what_is_gone_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let body = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let store = Store::open(dir.path()).unwrap();
        store
            .save_volumes(&[body("a", "1"), body("b", "2")])
            .unwrap();
        store.save_volumes(&[body("b", "3")]).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.volumes().unwrap(), [body("b", "3")]);
    }
}
