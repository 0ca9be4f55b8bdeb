//! `/proc/<pid>/mountinfo`: which file systems are mounted where.

pub use slmguard_core::procfs::{Mount, device};

/// Reads the whole table; lines that are not understood are left out.
pub fn parse(mountinfo: impl AsRef<[u8]>) -> Vec<Mount> {
    slmguard_core::procfs::mounts(mountinfo.as_ref())
}
