//! What depends on the processor: where the system call's number and arguments are, and what the
//! numbers mean.

#[cfg(feature = "arch-aarch64")]
mod aarch64;
#[cfg(feature = "arch-x86_64")]
mod x86_64;

#[cfg(feature = "arch-aarch64")]
#[allow(unused_imports, reason = "not every family needs arguments")]
pub use aarch64::{argument, call};
#[cfg(feature = "arch-x86_64")]
#[allow(unused_imports, reason = "not every family needs arguments")]
pub use x86_64::{argument, call};

/// What a system call does, as far as a hook at its end cares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Returns a descriptor of a file that it opened by path, or took from another process: open,
    /// creat, openat, open_by_handle_at, openat2, pidfd_getfd.
    Open,
}
