//! Workloads that slmguard found by itself, agents that an operator decided about, and what an
//! operator does not want to hear of again. What they look like is written by the daemon as text
//! that this module does not read.

use std::collections::BTreeSet;

use monitor_common::{
    class::{ClassId, FIRST},
    limits::MAX_CLASSES,
};
use rusqlite::{Transaction, params};
use slmguard_core::{
    observation::Scope,
    workload::{mode_name, phase_name, role_name},
};

use super::{Result, Store, StoreError, WorkloadState, integer, sql, unsigned};

/// A workload that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedRow {
    /// Its name.
    pub name: String,
    /// What its replicas have in common.
    pub key: String,
    /// An operator said that it is one.
    pub confirmed: bool,
    /// When it was found, nanoseconds since the epoch.
    pub since: u64,
    /// Everything else.
    pub body: String,
}

/// An agent that an operator decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// The workload that it calls.
    pub workload: String,
    /// Its name in there.
    pub id: String,
    /// Whether it belongs to the workload, or is not to be offered again.
    pub enrolled: bool,
    /// Everything else.
    pub body: String,
}

impl Store {
    /// Every workload that was found.
    pub fn detected(&self) -> Result<Vec<DetectedRow>> {
        let what = sql("read the detected workloads");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT name, key, confirmed, since, body FROM detected ORDER BY name")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| {
                Ok(DetectedRow {
                    name: row.get(0)?,
                    key: row.get(1)?,
                    confirmed: row.get(2)?,
                    since: unsigned(row.get(3)?),
                    body: row.get(4)?,
                })
            })
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// Enters a workload with its state and the numbers of its classes: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::ClassesFull`] where there are not enough numbers left.
    pub fn add_detected(
        &self,
        row: &DetectedRow,
        state: &WorkloadState,
        scopes: &[Scope],
    ) -> Result<Vec<(ClassId, Scope)>> {
        let what = sql("enter a detected workload");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        let numbered = number(&transaction, scopes)?;
        transaction
            .execute(
                "INSERT INTO detected VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    row.name,
                    row.key,
                    row.confirmed,
                    integer(row.since),
                    row.body
                ],
            )
            .map_err(&what)?;
        transaction
            .execute(
                "INSERT INTO workload VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET
                 mode = excluded.mode, basis = excluded.basis, changed = excluded.changed",
                params![
                    row.name,
                    mode_name(state.mode),
                    state.basis.name(),
                    integer(state.changed)
                ],
            )
            .map_err(&what)?;
        transaction.commit().map_err(&what)?;
        Ok(numbered)
    }

    /// Numbers more classes: all of them or none.
    ///
    /// # Errors
    /// As [`Self::add_detected`].
    pub fn add_classes(&self, scopes: &[Scope]) -> Result<Vec<(ClassId, Scope)>> {
        let what = sql("number classes");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        let numbered = number(&transaction, scopes)?;
        transaction.commit().map_err(&what)?;
        Ok(numbered)
    }

    /// Writes what changed about a workload that was found.
    pub fn update_detected(&self, name: &str, confirmed: bool, body: &str) -> Result<()> {
        self.connection()
            .execute(
                "UPDATE detected SET confirmed = ?2, body = ?3 WHERE name = ?1",
                params![name, confirmed, body],
            )
            .map_err(sql("write a detected workload"))?;
        Ok(())
    }

    /// Forgets a workload that was found, with its classes, agents, mode and baseline. With
    /// `for_good` it is not to be found again.
    pub fn forget_detected(&self, name: &str, for_good: bool) -> Result<()> {
        let what = sql("forget a detected workload");
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        if for_good {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO dismissed SELECT key, name FROM detected
                     WHERE name = ?1",
                    [name],
                )
                .map_err(&what)?;
        }
        for delete in [
            "DELETE FROM detected WHERE name = ?1",
            "DELETE FROM workload WHERE name = ?1",
            "DELETE FROM class WHERE workload = ?1",
            "DELETE FROM agent WHERE workload = ?1",
            "DELETE FROM baseline WHERE workload = ?1",
            "DELETE FROM ledger WHERE workload = ?1",
        ] {
            transaction.execute(delete, [name]).map_err(&what)?;
        }
        transaction.commit().map_err(&what)
    }

    /// A workload that is configured now is no detected one any more; everything else about it
    /// stays.
    pub fn take_detected(&self, name: &str) -> Result<()> {
        self.connection()
            .execute("DELETE FROM detected WHERE name = ?1", [name])
            .map_err(sql("hand a detected workload over to the configuration"))?;
        Ok(())
    }

    /// What is not to be found again: key and the name that it had.
    pub fn dismissed(&self) -> Result<Vec<(String, String)>> {
        let what = sql("read the dismissed workloads");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT key, name FROM dismissed ORDER BY name")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// Lets a dismissed workload be found again. Returns whether there was one.
    pub fn undismiss(&self, name: &str) -> Result<bool> {
        let rows = self
            .connection()
            .execute("DELETE FROM dismissed WHERE name = ?1", [name])
            .map_err(sql("let a workload be found again"))?;
        Ok(rows > 0)
    }

    /// Every agent that an operator decided about.
    pub fn agents(&self) -> Result<Vec<AgentRow>> {
        let what = sql("read the agents");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, id, enrolled, body FROM agent ORDER BY workload, id")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| {
                Ok(AgentRow {
                    workload: row.get(0)?,
                    id: row.get(1)?,
                    enrolled: row.get(2)?,
                    body: row.get(3)?,
                })
            })
            .map_err(&what)?;
        rows.collect::<Result<_, _>>().map_err(what)
    }

    /// Writes a decision about an agent.
    pub fn set_agent(&self, row: &AgentRow) -> Result<()> {
        self.connection()
            .execute(
                "INSERT OR REPLACE INTO agent VALUES (?1, ?2, ?3, ?4)",
                params![row.workload, row.id, row.enrolled, row.body],
            )
            .map_err(sql("write a decision about an agent"))?;
        Ok(())
    }
}

