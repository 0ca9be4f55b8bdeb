//! Every map, and the two map types that aya-ebpf does not have.

use core::{ffi::c_void, marker::PhantomData, ptr};

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC,
        bpf_map_type::{BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_TASK_STORAGE},
    },
    helpers::{
        bpf_get_current_task_btf,
        generated::{bpf_sk_storage_get, bpf_task_storage_get},
    },
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use monitor_common::{
    class::Class,
    endpoint::DestinationKey,
    enrol::{ArgumentBits, ArgumentKey, ExecutableKey, ExecutableRules},
    hook::{HOOKS, HookCounters},
    limits::*,
    listener::{CallKey, Listener, ListenerKey},
    name::{Admitted, AdmittedKey, HostKey, NameKey},
    path::{PolicyRoot, State, TransitionKey},
    proxy::ProxyKey,
    seen::{Seen, SeenKey},
    socket::{FlowKey, FlowSum, Owner, Traffic},
};

use crate::{
    bench::Bench,
    dns::{Asked, Question},
    path::Scratch,
    verdict::Means,
};

/// Class per process id, two bytes each; mapped into the daemon, which stores single entries.
#[map]
pub static MEMBER: Array<[u16; MEMBERS_PER_PAGE as usize]> =
    Array::with_max_entries(MEMBER_PAGES, BPF_F_MMAPABLE);

/// What a class is.
#[map]
pub static CLASSES: Array<Class> = Array::with_max_entries(MAX_CLASSES, 0);

/// What applies to a class now ([`monitor_common::class::Control`]); mapped into the daemon, so
/// that a swap is one store.
#[map]
pub static CONTROL: Array<u64> = Array::with_max_entries(MAX_CLASSES, BPF_F_MMAPABLE);

/// Where each policy's automata start.
#[map]
pub static POLICIES: Array<PolicyRoot> = Array::with_max_entries(MAX_POLICIES, 0);

/// Destinations of every policy and of the invariants.
#[map]
pub static DESTINATIONS: LpmTrie<DestinationKey, u32> =
    LpmTrie::with_max_entries(MAX_DESTINATIONS, BPF_F_NO_PREALLOC);

/// Names of every policy: abstract unix sockets.
#[map]
pub static NAMES: HashMap<NameKey, u32> = HashMap::with_max_entries(MAX_NAMES, BPF_F_NO_PREALLOC);

/// Hosts of every policy, by name.
#[map]
pub static HOSTS: HashMap<HostKey, u32> = HashMap::with_max_entries(MAX_HOSTS, BPF_F_NO_PREALLOC);

/// Addresses that name servers gave workloads for such hosts.
#[map]
pub static ADMITTED: LruHashMap<AdmittedKey, Admitted> =
    LruHashMap::with_max_entries(MAX_ADMITTED, 0);

/// Ports that members listen on.
#[map]
pub static LISTENERS: HashMap<ListenerKey, Listener> =
    HashMap::with_max_entries(MAX_LISTENERS, BPF_F_NO_PREALLOC);

/// The sockets that are counted in [`LISTENERS`], by cookie.
#[map]
pub static LISTENING: LruHashMap<u64, ListenerKey> = LruHashMap::with_max_entries(MAX_LISTENERS, 0);

/// TCP sockets of members whose local end was judged when they bound, by cookie.
#[map]
pub static BOUND: LruHashMap<u64, u8> = LruHashMap::with_max_entries(MAX_LISTENERS, 0);

/// Users who are calling a member's port from this host.
#[map]
pub static CALLS: LruHashMap<CallKey, u32> = LruHashMap::with_max_entries(MAX_LISTENERS, 0);

/// Edges of every path automaton.
#[map]
pub static TRANSITIONS: HashMap<TransitionKey, State> =
    HashMap::with_max_entries(MAX_TRANSITIONS, BPF_F_NO_PREALLOC);

/// Programs that start workloads.
#[map]
pub static EXECUTABLES: HashMap<ExecutableKey, ExecutableRules> =
    HashMap::with_max_entries(MAX_EXECUTABLES, BPF_F_NO_PREALLOC);

/// Arguments that start workloads.
#[map]
pub static ARGUMENTS: HashMap<ArgumentKey, ArgumentBits> =
    HashMap::with_max_entries(MAX_ARGUMENTS, BPF_F_NO_PREALLOC);

/// Counters of behaviour.
#[map]
pub static SEEN: LruHashMap<SeenKey, Seen> = LruHashMap::with_max_entries(MAX_SEEN, 0);

