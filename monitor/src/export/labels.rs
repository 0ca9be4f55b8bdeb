//! Labels of the metrics, and the closed lists of what they can say: every series of these exists
//! from the start, and no text from outside becomes one.
#![allow(missing_docs, reason = "a label's name and fields say what it is")]

use monitor_common::{class::Mode, event::Verdict};
use prometheus_client::encoding::EncodeLabelSet;
use slmguard_core::alert::Severity;

/// Workloads with series of their own; further ones share `_other`.
pub const MAX_WORKLOADS: usize = 100;
pub const OTHER: &str = "_other";
/// Kinds of events that decisions and alerts are about.
pub const KINDS: [&str; 16] = [
    "connect", "send", "listen", "unix", "open", "change", "exec", "facility", "query", "found",
    "volume", "odd", "model", "episode", "lineage", "held",
];
/// Kinds of events.
pub const EVENT_KINDS: [&str; 20] = [
    "fork", "exit", "phase", "connect", "send", "listen", "accept", "caller", "unix", "flow",
    "query", "answer", "hello", "request", "open", "map", "change", "exec", "facility", "found",
];
pub const VERDICTS: [Verdict; 6] = [
    Verdict::Known,
    Verdict::New,
    Verdict::WouldBlock,
    Verdict::Blocked,
    Verdict::Killed,
    Verdict::Audited,
];
pub const MODES: [Mode; 3] = [Mode::Learn, Mode::Monitor, Mode::Enforce];
pub const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

/// Why alerts are not told one by one.
pub const HELD: [&str; 2] = ["repeat", "budget"];

macro_rules! labels {
    ($($name:ident { $($field:ident: $t:ty),+ })+) => {
        $(
            #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
            pub struct $name { $(pub $field: $t),+ }
        )+
    };
}
labels! {
    KindLabel { kind: &'static str }
    HookLabel { hook: &'static str }
    RingLabel { ring: &'static str }
    WorkloadLabel { workload: String }
    TrafficLabels { workload: String, direction: &'static str }
    DecisionLabels { workload: String, kind: &'static str, verdict: &'static str }
    AlertLabels { workload: String, kind: &'static str, severity: &'static str }
    HeldLabels { workload: String, reason: &'static str }
    ModeLabels { workload: String, mode: &'static str }
    BaselineLabels { workload: String, family: &'static str }
    ProgramLabels { program: &'static str, tier: &'static str }
    DeliveryLabels { sink: &'static str, outcome: &'static str }
    SinkLabel { sink: &'static str }
    StateLabel { state: &'static str }
    BuildLabels { version: &'static str, tier: String }
}
