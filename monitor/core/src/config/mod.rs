//! Configuration as a value: what the TOML files say, and whether it makes sense. Reading files is
//! the shell's work; whether an executable, a user or a unit exists is found out there, too.

mod proxy;
#[cfg(test)]
mod tests;
mod types;
mod validate;

pub use proxy::{MAX_OF_WORKLOAD, proxies, proxy};
pub use types::{
    Alerts, BY_APPROVAL, BY_QUORUM, Config, Detect, Kernel, Log, Metrics, Process, Rules, Volume,
    Workload,
};
pub use validate::{Problem, alerts_file, is_workload_name, metrics_address, validate};