/// Counters of hooks.
#[map]
pub static COUNTERS: PerCpuArray<HookCounters> = PerCpuArray::with_max_entries(HOOKS as u32, 0);

/// Adverse verdicts: small, never starved by observations.
#[map]
pub static VERDICTS: RingBuf = RingBuf::with_byte_size(VERDICT_RING_BYTES, 0);

/// Everything else.
#[map]
pub static OBSERVATIONS: RingBuf = RingBuf::with_byte_size(OBSERVATION_RING_BYTES, 0);

/// Storage per task. aya-ebpf 0.2.1 has no such type; the layout below is what its BTF maps look
/// like to the loader.
#[repr(C)]
pub struct TaskStorage<T: 'static> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    _value: PhantomData<T>,
}
// SAFETY: the struct is never read; only its address is passed to the helper.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
            _value: PhantomData,
        }
    }

    /// The current task's value, made if it is not there; null where the kernel has no memory.
    #[inline(always)]
    pub fn current(&self) -> *mut T {
        // SAFETY: the helper takes the map's address and a task pointer of the right type, and
        // returns null or a value of the map.
        unsafe {
            let task = bpf_get_current_task_btf();
            bpf_task_storage_get(
                (self as *const Self as *mut Self).cast(),
                task.cast(),
                ptr::null_mut::<c_void>(),
                1,
            )
            .cast()
        }
    }
}

/// Where paths are walked and path events are built: one per task, so that no other task, and no
/// preemption, can touch it.
#[btf_map]
pub static SCRATCH: TaskStorage<Scratch> = TaskStorage::new();

/// Stands in for [`SCRATCH`] where programs cannot be preempted.
#[map]
static SPARE: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The current task's scratch, for raw tracepoints only: they run with preemption off. The kernel
/// makes task storage from a reserve that is empty when several tasks ask for theirs in the same
/// instant, or when memory is short; a new process must not stay unguarded for that, so it uses its
/// processor's until it gets its own.
#[inline(always)]
pub fn unpreempted_scratch() -> *mut Scratch {
    let own = SCRATCH.current();
    if own.is_null() {
        SPARE.get_ptr_mut(0).unwrap_or(ptr::null_mut())
    } else {
        own
    }
}

/// The scratch of a program that can deny (and be preempted), or of one that can only kill.
#[inline(always)]
pub fn scratch_for(means: Means) -> *mut Scratch {
    match means {
        Means::Deny => SCRATCH.current(),
        Means::Kill | Means::Tell => unpreempted_scratch(),
    }
}

/// Storage per socket, inherited by the sockets that it accepts.
#[repr(C)]
pub struct SocketStorage<T: 'static> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
    _value: PhantomData<T>,
}
// SAFETY: the struct is never read; only its address is passed to the helper.
unsafe impl<T> Sync for SocketStorage<T> {}

impl<T> SocketStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
            _value: PhantomData,
        }
    }

    /// The value of a socket; null where there is none, or no memory to make one.
    ///
    /// # Safety
    /// `socket` is what the program's type passes for a socket, and not null.
    #[inline(always)]
    pub unsafe fn of(&self, socket: *mut c_void, make: bool) -> *mut T {
        bpf_sk_storage_get(
            (self as *const Self as *mut Self).cast(),
            socket,
            ptr::null_mut(),
            make as u64,
        )
        .cast()
    }
}

/// Whose each socket is; only members' sockets have an entry.
#[btf_map]
pub static SOCKETS: SocketStorage<Owner> = SocketStorage::new();

/// HTTP proxies that were declared for workloads.
#[map]
pub static PROXIES: HashMap<ProxyKey, u64> =
    HashMap::with_max_entries(MAX_PROXIES, BPF_F_NO_PREALLOC);

/// Sums over flows, per class and peer.
#[map]
pub static FLOWS: LruHashMap<FlowKey, FlowSum> = LruHashMap::with_max_entries(MAX_FLOWS, 0);

/// Sums per class.
#[map]
pub static TRAFFIC: Array<Traffic> = Array::with_max_entries(MAX_CLASSES, 0);

/// DNS questions that wait for their answers.
#[map]
pub static QUESTIONS: LruHashMap<Question, Asked> = LruHashMap::with_max_entries(MAX_QUERIES, 0);

/// Where packets are read; see [`crate::bench`].
#[map]
pub static BENCHES_IN_USE: HashMap<[u64; 2], Bench> = HashMap::with_max_entries(BENCHES, 0);

/// An empty bench to make others from: it is larger than the stack.
#[map]
pub static EMPTY_BENCH: Array<Bench> = Array::with_max_entries(1, 0);
