//! Counters of behaviour: the kernel reports each distinct behaviour once and counts the rest.

use crate::{assert_layout, class::ClassId};

/// Identity of a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct SeenKey {
    /// Hash of the path or endpoint.
    pub hash: u64,
    /// Process for verdicts against it; 0 for behaviour that was let through.
    pub tgid: u32,
    /// Class it was seen in.
    pub class: ClassId,
    /// [`crate::event::Kind`].
    pub kind: u8,
    /// [`crate::event::Verdict`] in the low four bits, permission bits in the high four.
    pub verdict: u8,
}
assert_layout!(SeenKey, 16);

/// How often and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Seen {
    /// Times in all.
    pub count: u64,
    /// Times up to the last report.
    pub reported: u64,
    /// Time of the last report, nanoseconds since boot (CLOCK_MONOTONIC).
    pub reported_at: u64,
}
assert_layout!(Seen, 24);
