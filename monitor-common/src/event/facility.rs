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
    /// Sockets: family, type, protocol. ptrace and process memory: request or system call, process,
    /// 0. io_uring: 0 set-up, 1 submission with the operation. Otherwise the system call, 0, 0.
    pub detail: [u32; 3],
}
assert_layout!(FacilityEvent, 96);
