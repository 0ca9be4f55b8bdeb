//! Open family: a file opened by path.

use super::Header;
use crate::{assert_layout, limits::EVENT_PATH};

/// An open. Only `header.length` bytes travel: the path's own bytes are the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OpenEvent {
    /// Who.
    pub header: Header,
    /// Device, kernel encoding (major << 20 | minor).
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Chained hash of the path's components, as the kernel counts them ([`crate::hash::path`]).
    pub hash: u64,
    /// [`crate::path::permission`] bits that the open asked for.
    pub access: u8,
    /// Always zero.
    pub zero: [u8; 5],
    /// Bytes of [`Self::path`] that count.
    pub path_length: u16,
    /// Absolute path from the root of the mount namespace.
    pub path: [u8; EVENT_PATH],
}
assert_layout!(OpenEvent, 112 + EVENT_PATH);

/// Bytes of an [`OpenEvent`] before its path.
pub const OPEN_FIXED: usize = 112;
