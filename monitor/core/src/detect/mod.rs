//! Detection: which processes of a host are inference workloads, and what speaks for it.
//!
//! Plain values about one process go in ([`ProcessFacts`]), a scored list of evidence comes out
//! ([`score`]). Every server that is known by name is one row of [`servers`]; that is the one place
//! where another is added. Nothing here reads `/proc` or a file, and nothing here decides what
//! becomes of a process that was found.

mod accelerator;
pub mod capability;
mod evidence;
mod facts;
pub mod grouping;
mod library;
mod lookalikes;
pub mod mcp;
pub mod model;
pub mod naming;
mod program;
mod rule;
mod score;
pub mod servers;
pub mod socket;
#[cfg(test)]
mod tests;

pub use accelerator::{Accelerator, accelerator};
pub use evidence::{Evidence, Source, THRESHOLD, Verdict};
pub use facts::{FileSeen, How, ProcessFacts};
pub use library::is_inference_library;
pub use lookalikes::{handles_any_file, is_interpreter, serves_everybody};
pub use program::{Program, base_name, program};
pub use rule::{Telling, telling};
pub use score::score;
pub use servers::Detector;
