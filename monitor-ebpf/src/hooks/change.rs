//! Change family: names that are added, removed and moved, and files that are cut. The LSM tier
//! denies by path; the cgroup tier knows only that it happened.
//!
//! A change needs permission to write every name that it is about: who may write a name may move
//! what is there. A name that is forbidden may not be traded for one that is less so, whatever else
//! allows both.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use monitor_common::{
    class::{Control, Family},
    event::{Kind, Verdict, change::Action, flag},
    facility::Facility,
    hook::Hook,
    path::permission::{EXEC, READ, WRITE},
};

use super::open;
use crate::{
    emit::{self, Subject},
    facility,
    maps::SCRATCH,
    offsets::{OFFSETS, read},
    path::{self, Permissions, Place, Scratch},
    verdict::{Means, judge, lsm_return, worse},
    watch::{self, Member},
};

/// Permissions that a file must not gain by another name.
const ALL: u8 = READ | WRITE | EXEC;
/// `S_IFMT` and `S_IFDIR` of `i_mode`.
const TYPE: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
/// Of renameat2(2): both names stay, and change places.
const RENAME_EXCHANGE: u64 = 2;

/// Sees: every removal of a file's name: unlink, unlinkat, io_uring.
/// Why here: parent and name are the kernel's own; EPERM reaches the caller.
/// Misses: files that a file system removes by itself.
/// Prototype: `path_unlink(const struct path *dir, struct dentry *dentry)`; -EPERM denies.
/// On error: treated as not allowed.
/// Cost: one look-up for a non-member; about 1 µs for a member.
#[lsm(hook = "path_unlink")]
pub fn lsm_unlink(ctx: LsmContext) -> i32 {
    below(Hook::LsmUnlink, Action::Unlink, ctx.arg(0), ctx.arg(1))
}

/// Sees: every removal of a directory.
/// Why here: as `lsm_unlink`.
/// Misses: nothing known.
/// Prototype: `path_rmdir(const struct path *dir, struct dentry *dentry)`; -EPERM denies.
/// On error: as `lsm_unlink`.
/// Cost: as `lsm_unlink`.
#[lsm(hook = "path_rmdir")]
pub fn lsm_rmdir(ctx: LsmContext) -> i32 {
    below(Hook::LsmRmdir, Action::Rmdir, ctx.arg(0), ctx.arg(1))
}

/// Sees: every new symbolic link. Opening through it is judged by where it leads.
/// Why here: as `lsm_unlink`.
/// Misses: nothing known.
/// Prototype: `path_symlink(const struct path *dir, struct dentry *, const char *old)`; -EPERM
/// denies.
/// On error: as `lsm_unlink`.
/// Cost: as `lsm_unlink`.
#[lsm(hook = "path_symlink")]
pub fn lsm_symlink(ctx: LsmContext) -> i32 {
    below(Hook::LsmSymlink, Action::Symlink, ctx.arg(0), ctx.arg(1))
}

/// Sees: every new directory.
/// Why here: as `lsm_unlink`.
/// Misses: nothing known.
/// Prototype: `path_mkdir(const struct path *dir, struct dentry *, umode_t)`; -EPERM denies.
/// On error: as `lsm_unlink`.
/// Cost: as `lsm_unlink`.
#[lsm(hook = "path_mkdir")]
pub fn lsm_mkdir(ctx: LsmContext) -> i32 {
    below(Hook::LsmMkdir, Action::Mkdir, ctx.arg(0), ctx.arg(1))
}

/// Sees: every new device, pipe and socket, and every file that an open creates.
/// Why here: before it is there: an open that is denied leaves no empty file behind.
/// Misses: nameless files (O_TMPFILE); naming them is a link.
/// Prototype: `path_mknod(const struct path *dir, struct dentry *, umode_t, unsigned)`; -EPERM
/// denies.
/// On error: as `lsm_unlink`.
/// Cost: as `lsm_unlink`.
#[lsm(hook = "path_mknod")]
pub fn lsm_mknod(ctx: LsmContext) -> i32 {
    below(Hook::LsmMknod, Action::Mknod, ctx.arg(0), ctx.arg(1))
}

/// Sees: truncate by path; an open that cuts, and on Linux 6.1 ftruncate.
/// Why here: as `lsm_unlink`.
/// Misses: ftruncate from Linux 6.2 on: its file was opened for writing, and judged then.
/// Prototype: `path_truncate(const struct path *)`; -EPERM denies.
/// On error: as `lsm_unlink`.
/// Cost: as `lsm_unlink`.
#[lsm(hook = "path_truncate")]
pub fn lsm_truncate(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    one(
        member,
        Hook::LsmTruncate,
        Action::Truncate,
        Place::of(ctx.arg(0), 0),
    )
}

