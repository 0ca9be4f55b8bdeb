//! Evidence: how complete a baseline is, and what may therefore be done with it.
//!
//! Time passing is never evidence; episodes in which nothing new happened are. Knows observations
//! and numbers; nothing of policies, the kernel, storage or clocks.

mod attribution;
pub mod bound;
pub mod episode;
pub mod exposure;
pub mod forecast;
pub mod incidence;
mod ledger;
pub mod lifecycle;
pub mod promotion;
mod steady;
mod stored;
mod words;
pub mod would_block;

pub use ledger::{Evidence, MEMORY, Noted};
pub use stored::{FamilyRow, ScopeRow, StoredError, WorkloadRow};
