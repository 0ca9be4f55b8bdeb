//! io_uring: a second way into the kernel, past the system calls. Rings have to be allowed by
//! name. With rings allowed, the network hooks and the LSM hooks see what is done through them; on
//! the cgroup tier, files opened through them are seen when they are submitted.

use aya_ebpf::{
    macros::{lsm, raw_tracepoint},
    programs::{LsmContext, RawTracePointContext},
};
use monitor_common::{facility::Facility, hook::Hook};

use crate::{
    emit, facility,
    offsets::{OFFSETS, read},
    verdict::{Means, lsm_return},
    watch::{self, Member},
};

/// `[io_uring]` with its end, as two overlapping words.
const NAME_START: u64 = u64::from_le_bytes(*b"[io_urin");
const NAME_END: u64 = u64::from_le_bytes(*b"_uring]\0");

/// Sees: every new ring: its descriptor is a nameless file of its own kind.
/// Why here: kernels before 6.16 have no hook for io_uring_setup itself; the set-up fails with
/// what this returns.
/// Misses: rings that were made before membership.
/// Prototype: `inode_init_security_anon(struct inode *, const struct qstr *, const struct inode
/// *)`; -EPERM denies.
/// On error: another nameless file is let be; a name that cannot be read is a ring's.
/// Cost: one look-up for a non-member.
#[lsm(hook = "inode_init_security_anon")]
pub fn lsm_ring(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    emit::count_member(Hook::LsmRing);
    let name = read::<u64>(ctx.arg(1), OFFSETS.load().qstr_name);
    let words = name.and_then(|name| Some((read::<u64>(name, 0)?, read::<u64>(name, 3)?)));
    if !matches!(words, None | Some((NAME_START, NAME_END))) {
        return 0;
    }
    lsm_return(facility::used(
        member,
        Facility::IoUring,
        [0; 2],
        Hook::LsmRing,
        Means::Deny,
    ))
}

/// Sees: the end of io_uring_setup.
/// Why here: nothing can have been submitted yet, except by a second thread.
/// Misses: rings that were made before membership, or received.
/// Prototype: part of `sys_exit`.
/// On error: none possible.
/// Cost: two look-ups per ring of a member.
#[inline(always)]
pub fn ring_exit(member: Member, result: i64) {
    emit::count_member(Hook::RingExit);
    if result >= 0 {
        facility::used_or_killed(member, Facility::IoUring, [0; 2], Hook::RingExit);
    }
}

/// Operations that open files or change names: OPENAT, OPENAT2, RENAMEAT, UNLINKAT, MKDIRAT,
/// SYMLINKAT, LINKAT, FTRUNCATE.
const fn is_file_operation(opcode: u8) -> bool {
    matches!(opcode, 18 | 28 | 35..=39 | 55)
}

/// Sees: every request that is submitted to a ring, also by the kernel's own thread for a ring
/// that is polled.
/// Why here: on the cgroup tier nothing later knows of them; the path is not resolved yet, so that
/// all that can be judged is whether such requests are allowed.
/// Misses: what requests that were linked to this one do before the signal arrives.
/// Prototype: `io_uring_submit_req(struct io_kiocb *)`; `io_uring_submit_sqe` before Linux 6.2.
/// On error: a request that cannot be read is such an operation.
/// Cost: 100 ns per request of anybody; two look-ups more for such a request of a member.
#[raw_tracepoint(tracepoint = "io_uring_submit_req")]
pub fn ring_submit(ctx: RawTracePointContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    emit::count_member(Hook::RingSubmit);
    let opcode = read::<u8>(ctx.arg(0), OFFSETS.load().ring_opcode);
    if matches!(opcode, Some(opcode) if !is_file_operation(opcode)) {
        return 0;
    }
    let detail = [1, opcode.unwrap_or(u8::MAX) as u32];
    facility::used_or_killed(member, Facility::IoUringFiles, detail, Hook::RingSubmit);
    0
}
