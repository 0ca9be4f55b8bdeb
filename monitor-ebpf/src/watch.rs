//! Membership: is this task ours, and which class?

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use monitor_common::{
    class::{Class, ClassId, Control, NONE, membership},
    limits::MEMBERS_PER_PAGE,
};

use crate::bounds::below_4096;
use crate::maps::{CLASSES, CONTROL, MEMBER};

/// A current task that is ours.
#[derive(Clone, Copy)]
pub struct Member {
    /// Its process.
    pub tgid: u32,
    /// Its class.
    pub class: ClassId,
}

impl Member {
    /// As one number, for functions that are not inlined.
    #[inline(always)]
    pub fn packed(self) -> u64 {
        self.tgid as u64 | (self.class as u64) << 32
    }

    /// Back from [`Self::packed`].
    #[inline(always)]
    pub fn unpacked(packed: u64) -> Self {
        Self {
            tgid: packed as u32,
            class: (packed >> 32) as ClassId,
        }
    }
}

/// The current task, if it is ours.
#[inline(always)]
pub fn current() -> Option<Member> {
    let tgid = current_tgid();
    let class = class_of(tgid);
    if class == NONE {
        None
    } else {
        Some(Member { tgid, class })
    }
}

/// Process id of the current task.
#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn slot(tgid: u32) -> Option<*mut u16> {
    const _: () = assert!(MEMBERS_PER_PAGE == 2048);
    let page = MEMBER.get_ptr_mut(tgid >> 11)?;
    let offset = below_4096((tgid as u64) << 1);
    // SAFETY: the offset is below the size of the array's element.
    Some(unsafe { page.cast::<u8>().add(offset as usize) }.cast())
}

/// Class of a process.
#[inline(always)]
pub fn class_of(tgid: u32) -> ClassId {
    membership(entry_of(tgid))
}

/// What is noted for a process: its class, or a ticket for one.
#[inline(always)]
pub fn entry_of(tgid: u32) -> ClassId {
    match slot(tgid) {
        // SAFETY: points into the map.
        Some(p) => unsafe { read_volatile(p) },
        None => NONE,
    }
}

/// Changes the class of a process.
#[inline(always)]
pub fn set_class(tgid: u32, class: ClassId) {
    if let Some(p) = slot(tgid) {
        // SAFETY: points into the map; two aligned bytes are stored at once.
        unsafe { write_volatile(p, class) }
    }
}

/// What a class is.
#[inline(always)]
pub fn describe(class: ClassId) -> Option<Class> {
    CLASSES.get(class as u32).copied()
}

/// What applies to a class now; an unknown class is controlled by nothing: learn, no policy.
#[inline(always)]
pub fn control(class: ClassId) -> Control {
    match CONTROL.get_ptr(class as u32) {
        // SAFETY: points into the map; eight aligned bytes are read at once.
        Some(p) => Control(unsafe { read_volatile(p) }),
        None => Control(0),
    }
}
