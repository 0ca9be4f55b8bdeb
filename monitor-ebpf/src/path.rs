//! Paths: from a file or a name to its path's hashes, through the automata of policy and
//! invariants, and to text for an event.
//!
//! The walk goes from the leaf to the root of the mount namespace over dentries and mounts, as
//! `d_path` does but without stopping at a chroot. All mutable state of its loops lives in task
//! storage: the verifier tracks nothing there, so that callbacks converge at once, and no other
//! task can touch it.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_loop, bpf_probe_read_kernel},
};
use monitor_common::{
    event::{exec::ExecEvent, flag},
    hash::{Sip, chain},
    limits::{EVENT_PATH, MAX_DEPTH},
    path::{HAS_LITERAL, HAS_STAR, OTHER_PROCESS, STAR_HASH, State, TransitionKey, below, ends},
};

use crate::{
    bounds::{below_128, below_256, below_1024},
    maps::{POLICIES, TRANSITIONS},
    offsets::{HASH_KEY, OFFSETS, PROC_HASH, SELF_HASH, read},
};

/// `PROC_SUPER_MAGIC`
const PROC_MAGIC: u64 = 0x9fa0;
/// Mounts that a path may cross besides its components.
const MAX_MOUNTS: u32 = 64;

const REACHED_ROOT: u32 = 1;
const STUCK: u32 = 2;
/// The kernel's own private mount: a layer of overlayfs.
const LAYER: u32 = 4;
/// The root of another mount namespace than the task's own, or of a detached mount.
const FOREIGN_ROOT: u32 = 8;
/// `MNT_NS_INTERNAL`, that is `ERR_PTR(-EINVAL)`: the namespace of the kernel's private mounts.
const MNT_NS_INTERNAL: u64 = -22_i64 as u64;

/// Memory of one task for one path at a time.
#[repr(C)]
pub struct Scratch {
    dentry: u64,
    mount: u64,
    root: u64,
    /// Components seen.
    depth: u32,
    flags: u32,
    /// Bytes of the path.
    length: u32,
    /// Where in the text the walk for text is.
    position: u32,
    allow: State,
    deny: State,
    allowed: u32,
    denied: u32,
    /// Chained hash from the root.
    pub hash: u64,
    /// The path lies in /proc of the process itself, or of another.
    pub proc_flags: u32,
    left: u32,
    name: [u64; 33],
    components: [u64; MAX_DEPTH as usize],
    pub argument_full: u64,
    pub argument_base: u64,
    pub argument_bits: u64,
    /// The name that was looked at last, and what is made of it: kept here, because what the
    /// verifier does not track cannot multiply its states.
    pub found: FileId,
    pub permissions: Permissions,
    /// Where open and exec events are built.
    pub event: ExecEvent,
    /// The last name written may reach behind the path.
    spill: [u8; 256],
}

/// A name: a dentry, seen through a mount.
#[derive(Clone, Copy)]
pub struct Place {
    /// `struct vfsmount`
    pub mount: u64,
    pub dentry: u64,
}

/// A file's name, inode and device: what an event says of it.
#[derive(Clone, Copy)]
pub struct FileId {
    pub place: Place,
    /// 0 where the name leads to nothing yet.
    pub inode: u64,
    pub device: u64,
    pub number: u64,
}

/// What policy and invariants say of a path.
#[derive(Clone, Copy)]
pub struct Permissions {
    /// Permission bits that the policy gives.
    pub allowed: u8,
    /// Permission bits that an invariant or a deny rule takes.
    pub denied: u8,
    /// [`flag`] bits for the event.
    pub flags: u8,
    /// The file lies in a layer of overlayfs, on the kernel's private mount of it. Nobody opens
    /// that by path: overlayfs does, behind a file of its own that was judged before.
    pub layer: bool,
    /// Permission bits of a path that leads to the root of another mount namespace. Only where that
    /// is how an object is named by who made it, as unix sockets are, and never for files.
    pub elsewhere: u8,
    /// It leads to such a root.
    pub foreign: bool,
    /// State of the deny automaton behind the path: below names that lead to the same one, the
    /// same is forbidden.
    pub deny_state: u32,
}

const _: () = assert!(MAX_DEPTH == 128 && EVENT_PATH == 1024);

#[repr(C)]
struct Context {
    scratch: *mut Scratch,
}

impl Place {
    /// What a `struct path` at `base + offset` names.
    #[inline(always)]
    pub fn of(base: u64, offset: u32) -> Option<Self> {
        let o = OFFSETS.load();
        Some(Self {
            mount: read::<u64>(base, offset + o.path_mnt)?,
            dentry: read::<u64>(base, offset + o.path_dentry)?,
        })
    }
}

