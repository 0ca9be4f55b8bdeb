//! Mounts and namespaces: what could give a file another path. Judged as facilities, whatever is
//! mounted where: a workload either needs this or does not.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use monitor_common::{facility::Facility, hook::Hook};

use crate::{
    emit, facility,
    offsets::{OFFSETS, read},
    verdict::{Means, lsm_return},
    watch::{self, Member},
};

/// `CLONE_NEWNS`, `CLONE_NEWUSER`
const NEW_MOUNTS: u64 = 0x0002_0000;
const NEW_USERS: u64 = 0x1000_0000;
/// `OPEN_TREE_CLONE`
const TREE_CLONE: u64 = 1;

/// Sees: every mount(2): new file systems, bind mounts, remounts, moves.
/// Why here: before anything is mounted; EPERM reaches the caller.
/// Misses: mounts that the kernel makes by itself (automounts).
/// Prototype: `sb_mount(const char *, const struct path *, const char *, unsigned long, void *)`;
/// -EPERM denies.
/// On error: none possible.
/// Cost: one look-up for a non-member; two more for a member.
#[lsm(hook = "sb_mount")]
pub fn lsm_mount(_: LsmContext) -> i32 {
    denied(Hook::LsmMount, Facility::Mount)
}

/// Sees: every move_mount(2): the last step of the newer mount interface, also for open_tree.
/// Why here: a detached mount has no path until then, and what lies in it is not allowed.
/// Misses: as `lsm_mount`.
/// Prototype: `move_mount(const struct path *from, const struct path *to)`; -EPERM denies.
/// On error: none possible.
/// Cost: as `lsm_mount`.
#[lsm(hook = "move_mount")]
pub fn lsm_move_mount(_: LsmContext) -> i32 {
    denied(Hook::LsmMoveMount, Facility::Mount)
}

/// Sees: every umount(2): what lay under the mount shows again.
/// Why here: as `lsm_mount`.
/// Misses: mounts that expire or go with their namespace.
/// Prototype: `sb_umount(struct vfsmount *, int)`; -EPERM denies.
/// On error: none possible.
/// Cost: as `lsm_mount`.
#[lsm(hook = "sb_umount")]
pub fn lsm_umount(_: LsmContext) -> i32 {
    denied(Hook::LsmUmount, Facility::Mount)
}

/// Sees: every pivot_root(2), which changes where paths begin.
/// Why here: as `lsm_mount`.
/// Misses: chroot, which does not: paths are followed beyond it.
/// Prototype: `sb_pivotroot(const struct path *, const struct path *)`; -EPERM denies.
/// On error: none possible.
/// Cost: as `lsm_mount`.
#[lsm(hook = "sb_pivotroot")]
pub fn lsm_pivot_root(_: LsmContext) -> i32 {
    denied(Hook::LsmPivotRoot, Facility::Mount)
}

/// Sees: every new user namespace, which gives its maker every capability inside it.
/// Why here: clone, clone3 and unshare all come here.
/// Misses: Linux before 6.1 has no such hook.
/// Prototype: `userns_create(const struct cred *)`; -EPERM denies.
/// On error: none possible.
/// Cost: as `lsm_mount`.
#[lsm(hook = "userns_create")]
pub fn lsm_user_namespace(_: LsmContext) -> i32 {
    denied(Hook::LsmUserNamespace, Facility::UserNamespace)
}

#[inline(always)]
fn denied(hook: Hook, which: Facility) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    emit::count_member(hook);
    lsm_return(facility::used(member, which, [0; 2], hook, Means::Deny))
}

/// Sees: the end of mount, umount, pivot_root, move_mount, open_tree, fsmount and mount_setattr.
/// Why here: that it succeeded is all that has to be known.
/// Misses: the mount is made: a second process in the same namespace can use it before the signal.
/// Prototype: part of `sys_exit`.
/// On error: none possible.
/// Cost: two look-ups per mount of a member.
#[inline(always)]
pub fn mount_exit(member: Member, result: i64) {
    emit::count_member(Hook::MountExit);
    if result >= 0 {
        facility::used_or_killed(member, Facility::Mount, [0; 2], Hook::MountExit);
    }
}

/// The same for open_tree, which only sometimes makes a mount.
#[inline(always)]
pub fn open_tree_exit(member: Member, flags: Option<u64>, result: i64) {
    if !matches!(flags, Some(flags) if flags & TREE_CLONE == 0) {
        mount_exit(member, result);
    }
}

/// The end of unshare, by its flags, and of setns, by the kind of namespace; of any kind where the
/// caller does not say. Both are registers of the call, not memory.
#[inline(always)]
pub fn namespace_exit(member: Member, kinds: Option<u64>, result: i64) {
    emit::count_member(Hook::MountExit);
    let kinds = match kinds {
        Some(0) | None => NEW_MOUNTS | NEW_USERS,
        Some(kinds) => kinds,
    };
    if result == 0 {
        entered(member, kinds & NEW_MOUNTS != 0, kinds & NEW_USERS != 0);
    }
}

/// The end of clone in the child, before its first instruction, by the flags: a register.
#[inline(always)]
pub fn clone_exit(member: Member, flags: Option<u64>, result: i64) {
    if result == 0 {
        emit::count_member(Hook::MountExit);
        let flags = flags.unwrap_or(NEW_MOUNTS | NEW_USERS);
        entered(member, flags & NEW_MOUNTS != 0, flags & NEW_USERS != 0);
    }
}

/// The same for clone3, whose flags are in memory: what they were is seen by comparing namespaces,
/// a child's with its parent's, a thread's with those of the first one.
#[inline(always)]
pub fn clone3_exit(member: Member, task: u64, result: i64) {
    if result != 0 {
        return;
    }
    emit::count_member(Hook::MountExit);
    let o = OFFSETS.load();
    let from = match read::<u64>(task, o.task_leader) {
        Some(leader) if leader != task => Some(leader),
        Some(_) => read::<u64>(task, o.task_real_parent),
        None => None,
    };
    let Some(from) = from else {
        emit::count_error(Hook::MountExit, line!());
        return;
    };
    let mounts = mounts_of(task) != mounts_of(from);
    entered(member, mounts, users_of(task) != users_of(from));
}

#[inline(always)]
fn mounts_of(task: u64) -> Option<u64> {
    let o = OFFSETS.load();
    read::<u64>(read::<u64>(task, o.task_nsproxy)?, o.nsproxy_mnt)
}

#[inline(always)]
fn users_of(task: u64) -> Option<u64> {
    let o = OFFSETS.load();
    read::<u64>(read::<u64>(task, o.task_cred)?, o.cred_user_ns)
}

#[inline(always)]
fn entered(member: Member, mounts: bool, users: bool) {
    if users {
        facility::used_or_killed(member, Facility::UserNamespace, [0; 2], Hook::MountExit);
    }
    if mounts {
        facility::used_or_killed(member, Facility::Mount, [0; 2], Hook::MountExit);
    }
}
