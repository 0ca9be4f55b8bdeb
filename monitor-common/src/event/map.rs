//! Map family: a file that a member mapped into its memory; how models are loaded.

use super::Header;
use crate::{assert_layout, limits::EVENT_PATH};

/// Bits of [`MapEvent::protection`], as in mmap(2).
pub mod protection {
    /// Readable.
    pub const READ: u8 = 1;
    /// Writable.
    pub const WRITE: u8 = 2;
    /// Executable.
    pub const EXEC: u8 = 4;
}

/// A file mapping. Only `header.length` bytes travel: the path's own bytes are the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MapEvent {
    /// Who.
    pub header: Header,
    /// Device, kernel encoding.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Chained hash of the path's components.
    pub hash: u64,
    /// Bytes of the file.
    pub size: u64,
    /// [`protection`].
    pub protection: u8,
    /// 1 if the mapping is shared.
    pub shared: u8,
    /// Always zero.
    pub zero: [u8; 4],
    /// Bytes of [`Self::path`] that count.
    pub path_length: u16,
    /// Absolute path from the root of the mount namespace.
    pub path: [u8; EVENT_PATH],
}
assert_layout!(MapEvent, 120 + EVENT_PATH);

/// Bytes of a [`MapEvent`] before its path.
pub const MAP_FIXED: usize = 120;
