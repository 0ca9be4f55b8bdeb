//! The configuration as types: what a TOML file can hold.

use std::{ops::RangeInclusive, path::PathBuf};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{
    alert::Format, baseline::volume::ledger::Settings, decide::evidence::budget::PER_DAY,
    text::escape,
};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the store, mode 0700.
    pub state_dir: PathBuf,
    /// Unix socket of the local API.
    pub socket: PathBuf,
    /// Directory on a bpf file system that holds pinned links and maps.
    pub pin_dir: PathBuf,
    /// Metrics endpoint.
    pub metrics: Metrics,
    /// The daemon's own log.
    pub log: Log,
    /// Where alerts go.
    pub alerts: Alerts,
    /// Kernel programs.
    pub kernel: Kernel,
    /// The search for workloads.
    pub detect: Detect,
    /// How volumes are counted.
    pub volume: Volume,
    /// Workloads.
    #[serde(rename = "workload")]
    pub workloads: Vec<Workload>,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// `address:port`, or `off`.
    pub listen: String,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub level: String,
    /// `human` or `json`.
    pub format: String,
}

/// `[alerts]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// File with an alert a line; default `alerts.jsonl` in the state directory.
    pub file: Option<PathBuf>,
    /// What a line of the file is.
    pub format: Format,
    /// New alerts per workload and day about what is only told ([`PER_DAY`] unless given); 0 sums
    /// all of them up.
    pub new_per_day: u32,
    /// False alarms per workload and day that episodes which are odd as a whole may cost; 0 switches
    /// them off.
    pub odd_per_day: f64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            file: None,
            format: Format::default(),
            new_per_day: PER_DAY,
            odd_per_day: 1.0,
        }
    }
}

/// `[kernel]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// `auto`, `lsm` or `cgroup`.
    pub tier: String,
    /// Hooks that are left out on purpose; reported as degraded.
    pub disable_hooks: Vec<String>,
}

/// `[detect]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detect {
    /// Look for inference workloads and agents that the configuration does not name.
    pub enabled: bool,
}

/// `[volume]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// Length of the slots that bytes are counted in: `"60s"`.
    pub slot: String,
    /// Busy slots that a connector must have been watched for before bursts are judged.
    pub least: u64,
}

impl Volume {
    /// As the ledger takes them; otherwise which key is wrong, and what to write.
    pub fn settings(&self) -> Result<Settings, (&'static str, String)> {
        let slot = self.slot.parse::<SignedDuration>().ok();
        let slot = slot
            .filter(|slot| SLOTS.contains(&slot.as_secs()) && slot.subsec_nanos() == 0)
            .ok_or_else(|| {
                let given = escape(self.slot.as_bytes());
                let text =
                    format!("`{given}` is not a length; write whole seconds from \"1s\" to \"1h\"");
                ("volume.slot", text)
            })?;
        if !LEAST.contains(&self.least) {
            let text = format!(
                "{} is too few or too many; write a number from {} to {}",
                self.least,
                LEAST.start(),
                LEAST.end()
            );
            return Err(("volume.least", text));
        }
        Ok(Settings {
            slot: u64::try_from(slot.as_nanos()).unwrap_or(u64::MAX),
            least: self.least,
        })
    }
}

/// Seconds that a slot may have.
const SLOTS: RangeInclusive<i64> = 1..=3600;
/// Busy slots that may be asked for. Of fewer the most is no limit for anything.
const LEAST: RangeInclusive<u64> = 5..=100_000;

/// `[[workload]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Mode at first sight.
    #[serde(default = "learn")]
    pub mode: String,
    /// Files of the owner, which strangers must not get: path patterns as in `allow.read`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<String>,
    /// Files that strangers write, an inbox for one: path patterns as in `allow.read`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untrusted: Vec<String>,
    /// HTTP proxies that it calls, `address:port`: behind them the host that is asked for counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<String>,
    /// How its processes are recognised.
    #[serde(rename = "process", default)]
    pub processes: Vec<Process>,
    /// What the operator allows besides what is learned.
    #[serde(default)]
    pub allow: Rules,
    /// What the operator forbids, whatever is learned.
    #[serde(default)]
    pub deny: Rules,
    /// Who may add to the lists of a workload after they were frozen: `approve` (an operator) or
    /// `quorum` (also its replicas, where enough of them saw the same for days).
    #[serde(default = "by_approval")]
    pub adapt: String,
    /// What happens where the tier cannot deny: per role, `kill` or `alert`.
    #[serde(default)]
    pub undeniable: std::collections::BTreeMap<String, String>,
}

/// The word for additions by an operator alone.
pub const BY_APPROVAL: &str = "approve";
/// The word for additions by the replicas of a workload.
pub const BY_QUORUM: &str = "quorum";

fn by_approval() -> String {
    BY_APPROVAL.to_owned()
}

/// `[[workload.process]]`: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Role that a match gets.
    pub role: String,
    /// Path of the executable; matched by device and inode.
    pub exe: Option<PathBuf>,
    /// Each must equal an argument, or the last path component of one.
    #[serde(default)]
    pub argv: Vec<String>,
    /// cgroup v2 path, that one or any below.
    pub cgroup: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// User name or id.
    pub user: Option<String>,
}

/// Operator rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// `address[/prefix]:port[/tcp|udp]`, port `*` for any; in allow rules also `name:port`,
    /// `*.name:port` and `name@private:port` ([`crate::decide::host_rule`]).
    pub connect: Vec<String>,
    /// Path patterns; `*` one component, `**` any number of them.
    pub read: Vec<String>,
    /// Path patterns.
    pub write: Vec<String>,
    /// Path patterns.
    pub exec: Vec<String>,
    /// Unix sockets: path patterns, or `@` and an abstract name.
    pub unix: Vec<String>,
    /// Local endpoints, as in `connect`; `0.0.0.0` and `[::]` mean listening on every address.
    pub listen: Vec<String>,
    /// Names of facilities ([`monitor_common::facility::Facility`]).
    pub facilities: Vec<String>,
}

impl Rules {
    /// Adds other rules.
    pub fn extend(&mut self, other: Self) {
        self.connect.extend(other.connect);
        self.read.extend(other.read);
        self.write.extend(other.write);
        self.exec.extend(other.exec);
        self.unix.extend(other.unix);
        self.listen.extend(other.listen);
        self.facilities.extend(other.facilities);
    }
}

fn learn() -> String {
    "learn".into()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/slmguard".into(),
            socket: "/run/slmguard/api.sock".into(),
            pin_dir: "/sys/fs/bpf/slmguard".into(),
            metrics: Metrics::default(),
            log: Log::default(),
            alerts: Alerts::default(),
            kernel: Kernel::default(),
            detect: Detect::default(),
            volume: Volume::default(),
            workloads: vec![],
        }
    }
}
impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9464".into(),
        }
    }
}
impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: "human".into(),
        }
    }
}
impl Default for Kernel {
    fn default() -> Self {
        Self {
            tier: "auto".into(),
            disable_hooks: vec![],
        }
    }
}
impl Default for Detect {
    fn default() -> Self {
        Self { enabled: true }
    }
}
impl Default for Volume {
    fn default() -> Self {
        Self {
            slot: "60s".into(),
            least: 100,
        }
    }
}
