//! Map family: files that a member maps into its memory. Only told, never judged: the file was
//! judged when it was opened. How a server loads its model shows here.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use monitor_common::{
    class::Family,
    event::{
        Kind, Verdict,
        exec::EXEC_FIXED,
        map::{MAP_FIXED, MapEvent, protection},
    },
    hook::Hook,
    limits::LARGE_FILE,
};

use super::open;
use crate::{
    emit::{self, Subject},
    maps::SCRATCH,
    offsets::{OFFSETS, read},
    path,
    watch::{self, Member},
};

/// `MAP_SHARED` among the flags of mmap(2); part of `MAP_SHARED_VALIDATE`.
const SHARED: u64 = 1;
/// `MAP_ANONYMOUS`
const ANONYMOUS: u64 = 0x20;
/// `S_IFMT` and `S_IFREG` of `i_mode`.
const TYPE: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;

/// Sees: every mapping of a file, by mmap and by the kernel when it starts a program.
/// Why here: file and protection are the kernel's own.
/// Misses: protection that is changed afterwards (mprotect); shared memory without a file.
/// Prototype: `mmap_file(struct file *, unsigned long reqprot, unsigned long prot, unsigned long
/// flags)`; never denies.
/// On error: nothing is told; counted.
/// Cost: one look-up for a non-member; 1 µs for what a member maps of executable or large files.
#[lsm(hook = "mmap_file")]
pub fn lsm_map(ctx: LsmContext) -> i32 {
    if let Some(member) = watch::current() {
        let (file, protection): (u64, u64) = (ctx.arg(0), ctx.arg(2));
        if file != 0 {
            mapped(member, file, protection, ctx.arg(3), Hook::LsmMap);
        }
    }
    0
}

/// Sees: the end of mmap.
/// Why here: the file is in the descriptor table, as for `open_exit`.
/// Misses: as `lsm_map`; the mappings of a program that starts; the old mmap of 32-bit programs.
/// Prototype: part of `sys_exit`.
/// On error: as `lsm_map`.
/// Cost: as `lsm_map`.
#[inline(always)]
pub fn map_exit(member: Member, task: u64, call: [Option<u64>; 3], result: i64) {
    let [Some(protection), Some(flags), Some(fd)] = call else {
        return;
    };
    // The kernel's errors are the last addresses.
    if flags & ANONYMOUS != 0 || (-4095..0).contains(&result) {
        return;
    }
    if let Some(file) = open::file_of(task, fd as u32) {
        mapped(member, file, protection, flags, Hook::MapExit);
    }
}

#[inline(always)]
fn mapped(member: Member, file: u64, prot: u64, flags: u64, hook: Hook) {
    emit::count_member(hook);
    let how = prot & 7 | (flags & SHARED) << 3;
    if told(
        member.packed(),
        file,
        how,
        matches!(hook, Hook::LsmMap) as u64,
    ) == 0
    {
        emit::count_error(hook, line!());
    }
}

/// A function of its own, with numbers for arguments: see `facility::judged`.
#[inline(never)]
fn told(who: u64, file: u64, how: u64, lsm: u64) -> u64 {
    let member = Member::unpacked(who);
    let hook = if lsm != 0 {
        Hook::LsmMap
    } else {
        Hook::MapExit
    };
    tell(member, file, how as u8 & 7, how & 8 != 0, hook).is_some() as u64
}

/// `None` where kernel memory cannot be read.
#[inline(always)]
fn tell(member: Member, file: u64, prot: u8, shared: bool, hook: Hook) -> Option<()> {
    let o = OFFSETS.load();
    let inode = read::<u64>(file, o.file_inode)?;
    let size = read::<u64>(inode, o.inode_size)?;
    let large = size >= LARGE_FILE && read::<u16>(inode, o.inode_mode)? & TYPE == REGULAR;
    if !large && prot & protection::EXEC == 0 {
        return Some(());
    }
    let scratch = SCRATCH.current();
    if scratch.is_null() {
        return None;
    }
    let control = watch::control(member.class);
    let id = path::identify(file)?;
    let p = path::permissions(scratch, &id, control.policy())?;
    let s = Subject {
        hook,
        kind: Kind::Map,
        family: Family::Read,
        class: member.class,
        control,
        verdict: Verdict::Known,
        flags: p.flags,
    };
    // SAFETY: the task's own storage, checked above.
    let hash = unsafe { (*scratch).hash };
    let key = emit::seen_key(&s, member.tgid, prot | (shared as u8) << 3, hash);
    let Some(count) = emit::note(&key, false) else {
        return Some(());
    };
    let (path_length, cut) = path::text(scratch, id.place);
    let length = MAP_FIXED as u64 + path::bounded(path_length);
    // As an open event, it ends where an exec event ends.
    const BEFORE: usize = EXEC_FIXED - MAP_FIXED;
    const _: () = assert!(BEFORE.is_multiple_of(8));
    // SAFETY: inside the task's own storage and as aligned as an exec event.
    let written = unsafe {
        let event = (&raw mut (*scratch).event)
            .cast::<u8>()
            .add(BEFORE)
            .cast::<MapEvent>();
        (*event).header = emit::header(&s, count, length as u32);
        (*event).header.flags |= cut;
        (*event).device = id.device;
        (*event).inode = id.number;
        (*event).hash = hash;
        (*event).size = size;
        (*event).protection = prot;
        (*event).shared = shared as u8;
        (*event).zero = [0; 4];
        (*event).path_length = path_length;
        emit::output(hook, Verdict::Known, event.cast(), length)
    };
    if !written {
        emit::forget(&key);
    }
    Some(())
}
