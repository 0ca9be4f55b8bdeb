//! Finding inference workloads among everything that runs: reads `/proc`, hands plain values to the
//! detectors of the core, and remembers what they said.
//!
//! It changes nothing and enrols nobody. What a process shows of itself can be made to mislead or
//! to block: files are opened only after they were seen to be regular ones, everything read has a
//! bound, and all of it runs in a thread of its own that no verdict and no other thread waits for.

pub mod callers;
pub mod digest;
mod facts;
mod files;
pub mod scan;
mod sockets;

pub use files::{FileId, ModelFile};
pub use scan::{Scanner, Sighting};