/// Sees: every rename: rename, renameat, renameat2 with both its exchanges and its whiteouts.
/// Why here: as `lsm_unlink`, with both names.
/// Misses: nothing known.
/// Prototype: `path_rename(const struct path *from, struct dentry *, const struct path *to, struct
/// dentry *, unsigned flags)`; -EPERM denies. Before Linux 5.19 without flags, and called once more
/// the other way round for an exchange.
/// On error: as `lsm_unlink`.
/// Cost: one look-up for a non-member; about 4 µs for a member.
#[lsm(hook = "path_rename")]
pub fn lsm_rename(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let (from, to) = (name(ctx.arg(0), ctx.arg(1)), name(ctx.arg(2), ctx.arg(3)));
    let flags: u64 = ctx.arg(4);
    let exchange = flags & RENAME_EXCHANGE != 0;
    let actions = [Action::RenameFrom, Action::RenameTo];
    two(member, Hook::LsmRename, actions, from, to, exchange)
}

/// Sees: every further name for a file: link, linkat, also of a nameless or a passed file.
/// Why here: as `lsm_unlink`, with both names; both lie on the same mount.
/// Misses: nothing known.
/// Prototype: `path_link(struct dentry *old, const struct path *dir, struct dentry *new)`; -EPERM
/// denies.
/// On error: as `lsm_unlink`.
/// Cost: as `lsm_rename`.
#[lsm(hook = "path_link")]
pub fn lsm_link(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let (from, to) = (name(ctx.arg(1), ctx.arg(0)), name(ctx.arg(1), ctx.arg(2)));
    let actions = [Action::LinkFrom, Action::LinkTo];
    two(member, Hook::LsmLink, actions, from, to, false)
}

/// Sees: the end of system calls that have changed names.
/// Why here: the cgroup tier has no hook in which the names are the kernel's own: which kind of
/// change it was is all that is known, and judged as a facility.
/// Misses: which names; io_uring (see `ring_submit`); ftruncate, whose file was judged when opened.
/// Prototype: part of `sys_exit`.
/// On error: none possible.
/// Cost: two look-ups per change of a member.
#[inline(always)]
pub fn names_exit(member: Member, which: Facility, result: i64) {
    emit::count_member(Hook::NamesExit);
    if result == 0 {
        facility::used_or_killed(member, which, [0; 2], Hook::NamesExit);
    }
}

/// A name in the directory that a `struct path` names.
#[inline(always)]
fn name(directory: u64, dentry: u64) -> Option<Place> {
    let mount = Place::of(directory, 0)?.mount;
    Some(Place { mount, dentry })
}

#[inline(always)]
fn below(hook: Hook, action: Action, directory: u64, dentry: u64) -> i32 {
    match watch::current() {
        Some(member) => one(member, hook, action, name(directory, dentry)),
        None => 0,
    }
}

/// Looks at a name: what it is and what policy and invariants make of it is left in the scratch.
/// Not 1 if it cannot be told, which is counted here. A function of its own, so that the verifier
/// forgets how it went; and with something to do where it fails: when both failures were mere
/// returns, what LLVM made of them had Linux 6.1 (and no other kernel tried) fail the second look of
/// every link.
#[inline(never)]
fn walk(scratch: *mut Scratch, mount: u64, dentry: u64, policy: u32, hook: u64) -> u64 {
    // SAFETY: the number of a hook, from `look`.
    let hook: Hook = unsafe { core::mem::transmute(hook as u8) };
    let Some(id) = path::identify_name(Place { mount, dentry }) else {
        emit::count_error(hook, line!());
        return 0;
    };
    let Some(p) = path::permissions(scratch, &id, policy) else {
        emit::count_error(hook, line!());
        return 0;
    };
    // SAFETY: the task's own storage, checked by the caller.
    unsafe {
        (*scratch).found = id;
        (*scratch).permissions = p;
    }
    1
}

#[inline(always)]
fn look(
    hook: Hook,
    scratch: *mut Scratch,
    place: Option<Place>,
    policy: u32,
) -> Option<Permissions> {
    let Some(place) = place else {
        emit::count_error(hook, line!());
        return None;
    };
    if scratch.is_null() {
        emit::count_error(hook, line!());
        return None;
    }
    if walk(scratch, place.mount, place.dentry, policy, hook as u64) != 1 {
        return None;
    }
    // SAFETY: checked above.
    Some(unsafe { (&raw const (*scratch).permissions).read_volatile() })
}

