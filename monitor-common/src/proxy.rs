//! HTTP proxies that operators declare: behind one of them the host that is asked for is the
//! destination.

use crate::{assert_layout, endpoint::Address};

/// A proxy of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ProxyKey {
    /// Its address.
    pub address: Address,
    /// [`crate::class::Class::workload`].
    pub workload: u16,
    /// Its TCP port, host byte order.
    pub port: u16,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(ProxyKey, 24);
