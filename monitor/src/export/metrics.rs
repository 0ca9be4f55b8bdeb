//! Every metric, declared once: names, help and labels are a contract with dashboards and rules.
//!
//! Labels come from closed lists, so that the number of series is known beforehand; workloads are
//! the only open one, and beyond [`MAX_WORKLOADS`] they share a series. All combinations exist from
//! the start, so that rates and alert rules work with the first event.

use std::{
    sync::{
        PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use monitor_common::{
    class::{Family as Behaviour, Mode},
    event::Verdict,
    hook::{Hook, HookCounters},
    limits::{OBSERVATION_RING_BYTES, VERDICT_RING_BYTES},
    socket::Traffic,
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
use slmguard_core::{
    alert::Severity,
    workload::{family_name, hook_name, mode_name, verdict_name},
};

pub use super::labels::MAX_WORKLOADS;
use super::{labels::*, process};

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Grows up to [`MAX_WORKLOADS`] and never shrinks: a series that was there stays.
    workloads: RwLock<Vec<String>>,
    capped: Counter,
    events: Family<KindLabel, Counter>,
    decode_errors: Counter,
    lost: Family<HookLabel, Counter>,
    hook_runs: Family<HookLabel, Counter>,
    hook_denials: Family<HookLabel, Counter>,
    hook_kills: Family<HookLabel, Counter>,
    hook_errors: Family<HookLabel, Counter>,
    attached: Family<ProgramLabels, Gauge>,
    decisions: Family<DecisionLabels, Counter>,
    alerts: Family<AlertLabels, Counter>,
    alerts_held: Family<HeldLabels, Counter>,
    alerts_lost: Counter,
    alerts_waiting: Gauge,
    duration: Histogram,
    modes: Family<ModeLabels, Gauge>,
    baseline: Family<BaselineLabels, Gauge>,
    processes: Family<WorkloadLabel, Gauge>,
    traffic: Family<TrafficLabels, Counter>,
    connections: Family<WorkloadLabel, Gauge>,
    disbelieved: Family<WorkloadLabel, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    backlog: Family<SinkLabel, Gauge>,
    detected: Family<StateLabel, Gauge>,
    agents: Family<StateLabel, Gauge>,
    degraded: Gauge,
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_fds: Gauge,
}

impl Metrics {
    /// Declares everything for these workloads on this tier.
    pub fn new(tier: &str, workloads: impl IntoIterator<Item = String>) -> Self {
        let mut registry = Registry::default();
        let mut workloads: Vec<String> = workloads.into_iter().collect();
        let too_many = workloads.len() > MAX_WORKLOADS;
        workloads.truncate(MAX_WORKLOADS);
        if too_many {
            workloads.push(OTHER.into());
        }
        macro_rules! declare {
            ($name:literal, $help:literal) => {
                declare!($name, $help, Default::default())
            };
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        registry.register(
            "slmguard_build",
            "Version of slmguard and the tier it works on",
            Info::new(BuildLabels {
                version: env!("CARGO_PKG_VERSION"),
                tier: tier.into(),
            }),
        );
        let start: Gauge<f64, AtomicU64> = declare!(
            "process_start_time_seconds",
            "Start of the daemon, seconds since the epoch"
        );
        start.set(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |d| d.as_secs_f64()),
        );
        let rings: Family<RingLabel, Gauge> = declare!(
            "slmguard_ring_size_bytes",
            "Size of a ring between kernel and daemon"
        );
        for (ring, bytes) in [
            ("verdicts", VERDICT_RING_BYTES),
            ("observations", OBSERVATION_RING_BYTES),
        ] {
            rings
                .get_or_create(&RingLabel { ring })
                .set(i64::from(bytes));
        }
        let duration = declare!(
            "slmguard_decision_duration_seconds",
            "Time from the arrival of an event to the decision about it",
            Histogram::new([1e-6, 5e-6, 2e-5, 1e-4, 5e-4, 2e-3, 1e-2, 0.1, 1.0])
        );
        let metrics = Self {
            workloads: RwLock::new(workloads),
            duration,
            capped: declare!(
                "slmguard_metrics_series_capped",
                "Times that something was counted for a workload without a series of its own"
            ),
            events: declare!("slmguard_events", "Events read from the kernel"),
            decode_errors: declare!(
                "slmguard_decode_errors",
                "Events that could not be understood"
            ),
            lost: declare!(
                "slmguard_events_lost",
                "Events that the rings had no room for"
            ),
            hook_runs: declare!(
                "slmguard_hook_runs",
                "Runs of a hook for a member of a workload"
            ),
            hook_denials: declare!("slmguard_hook_denials", "Operations that a hook denied"),
            hook_kills: declare!("slmguard_hook_kills", "Processes that a hook killed"),
            hook_errors: declare!(
                "slmguard_hook_errors",
                "Times that a hook could not do its work"
            ),
            attached: declare!(
                "slmguard_bpf_program_attached",
                "Whether a kernel program of the tier in use is attached"
            ),
            decisions: declare!("slmguard_decisions", "Decisions about reported behaviour"),
            alerts: declare!("slmguard_alerts", "Alerts stored"),
            alerts_held: declare!(
                "slmguard_alerts_held",
                "Alerts that were not told one by one: more of the same, or over the budget of the day"
            ),
            alerts_lost: declare!(
                "slmguard_alerts_lost",
                "Alerts that neither the store nor memory had room for"
            ),
            alerts_waiting: declare!(
                "slmguard_alerts_waiting",
                "Alerts that wait in memory because the store refuses them"
            ),
            modes: declare!(
                "slmguard_enforcement_mode",
                "1 for the mode that a workload is in"
            ),
            baseline: declare!("slmguard_baseline_entries", "Subjects that were learned"),
            processes: declare!(
                "slmguard_workload_processes",
                "Living processes of a workload"
            ),
            traffic: declare!(
                "slmguard_workload_traffic_bytes",
                "Payload bytes of connections that ended, and of datagrams"
            ),
            connections: declare!(
                "slmguard_workload_connections_open",
                "TCP connections that were established and have not ended"
            ),
            disbelieved: declare!(
                "slmguard_dns_answers_disbelieved",
                "DNS answers without a question, or that could not be read"
            ),
            deliveries: declare!("slmguard_sink_deliveries", "Alerts handed to a sink"),
            backlog: declare!(
                "slmguard_sink_backlog_events",
                "Alerts that a sink does not have yet"
            ),
            detected: declare!(
                "slmguard_detected_workloads",
                "Workloads that slmguard found by itself; refused: found, and not guarded"
            ),
            agents: declare!(
                "slmguard_agents",
                "Local processes that call a workload, by what was decided about them"
            ),
            degraded: declare!(
                "slmguard_degraded",
                "1 while something that should work does not"
            ),
            cpu: declare!("process_cpu_seconds", "Processor time of the daemon"),
            resident: declare!(
                "process_resident_memory_bytes",
                "Resident memory of the daemon"
            ),
            open_fds: declare!("process_open_fds", "Open descriptors of the daemon"),
            registry,
        };
        metrics.create_all();
        metrics
    }

    fn create_all(&self) {
        for kind in EVENT_KINDS {
            drop(self.events.get_or_create(&KindLabel { kind }));
        }
        for hook in Hook::ALL {
            self.set_hook(hook, &HookCounters::default());
        }
        for outcome in ["delivered", "failed"] {
            drop(self.deliveries.get_or_create(&DeliveryLabels {
                sink: "file",
                outcome,
            }));
        }
        drop(self.backlog.get_or_create(&SinkLabel { sink: "file" }));
        self.set_detected([0; 3]);
        self.set_agents([0; 3]);
        let workloads = self.known().clone();
        for workload in workloads {
            self.create_workload(&workload);
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, Vec<String>> {
        self.workloads
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A workload was found: it gets series of its own while there is room for them.
    pub fn add_workload(&self, name: &str) {
        let mut workloads = self
            .workloads
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if workloads.iter().any(|w| w == name || w == OTHER) {
            return;
        }
        let name = if workloads.len() < MAX_WORKLOADS {
            name
        } else {
            OTHER
        };
        workloads.push(name.to_owned());
        drop(workloads);
        self.create_workload(name);
    }

    fn create_workload(&self, workload: &str) {
        self.set_mode(workload, Mode::Learn);
        self.set_processes(workload, 0);
        self.set_traffic(workload, &Traffic::default());
        for family in Behaviour::ALL {
            self.set_baseline(workload, family, 0);
        }
        for kind in KINDS {
            for verdict in VERDICTS.map(verdict_name) {
                let labels = DecisionLabels {
                    workload: workload.to_owned(),
                    kind,
                    verdict,
                };
                drop(self.decisions.get_or_create(&labels));
            }
            for severity in SEVERITIES.map(severity_name) {
                let labels = AlertLabels {
                    workload: workload.to_owned(),
                    kind,
                    severity,
                };
                drop(self.alerts.get_or_create(&labels));
            }
        }
        for reason in HELD {
            let labels = HeldLabels {
                workload: workload.to_owned(),
                reason,
            };
            drop(self.alerts_held.get_or_create(&labels));
        }
    }

    fn workload(&self, name: &str) -> String {
        if self.known().iter().any(|w| w == name) {
            return name.to_owned();
        }
        self.capped.inc();
        OTHER.into()
    }

    /// An event of that kind was read.
    pub fn event(&self, kind: &'static str) {
        self.events.get_or_create(&KindLabel { kind }).inc();
    }

    /// An event could not be understood.
    pub fn decode_error(&self) {
        self.decode_errors.inc();
    }

    /// Events of each kind since the start.
    pub fn event_counts(&self) -> Vec<(&'static str, u64)> {
        EVENT_KINDS
            .map(|kind| (kind, self.events.get_or_create(&KindLabel { kind }).get()))
            .into()
    }

    /// A decision fell, so long after the event had arrived.
    pub fn decision(&self, workload: &str, kind: &'static str, verdict: Verdict, seconds: f64) {
        self.duration.observe(seconds);
        let labels = DecisionLabels {
            workload: self.workload(workload),
            kind,
            verdict: verdict_name(verdict),
        };
        self.decisions.get_or_create(&labels).inc();
    }

    /// An alert was stored.
    pub fn alert(&self, workload: &str, kind: &str, severity: Severity) {
        let Some(kind) = KINDS.into_iter().find(|k| *k == kind) else {
            return;
        };
        let severity = severity_name(severity);
        let labels = AlertLabels {
            workload: self.workload(workload),
            kind,
            severity,
        };
        self.alerts.get_or_create(&labels).inc();
    }

    /// An alert was not told by itself, for a reason of [`HELD`].
    pub fn alert_held(&self, workload: &str, reason: &'static str) {
        let workload = self.workload(workload);
        let labels = HeldLabels { workload, reason };
        self.alerts_held.get_or_create(&labels).inc();
    }

    /// Alerts that the store does not take now, and those lost since the start.
    pub fn alerts_waiting(&self, waiting: usize, lost: u64) {
        self.alerts_waiting
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.alerts_lost.inner().store(lost, Ordering::Relaxed);
    }

    /// What [`Self::alerts_waiting`] said last.
    pub fn waiting_and_lost(&self) -> (u64, u64) {
        let waiting = u64::try_from(self.alerts_waiting.get()).unwrap_or(0);
        (waiting, self.alerts_lost.get())
    }

    /// What the kernel counted for a hook, in all.
    pub fn set_hook(&self, hook: Hook, counters: &HookCounters) {
        let label = HookLabel {
            hook: hook_name(hook),
        };
        for (family, value) in [
            (&self.hook_runs, counters.member),
            (&self.hook_denials, counters.denied),
            (&self.hook_kills, counters.killed),
            (&self.hook_errors, counters.errors),
            (&self.lost, counters.dropped),
        ] {
            family
                .get_or_create(&label)
                .inner()
                .store(value, Ordering::Relaxed);
        }
    }

    /// Whether a program is attached.
    pub fn set_attached(&self, program: &'static str, tier: &'static str, attached: bool) {
        self.attached
            .get_or_create(&ProgramLabels { program, tier })
            .set(attached.into());
    }

    /// The mode of a workload.
    pub fn set_mode(&self, workload: &str, mode: Mode) {
        let workload = self.workload(workload);
        for other in MODES {
            let labels = ModeLabels {
                workload: workload.clone(),
                mode: mode_name(other),
            };
            self.modes
                .get_or_create(&labels)
                .set((other == mode).into());
        }
    }

    /// The size of a family of a workload's baseline.
    pub fn set_baseline(&self, workload: &str, family: Behaviour, entries: usize) {
        let labels = BaselineLabels {
            workload: self.workload(workload),
            family: family_name(family),
        };
        self.baseline.get_or_create(&labels).set(whole(entries));
    }

    /// The living processes of a workload.
    pub fn set_processes(&self, workload: &str, processes: usize) {
        let label = WorkloadLabel {
            workload: self.workload(workload),
        };
        self.processes.get_or_create(&label).set(whole(processes));
    }

    /// What the kernel counted of a workload's traffic, in all.
    pub fn set_traffic(&self, workload: &str, traffic: &Traffic) {
        let workload = self.workload(workload);
        for (direction, bytes) in [("out", traffic.sent), ("in", traffic.received)] {
            let labels = TrafficLabels {
                workload: workload.clone(),
                direction,
            };
            self.traffic
                .get_or_create(&labels)
                .inner()
                .store(bytes, Ordering::Relaxed);
        }
        let label = WorkloadLabel { workload };
        let open = traffic.opened.saturating_sub(traffic.closed);
        self.connections
            .get_or_create(&label)
            .set(i64::try_from(open).unwrap_or(i64::MAX));
        self.disbelieved
            .get_or_create(&label)
            .inner()
            .store(traffic.disbelieved, Ordering::Relaxed);
    }

    /// A sink took alerts, or failed to.
    pub fn delivered(&self, sink: &'static str, alerts: usize, ok: bool) {
        let outcome = if ok { "delivered" } else { "failed" };
        self.deliveries
            .get_or_create(&DeliveryLabels { sink, outcome })
            .inc_by(alerts as u64);
    }

    /// What a sink does not have yet.
    pub fn set_backlog(&self, sink: &'static str, alerts: u64) {
        self.backlog
            .get_or_create(&SinkLabel { sink })
            .set(i64::try_from(alerts).unwrap_or(i64::MAX));
    }

    /// Workloads that were found: unconfirmed, confirmed, refused.
    pub fn set_detected(&self, counts: [usize; 3]) {
        for (state, count) in ["unconfirmed", "confirmed", "refused"]
            .into_iter()
            .zip(counts)
        {
            self.detected
                .get_or_create(&StateLabel { state })
                .set(whole(count));
        }
    }

    /// Agents: offered, enrolled, dismissed.
    pub fn set_agents(&self, counts: [usize; 3]) {
        for (state, count) in ["offered", "enrolled", "dismissed"].into_iter().zip(counts) {
            self.agents
                .get_or_create(&StateLabel { state })
                .set(whole(count));
        }
    }

    /// Whether anything is degraded.
    pub fn set_degraded(&self, degraded: bool) {
        self.degraded.set(degraded.into());
    }

    /// Everything as OpenMetrics.
    pub fn openmetrics(&self) -> String {
        let usage = process::usage();
        self.cpu
            .inner()
            .store(usage.cpu_seconds.to_bits(), Ordering::Relaxed);
        self.resident.set(usage.resident_bytes);
        self.open_fds.set(usage.open_fds);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn whole(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(workloads: usize) -> Metrics {
        Metrics::new("cgroup", (0..workloads).map(|n| format!("w{n}")))
    }

    #[test]
    fn every_series_exists_before_anything_happens() {
        let text = metrics(2).openmetrics();
        for line in [
            "slmguard_build_info{version=\"0.1.0\",tier=\"cgroup\"} 1",
            "slmguard_events_total{kind=\"connect\"} 0",
            "slmguard_events_lost_total{hook=\"lsm_file_open\"} 0",
            "slmguard_decisions_total{workload=\"w1\",kind=\"exec\",verdict=\"would_block\"} 0",
            "slmguard_alerts_total{workload=\"w0\",kind=\"open\",severity=\"critical\"} 0",
            "slmguard_enforcement_mode{workload=\"w0\",mode=\"learn\"} 1",
            "slmguard_enforcement_mode{workload=\"w0\",mode=\"enforce\"} 0",
            "slmguard_sink_deliveries_total{sink=\"file\",outcome=\"failed\"} 0",
            "slmguard_baseline_entries{workload=\"w1\",family=\"destination\"} 0",
            "slmguard_decision_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = metrics(1);
        metrics.event("open");
        metrics.decision("w0", "open", Verdict::Blocked, 1e-5);
        metrics.alert("w0", "open", Severity::High);
        metrics.set_mode("w0", Mode::Enforce);
        metrics.set_hook(
            Hook::Connect4,
            &HookCounters {
                dropped: 7,
                ..HookCounters::default()
            },
        );
        let text = metrics.openmetrics();
        for line in [
            "slmguard_events_total{kind=\"open\"} 1",
            "slmguard_decisions_total{workload=\"w0\",kind=\"open\",verdict=\"blocked\"} 1",
            "slmguard_alerts_total{workload=\"w0\",kind=\"open\",severity=\"high\"} 1",
            "slmguard_enforcement_mode{workload=\"w0\",mode=\"enforce\"} 1",
            "slmguard_enforcement_mode{workload=\"w0\",mode=\"learn\"} 0",
            "slmguard_events_lost_total{hook=\"connect4\"} 7",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
        assert_eq!(
            metrics.event_counts().iter().map(|(_, n)| n).sum::<u64>(),
            1
        );
    }

    #[test]
    fn the_number_of_series_is_bounded_and_the_bound_shows() {
        let metrics = metrics(MAX_WORKLOADS + 5);
        metrics.set_processes("w104", 3);
        let text = metrics.openmetrics();
        assert!(text.contains("slmguard_workload_processes{workload=\"_other\"} 3"));
        assert!(!text.contains("w104"));
        assert!(!text.contains("slmguard_metrics_series_capped_total 0"));
    }
}
