//! Modes of workloads, and the numbers of their classes, which stay the same for good: members
//! that outlive the daemon carry them in the kernel.

use std::sync::atomic::Ordering;

use monitor_common::{
    class::{ClassId, FIRST, Mode},
    limits::MAX_CLASSES,
};
use rusqlite::{OptionalExtension, params};
use slmguard_core::{
    observation::Scope,
    workload::{mode_from, mode_name, phase_from, phase_name, role_from, role_name},
};

use super::{Result, Store, StoreError, integer, sql, unsigned, word};

/// On what the right to enforce rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Nothing yet.
    None,
    /// The operator approved what was learned.
    Declared,
    /// What was watched: with mode `learn` it is mode `auto`, in which each family goes as far as
    /// evidence takes it.
    Evidence,
}

impl Basis {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Declared => "declared",
            Self::Evidence => "evidence",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Declared, Self::Evidence]
            .into_iter()
            .find(|b| b.name() == text)
    }
}

/// What holds for a workload until somebody changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadState {
    /// Its mode.
    pub mode: Mode,
    /// On what it rests.
    pub basis: Basis,
    /// Since when, nanoseconds since the epoch.
    pub changed: u64,
}

/// A class and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRow {
    /// The number.
    pub id: ClassId,
    /// What it stands for.
    pub scope: Scope,
}

impl Store {
    /// The state of a workload, if it was ever set.
    pub fn workload(&self, name: &str) -> Result<Option<WorkloadState>> {
        let row: Option<(String, String, i64)> = self
            .connection()
            .query_row(
                "SELECT mode, basis, changed FROM workload WHERE name = ?1",
                [name],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(sql("read a workload's mode"))?;
        let Some((mode, basis, changed)) = row else {
            return Ok(None);
        };
        Ok(Some(WorkloadState {
            mode: word("a mode", &mode, mode_from)?,
            basis: word("a basis", &basis, Basis::parse)?,
            changed: unsigned(changed),
        }))
    }

    /// Sets the state of a workload.
    pub fn set_workload(&self, name: &str, state: &WorkloadState) -> Result<()> {
        self.connection()
            .execute(
                "INSERT INTO workload VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET
                 mode = excluded.mode, basis = excluded.basis, changed = excluded.changed",
                params![
                    name,
                    mode_name(state.mode),
                    state.basis.name(),
                    integer(state.changed)
                ],
            )
            .map_err(sql("write a workload's mode"))?;
        Ok(())
    }

    /// The number of a class, drawn at its first use.
    pub fn class(&self, scope: &Scope) -> Result<ClassId> {
        let what = sql("number a class");
        let (role, phase) = (role_name(scope.role), phase_name(scope.phase));
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(&what)?;
        let known: Option<ClassId> = transaction
            .query_row(
                "SELECT id FROM class WHERE workload = ?1 AND role = ?2 AND phase = ?3",
                [&scope.workload, role, phase],
                |row| row.get(0),
            )
            .optional()
            .map_err(&what)?;
        if let Some(id) = known {
            return Ok(id);
        }
        let next: u32 = transaction
            .query_row(
                "SELECT coalesce(max(id) + 1, ?1) FROM class",
                [FIRST],
                |row| row.get(0),
            )
            .map_err(&what)?;
        if next >= MAX_CLASSES {
            return Err(StoreError::Full { limit: MAX_CLASSES });
        }
        transaction
            .execute(
                "INSERT INTO class VALUES (?1, ?2, ?3, ?4)",
                params![next, scope.workload, role, phase],
            )
            .map_err(&what)?;
        transaction.commit().map_err(&what)?;
        Ok(next as ClassId)
    }

    /// Takes every class its number away, because the numbers have run out: whoever is asked for
    /// next gets one again. What an earlier daemon left in the kernel means nothing from then on
    /// ([`Self::is_new`]). Returns how many there were.
    pub fn forget_classes(&self) -> Result<usize> {
        self.is_new.store(true, Ordering::Relaxed);
        self.connection()
            .execute("DELETE FROM class", [])
            .map_err(sql("number the classes anew"))
    }

    /// Every class that ever got a number.
    pub fn classes(&self) -> Result<Vec<ClassRow>> {
        let what = sql("read the classes");
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT id, workload, role, phase FROM class ORDER BY id")
            .map_err(&what)?;
        let rows = statement
            .query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                ))
            })
            .map_err(&what)?;
        rows.map(|row| {
            let (id, workload, role, phase) = row.map_err(&what)?;
            let role = word("a role", &role, role_from)?;
            let phase = word("a phase", &phase, phase_from)?;
            Ok(ClassRow {
                id,
                scope: Scope {
                    workload,
                    role,
                    phase,
                },
            })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_common::class::{Phase, Role};

    fn scope(workload: &str, role: Role, phase: Phase) -> Scope {
        Scope {
            workload: workload.into(),
            role,
            phase,
        }
    }

    #[test]
    fn class_numbers_survive_restarts_and_never_move() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let server = scope("a", Role::Server, Phase::Start);
        let agent = scope("a", Role::Agent, Phase::Start);
        assert_eq!(store.class(&agent).unwrap(), FIRST);
        assert_eq!(store.class(&server).unwrap(), FIRST + 1);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.class(&server).unwrap(), FIRST + 1);
        assert_eq!(
            store.class(&scope("b", Role::Tool, Phase::Serve)).unwrap(),
            FIRST + 2
        );
        let rows = store.classes().unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(
            rows[0],
            ClassRow {
                id: FIRST,
                scope: agent
            }
        );
    }

    #[test]
    fn classes_run_out_with_words_rather_than_by_wrapping() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let last = MAX_CLASSES - 1;
        store
            .connection()
            .execute(
                "INSERT INTO class VALUES (?1, 'x', 'tool', 'start')",
                [last],
            )
            .unwrap();
        let error = store
            .class(&scope("y", Role::Tool, Phase::Start))
            .unwrap_err();
        assert!(error.to_string().contains("1024 classes"), "{error}");
    }

    #[test]
    fn modes_survive_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.workload("a").unwrap(), None);
        let learn = WorkloadState {
            mode: Mode::Learn,
            basis: Basis::None,
            changed: 1,
        };
        let enforce = WorkloadState {
            mode: Mode::Enforce,
            basis: Basis::Declared,
            changed: 2,
        };
        store.set_workload("a", &learn).unwrap();
        store.set_workload("a", &enforce).unwrap();
        drop(store);
        assert_eq!(
            Store::open(dir.path()).unwrap().workload("a").unwrap(),
            Some(enforce)
        );
    }

    #[test]
    fn a_mode_that_nobody_wrote_is_an_error_not_a_guess() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store
            .connection()
            .execute("INSERT INTO workload VALUES ('a', 'off', 'none', 0)", [])
            .unwrap();
        assert!(store.workload("a").unwrap_err().to_string().contains("off"));
    }
}
