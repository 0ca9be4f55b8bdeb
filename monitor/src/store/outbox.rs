//! Alerts on their way out. An alert is stored before any sink sees it; each sink has a cursor, so
//! one that is down loses nothing and holds up no other.

use rusqlite::{OptionalExtension, params};

use super::{Result, Store, integer, sql, unsigned};

/// Alerts that are kept once every sink has them; older ones go.
pub const KEPT: u64 = 100_000;

/// An alert to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAlert {
    /// Its id; a second alert with the same id is ignored.
    pub id: String,
    /// Workload.
    pub workload: String,
    /// The alert as one line of JSON, without the line's end.
    pub body: String,
}

/// An alert that a sink has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Place in the order of alerts.
    pub sequence: u64,
    /// Its id.
    pub id: String,
    /// The alert as one line of JSON, without the line's end.
    pub body: String,
}

impl Store {
    /// Stores alerts, all or none; they are on disk when this returns.
    pub fn add_alerts(&self, alerts: &[StoredAlert]) -> Result<()> {
        if alerts.is_empty() {
            return Ok(());
        }
        let what = sql("store an alert");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        {
            let mut statement = transaction
                .prepare_cached(
                    "INSERT INTO alert (id, workload, body) VALUES (?1, ?2, ?3)
                     ON CONFLICT (id) DO NOTHING",
                )
                .map_err(&what)?;
            for alert in alerts {
                statement
                    .execute(params![alert.id, alert.workload, alert.body])
                    .map_err(&what)?;
            }
        }
        transaction.commit().map_err(&what)
    }

    /// What a sink has not acknowledged, oldest first.
    pub fn pending_alerts(&self, sink: &str, limit: usize) -> Result<Vec<Pending>> {
        let what = sql("read the outbox");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached(
                "SELECT sequence, id, body FROM alert WHERE sequence >
                 coalesce((SELECT sequence FROM cursor WHERE sink = ?1), 0)
                 ORDER BY sequence LIMIT ?2",
            )
            .map_err(&what)?;
        let rows = statement
            .query_map(params![sink, integer(limit as u64)], |row| {
                Ok(Pending {
                    sequence: unsigned(row.get(0)?),
                    id: row.get(1)?,
                    body: row.get(2)?,
                })
            })
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// Alerts that a sink has not acknowledged.
    pub fn backlog(&self, sink: &str) -> Result<u64> {
        self.connection()
            .query_row(
                "SELECT count(*) FROM alert WHERE sequence >
                 coalesce((SELECT sequence FROM cursor WHERE sink = ?1), 0)",
                [sink],
                |row| row.get(0).map(unsigned),
            )
            .map_err(sql("count the outbox"))
    }

    /// A sink has everything up to and including this one. A cursor never goes back.
    pub fn acknowledge(&self, sink: &str, sequence: u64) -> Result<()> {
        self.connection()
            .execute(
                "INSERT INTO cursor VALUES (?1, ?2) ON CONFLICT (sink) DO UPDATE SET
                 sequence = max(sequence, excluded.sequence)",
                params![sink, integer(sequence)],
            )
            .map_err(sql("acknowledge alerts"))?;
        Ok(())
    }

    /// The latest alerts, oldest first, as JSON lines.
    pub fn alerts(&self, workload: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let what = sql("read alerts");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached(
                "SELECT body FROM alert WHERE ?1 IS NULL OR workload = ?1
                 ORDER BY sequence DESC LIMIT ?2",
            )
            .map_err(&what)?;
        let rows = statement
            .query_map(params![workload, integer(limit as u64)], |row| row.get(0))
            .map_err(&what)?;
        let mut bodies = rows.collect::<Result<Vec<_>, _>>().map_err(what)?;
        bodies.reverse();
        Ok(bodies)
    }

    /// Alerts whose ids begin so, two at most, as JSON lines.
    pub fn alerts_called(&self, beginning: &str) -> Result<Vec<String>> {
        let what = sql("look an alert up");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT body FROM alert WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2")
            .map_err(&what)?;
        let rows = statement
            .query_map([beginning], |row| row.get(0))
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// How many alerts each workload has.
    pub fn alert_counts(&self) -> Result<Vec<(String, u64)>> {
        let what = sql("count alerts");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, count(*) FROM alert GROUP BY workload")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// Removes alerts beyond the newest `kept` that every sink has; returns how many.
    pub fn prune_alerts(&self, kept: u64) -> Result<usize> {
        let what = sql("remove old alerts");
        let connection = self.connection();
        let slowest: Option<i64> = connection
            .query_row("SELECT min(sequence) FROM cursor", [], |row| row.get(0))
            .optional()
            .map_err(&what)?
            .flatten();
        let Some(slowest) = slowest else { return Ok(0) };
        connection
            .execute(
                "DELETE FROM alert WHERE sequence <= ?1 AND sequence <=
                 (SELECT max(sequence) FROM alert) - ?2",
                params![slowest, integer(kept)],
            )
            .map_err(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(n: u32) -> StoredAlert {
        StoredAlert {
            id: format!("id-{n}"),
            workload: if n.is_multiple_of(2) { "even" } else { "odd" }.into(),
            body: format!("{{\"n\":{n}}}"),
        }
    }

    fn filled(n: u32) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store
            .add_alerts(&(0..n).map(alert).collect::<Vec<_>>())
            .unwrap();
        (dir, store)
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_after_a_restart() {
        let (dir, store) = filled(5);
        let first = store.pending_alerts("file", 2).unwrap();
        assert_eq!(
            first.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
            ["id-0", "id-1"]
        );
        store.acknowledge("file", first[1].sequence).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        let rest = store.pending_alerts("file", 100).unwrap();
        assert_eq!(rest.len(), 3);
        assert_eq!(rest[0].id, "id-2");
        assert_eq!(store.backlog("file").unwrap(), 3);
    }

    #[test]
    fn sinks_do_not_hold_each_other_up_and_cursors_never_go_back() {
        let (_dir, store) = filled(4);
        let last = store.pending_alerts("file", 10).unwrap()[3].sequence;
        store.acknowledge("file", last).unwrap();
        store.acknowledge("file", 1).unwrap();
        assert_eq!(store.backlog("file").unwrap(), 0);
        assert_eq!(store.backlog("other").unwrap(), 4);
    }

    #[test]
    fn the_same_alert_is_stored_once() {
        let (_dir, store) = filled(2);
        store.add_alerts(&[alert(1), alert(2)]).unwrap();
        assert_eq!(store.backlog("file").unwrap(), 3);
    }

    #[test]
    fn the_latest_are_listed_oldest_first_per_workload() {
        let (_dir, store) = filled(6);
        assert_eq!(
            store.alerts(Some("odd"), 2).unwrap(),
            ["{\"n\":3}", "{\"n\":5}"]
        );
        assert_eq!(store.alerts(None, 1).unwrap(), ["{\"n\":5}"]);
        assert_eq!(
            store.alert_counts().unwrap(),
            [("even".into(), 3), ("odd".into(), 3)]
        );
    }

    #[test]
    fn only_what_every_sink_has_is_removed() {
        let (_dir, store) = filled(10);
        assert_eq!(
            store.prune_alerts(2).unwrap(),
            0,
            "no sink has said anything yet"
        );
        store.acknowledge("file", 10).unwrap();
        store.acknowledge("slow", 3).unwrap();
        assert_eq!(store.prune_alerts(2).unwrap(), 3);
        store.acknowledge("slow", 10).unwrap();
        assert_eq!(store.prune_alerts(2).unwrap(), 5);
        assert_eq!(store.alerts(None, 100).unwrap().len(), 2);
    }
}
