//! The kernel side's shell: preflight, loading, attaching, pinning, maps and rings. The only place
//! that names aya. It holds no meaning: what to enforce comes in as values of the pure core.

mod attach;
pub mod btf;
pub mod cost;
mod enrol;
mod error;
mod late;
mod load;
mod lock;
mod mmap;
mod pins;
mod plain;
mod policy;
pub mod preflight;
pub mod probe;
mod ring;
mod rows;
mod selftest;
mod sockets;
pub mod table;

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya::{
    maps::{Array, HashMap, Map, MapData, PerCpuArray, SkStorage},
    programs::links::FdLink,
};
use monitor_common::{
    class::{Class, ClassId},
    enrol::{ArgumentKey, ExecutableKey, ExecutableRules},
    hash::HashKey,
    hook::{HOOKS, Hook, HookCounters},
    limits::{MAX_CLASSES, MAX_PIDS},
    listener::{Listener, ListenerKey},
    proxy::ProxyKey,
    seen::{Seen, SeenKey},
    socket::{FlowKey, FlowSum, Owner, Traffic},
};

pub use error::KernelError;
pub use ring::Rings;
pub use sockets::FoundSocket;
pub use table::HookStatus;

use mmap::Mapped;
use plain::Plain;

/// Which tier to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierChoice {
    /// LSM where it works, else cgroup.
    Auto,
    /// LSM or fail.
    Lsm,
    /// Do not use LSM programs.
    Cgroup,
}

/// A tier in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// BPF LSM denies files and programs.
    Lsm,
    /// No BPF LSM: files and programs are answered by killing.
    Cgroup,
}

impl Tier {
    /// `lsm` or `cgroup`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Cgroup => "cgroup",
        }
    }
}

/// How to start.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Tier to use.
    pub tier: TierChoice,
    /// Hooks to leave out.
    pub disable: Vec<String>,
    /// Where links and maps are pinned, so that enforcement outlives the daemon; `None`: nowhere,
    /// everything ends with this process (`doctor`).
    pub pin_dir: Option<PathBuf>,
    /// Attach the hooks for files: they cost every process something on the cgroup tier, so only
    /// while a workload is configured.
    pub watch_files: bool,
    /// They can be attached later, by [`Kernel::watch_files`].
    pub watch_files_later: bool,
    /// Key of the path and endpoint hashes.
    pub key: HashKey,
}

/// One way into a workload: all that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolRule {
    /// The executable; any if absent.
    pub executable: Option<ExecutableKey>,
    /// Arguments, each equal to one of the process's or to the last path component of one.
    pub arguments: Vec<String>,
    /// cgroup v2 id, that one or any below.
    pub cgroup: Option<u64>,
    /// User id.
    pub user: Option<u32>,
    /// Class that a match gives.
    pub class: ClassId,
}

fn take(loaded: &mut aya::Ebpf, name: &'static str) -> Result<Map, KernelError> {
    loaded.take_map(name).ok_or(KernelError::Map {
        map: name,
        what: "not in the object".into(),
    })
}

fn array_fd(map: &Map) -> Result<std::os::fd::BorrowedFd<'_>, KernelError> {
    match map {
        Map::Array(data) => Ok(data.fd().as_fd()),
        _ => Err(KernelError::Map {
            map: "array",
            what: "of another type".into(),
        }),
    }
}

/// Loaded, attached and pinned kernel programs.
pub struct Kernel {
    tier: Tier,
    hooks: Vec<HookStatus>,
    pins: Option<pins::Instance>,
    /// Keeps other daemons away from our pins for as long as this lives.
    _lock: Option<lock::PinLock>,
    rings: Option<Rings>,
    members: Mapped<u16>,
    control: Mapped<u64>,
    classes: Array<MapData, Plain<Class>>,
    executables: HashMap<MapData, Plain<ExecutableKey>, Plain<ExecutableRules>>,
    arguments: HashMap<MapData, Plain<ArgumentKey>, u64>,
    seen: HashMap<MapData, Plain<SeenKey>, Plain<Seen>>,
    counters: PerCpuArray<MapData, Plain<HookCounters>>,
    sockets: SkStorage<MapData, Plain<Owner>>,
    listeners: HashMap<MapData, Plain<ListenerKey>, Plain<Listener>>,
    listening: HashMap<MapData, u64, Plain<ListenerKey>>,
    flows: HashMap<MapData, Plain<FlowKey>, Plain<FlowSum>>,
    traffic: Array<MapData, Plain<Traffic>>,
    proxies: HashMap<MapData, Plain<ProxyKey>, u64>,
    policies: policy::Policies,
    programs: cost::Programs,
    /// Held while nothing is pinned; dropping them detaches.
    _links: Vec<FdLink>,
    key: HashKey,
    late: Option<late::Late>,
}

