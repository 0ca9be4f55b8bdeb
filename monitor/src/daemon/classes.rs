//! Classes: the numbers that the kernel keeps per process, and the scopes behind them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use monitor_common::class::{Class, ClassId, Phase, Role};
use slmguard_core::{
    config::Workload,
    decode::ClassNames,
    observation::Scope,
    workload::{PHASES, role_from},
};

use crate::store::{Store, StoreError};

/// Every class that ever was, and which of them are in use. Workloads come and go while the daemon
/// runs.
#[derive(Debug, Default)]
pub struct Classes(RwLock<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    by_id: HashMap<ClassId, Scope>,
    by_scope: HashMap<Scope, ClassId>,
    configured: Vec<(ClassId, Scope)>,
    /// Their places are their numbers; a workload that went keeps its place.
    workloads: Vec<String>,
}

impl Classes {
    /// Numbers the classes of these workloads: the roles that they name, and tools, in each phase.
    /// Earlier classes stay known, because events of members that carry them can still arrive.
    pub fn new(workloads: &[Workload], store: &Store) -> Result<Self, StoreError> {
        match Self::numbered(workloads, store) {
            // Numbers are never used twice while there are any; then those of workloads that are
            // gone have to make room.
            Err(StoreError::Full { .. }) => {
                let gone = store.forget_classes()?;
                tracing::warn!("class numbers ran out: {gone} were given anew");
                Self::numbered(workloads, store)
            }
            result => result,
        }
    }

    fn numbered(workloads: &[Workload], store: &Store) -> Result<Self, StoreError> {
        let mut configured = vec![];
        for workload in workloads {
            let mut roles: BTreeSet<Role> = workload
                .processes
                .iter()
                .filter_map(|p| role_from(&p.role))
                .collect();
            roles.insert(Role::Tool);
            for scope in scopes(&workload.name, &roles) {
                configured.push((store.class(&scope)?, scope));
            }
        }
        let rows = store.classes()?;
        Ok(Self(RwLock::new(Inner {
            by_id: rows.iter().map(|row| (row.id, row.scope.clone())).collect(),
            by_scope: rows.into_iter().map(|row| (row.scope, row.id)).collect(),
            configured,
            workloads: workloads.iter().map(|w| w.name.clone()).collect(),
        })))
    }

    /// Takes classes of a workload into use.
    pub fn add(&self, numbered: &[(ClassId, Scope)]) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (id, scope) in numbered {
            inner.by_id.insert(*id, scope.clone());
            inner.by_scope.insert(scope.clone(), *id);
            if !inner.configured.iter().any(|(used, _)| used == id) {
                inner.configured.push((*id, scope.clone()));
            }
            if !inner.workloads.contains(&scope.workload) {
                inner.workloads.push(scope.workload.clone());
            }
        }
    }

    /// Takes the classes of a workload out of use. What they meant stays known: reports about them
    /// can still be on their way.
    pub fn remove(&self, workload: &str) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.configured.retain(|(_, s)| s.workload != workload);
        inner.by_scope.retain(|s, _| s.workload != workload);
    }

    fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Classes in use.
    pub fn configured(&self) -> Vec<(ClassId, Scope)> {
        self.inner().configured.clone()
    }

    /// Whether a class is in use.
    pub fn is_configured(&self, id: ClassId) -> bool {
        self.inner()
            .configured
            .iter()
            .any(|(configured, _)| *configured == id)
    }

    /// The roles of a workload that are in use.
    pub fn roles(&self, workload: &str) -> Vec<Role> {
        let roles: BTreeSet<Role> = self
            .inner()
            .configured
            .iter()
            .filter(|(_, scope)| scope.workload == workload)
            .map(|(_, scope)| scope.role)
            .collect();
        roles.into_iter().collect()
    }

    /// Every class that ever was, in the order of the numbers.
    pub fn rows(&self) -> Vec<(ClassId, Scope)> {
        let mut rows: Vec<_> = self
            .inner()
            .by_id
            .iter()
            .map(|(id, scope)| (*id, scope.clone()))
            .collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        rows
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.inner().by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner().by_id.is_empty()
    }

    /// The number of a scope.
    pub fn id(&self, workload: &str, role: Role, phase: Phase) -> Option<ClassId> {
        self.inner()
            .by_scope
            .get(&Scope {
                workload: workload.into(),
                role,
                phase,
            })
            .copied()
    }

    /// What the kernel is told about a class: where an exec and a listening socket lead.
    pub fn describe(&self, id: ClassId, scope: &Scope) -> Class {
        let index = self
            .inner()
            .workloads
            .iter()
            .position(|w| *w == scope.workload)
            .unwrap_or(0);
        Class {
            after_exec: self
                .id(&scope.workload, Role::Tool, Phase::Start)
                .unwrap_or(id),
            after_bind: self
                .id(&scope.workload, scope.role, Phase::Serve)
                .unwrap_or(id),
            workload: u16::try_from(index).unwrap_or(u16::MAX),
            role: scope.role as u8,
            phase: scope.phase as u8,
        }
    }
}

