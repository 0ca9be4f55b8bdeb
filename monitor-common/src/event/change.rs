//! Change family: a name that a member took away, added or moved, and a file that it cut.

use super::Header;
use crate::{assert_layout, limits::EVENT_PATH};

/// What was done. Operations on two names are two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// unlink, of a file.
    Unlink = 1,
    /// rmdir.
    Rmdir = 2,
    /// rename: the name that goes.
    RenameFrom = 3,
    /// rename: the name that comes.
    RenameTo = 4,
    /// link: the file that gets another name.
    LinkFrom = 5,
    /// link: the other name.
    LinkTo = 6,
    /// truncate by path, without opening.
    Truncate = 7,
    /// symlink: the link itself.
    Symlink = 8,
    /// mkdir.
    Mkdir = 9,
    /// mknod, of a device, pipe or socket.
    Mknod = 10,
}
impl Action {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::Unlink,
        Self::Rmdir,
        Self::RenameFrom,
        Self::RenameTo,
        Self::LinkFrom,
        Self::LinkTo,
        Self::Truncate,
        Self::Symlink,
        Self::Mkdir,
        Self::Mknod,
    ];
    /// The action for a byte read from the kernel, if it is one.
    pub fn from_u8(v: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|a| *a as u8 == v)
    }
}

/// A change. Only `header.length` bytes travel: the path's own bytes are the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ChangeEvent {
    /// Who.
    pub header: Header,
    /// Device, kernel encoding.
    pub device: u64,
    /// Inode number; 0 where the name did not exist yet.
    pub inode: u64,
    /// Chained hash of the path's components.
    pub hash: u64,
    /// [`Action`].
    pub action: u8,
    /// Always zero.
    pub zero: [u8; 5],
    /// Bytes of [`Self::path`] that count.
    pub path_length: u16,
    /// Absolute path from the root of the mount namespace.
    pub path: [u8; EVENT_PATH],
}
assert_layout!(ChangeEvent, 112 + EVENT_PATH);

/// Bytes of a [`ChangeEvent`] before its path.
pub const CHANGE_FIXED: usize = 112;
