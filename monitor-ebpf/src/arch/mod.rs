//! What depends on the processor: where the system call number is, and what the numbers mean.

#[cfg(feature = "arch-aarch64")]
mod aarch64;
#[cfg(feature = "arch-x86_64")]
mod x86_64;

#[cfg(feature = "arch-aarch64")]
pub use aarch64::opened_file;
#[cfg(feature = "arch-x86_64")]
pub use x86_64::opened_file;
