//! slmguard's pure core: observations, ids and time in; baselines, policies, decisions and alerts
//! out.
//!
//! Nothing here touches a file, a socket, a clock, a random source, an async runtime, a logger or
//! the kernel. Replaying a recorded stream gives byte-identical results. The folders are the data
//! flow: **decode → baseline → decide → alert**; [`observation`], [`decision`] and [`alert`] hold
//! the three values that travel between them.
#![forbid(unsafe_code)]

pub mod alert;
pub mod baseline;
pub mod config;
pub mod decide;
pub mod decision;
pub mod decode;
mod detail;
pub mod detect;
pub mod fact;
pub mod names;
pub mod observation;
pub mod odd;
pub mod procfs;
pub mod profile;
pub mod recording;
pub mod request;
#[cfg(test)]
mod testing;
pub mod text;
pub mod time;
pub mod workload;
