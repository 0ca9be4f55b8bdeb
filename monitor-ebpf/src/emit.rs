//! Telemetry: counting behaviour, filling event headers, writing to the rings. A verdict never
//! depends on anything here.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task,
        bpf_get_current_uid_gid, bpf_ktime_get_ns, generated::bpf_get_current_cgroup_id,
        generated::bpf_ringbuf_output,
    },
    maps::RingBuf,
};
use monitor_common::{
    class::{ClassId, Control, Family},
    event::{Header, Kind, Verdict},
    hook::{Hook, HookCounters},
    limits::DENIAL_QUIET_NS,
    seen::{Seen, SeenKey},
};

use crate::{
    maps::{COUNTERS, OBSERVATIONS, SEEN, VERDICTS},
    offsets::{OFFSETS, read},
};

/// `BPF_RB_NO_WAKEUP`: the daemon drains on a timer.
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`: the daemon is told at once.
const FORCE_WAKEUP: u64 = 2;

/// Adds atomically: the hooks can be preempted between load and store. In assembly, because core
/// offers no atomic arithmetic for this target.
#[inline(always)]
pub fn add(counter: *mut u64, n: u64) {
    // SAFETY: points to an aligned field of a map value.
    unsafe {
        asm!("lock *(u64 *)({p} + 0) += {n}", p = in(reg) counter, n = in(reg) n, options(nostack))
    };
}

macro_rules! counter {
    ($name:ident, $field:ident, $doc:literal) => {
        #[doc = $doc]
        #[inline(always)]
        pub fn $name(hook: Hook) {
            if let Some(c) = COUNTERS.get_ptr_mut(hook as u32) {
                // SAFETY: a field of a map value.
                add(unsafe { &raw mut (*c).$field }, 1);
            }
        }
    };
}
counter!(count_member, member, "Counts a run for a member.");
counter!(count_denied, denied, "Counts a denial.");
counter!(count_killed, killed, "Counts a kill.");
counter!(
    count_dropped,
    dropped,
    "Counts an event that no ring had room for."
);

/// Counts a failure to do the hook's work, and remembers its place.
#[inline(always)]
pub fn count_error(hook: Hook, place: u32) {
    if let Some(c) = COUNTERS.get_ptr_mut(hook as u32) {
        let c: *mut HookCounters = c;
        // SAFETY: fields of a map value.
        unsafe {
            add(&raw mut (*c).errors, 1);
            (&raw mut (*c).last_error).write_volatile(place as u64);
        }
    }
}

/// Counts what a verdict did.
#[inline(always)]
pub fn count_verdict(hook: Hook, verdict: Verdict) {
    match verdict {
        Verdict::Blocked => count_denied(hook),
        Verdict::Killed => count_killed(hook),
        _ => {}
    }
}

/// Who, and how it was judged: what makes up a header.
#[derive(Clone, Copy)]
pub struct Subject {
    pub hook: Hook,
    pub kind: Kind,
    pub family: Family,
    pub class: ClassId,
    pub control: Control,
    pub verdict: Verdict,
    pub flags: u8,
}

/// Key of the behaviour; adverse verdicts are counted per process.
#[inline(always)]
pub fn seen_key(s: &Subject, tgid: u32, access: u8, hash: u64) -> SeenKey {
    SeenKey {
        hash,
        tgid: if s.verdict.is_adverse() { tgid } else { 0 },
        class: s.class,
        kind: s.kind as u8,
        verdict: s.verdict as u8 | access << 4,
    }
}

/// Counts a behaviour. `Some(n)` if it is to be reported now, n times since the last report.
#[inline(always)]
pub fn note(key: &SeenKey, adverse: bool) -> Option<u64> {
    note_when(key, |since| adverse && since >= DENIAL_QUIET_NS)
}

/// The same where it is `due` again so many nanoseconds after the last report.
#[inline(always)]
pub fn note_when(key: &SeenKey, due: impl FnOnce(u64) -> bool) -> Option<u64> {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(seen) = SEEN.get_ptr_mut(key) {
        // SAFETY: fields of a map value.
        unsafe {
            add(&raw mut (*seen).count, 1);
            if !due(now.wrapping_sub((*seen).reported_at)) {
                return None;
            }
            let count = (*seen).count;
            let news = count.wrapping_sub((*seen).reported);
            (*seen).reported = count;
            (*seen).reported_at = now;
            return Some(news);
        }
    }
    let first = Seen {
        count: 1,
        reported: 1,
        reported_at: now,
    };
    // A failure only means that it is reported again.
    let _ = SEEN.insert(key, first, 0);
    Some(1)
}

/// Start of the current process, nanoseconds since boot; 0 where it cannot be read.
#[inline(always)]
pub fn start_time(task: u64) -> u64 {
    let o = OFFSETS.load();
    match read::<u64>(task, o.task_leader) {
        Some(leader) => read::<u64>(leader, o.task_start).unwrap_or(0),
        None => 0,
    }
}

/// The part of a header that names the process.
#[derive(Clone, Copy)]
pub struct Who {
    pub start_time: u64,
    pub cgroup: u64,
    pub tgid: u32,
    pub pid: u32,
    pub uid: u32,
    pub comm: [u8; 16],
}

/// The current process.
#[inline(always)]
fn me() -> Who {
    let id = bpf_get_current_pid_tgid();
    // SAFETY: helpers without arguments.
    let (cgroup, task) = unsafe { (bpf_get_current_cgroup_id(), bpf_get_current_task()) };
    Who {
        start_time: start_time(task),
        cgroup,
        tgid: (id >> 32) as u32,
        pid: id as u32,
        uid: bpf_get_current_uid_gid() as u32,
        comm: bpf_get_current_comm().unwrap_or([0; 16]),
    }
}

/// The current process in programs that lack the helpers for it: read from its task.
#[inline(always)]
pub fn who(task: u64) -> Option<Who> {
    let o = OFFSETS.load();
    let cred = read::<u64>(task, o.task_cred)?;
    let groups = read::<u64>(task, o.task_cgroups)?;
    let cgroup = read::<u64>(groups, o.css_set_cgroup)
        .and_then(|group| read::<u64>(group, o.cgroup_node))
        .and_then(|node| read::<u64>(node, o.node_id));
    Some(Who {
        start_time: start_time(task),
        cgroup: cgroup?,
        tgid: read::<u32>(task, o.task_tgid)?,
        pid: read::<u32>(task, o.task_pid)?,
        uid: read::<u32>(cred, o.cred_uid)?,
        comm: read::<[u8; 16]>(task, o.task_comm)?,
    })
}

/// Fills every byte of a header about the current process.
#[inline(always)]
pub fn header(s: &Subject, count: u64, length: u32) -> Header {
    header_of(s, count, length, &me())
}

/// Fills every byte of a header.
#[inline(always)]
pub fn header_of(s: &Subject, count: u64, length: u32, who: &Who) -> Header {
    Header {
        // SAFETY: a helper without arguments.
        time: unsafe { bpf_ktime_get_ns() },
        start_time: who.start_time,
        cgroup: who.cgroup,
        count,
        tgid: who.tgid,
        pid: who.pid,
        uid: who.uid,
        policy: s.control.policy(),
        length,
        class: s.class,
        kind: s.kind as u8,
        hook: s.hook as u8,
        verdict: s.verdict as u8,
        flags: s.flags,
        family: s.family as u8,
        mode: s.control.mode_bits(s.family),
        zero: 0,
        comm: who.comm,
    }
}

/// Writes an event; adverse verdicts go to their own ring and wake the daemon. False if there was
/// no room: the drop is counted.
#[inline(always)]
pub fn output(hook: Hook, verdict: Verdict, data: *const u8, length: u64) -> bool {
    let (ring, flags): (&RingBuf, u64) = if verdict.is_adverse() {
        (&VERDICTS, FORCE_WAKEUP)
    } else {
        (&OBSERVATIONS, NO_WAKEUP)
    };
    let ring = ring as *const RingBuf as *mut c_void;
    // SAFETY: the helper checks map, address and length.
    let r = unsafe { bpf_ringbuf_output(ring, data as *mut c_void, length, flags) };
    if r != 0 {
        count_dropped(hook);
    }
    r == 0
}

/// Forgets a behaviour whose report was dropped, so that its next occurrence is reported.
#[inline(always)]
pub fn forget(key: &SeenKey) {
    let _ = SEEN.remove(key);
}
