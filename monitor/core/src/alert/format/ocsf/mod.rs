//! OCSF, the canonical form: an alert as Detection Finding (class 2004), and what the kernel
//! reported as Network, File System or Process Activity (classes 4001, 1001, 1007).
//!
//! Checked in tests against the schema of version 1.8.0 that is vendored, word for number.

mod activity;
mod finding;
mod parts;
mod types;

pub use activity::{Activity, Content, activity};
pub use types::*;

/// Version of OCSF.
pub const VERSION: &str = "1.8.0";

/// Where in its life a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Told by itself.
    Create,
    /// The same thing told again, together.
    Update,
    /// Nothing more to do about it.
    Close,
}
