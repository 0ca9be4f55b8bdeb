//! The flow without a kernel: a made-up guard remembers what it is told, observations are put into
//! the pipeline by hand.

mod approvals;
mod chain;
mod discovery;
mod flow;
mod hosts;
mod launch;
mod lineage;
mod membership;
mod models;
mod modes;
mod names;
mod odd;
mod paths;
mod proxy;
mod recording;
mod telling;
mod volumes;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use monitor_common::{
    class::{Class, ClassId, Control, FIRST, Family, Mode, NONE, Phase, Role},
    endpoint::DestinationKey,
    event::Verdict,
    hash::HashKey,
    hook::{Hook, HookCounters},
    path::permission,
    proxy::ProxyKey,
    seen::{Seen, SeenKey},
};
use slmguard_core::{
    decide::policy::PolicyImage,
    observation::{Endpoint, Fact, FileAccess, Observation, ProcessKey, Scope},
};

use super::{guard::Guard, *};
use crate::{
    api::{Backend, Peer, Query, Refusal},
    kernel::{EnrolRule, KernelError, cost::Cost},
};

const KEY: HashKey = HashKey { k0: 3, k1: 4 };
const ROOT: Peer = Peer { uid: 0, pid: 1 };

/// What the made-up kernel was told.
#[derive(Default)]
struct Told {
    classes: HashMap<ClassId, Class>,
    /// Number, control word and image of each class.
    policies: HashMap<ClassId, (u32, Control, PolicyImage)>,
    published: u32,
    watched: u32,
    rules: Vec<EnrolRule>,
    members: HashMap<u32, ClassId>,
    invariants: usize,
    proxies: Vec<ProxyKey>,
    seen: Vec<(SeenKey, Seen)>,
    /// Publishing fails after so many times.
    room: Option<u32>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Told>>);

impl Fake {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard for Fake {
    fn costs(&self) -> Vec<(Hook, Cost)> {
        vec![]
    }
    fn tier(&self) -> &'static str {
        "cgroup"
    }
    fn hooks(&self) -> Vec<HookStatus> {
        vec![]
    }
    fn counters(&self) -> Result<Vec<(Hook, HookCounters)>, KernelError> {
        Ok(vec![(
            Hook::Connect4,
            HookCounters {
                dropped: 2,
                ..HookCounters::default()
            },
        )])
    }
    fn set_class(&mut self, id: ClassId, class: Class) -> Result<(), KernelError> {
        self.told().classes.insert(id, class);
        Ok(())
    }
    fn next_state(&self) -> u32 {
        1
    }
    fn publish(
        &mut self,
        classes: &[(ClassId, u64)],
        image: &PolicyImage,
    ) -> Result<u32, KernelError> {
        let mut told = self.told();
        if let Some(room) = &mut told.room {
            *room = room.checked_sub(1).ok_or(KernelError::NoPrograms)?;
        }
        told.published += 1;
        let number = told.published;
        for (class, bits) in classes {
            told.policies
                .insert(*class, (number, Control(*bits), image.clone()));
        }
        Ok(number)
    }
    fn watch_files(&mut self) -> Result<(), KernelError> {
        self.told().watched += 1;
        Ok(())
    }
    fn set_invariants(&mut self, endpoints: &[(u32, DestinationKey)]) -> Result<(), KernelError> {
        self.told().invariants = endpoints.len();
        Ok(())
    }
    fn set_proxies(&mut self, proxies: &[ProxyKey]) -> Result<(), KernelError> {
        self.told().proxies = proxies.to_vec();
        Ok(())
    }
    fn set_enrolment(&mut self, rules: &[EnrolRule]) -> Result<(), KernelError> {
        self.told().rules = rules.to_vec();
        Ok(())
    }
    fn member(&self, pid: u32) -> ClassId {
        self.told().members.get(&pid).copied().unwrap_or(NONE)
    }
    fn set_member(&self, pid: u32, class: ClassId) {
        self.told().members.insert(pid, class);
    }
    fn replace_member(&self, pid: u32, old: ClassId, new: ClassId) -> Option<ClassId> {
        let mut told = self.told();
        let entry = told.members.entry(pid).or_insert(NONE);
        let was = *entry;
        if was == old {
            *entry = new;
        }
        Some(was)
    }
    fn members(&self) -> Vec<(u32, ClassId)> {
        self.told()
            .members
            .iter()
            .map(|(pid, class)| (*pid, *class))
            .collect()
    }
    fn seen(&self) -> Vec<(SeenKey, Seen)> {
        self.told().seen.clone()
    }
    fn forget_seen(&mut self, class: ClassId) {
        self.told().seen.retain(|(key, _)| key.class != class);
    }
}

const CONFIG: &str = r#"
[[workload]]
name = "a"
[[workload.process]]
role = "agent"
exe = "/bin/sh"
argv = ["no-such-agent"]
"#;

fn start(dir: &Path, config: &str) -> (SharedEngine, Fake) {
    let config: Config = toml::from_str(config).unwrap();
    let fake = Fake::default();
    let engine = Engine::new(
        config,
        Store::open(&dir.join("state")).unwrap(),
        Box::new(fake.clone()),
        KEY,
        Proc::default(),
        Cgroups::at(dir),
    )
    .unwrap();
    engine.publish_all().unwrap();
    // Nobody drains rings here: requests to wait are answered at once.
    engine.barrier.close();
    (Arc::new(engine), fake)
}

fn scope(role: Role) -> Scope {
    Scope {
        workload: "a".into(),
        role,
        phase: Phase::Start,
    }
}

fn observation(fact: Fact, verdict: Verdict) -> Observation {
    Observation {
        time: 1_700_000_000_000_000_000,
        process: ProcessKey {
            pid: 4_000_000,
            start_time: 5,
        },
        thread: 4_000_000,
        single_thread: true,
        uid: 1000,
        cgroup: 9,
        comm: "agent".into(),
        scope: scope(Role::Agent),
        hook: Hook::Connect4,
        verdict,
        mode: Mode::Learn,
        policy: 1,
        invariant: false,
        count: 1,
        fact,
    }
}

fn connect(last: u8) -> Fact {
    Fact::Connect(Endpoint {
        address: [10, 0, 0, last].into(),
        port: 80,
        protocol: 6,
    })
}

fn open(path: &str) -> Fact {
    Fact::Open(FileAccess {
        path: path.into(),
        name: path.into(),
        inode: (1, 2),
        access: permission::READ,
        cut: false,
        incomplete: false,
    })
}

fn change(mode: &str, declare: bool) -> view::ModeChange {
    view::ModeChange {
        mode: mode.into(),
        declare,
        reason: "a test".into(),
    }
}

fn class(engine: &Engine, role: Role, phase: Phase) -> ClassId {
    engine.classes.id("a", role, phase).unwrap()
}

fn arrived(observation: Observation) -> threads::Input {
    threads::Input::Observation(Box::new(threads::Arrival {
        observation,
        raw: None,
        at: Instant::now(),
    }))
}
