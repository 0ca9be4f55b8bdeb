//! Sizes of maps and buffers. One place, so that documentation, kernel and daemon agree.

/// Process ids a kernel can hand out (`PID_MAX_LIMIT` on 64-bit).
pub const MAX_PIDS: u32 = 4 << 20;
/// Class entries per element of the membership array.
pub const MEMBERS_PER_PAGE: u32 = 2048;
/// Elements of the membership array: 2,048 pages of 4 KiB, 8 MiB in all.
pub const MEMBER_PAGES: u32 = MAX_PIDS / MEMBERS_PER_PAGE;
/// Classes (workload × role × phase) that can exist at once, including the two reserved ones.
pub const MAX_CLASSES: u32 = 1024;
/// Policies that can be installed at once; each swap of a class takes a fresh one.
pub const MAX_POLICIES: u32 = 4096;
/// Destination entries over all policies.
pub const MAX_DESTINATIONS: u32 = 65_536;
/// Transitions of the path automaton over all policies.
pub const MAX_TRANSITIONS: u32 = 262_144;
/// Names (abstract unix sockets) over all policies.
pub const MAX_NAMES: u32 = 16_384;
/// Rules about hosts over all policies, once per port, protocol and use.
pub const MAX_HOSTS: u32 = 16_384;
/// Addresses that are admitted by name, over all workloads (least recently used go first).
pub const MAX_ADMITTED: u32 = 16_384;
/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// Bounds of the lifetime that an answer can ask for, in seconds.
pub const ANSWER_LIFETIME: (u32, u32) = (300, 86_400);
/// Seconds that an answer counts beyond its lifetime, because programs keep addresses.
pub const ANSWER_GRACE: u32 = 900;
/// Ports that members listen on.
pub const MAX_LISTENERS: u32 = 4096;
/// Executables that can start a workload.
pub const MAX_EXECUTABLES: u32 = 1024;
/// Arguments that can start a workload, over all executables.
pub const MAX_ARGUMENTS: u32 = 4096;
/// Distinct known behaviours whose counters the kernel keeps (least recently used go first).
pub const MAX_SEEN: u32 = 65_536;
/// Bytes of the ring for verdicts.
pub const VERDICT_RING_BYTES: u32 = 512 << 10;
/// Bytes of the ring for observations.
pub const OBSERVATION_RING_BYTES: u32 = 4 << 20;
/// Components of a path that are looked at; a deeper path is treated as not allowed.
pub const MAX_DEPTH: u32 = 128;
/// Bytes from which on a file that is mapped counts as large: as models are, and few others.
pub const LARGE_FILE: u64 = 1 << 20;
/// Bytes of a path that travel with an event; the part nearest the root is cut first.
pub const EVENT_PATH: usize = 1024;
/// Bytes of an argument vector that travel with an event and that enrolment looks at.
pub const EVENT_ARGV: usize = 512;
/// Bytes of a host name that travel with an event: 253 is the longest that DNS knows.
pub const EVENT_NAME: usize = 256;
/// Addresses of one DNS answer that travel with an event.
pub const EVENT_ADDRESSES: usize = 16;
/// Nanoseconds within which equal denials of one process are counted rather than reported.
pub const DENIAL_QUIET_NS: u64 = 1_000_000_000;
/// Peers whose flows the kernel counts, over all classes (least recently used go first).
pub const MAX_FLOWS: u32 = 16_384;
/// DNS questions whose answers are waited for (least recently asked go first).
pub const MAX_QUERIES: u32 = 8192;
/// Nanoseconds for which an answer is waited for.
pub const ANSWER_NS: u64 = 30_000_000_000;
/// HTTP proxies that operators declare, over all workloads.
pub const MAX_PROXIES: u32 = 1024;
/// Nanoseconds within which equal requests of a class to a declared proxy are counted rather than
/// reported.
pub const REQUEST_QUIET_NS: u64 = 60 * SECOND_NS;
/// Bytes of a DNS message, of a TLS hello or of a request to a proxy that are read.
pub const MESSAGE: usize = 4096;
/// Records of a DNS answer that are read.
pub const MAX_RECORDS: u32 = 64;
/// Packets that can be read at the same time.
pub const BENCHES: u32 = 128;