impl Kernel {
    /// Loads, attaches, verifies that each hook fires, and pins.
    ///
    /// An earlier instance's programs stay attached beside these until
    /// [`Self::retire_inherited`]: there is no moment without enforcement.
    ///
    /// # Errors
    /// Missing privileges or kernel features, a pin directory that cannot be used, or an object
    /// that the verifier refuses. A single optional hook that cannot be attached is no error: it is
    /// in [`Self::hooks`] with its reason.
    pub fn start(options: &StartOptions) -> Result<Self, KernelError> {
        let facts = preflight::check()?;
        let lock = options
            .pin_dir
            .as_deref()
            .map(lock::PinLock::take)
            .transpose()?;
        let offsets = btf::offsets(&facts.btf)?;
        let loaded = load::load(options, &offsets, &facts)?;
        let pins = options
            .pin_dir
            .as_deref()
            .map(pins::Instance::create)
            .transpose()?;
        let started =
            Self::attach(options, loaded, facts, offsets, pins.as_ref()).and_then(|mut kernel| {
                selftest::run(&mut kernel)?;
                Ok(kernel)
            });
        match started {
            Ok(kernel) => Ok(Self {
                pins,
                _lock: lock,
                ..kernel
            }),
            Err(e) => {
                if let Some(pins) = &pins {
                    pins.remove();
                }
                Err(e)
            }
        }
    }

    fn attach(
        options: &StartOptions,
        mut loaded: load::Loaded,
        facts: preflight::Facts,
        offsets: btf::KernelOffsets,
        pins: Option<&pins::Instance>,
    ) -> Result<Self, KernelError> {
        let attached = attach::attach(&mut loaded, options, &facts, &offsets, pins)?;
        let tier = loaded.tier;
        let mut loaded = loaded.object;
        if let Some(pins) = pins {
            pins.pin_maps(&loaded)?;
        }
        let member = take(&mut loaded, "MEMBER")?;
        let control = take(&mut loaded, "CONTROL")?;
        Ok(Self {
            tier,
            programs: cost::Programs::of(&loaded, &attached.status),
            hooks: attached.status,
            pins: None,
            _lock: None,
            rings: Some(Rings::new(
                take(&mut loaded, "VERDICTS")?,
                take(&mut loaded, "OBSERVATIONS")?,
            )?),
            members: Mapped::new("MEMBER", array_fd(&member)?, MAX_PIDS as usize)?,
            control: Mapped::new("CONTROL", array_fd(&control)?, MAX_CLASSES as usize)?,
            classes: Array::try_from(take(&mut loaded, "CLASSES")?)
                .map_err(KernelError::map("CLASSES"))?,
            executables: HashMap::try_from(take(&mut loaded, "EXECUTABLES")?)
                .map_err(KernelError::map("EXECUTABLES"))?,
            arguments: HashMap::try_from(take(&mut loaded, "ARGUMENTS")?)
                .map_err(KernelError::map("ARGUMENTS"))?,
            seen: HashMap::try_from(take(&mut loaded, "SEEN")?)
                .map_err(KernelError::map("SEEN"))?,
            counters: PerCpuArray::try_from(take(&mut loaded, "COUNTERS")?)
                .map_err(KernelError::map("COUNTERS"))?,
            sockets: SkStorage::try_from(take(&mut loaded, "SOCKETS")?)
                .map_err(KernelError::map("SOCKETS"))?,
            listeners: HashMap::try_from(take(&mut loaded, "LISTENERS")?)
                .map_err(KernelError::map("LISTENERS"))?,
            listening: HashMap::try_from(take(&mut loaded, "LISTENING")?)
                .map_err(KernelError::map("LISTENING"))?,
            flows: HashMap::try_from(take(&mut loaded, "FLOWS")?)
                .map_err(KernelError::map("FLOWS"))?,
            traffic: Array::try_from(take(&mut loaded, "TRAFFIC")?)
                .map_err(KernelError::map("TRAFFIC"))?,
            proxies: HashMap::try_from(take(&mut loaded, "PROXIES")?)
                .map_err(KernelError::map("PROXIES"))?,
            policies: policy::Policies::new(
                take(&mut loaded, "POLICIES")?,
                take(&mut loaded, "DESTINATIONS")?,
                take(&mut loaded, "TRANSITIONS")?,
                take(&mut loaded, "NAMES")?,
                take(&mut loaded, "HOSTS")?,
            )?,
            _links: attached.links,
            key: options.key,
            late: (options.watch_files_later && !options.watch_files).then(|| late::Late {
                object: loaded,
                options: options.clone(),
                facts,
                offsets,
                _maps: vec![member, control],
            }),
        })
    }

