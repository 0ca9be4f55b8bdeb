//! The kernel's member offsets and the settings frozen at load, and how kernel memory is read.

use core::arch::asm;

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use monitor_common::{hash::HashKey, hook::Hook, offsets::Offsets};

/// Offsets that the compiler must not take for the ones in the object.
#[repr(transparent)]
pub struct Frozen(Offsets);

impl Frozen {
    /// The offsets; only those that are used are loaded.
    #[inline(always)]
    pub fn load(&self) -> &Offsets {
        let mut offsets = &raw const self.0;
        // SAFETY: nothing is changed; the compiler only forgets where the pointer comes from.
        unsafe {
            asm!("/* {0} */", inout(reg) offsets, options(nomem, nostack, pure, preserves_flags));
            &*offsets
        }
    }
}

/// Filled from the running kernel's BTF before load.
#[unsafe(no_mangle)]
pub static OFFSETS: Frozen = Frozen(Offsets::NONE);

/// Key of the component hash; drawn at each start.
#[unsafe(no_mangle)]
pub static HASH_KEY: Global<HashKey> = Global::new(HashKey { k0: 0, k1: 0 });

/// Component hash of `proc` under that key.
#[unsafe(no_mangle)]
pub static PROC_HASH: Global<u64> = Global::new(0);

/// Component hash of `self` under that key.
#[unsafe(no_mangle)]
pub static SELF_HASH: Global<u64> = Global::new(0);

/// 1 on the cgroup tier, where the exec tracepoint has to judge because no LSM hook does.
#[unsafe(no_mangle)]
pub static EXEC_JUDGES: Global<u32> = Global::new(0);

/// Hooks that are parts of a program which several share: bit [`monitor_common::hook::Hook`] of
/// those that are wanted.
#[unsafe(no_mangle)]
pub static HOOKS_ON: Global<u64> = Global::new(0);

/// Reads kernel memory at `base + offset`; `None` where it cannot be read.
#[inline(always)]
pub fn read<T>(base: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel((base + offset as u64) as *const T) }.ok()
}

/// Whether a part of a shared program is wanted: known at load, so that the verifier drops what is
/// not.
#[inline(always)]
pub fn on(hook: Hook) -> bool {
    HOOKS_ON.load() & 1 << hook as u64 != 0
}