/// Identity of a file; `None` where kernel memory cannot be read.
#[inline(always)]
pub fn identify(file: u64) -> Option<FileId> {
    let o = OFFSETS.load();
    let inode = read::<u64>(file, o.file_inode)?;
    let sb = read::<u64>(inode, o.inode_sb)?;
    Some(FileId {
        place: Place::of(file, o.file_path)?,
        inode,
        device: read::<u32>(sb, o.sb_dev)? as u64,
        number: read::<u64>(inode, o.inode_ino)?,
    })
}

/// Identity of what a name leads to, if it leads to anything yet; `None` where kernel memory cannot
/// be read.
#[inline(always)]
pub fn identify_name(place: Place) -> Option<FileId> {
    let o = OFFSETS.load();
    let inode = read::<u64>(place.dentry, o.dentry_inode)?;
    let sb = read::<u64>(place.dentry, o.dentry_sb)?;
    Some(FileId {
        place,
        inode,
        device: read::<u32>(sb, o.sb_dev)? as u64,
        number: match inode {
            0 => 0,
            inode => read::<u64>(inode, o.inode_ino)?,
        },
    })
}

/// Puts the walk at the leaf of a path.
#[inline(always)]
fn begin(s: &mut Scratch, place: Place) -> Option<()> {
    let o = OFFSETS.load();
    s.dentry = place.dentry;
    s.root = read::<u64>(place.mount, o.vfsmount_root)?;
    s.mount = place.mount - o.mount_mnt as u64;
    s.flags = 0;
    Some(())
}

/// Mount namespace of the current task.
#[inline(always)]
fn own_mount_namespace() -> Option<u64> {
    let o = OFFSETS.load();
    // SAFETY: a helper without arguments.
    let proxy = read::<u64>(unsafe { bpf_get_current_task() }, o.task_nsproxy)?;
    read::<u64>(proxy, o.nsproxy_mnt)
}

/// One step up. `Ok(Some((length, name)))` for a component, `Ok(None)` for a mount or the end.
#[inline(always)]
fn up(s: &mut Scratch) -> Option<Option<(u64, u64)>> {
    let o = OFFSETS.load();
    if s.dentry == s.root {
        let parent = read::<u64>(s.mount, o.mount_parent)?;
        if parent == s.mount {
            // A detached mount ends here as well, and could be given any name.
            let namespace = read::<u64>(s.mount, o.mount_ns)?;
            s.flags |= if namespace == own_mount_namespace()? {
                REACHED_ROOT
            } else if namespace == MNT_NS_INTERNAL {
                LAYER
            } else if namespace != 0 {
                FOREIGN_ROOT
            } else {
                STUCK
            };
            return Some(None);
        }
        s.dentry = read::<u64>(s.mount, o.mount_point)?;
        s.mount = parent;
        s.root = read::<u64>(parent, o.mount_mnt + o.vfsmount_root)?;
        return Some(None);
    }
    // d_parent and d_name lie side by side (checked at load): one read.
    let [parent, length, name] = read::<[u64; 3]>(s.dentry, o.dentry_parent)?;
    if parent == s.dentry {
        // Detached: never reaches a root.
        s.flags |= STUCK;
        return Some(None);
    }
    s.dentry = parent;
    // No component is longer, except where a file system in user space says so.
    if length >> 32 > 255 {
        s.flags |= STUCK;
        return Some(None);
    }
    Some(Some((length >> 32, name)))
}

/// Hash of a name of at most 255 bytes in kernel memory.
#[inline(always)]
fn hash_of(s: &mut Scratch, name: u64, length: u64) -> Option<u64> {
    // SAFETY: at most 255 bytes into a buffer of 264.
    let r = unsafe {
        bpf_probe_read_kernel(
            (&raw mut s.name).cast(),
            length as u32,
            name as *const c_void,
        )
    };
    if r != 0 {
        return None;
    }
    let mut sip = Sip::new(HASH_KEY.load());
    let last = (length >> 3) as usize;
    let keep = !(!0u64 << (8 * (length & 7)));
    for i in 0..32usize {
        // SAFETY: inside the buffer.
        let word = unsafe { (&raw const s.name[i]).read_volatile() };
        if i == last {
            sip.word((word & keep) | length << 56);
            break;
        }
        sip.word(word);
    }
    Some(sip.finish())
}

/// Hash of a name that is no path's.
#[inline(always)]
pub fn hash_name(scratch: *mut Scratch, name: u64, length: u64) -> Option<u64> {
    // SAFETY: the caller checked that the task's storage is there.
    hash_of(unsafe { &mut *scratch }, name, length)
}

