//! Facility family: a part of the kernel that few need.

use super::Header;
use crate::assert_layout;

/// A member used, or was kept from using, a facility.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FacilityEvent {
    /// Who.
    pub header: Header,
    /// [`crate::facility::Facility`].
    pub facility: u32,
    /// Sockets: family, type, protocol. ptrace and process memory: bits of `PTRACE_MODE_*` (0 on
    /// the cgroup tier), the process where it is known, 0. io_uring: 0 for its set-up, 1 and the
    /// operation for a submission. Otherwise 0.
    pub detail: [u32; 3],
}
assert_layout!(FacilityEvent, 96);
