//! What the daemon asks of the kernel side, as a trait: so that the flow can be tested where no
//! kernel program can be loaded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monitor_common::{
    class::{Class, ClassId},
    endpoint::DestinationKey,
    hook::{Hook, HookCounters},
    proxy::ProxyKey,
    seen::{Seen, SeenKey},
    socket::{FlowKey, FlowSum, Owner, Traffic},
};
use slmguard_core::decide::policy::PolicyImage;

use crate::kernel::{EnrolRule, FoundSocket, HookStatus, Kernel, KernelError, cost::Cost};

/// The kernel side, loaded and attached.
pub trait Guard: Send + 'static {
    /// `lsm` or `cgroup`.
    fn tier(&self) -> &'static str;
    /// Every hook.
    fn hooks(&self) -> Vec<HookStatus>;
    /// What each attached hook's program has cost, while the kernel counts it.
    fn costs(&self) -> Vec<(Hook, Cost)>;
    /// Counters of every hook.
    fn counters(&self) -> Result<Vec<(Hook, HookCounters)>, KernelError>;
    /// Says what a class is.
    fn set_class(&mut self, id: ClassId, class: Class) -> Result<(), KernelError>;
    /// First free number for states of automata.
    fn next_state(&self) -> u32;
    /// Installs a policy for classes, with the bits of their control words; returns its number.
    fn publish(
        &mut self,
        classes: &[(ClassId, u64)],
        image: &PolicyImage,
    ) -> Result<u32, KernelError>;
    /// Attaches what is only needed while there is a workload, unless it is attached already.
    fn watch_files(&mut self) -> Result<(), KernelError>;
    /// Destinations that nobody may reach.
    fn set_invariants(&mut self, endpoints: &[(u32, DestinationKey)]) -> Result<(), KernelError>;
    /// Says which HTTP proxies were declared.
    fn set_proxies(&mut self, _proxies: &[ProxyKey]) -> Result<(), KernelError> {
        Ok(())
    }
    /// Replaces all enrolment rules.
    fn set_enrolment(&mut self, rules: &[EnrolRule]) -> Result<(), KernelError>;
    /// Class of a process.
    fn member(&self, pid: u32) -> ClassId;
    /// Sets the class of a process.
    fn set_member(&self, pid: u32, class: ClassId);
    /// Changes the entry of a process from one value to another at once; returns what was there,
    /// which is `old` if it was changed.
    fn replace_member(&self, pid: u32, old: ClassId, new: ClassId) -> Option<ClassId>;
    /// Every member: process and class.
    fn members(&self) -> Vec<(u32, ClassId)>;
    /// Counters of behaviour.
    fn seen(&self) -> Vec<(SeenKey, Seen)>;
    /// Forgets what was counted of a class, so that all of it is reported again.
    fn forget_seen(&mut self, class: ClassId);
    /// Makes a process the owner of its open sockets; returns those that are connected.
    fn own_sockets(&mut self, _owner: Owner) -> Result<Vec<FoundSocket>, KernelError> {
        Ok(vec![])
    }
    /// Sums over flows.
    fn flows(&self) -> Vec<(FlowKey, FlowSum)> {
        vec![]
    }
    /// Sums over a class.
    fn traffic(&self, _class: ClassId) -> Traffic {
        Traffic::default()
    }
}

/// The kernel side shared between the engine, which guards with it, and the daemon, which starts
/// and stops it.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Kernel>>);

impl Shared {
    /// Shares it.
    pub fn new(kernel: Kernel) -> Self {
        Self(Arc::new(Mutex::new(kernel)))
    }

    /// Takes it for a moment.
    pub fn lock(&self) -> MutexGuard<'_, Kernel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard for Shared {
    fn tier(&self) -> &'static str {
        self.lock().tier()
    }
    fn hooks(&self) -> Vec<HookStatus> {
        self.lock().hooks()
    }
    fn costs(&self) -> Vec<(Hook, Cost)> {
        self.lock().costs()
    }
    fn counters(&self) -> Result<Vec<(Hook, HookCounters)>, KernelError> {
        self.lock().counters()
    }
    fn set_class(&mut self, id: ClassId, class: Class) -> Result<(), KernelError> {
        self.lock().set_class(id, class)
    }
    fn next_state(&self) -> u32 {
        self.lock().next_state()
    }
    fn publish(
        &mut self,
        classes: &[(ClassId, u64)],
        image: &PolicyImage,
    ) -> Result<u32, KernelError> {
        self.lock().publish(classes, image)
    }
    fn watch_files(&mut self) -> Result<(), KernelError> {
        self.lock().watch_files()
    }
    fn set_invariants(&mut self, endpoints: &[(u32, DestinationKey)]) -> Result<(), KernelError> {
        self.lock().set_invariants(endpoints)
    }
    fn set_proxies(&mut self, proxies: &[ProxyKey]) -> Result<(), KernelError> {
        self.lock().set_proxies(proxies)
    }
    fn set_enrolment(&mut self, rules: &[EnrolRule]) -> Result<(), KernelError> {
        self.lock().set_enrolment(rules)
    }
    fn member(&self, pid: u32) -> ClassId {
        self.lock().member(pid)
    }
    fn set_member(&self, pid: u32, class: ClassId) {
        self.lock().set_member(pid, class);
    }
    fn replace_member(&self, pid: u32, old: ClassId, new: ClassId) -> Option<ClassId> {
        self.lock().replace_member(pid, old, new)
    }
    fn members(&self) -> Vec<(u32, ClassId)> {
        self.lock().members()
    }
    fn seen(&self) -> Vec<(SeenKey, Seen)> {
        self.lock().seen()
    }
    fn forget_seen(&mut self, class: ClassId) {
        self.lock().forget_seen(class);
    }
    fn own_sockets(&mut self, owner: Owner) -> Result<Vec<FoundSocket>, KernelError> {
        self.lock().own_sockets(owner)
    }
    fn flows(&self) -> Vec<(FlowKey, FlowSum)> {
        self.lock().flows()
    }
    fn traffic(&self, class: ClassId) -> Traffic {
        self.lock().traffic(class)
    }
}