#[inline(always)]
fn one(member: Member, hook: Hook, action: Action, place: Option<Place>) -> i32 {
    emit::count_member(hook);
    let control = watch::control(member.class);
    let scratch = SCRATCH.current();
    let Some(p) = look(hook, scratch, place, control.policy()) else {
        return undecided(control);
    };
    if p.layer {
        return 0;
    }
    lsm_return(tell(
        member,
        hook,
        action,
        control,
        scratch,
        p.denied & WRITE != 0,
    ))
}

/// Both names of one change. The source must not be better guarded than what it becomes.
#[inline(always)]
fn two(
    member: Member,
    hook: Hook,
    actions: [Action; 2],
    from: Option<Place>,
    to: Option<Place>,
    exchange: bool,
) -> i32 {
    emit::count_member(hook);
    let control = watch::control(member.class);
    let scratch = SCRATCH.current();
    let Some(before) = look(hook, scratch, from, control.policy()) else {
        return undecided(control);
    };
    if before.layer {
        return 0;
    }
    // SAFETY: checked by `look`.
    let directory = is_directory(unsafe { (*scratch).found.inode });
    let Some(after) = look(hook, scratch, to, control.policy()) else {
        return undecided(control);
    };
    let mut gains = gains(&before, &after);
    if exchange {
        gains |= self::gains(&after, &before);
    }
    if directory || exchange {
        gains |= before.deny_state != after.deny_state;
    }
    let forbidden = after.denied & WRITE != 0;
    let target = tell(member, hook, actions[1], control, scratch, forbidden);
    // Once more, because the scratch holds one path at a time.
    if look(hook, scratch, from, control.policy()).is_none() {
        return undecided(control);
    }
    let forbidden = gains || before.denied & WRITE != 0;
    let source = tell(member, hook, actions[0], control, scratch, forbidden);
    lsm_return(worse(source, target))
}

/// Whether something forbidden under the one name would not be under the other.
#[inline(always)]
fn gains(before: &Permissions, after: &Permissions) -> bool {
    before.denied & !after.denied & ALL != 0
}

/// A directory takes what is below it along.
#[inline(always)]
fn is_directory(inode: u64) -> bool {
    let mode = read::<u16>(inode, OFFSETS.load().inode_mode);
    !matches!(mode, Some(mode) if mode & TYPE != DIRECTORY)
}

#[inline(always)]
fn undecided(control: Control) -> i32 {
    lsm_return(judge(control, Family::Write, false, false, Means::Deny))
}

/// Judges the name that was looked at last, and reports the change.
#[inline(always)]
fn tell(
    member: Member,
    hook: Hook,
    action: Action,
    control: Control,
    scratch: *mut Scratch,
    forbidden: bool,
) -> Verdict {
    let what = hook as u64 | (action as u64) << 8 | (forbidden as u64) << 16;
    match judged(scratch, member.packed(), what, control.0) {
        BLOCKED => Verdict::Blocked,
        WOULD_BLOCK => Verdict::WouldBlock,
        _ => Verdict::Known,
    }
}

const BLOCKED: u64 = Verdict::Blocked as u64;
const WOULD_BLOCK: u64 = Verdict::WouldBlock as u64;

/// As [`walk`], a function of its own.
#[inline(never)]
fn judged(scratch: *mut Scratch, who: u64, what: u64, control: u64) -> u64 {
    let member = Member::unpacked(who);
    // SAFETY: the number of a hook, packed by the caller.
    let hook: Hook = unsafe { core::mem::transmute(what as u8) };
    let control = Control(control);
    let forbidden = what >> 16 != 0;
    // SAFETY: the task's own storage, checked by the caller.
    let (id, p) = unsafe { ((*scratch).found, (*scratch).permissions) };
    let allowed = p.allowed & WRITE != 0;
    let verdict = judge(control, Family::Write, allowed, forbidden, Means::Deny);
    let invariant = if forbidden { flag::INVARIANT } else { 0 };
    let s = Subject {
        hook,
        kind: Kind::Change,
        family: Family::Write,
        class: member.class,
        control,
        verdict,
        flags: p.flags | invariant,
    };
    open::report(&s, member, scratch, &id, (what >> 8) as u8);
    verdict as u64
}
