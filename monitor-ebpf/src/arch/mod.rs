//! What depends on the processor: where the system call's number and arguments are, and what the
//! numbers mean.

#[cfg(feature = "arch-aarch64")]
mod aarch64;
#[cfg(feature = "arch-x86_64")]
mod x86_64;

#[cfg(feature = "arch-aarch64")]
pub use aarch64::{argument, call};
#[cfg(feature = "arch-x86_64")]
pub use x86_64::{argument, call};

/// What a system call does, as far as a hook at its end cares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Returns a descriptor of a file that it opened by path, or took from another process: open,
    /// creat, openat, open_by_handle_at, openat2, pidfd_getfd.
    Open,
    /// Adds names: mkdir, mknod, symlink and their later forms.
    Add,
    /// Moves names or gives files further ones: rename, link.
    Move,
    /// Removes names or cuts files by name: unlink, rmdir, truncate.
    Remove,
    /// Changes what is mounted: mount, umount2, pivot_root, move_mount, fsmount, mount_setattr.
    Mount,
    /// open_tree.
    OpenTree,
    /// unshare.
    Unshare,
    /// setns.
    Setns,
    /// clone.
    Clone,
    /// clone3.
    Clone3,
    /// ptrace.
    Ptrace,
    /// Names another process in its first argument: process_vm_readv, process_vm_writev.
    Memory,
    /// io_uring_setup.
    Ring,
    /// mmap with its arguments in registers.
    Map,
    /// socket.
    Socket,
    /// socketpair.
    Pair,
    /// connect.
    Connect,
}
