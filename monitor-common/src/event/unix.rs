//! Unix family: a unix socket that a member connected or sent to.

use super::Header;
use crate::{assert_layout, limits::EVENT_PATH};

/// Where the name of a unix socket lives.
pub mod space {
    /// In the file system.
    pub const PATH: u8 = 0;
    /// In the abstract namespace of the network namespace.
    pub const ABSTRACT: u8 = 1;
    /// Nowhere: a socket without a name.
    pub const UNNAMED: u8 = 2;
}

/// A connect or a send to a unix socket. Only `header.length` bytes travel: the name is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct UnixEvent {
    /// Who.
    pub header: Header,
    /// Device of the socket's file, kernel encoding; 0 outside the file system.
    pub device: u64,
    /// Inode of the socket's file.
    pub inode: u64,
    /// Hash of the path or the name.
    pub hash: u64,
    /// [`space`].
    pub space: u8,
    /// SOCK_STREAM (1), SOCK_DGRAM (2), SOCK_SEQPACKET (5).
    pub socket: u8,
    /// Always zero.
    pub zero: [u8; 4],
    /// Bytes of [`Self::name`] that count.
    pub name_length: u16,
    /// Absolute path from the root of the mount namespace, or the abstract name without its zero.
    pub name: [u8; EVENT_PATH],
}
assert_layout!(UnixEvent, 112 + EVENT_PATH);

/// Bytes of a [`UnixEvent`] before its name.
pub const UNIX_FIXED: usize = 112;