/// Copies a name of at most 127 bytes to where an event has its path.
#[inline(always)]
pub fn copy_name(scratch: *mut Scratch, name: u64, length: u64) -> bool {
    let length = below_128(length);
    // SAFETY: the caller checked that the task's storage is there; the path has room for more.
    unsafe {
        let text = (&raw mut (*scratch).event.path).cast::<c_void>();
        bpf_probe_read_kernel(text, length as u32, name as *const c_void) == 0
    }
}

/// One step of the hashing walk; true stops it.
#[inline(always)]
fn hash_step(s: &mut Scratch) -> Option<bool> {
    let Some((length, name)) = up(s)? else {
        return Some(s.flags != 0);
    };
    if s.depth >= MAX_DEPTH {
        s.flags |= STUCK;
        return Some(true);
    }
    // Masked here, beside its use: the verifier loses a bound that travels through memory.
    let length = below_256(length);
    let hash = hash_of(s, name, length)?;
    let at = below_128(s.depth as u64) as usize;
    // SAFETY: masked to the array's length.
    unsafe { *s.components.as_mut_ptr().add(at) = hash };
    s.depth += 1;
    s.length += length as u32 + 1;
    Some(false)
}

unsafe extern "C" fn hash_callback(_: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context that `bpf_loop` was given.
    let s = unsafe { &mut *(*(context as *const Context)).scratch };
    match hash_step(s) {
        Some(stop) => stop as i64,
        None => {
            s.flags |= STUCK;
            1
        }
    }
}

/// One transition of one automaton; dead is state 0 with no flags.
#[inline(always)]
fn advance(from: &mut State, permissions: &mut u32, component: u64) {
    let flags = from.flags;
    *permissions |= below(flags) as u32;
    if flags & HAS_LITERAL != 0 {
        // SAFETY: the value is copied out at once; entries of a live policy are never changed.
        if let Some(to) = unsafe {
            TRANSITIONS.get(TransitionKey {
                state: from.state,
                zero: 0,
                component,
            })
        } {
            *from = *to;
            return;
        }
    }
    if flags & HAS_STAR != 0 {
        // SAFETY: as above.
        if let Some(to) = unsafe {
            TRANSITIONS.get(TransitionKey {
                state: from.state,
                zero: 0,
                component: STAR_HASH,
            })
        } {
            *from = *to;
            return;
        }
    }
    *from = State { state: 0, flags: 0 };
}

unsafe extern "C" fn match_callback(i: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context that `bpf_loop` was given.
    let s = unsafe { &mut *(*(context as *const Context)).scratch };
    if s.left == 0 {
        return 1;
    }
    s.left -= 1;
    let at = below_128(s.left as u64) as usize;
    // SAFETY: masked to the array's length.
    let mut component = unsafe { *s.components.as_ptr().add(at) };
    // `/proc/<own pid>` is `/proc/self` for every policy.
    if i == 1 && s.proc_flags & flag::PROC_SELF as u32 != 0 && s.hash == chain(0, PROC_HASH.load())
    {
        component = SELF_HASH.load();
    }
    s.hash = chain(s.hash, component);
    advance(&mut s.allow, &mut s.allowed, component);
    advance(&mut s.deny, &mut s.denied, component);
    0
}

/// Whose `/proc` directory an inode belongs to, if it belongs to one.
#[inline(always)]
fn proc_owner(inode: u64) -> Option<u32> {
    if inode == 0 {
        return Some(0);
    }
    let o = OFFSETS.load();
    let sb = read::<u64>(inode, o.inode_sb)?;
    if read::<u64>(sb, o.sb_magic)? != PROC_MAGIC {
        return Some(0);
    }
    let pid = read::<u64>(inode - o.proc_vfs_inode as u64, o.proc_pid)?;
    if pid == 0 {
        return Some(0);
    }
    let first = read::<u64>(pid, o.pid_tasks)?;
    if first == 0 {
        return Some(flag::PROC_OTHER as u32);
    }
    let theirs = read::<u64>(first - o.task_pid_links as u64, o.task_signal)?;
    // SAFETY: a helper without arguments.
    let ours = read::<u64>(unsafe { bpf_get_current_task() }, o.task_signal)?;
    Some(if theirs == ours {
        flag::PROC_SELF
    } else {
        flag::PROC_OTHER
    } as u32)
}

