//! Volumes and timing: how much a connector carries, how often, and when that stops being normal.
//!
//! Numbers only. It does not know workloads, destinations, clocks or storage: values and times come
//! in as arguments, what is stored goes out as values. Everything that is judged is judged against a
//! frozen anchor, so that slow growth cannot teach the baseline to accept it.

pub mod beacon;
pub mod budget;
pub mod cusum;
pub mod ledger;
pub mod peaks;
pub mod sketch;
