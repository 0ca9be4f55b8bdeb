//! Export: alerts on their way to sinks, and metrics. It sends what it is given and decides
//! nothing.

pub mod exposition;
pub mod http;
pub mod jsonl;
mod labels;
pub mod metrics;
mod process;
