//! slmguard: the shell around the pure core. The folders stand in the order of the flow:
//! **kernel → (decode) → enrich → (baseline → decide) → act → export**; what stands in brackets is
//! [`slmguard_core`], and what there is of *act* so far, policies on their way to the kernel, is in
//! [`daemon`].
//!
//! - [`kernel`] loads and feeds the kernel programs, and drains their rings.
//! - [`enrich`] adds what events leave out: processes, cgroups, units.
//! - [`daemon`] is the flow itself: threads, channels, and the state between them.
//! - [`launch`] starts programs inside the guard.
//! - [`store`] is the daemon's memory: baselines, modes, alerts on their way out.
//! - [`export`] hands alerts to sinks and shows metrics.
//! - [`api`] and [`cli`] are the way in for people and scripts.
//! - [`config`], [`log`] and [`exit`] are what every program needs.

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod enrich;
pub mod exit;
pub mod export;
pub mod kernel;
pub mod launch;
pub mod log;
pub mod store;