    /// `lsm` or `cgroup`.
    pub fn tier(&self) -> &'static str {
        self.tier.name()
    }

    /// Key of the hashes that the kernel computes.
    pub fn key(&self) -> HashKey {
        self.key
    }

    /// Every hook of the table, and how it stands now: one whose pin somebody removed has let go.
    pub fn hooks(&self) -> Vec<HookStatus> {
        let mut hooks = self.hooks.clone();
        let Some(pins) = &self.pins else {
            return hooks;
        };
        for status in hooks.iter_mut().filter(|s| s.attached) {
            let row = table::TABLE.iter().find(|row| row.hook == status.id);
            let pin = pins.link_path(row.map_or(status.hook, attach::program_name));
            if std::fs::symlink_metadata(&pin).is_err() {
                status.attached = false;
                status.fires = None;
                status.reason = Some(format!(
                    "its pin {} was removed (by `slmguard detach`?), and with it the hook; restart \
                     slmguard to guard again",
                    pin.display()
                ));
            }
        }
        hooks
    }

    /// What the programs of the attached hooks have cost, while the kernel counts it.
    pub fn costs(&self) -> Vec<(Hook, cost::Cost)> {
        self.programs.costs()
    }

    /// Counters of every hook, summed over processors.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Vec<(Hook, HookCounters)>, KernelError> {
        let mut all = Vec::with_capacity(HOOKS);
        for hook in Hook::ALL {
            let per_cpu = self
                .counters
                .get(&(hook as u32), 0)
                .map_err(KernelError::map("COUNTERS"))?;
            let mut sum = HookCounters::default();
            for c in per_cpu.iter() {
                sum.member += c.0.member;
                sum.denied += c.0.denied;
                sum.killed += c.0.killed;
                sum.dropped += c.0.dropped;
                sum.errors += c.0.errors;
                sum.last_error = sum.last_error.max(c.0.last_error);
            }
            all.push((hook, sum));
        }
        Ok(all)
    }

    /// Says what a class is.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn set_class(&mut self, id: ClassId, class: Class) -> Result<(), KernelError> {
        self.classes
            .set(id as u32, Plain(class), 0)
            .map_err(KernelError::map("CLASSES"))
    }

    /// Says which HTTP proxies were declared; to be said once, before anybody is a member.
    pub fn set_proxies(&mut self, proxies: &[ProxyKey]) -> Result<(), KernelError> {
        for key in proxies {
            self.proxies
                .insert(Plain(*key), 0, 0)
                .map_err(KernelError::map("PROXIES"))?;
        }
        Ok(())
    }

    /// Class of a process; [`monitor_common::class::NONE`] if it is not a member.
    pub fn member(&self, pid: u32) -> ClassId {
        self.members.get(pid as usize).unwrap_or(0)
    }

    /// Makes a process a member, or lets it go.
    pub fn set_member(&self, pid: u32, class: ClassId) {
        self.members.set(pid as usize, class);
    }

    /// Changes the entry of a process from one value to another at once; returns what was there,
    /// which is `old` if it was changed.
    pub fn replace_member(&self, pid: u32, old: ClassId, new: ClassId) -> Option<ClassId> {
        self.members.replace(pid as usize, old, new)
    }

    /// Every member: (process, class).
    pub fn members(&self) -> Vec<(u32, ClassId)> {
        self.members
            .non_zero()
            .map(|(pid, class)| (pid as u32, class))
            .collect()
    }

    /// What the kernel has counted of known behaviour.
    pub fn seen(&self) -> Vec<(SeenKey, Seen)> {
        // An entry can be evicted while the map is read: it is skipped.
        self.seen
            .iter()
            .filter_map(Result::ok)
            .map(|(k, v)| (k.0, v.0))
            .collect()
    }

    /// Forgets what the kernel has counted of a class, so that all of it is reported again.
    pub fn forget_seen(&mut self, class: ClassId) {
        for (key, _) in self.seen() {
            if key.class == class {
                // Evicted meanwhile is forgotten as well.
                let _ = self.seen.remove(&Plain(key));
            }
        }
    }

    /// The rings, once: they belong to the thread that drains them.
    pub fn take_rings(&mut self) -> Option<Rings> {
        self.rings.take()
    }

    /// Members of earlier instances that were killed or stopped: their programs are still at work,
    /// and follow fork and exec, until [`Self::retire_inherited`].
    pub fn inherited_members(&self) -> Vec<(u32, ClassId)> {
        self.pins
            .as_ref()
            .map_or(vec![], pins::Instance::earlier_members)
    }

    /// Verdicts of earlier instances that nobody has read: raw events, each handed out once.
    pub fn inherited_verdicts(&self) -> Vec<Vec<u8>> {
        self.pins
            .as_ref()
            .map_or(vec![], pins::Instance::earlier_verdicts)
    }

    /// Takes this instance away again, because the start failed after all; an earlier one stays.
    pub fn abandon(&self) {
        if let Some(pins) = &self.pins {
            pins.remove();
        }
    }

    /// Removes the earlier instances' programs, those of other versions included, once their members
    /// are this one's. Returns how many instances went.
    pub fn retire_inherited(&mut self) -> usize {
        self.pins.as_ref().map_or(0, pins::Instance::remove_earlier)
    }

    /// Removes everything that any instance pinned under `pin_dir`: enforcement ends. Returns how
    /// many instances went.
    ///
    /// # Errors
    /// Missing privileges, or a pin that cannot be removed.
    pub fn detach(pin_dir: &Path) -> Result<usize, KernelError> {
        preflight::privileges()?;
        pins::remove_all(pin_dir)
    }

    /// The daemon that guards with these pins, as ` (pid N)` where that is known.
    pub fn daemon_at(pin_dir: &Path) -> Option<String> {
        lock::holder(pin_dir)
    }
}
