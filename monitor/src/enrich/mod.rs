//! What the kernel's events leave out: who a process is, who started it, which cgroup and unit it
//! lives in, and which of the processes that were here first belong to a workload.
//!
//! It reads `/proc` and the cgroup tree, and changes nothing there. It must not judge: whether
//! something is allowed is none of its business.

pub mod adopt;
pub mod cgroup;
pub mod detect;
pub mod enrolment;
pub mod identity;
pub mod mounts;
pub mod process;
pub mod procfs;
