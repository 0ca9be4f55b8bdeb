//! Names: the key of the set that says which abstract unix sockets a policy may reach.

use crate::assert_layout;

/// What kind of name a key is about.
pub mod space {
    /// Abstract unix sockets.
    pub const ABSTRACT: u32 = 1;
}

/// Key of an entry of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct NameKey {
    /// Policy that the entry belongs to; with [`crate::endpoint::DENIED`] it forbids.
    pub policy: u32,
    /// [`space`].
    pub space: u32,
    /// Hash of the name ([`crate::hash::component`]).
    pub hash: u64,
}
assert_layout!(NameKey, 16);