/// Walks a file's path and says what policy and invariants make of it. `None`: it cannot be told,
/// which the caller treats as not allowed.
#[inline(always)]
pub fn permissions(scratch: *mut Scratch, id: &FileId, policy: u32) -> Option<Permissions> {
    // SAFETY: the caller checked that the task's storage is there.
    let s = unsafe { &mut *scratch };
    s.depth = 0;
    s.length = 0;
    s.hash = 0;
    s.allowed = 0;
    s.denied = 0;
    s.proc_flags = proc_owner(id.inode)?;
    begin(s, id.place)?;
    let root = POLICIES.get(policy)?;
    s.allow = root.allow;
    s.deny = root.deny;
    let mut context = Context { scratch };
    // SAFETY: callback and context outlive the call.
    unsafe {
        bpf_loop(
            MAX_DEPTH + MAX_MOUNTS,
            hash_callback as *mut c_void,
            (&raw mut context).cast(),
            0,
        );
        s.left = s.depth;
        bpf_loop(
            MAX_DEPTH,
            match_callback as *mut c_void,
            (&raw mut context).cast(),
            0,
        );
    }
    let mut flags = s.proc_flags as u8;
    if s.flags != REACHED_ROOT {
        flags |= flag::PATH_INCOMPLETE;
    }
    let mut allowed = s.allowed as u8 | ends(s.allow.flags);
    let elsewhere = if s.flags == FOREIGN_ROOT { allowed } else { 0 };
    if flags & flag::PATH_INCOMPLETE != 0 {
        allowed = 0;
    }
    let mut denied = s.denied as u8;
    if s.deny.flags & OTHER_PROCESS == 0 || flags & flag::PROC_OTHER != 0 {
        denied |= ends(s.deny.flags);
    }
    Some(Permissions {
        allowed,
        denied,
        flags,
        layer: s.flags == LAYER,
        elsewhere,
        foreign: s.flags == FOREIGN_ROOT,
        deny_state: s.deny.state,
    })
}

unsafe extern "C" fn text_callback(_: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context that `bpf_loop` was given.
    let s = unsafe { &mut *(*(context as *const Context)).scratch };
    let Some(step) = up(s) else { return 1 };
    let Some((length, name)) = step else {
        return (s.flags != 0) as i64;
    };
    let length = below_256(length);
    if (s.position as u64) < length + 1 {
        return 1;
    }
    // Once more: Linux 6.12 forgets the bound at the comparison above.
    let length = below_256(length);
    let start = below_1024(s.position as u64 - length);
    // SAFETY: at most 255 bytes behind an offset below the path's size; what reaches behind it
    // lands in `spill`.
    unsafe {
        let text = s.event.path.as_mut_ptr();
        if bpf_probe_read_kernel(
            text.add(start as usize).cast(),
            length as u32,
            name as *const c_void,
        ) != 0
        {
            return 1;
        }
        let slash = below_1024(start.wrapping_sub(1));
        *text.add(slash as usize) = b'/';
        s.position = slash as u32;
    }
    0
}

/// Length of a path as the verifier can see it.
#[inline(always)]
pub fn bounded(path_length: u16) -> u64 {
    below_1024(path_length as u64)
}

/// Writes the path that [`permissions`] has just walked into the event. Returns its length and
/// [`flag::PATH_CUT`] if the part nearest the root did not fit.
#[inline(always)]
pub fn text(scratch: *mut Scratch, place: Place) -> (u16, u8) {
    // SAFETY: as in `permissions`.
    let s = unsafe { &mut *scratch };
    let whole = s.length;
    if whole == 0 {
        s.event.path[0] = b'/';
        return (1, 0);
    }
    let kept = if whole > EVENT_PATH as u32 - 1 {
        EVENT_PATH as u32 - 1
    } else {
        whole
    };
    s.position = kept;
    if begin(s, place).is_none() {
        return (0, flag::PATH_CUT);
    }
    let mut context = Context { scratch };
    // SAFETY: callback and context outlive the call.
    unsafe {
        bpf_loop(
            MAX_DEPTH + MAX_MOUNTS,
            text_callback as *mut c_void,
            (&raw mut context).cast(),
            0,
        )
    };
    if s.position == 0 {
        return (kept as u16, 0);
    }
    // The walk stopped early: clear what it did not write, so that no old byte travels.
    unsafe extern "C" fn clear(i: u32, context: *mut c_void) -> i64 {
        // SAFETY: the context that `bpf_loop` was given.
        let s = unsafe { &mut *(*(context as *const Context)).scratch };
        if i >= s.position {
            return 1;
        }
        // SAFETY: masked to the array's length.
        unsafe { *s.event.path.as_mut_ptr().add(below_1024(i as u64) as usize) = b'?' };
        0
    }
    // SAFETY: as above.
    unsafe {
        bpf_loop(
            EVENT_PATH as u32,
            clear as *mut c_void,
            (&raw mut context).cast(),
            0,
        )
    };
    (kept as u16, flag::PATH_CUT)
}