/// The scopes of these roles of a workload, in each phase.
pub fn scopes<'a>(workload: &str, roles: impl IntoIterator<Item = &'a Role>) -> Vec<Scope> {
    let scope = |role: Role| {
        PHASES.map(|phase| Scope {
            workload: workload.to_owned(),
            role,
            phase,
        })
    };
    roles.into_iter().flat_map(|role| scope(*role)).collect()
}

impl ClassNames for Classes {
    fn scope(&self, class: ClassId) -> Option<Scope> {
        self.inner().by_id.get(&class).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workloads(text: &str) -> Vec<Workload> {
        toml::from_str::<slmguard_core::config::Config>(text)
            .unwrap()
            .workloads
    }

    const SERVER: &str = "[[workload]]\nname = \"a\"\n[[workload.process]]\nrole = \"server\"\n";

    #[test]
    fn exec_and_listening_lead_to_the_right_class() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let classes = Classes::new(&workloads(SERVER), &store).unwrap();
        assert_eq!(
            classes.configured().len(),
            4,
            "server and tool, start and serve"
        );
        let start = classes.id("a", Role::Server, Phase::Start).unwrap();
        let scope = classes.scope(start).unwrap();
        let class = classes.describe(start, &scope);
        assert_eq!(
            class.after_exec,
            classes.id("a", Role::Tool, Phase::Start).unwrap()
        );
        assert_eq!(
            class.after_bind,
            classes.id("a", Role::Server, Phase::Serve).unwrap()
        );
        assert_eq!(classes.id("a", Role::Agent, Phase::Start), None);
    }

    #[test]
    fn numbers_that_ran_out_are_given_anew() {
        use monitor_common::limits::MAX_CLASSES;
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let store = Store::open(dir.path()).unwrap();
        assert!(!store.is_new());
        let (mut first, mut last) = (None, 0);
        for n in 0..MAX_CLASSES / 4 + 2 {
            let name = format!("\"w{n}\"");
            let classes =
                Classes::new(&workloads(&SERVER.replace("\"a\"", &name)), &store).unwrap();
            last = classes
                .configured()
                .iter()
                .map(|(id, _)| *id)
                .max()
                .unwrap();
            assert!(u32::from(last) < MAX_CLASSES, "workload {n}");
            if first.is_some_and(|first| last <= first) {
                assert!(
                    store.is_new(),
                    "what the kernel holds from before means nothing"
                );
                return;
            }
            first.get_or_insert(last);
        }
        panic!("numbers never ran out: {last}");
    }

    #[test]
    fn a_workload_that_left_the_configuration_is_still_known_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let before = Classes::new(&workloads(SERVER), &store).unwrap();
        let start = before.id("a", Role::Server, Phase::Start).unwrap();
        let after = Classes::new(&workloads(&SERVER.replace("\"a\"", "\"b\"")), &store).unwrap();
        assert!(after.scope(start).is_some() && !after.is_configured(start));
        let id = after.id("b", Role::Server, Phase::Start).unwrap();
        assert!(after.is_configured(id) && id != start);
    }
}
