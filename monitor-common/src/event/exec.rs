//! Exec family: a program that a member started, or that became a member by being started.

use super::Header;
use crate::{
    assert_layout,
    class::ClassId,
    limits::{EVENT_ARGV, EVENT_PATH},
};

/// An exec. The header's class is the one that decided: the class before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExecEvent {
    /// Who.
    pub header: Header,
    /// Device of the program, kernel encoding.
    pub device: u64,
    /// Inode of the program.
    pub inode: u64,
    /// Chained hash of the path's components.
    pub hash: u64,
    /// Class from now on; [`crate::class::NONE`] where the exec did not happen.
    pub after: ClassId,
    /// Bytes of [`Self::path`] that count.
    pub path_length: u16,
    /// Bytes of [`Self::argv`] that count; 0 where the hook runs before the arguments exist.
    pub argv_length: u16,
    /// Always zero.
    pub zero: u16,
    /// Arguments, each followed by a zero byte, cut at the end.
    pub argv: [u8; EVENT_ARGV],
    /// Absolute path of the program. Only `path_length` bytes of it travel.
    pub path: [u8; EVENT_PATH],
}
assert_layout!(ExecEvent, 112 + EVENT_ARGV + EVENT_PATH);

/// Bytes of an [`ExecEvent`] before its path.
pub const EXEC_FIXED: usize = 112 + EVENT_ARGV;
