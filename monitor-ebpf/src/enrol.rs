//! Enrolment: which class a program that is being executed gets. See `monitor_common::enrol`.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_uid_gid,
    generated::{bpf_get_current_ancestor_cgroup_id, bpf_loop},
};
use monitor_common::{
    class::{ClassId, NONE},
    enrol::{ArgumentKey, CGROUP_DEPTH, ExecutableKey, ExecutableRules, SLOTS},
    hash::{FNV_BASIS, fnv_step},
    limits::EVENT_ARGV,
};

use crate::{
    bounds::below_512,
    maps::{ARGUMENTS, EXECUTABLES},
    path::Scratch,
};

#[repr(C)]
struct Context {
    scratch: *mut Scratch,
    key: ExecutableKey,
}

/// One byte of the arguments: whole arguments and last path components are looked up at their end.
unsafe extern "C" fn argument_callback(i: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context that `bpf_loop` was given.
    let context = unsafe { &*(context as *const Context) };
    // SAFETY: task storage, checked by the caller.
    let s = unsafe { &mut *context.scratch };
    const _: () = assert!(EVENT_ARGV == 512);
    if i >= s.event.argv_length as u32 || i >= EVENT_ARGV as u32 {
        return 1;
    }
    // SAFETY: inside the array.
    let byte = unsafe { *s.event.argv.as_ptr().add(below_512(i as u64) as usize) };
    if byte == 0 {
        let full = ArgumentKey {
            executable: context.key,
            hash: s.argument_full,
        };
        // SAFETY: copied out at once.
        if let Some(bits) = unsafe { ARGUMENTS.get(full) } {
            s.argument_bits |= *bits;
        }
        let base = ArgumentKey {
            executable: context.key,
            hash: s.argument_base,
        };
        // SAFETY: copied out at once.
        if let Some(bits) = unsafe { ARGUMENTS.get(base) } {
            s.argument_bits |= *bits;
        }
        s.argument_full = FNV_BASIS;
        s.argument_base = FNV_BASIS;
    } else {
        s.argument_full = fnv_step(s.argument_full, byte);
        s.argument_base = if byte == b'/' {
            FNV_BASIS
        } else {
            fnv_step(s.argument_base, byte)
        };
    }
    0
}

/// Whether the current task is in a cgroup or below it.
#[inline(always)]
fn in_cgroup(id: u64) -> bool {
    for level in 0..CGROUP_DEPTH {
        // SAFETY: a helper without pointers.
        let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if ancestor == id {
            return true;
        }
        if ancestor == 0 {
            return false;
        }
    }
    false
}

#[inline(always)]
fn class_among(rules: &ExecutableRules, bits: u64, user: u32) -> ClassId {
    for i in 0..SLOTS {
        let class = rules.class[i];
        if class == NONE {
            continue;
        }
        let need = rules.arguments[i];
        if (bits >> (8 * i)) as u8 & need != need {
            continue;
        }
        if rules.user[i] != u32::MAX && rules.user[i] != user {
            continue;
        }
        if rules.cgroup[i] != 0 && !in_cgroup(rules.cgroup[i]) {
            continue;
        }
        return class;
    }
    NONE
}

#[inline(always)]
fn class_for_key(scratch: *mut Scratch, key: ExecutableKey) -> ClassId {
    // SAFETY: copied from only while the entry lives; the daemon replaces rules rarely, and a torn
    // read enrols at worst by the old or the new rule.
    let Some(rules) = (unsafe { EXECUTABLES.get(key) }) else {
        return NONE;
    };
    // SAFETY: task storage, checked by the caller.
    let s = unsafe { &mut *scratch };
    s.argument_bits = 0;
    s.argument_full = FNV_BASIS;
    s.argument_base = FNV_BASIS;
    let mut context = Context { scratch, key };
    // SAFETY: callback and context outlive the call.
    unsafe {
        bpf_loop(
            EVENT_ARGV as u32,
            argument_callback as *mut c_void,
            (&raw mut context).cast(),
            0,
        )
    };
    class_among(rules, s.argument_bits, bpf_get_current_uid_gid() as u32)
}

/// Whether any rule could apply to this program: asked before anything dear is done.
#[inline(always)]
pub fn is_candidate(key: ExecutableKey) -> bool {
    // SAFETY: only their presence is asked.
    unsafe {
        EXECUTABLES.get(key).is_some()
            || EXECUTABLES
                .get(ExecutableKey {
                    device: 0,
                    inode: 0,
                })
                .is_some()
    }
}

/// Class that the rules give a program; its arguments are in the scratch's event.
#[inline(always)]
pub fn class_for(scratch: *mut Scratch, key: ExecutableKey) -> ClassId {
    match class_for_key(scratch, key) {
        NONE => class_for_key(
            scratch,
            ExecutableKey {
                device: 0,
                inode: 0,
            },
        ),
        class => class,
    }
}
