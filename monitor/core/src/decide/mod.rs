//! Decide: rules become a policy for the kernel, and observations become decisions with reasons.
//!
//! It knows baselines, rules and invariants; it does not know how a policy reaches the kernel or
//! how an alert reaches an operator.

pub mod automaton;
pub mod endpoint_rule;
pub mod enforceable;
pub mod evidence;
pub mod host_rule;
pub mod invariants;
pub mod pattern;
pub mod policy;
pub mod sandbox;
pub mod simulate;

mod control;
mod episode;
mod error;
mod explain;
mod found;
mod held;
mod lineage;
mod model;
mod odd;
mod volume;

pub use crate::baseline::order::trace::trace_it;
pub use control::{Modes, Undeniable, control};
pub use episode::episode;
pub use error::CompileError;
pub use explain::{decide, decide_name, decide_widened, name_it};
pub use found::judge_found;
pub use held::{again, held};
pub use lineage::lineage;
pub use model::model;
pub use odd::odd;
pub use volume::volume;