/// Numbers for scopes: those that they have, and the lowest free ones for the others.
fn number(transaction: &Transaction<'_>, scopes: &[Scope]) -> Result<Vec<(ClassId, Scope)>> {
    let what = sql("number classes");
    let mut statement = transaction
        .prepare("SELECT id, workload, role, phase FROM class")
        .map_err(&what)?;
    let rows = statement
        .query_map([], |row| {
            Ok((
                row.get::<_, ClassId>(0)?,
                [
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                ],
            ))
        })
        .map_err(&what)?;
    let known: Vec<(ClassId, [String; 3])> = rows.collect::<Result<_, _>>().map_err(&what)?;
    let words = |s: &Scope| {
        [
            s.workload.clone(),
            role_name(s.role).to_owned(),
            phase_name(s.phase).to_owned(),
        ]
    };
    let has = |s: &Scope| {
        known
            .iter()
            .find(|(_, w)| *w == words(s))
            .map(|(id, _)| *id)
    };
    let taken: BTreeSet<ClassId> = known.iter().map(|(id, _)| *id).collect();
    let limit = ClassId::try_from(MAX_CLASSES).unwrap_or(ClassId::MAX);
    let mut free = (FIRST..limit).filter(|id| !taken.contains(id));
    let mut numbered = vec![];
    for scope in scopes {
        let id = match has(scope) {
            Some(id) => id,
            None => {
                let id = free.next().ok_or(StoreError::ClassesFull {
                    used: taken.len(),
                    wanted: scopes.len(),
                    limit: usize::from(limit - FIRST),
                })?;
                let [workload, role, phase] = words(scope);
                transaction
                    .execute(
                        "INSERT INTO class VALUES (?1, ?2, ?3, ?4)",
                        params![id, workload, role, phase],
                    )
                    .map_err(&what)?;
                id
            }
        };
        numbered.push((id, scope.clone()));
    }
    Ok(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Basis;
    use monitor_common::class::{Mode, Phase, Role};

    const LEARN: WorkloadState = WorkloadState {
        mode: Mode::Learn,
        basis: Basis::None,
        changed: 1,
    };

    fn row(name: &str) -> DetectedRow {
        DetectedRow {
            name: name.into(),
            key: format!("key of {name}"),
            confirmed: false,
            since: 7,
            body: "{}".into(),
        }
    }

    fn scopes(name: &str) -> Vec<Scope> {
        [Phase::Start, Phase::Serve]
            .map(|phase| Scope {
                workload: name.into(),
                role: Role::Server,
                phase,
            })
            .into()
    }

    #[test]
    fn a_found_workload_survives_a_restart_and_frees_its_numbers_when_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let first = store.add_detected(&row("a"), &LEARN, &scopes("a")).unwrap();
        let second = store.add_detected(&row("b"), &LEARN, &scopes("b")).unwrap();
        assert_eq!((first[0].0, second[0].0), (FIRST, FIRST + 2));
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.detected().unwrap(), [row("a"), row("b")]);
        store.update_detected("b", true, "{1}").unwrap();
        assert!(store.detected().unwrap()[1].confirmed);
        store.forget_detected("a", true).unwrap();
        assert_eq!(
            store.dismissed().unwrap(),
            [("key of a".to_owned(), "a".to_owned())]
        );
        assert_eq!(store.workload("a").unwrap(), None);
        let third = store.add_detected(&row("c"), &LEARN, &scopes("c")).unwrap();
        assert_eq!(third[0].0, FIRST, "its numbers are free again");
        assert!(store.undismiss("a").unwrap() && !store.undismiss("a").unwrap());
    }

    #[test]
    fn when_numbers_run_out_nothing_is_half_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let all = (FIRST..MAX_CLASSES as ClassId - 1).map(|i| Scope {
            workload: format!("w{i}"),
            role: Role::Tool,
            phase: Phase::Start,
        });
        store.add_classes(&all.collect::<Vec<_>>()).unwrap();
        let error = store
            .add_detected(&row("a"), &LEARN, &scopes("a"))
            .unwrap_err();
        assert!(
            matches!(error, StoreError::ClassesFull { wanted: 2, .. }),
            "{error}"
        );
        assert!(store.detected().unwrap().is_empty());
        assert_eq!(store.workload("a").unwrap(), None);
        let one = &scopes("a")[..1];
        assert_eq!(
            store.add_classes(one).unwrap().len(),
            1,
            "the last number is still free"
        );
    }

    #[test]
    fn decisions_about_agents_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let agent = |enrolled| AgentRow {
            workload: "a".into(),
            id: "x".into(),
            enrolled,
            body: "{}".into(),
        };
        store.set_agent(&agent(false)).unwrap();
        store.set_agent(&agent(true)).unwrap();
        assert_eq!(store.agents().unwrap(), [agent(true)]);
    }
}
