//! The engine: everything that the threads share, and what happens to an observation.
//!
//! Locks are taken in this order and never in another: discovery, state, guard; the store's own lock comes
//! last and is never held together with waiting for a sink.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use monitor_common::{class::Role, enrol::ExecutableKey, hash::HashKey};
use slmguard_core::{
    alert::Severity,
    config::{BY_APPROVAL, Config, Rules, Workload},
    decide::{enforceable::gaps, evidence::budget::Budgets},
    decode::ClockOffset,
    observation::Observation,
};

use super::{
    approved,
    barrier::Barrier,
    calls,
    classes::{Classes, scopes},
    clock,
    discovery::{self, AgentState, Discovery},
    evidence,
    guard::Guard,
    lineages, models, modes, order, paths,
    random::AlertIds,
    recorder::Raw,
    state::{Outline, State},
    volumes,
};
use crate::{
    api::{Feed, Line, view},
    enrich::{
        cgroup::Cgroups, detect::digest::Digests, identity, process::ProcessTable, procfs::Proc,
    },
    export::metrics::Metrics,
    store::{Store, StoreError, StoredAlert},
};

/// Events and alerts that are kept in memory for those who ask.
const RECENT: usize = 2048;
/// A pipeline that has not moved for so long stands still.
const STILL: Duration = Duration::from_secs(15);

/// An alert that has to be stored.
#[derive(Clone, Debug)]
pub struct NewAlert {
    /// As the store keeps it.
    pub stored: StoredAlert,
    /// Its kind, for metrics.
    pub kind: String,
    /// Its severity, for metrics.
    pub severity: Severity,
}

/// What the threads share.
pub struct Engine {
    /// The configuration.
    pub config: Config,
    /// Classes.
    pub classes: Classes,
    /// Memory.
    pub store: Store,
    /// Key of the kernel's hashes.
    pub key: HashKey,
    /// Metrics.
    pub metrics: Metrics,
    /// Recent events.
    pub events: Feed,
    /// Recent alerts.
    pub alerts: Feed,
    /// "Everything up to now."
    pub barrier: Barrier,
    /// `/proc`.
    pub proc: Proc,
    /// This very program, which launchers run as well: no rule makes it a member.
    pub(super) launcher: Option<ExecutableKey>,
    /// Where metrics are served.
    pub metrics_address: OnceLock<SocketAddr>,
    /// Wakes the file sink.
    pub sink_bell: OnceLock<SyncSender<()>>,
    /// What a workload that was found has in place of a configuration.
    pub(super) found: Workload,
    pub(super) discovery: Mutex<Discovery>,
    pub(super) digests: Digests,
    pub(super) state: Mutex<State>,
    pub(super) guard: Mutex<Box<dyn Guard>>,
    pub(super) started: Instant,
    /// The bytes of events are kept on their way, for a recording.
    pub(super) recording: AtomicBool,
    tier: &'static str,
    ids: AlertIds,
    host: String,
    heartbeat: AtomicU64,
    offset: AtomicI64,
    problems: Mutex<BTreeMap<&'static str, String>>,
}

impl Engine {
    /// Puts everything together: what was stored, and a guard that is attached.
    pub fn new(
        config: Config,
        store: Store,
        guard: Box<dyn Guard>,
        key: HashKey,
        proc: Proc,
        cgroups: Cgroups,
    ) -> anyhow::Result<Self> {
        let classes = Classes::new(&config.workloads, &store)?;
        let baseline = slmguard_core::baseline::Baseline::from_rows(store.load_baseline()?)?;
        let alerts: BTreeMap<String, u64> = store.alert_counts()?.into_iter().collect();
        let mut workloads = BTreeMap::new();
        let tier = guard.tier();
        let metrics = Metrics::new(tier, config.workloads.iter().map(|w| w.name.clone()));
        for workload in &config.workloads {
            let state = first_or_stored(&store, &workload.name, &workload.mode)?;
            metrics.set_mode(&workload.name, state.mode);
            let count = alerts.get(&workload.name).copied().unwrap_or(0);
            workloads.insert(workload.name.clone(), (state, count));
        }
        let digests = Digests::default();
        let configured = |name: &str| config.workloads.iter().any(|w| w.name == name);
        let discovery = Discovery::load(&store, &configured, &digests)?;
        for name in discovery.found.keys() {
            let state = first_or_stored(&store, name, "learn")?;
            metrics.add_workload(name);
            metrics.set_mode(name, state.mode);
            let count = alerts.get(name).copied().unwrap_or(0);
            workloads.insert(name.clone(), (state, count));
        }
        for name in workloads.keys() {
            let mut roles = vec![];
            if discovery.found.contains_key(name) {
                roles.extend(discovery::ROLES);
            }
            let enrolled = |((w, _), agent): (&(String, String), &discovery::Agent)| {
                w == name && agent.state == AgentState::Enrolled
            };
            if discovery.agents.iter().any(enrolled) {
                roles.push(Role::Agent);
            }
            classes.add(&store.add_classes(&scopes(name, &roles))?);
        }
        let processes = ProcessTable::new(proc.clone(), cgroups);
        let mut state = State::new(baseline, processes, workloads);
        (state.approved, state.rejected) = approved::load(&store)?;
        state.evidence = evidence::load(&store)?;
        let settings = config.volume.settings();
        let settings = settings.map_err(|(key, message)| anyhow::anyhow!("{key}: {message}"))?;
        state.volumes = volumes::load(&store, settings)?;
        state.paths = paths::load(&store)?;
        let rules = config.workloads.iter();
        state.allow = rules.map(|w| (w.name.clone(), w.allow.clone())).collect();
        state.calls = calls::load(&store, &config.workloads)?;
        state.models = models::load(&store)?;
        state.told = Budgets::new(config.alerts.new_per_day);
        state.chains = order::load(&store, &config)?;
        state.lineages = lineages::load(&store)?;
        let engine = Self {
            classes,
            store,
            key,
            metrics,
            events: Feed::new(RECENT),
            alerts: Feed::new(RECENT),
            barrier: Barrier::default(),
            proc,
            launcher: identity::of_path(Path::new("/proc/self/exe")).ok(),
            metrics_address: OnceLock::new(),
            sink_bell: OnceLock::new(),
            found: Workload {
                name: String::new(),
                mode: "learn".into(),
                private: vec![],
                untrusted: vec![],
                proxies: vec![],
                processes: vec![],
                allow: Rules::default(),
                deny: Rules::default(),
                adapt: BY_APPROVAL.into(),
                undeniable: BTreeMap::new(),
            },
            discovery: Mutex::new(discovery),
            digests,
            state: Mutex::new(state),
            guard: Mutex::new(guard),
            started: Instant::now(),
            recording: AtomicBool::new(false),
            tier,
            ids: AlertIds::new(key),
            host: host_name(),
            heartbeat: AtomicU64::new(0),
            offset: AtomicI64::new(clock::offset().monotonic_to_wall_ns),
            problems: Mutex::new(BTreeMap::new()),
            config,
        };
        Ok(engine)
    }

    /// One observation through the flow: enrich, decide, learn, count, and show to followers.
    /// Returns the alert that has to be stored now, if there is one.
    pub fn ingest(
        &self,
        observation: Observation,
        raw: Option<&Raw>,
        arrived: Instant,
    ) -> Option<NewAlert> {
        let kind = observation.fact.kind();
        self.metrics.event(kind);
        self.note_caller(&observation);
        let (outline, id) = {
            let mut state = self.state();
            let outline = state.observe(observation);
            let id = match outline.alerts() {
                true => self.id_if_told(&mut state, &outline),
                false => None,
            };
            // Under the same lock, so that it stands in the order in which it was decided.
            state.record_event(raw, Some((&outline, id.as_deref())), self);
            (outline, id)
        };
        let seen = &outline.decision.observation;
        if !seen.families().is_empty() {
            let seconds = arrived.elapsed().as_secs_f64();
            self.metrics
                .decision(&seen.scope.workload, kind, seen.verdict, seconds);
        }
        self.show(&outline);
        id.map(|id| self.alert(outline, id))
    }

    pub(super) fn new_id(&self) -> String {
        self.ids.next(clock::now())
    }

    pub(super) fn show(&self, outline: &Outline) {
        let event = outline.event();
        if let Ok(text) = serde_json::to_string(&event) {
            self.events.push(Line {
                workload: event.workload.into(),
                text: text.into(),
            });
        }
    }

    pub(super) fn alert(&self, outline: Outline, id: String) -> NewAlert {
        let alert = outline.alert(id, &self.host, self.tier);
        NewAlert {
            stored: StoredAlert {
                body: alert.to_json_line(),
                id: alert.id,
                workload: alert.workload,
            },
            kind: alert.kind,
            severity: alert.severity,
        }
    }

    /// Stores alerts; only then do sinks and followers see them.
    pub fn store_alerts(&self, alerts: &[NewAlert]) -> Result<(), StoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let stored: Vec<_> = alerts.iter().map(|a| a.stored.clone()).collect();
        self.store.add_alerts(&stored)?;
        for alert in alerts {
            let workload = &alert.stored.workload;
            self.metrics.alert(workload, &alert.kind, alert.severity);
            if let Some(standing) = self.state().workloads.get_mut(workload) {
                standing.alerts += 1;
            }
            self.alerts.push(Line {
                workload: workload.as_str().into(),
                text: alert.stored.body.as_str().into(),
            });
        }
        if let Some(bell) = self.sink_bell.get() {
            // Full means that it has been rung already.
            let _ = bell.try_send(());
        }
        Ok(())
    }

    /// Saves what was learned and not saved yet.
    pub fn save_baseline(&self) -> Result<usize, StoreError> {
        let (rows, subjects) = self.state().take_unsaved();
        if let Err(e) = self.store.save_baseline(&rows) {
            self.state().still_unsaved(subjects);
            return Err(e);
        }
        Ok(rows.len())
    }

    /// The offset between the kernel's clock and the wall clock.
    pub fn clock_offset(&self) -> ClockOffset {
        ClockOffset {
            monotonic_to_wall_ns: self.offset.load(Ordering::Relaxed),
        }
    }

    /// Asks the clocks again.
    pub fn set_clock(&self) {
        self.offset
            .store(clock::offset().monotonic_to_wall_ns, Ordering::Relaxed);
    }

    /// The pipeline moves.
    pub fn beat(&self) {
        self.heartbeat
            .store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Whether the pipeline moves.
    pub fn health(&self) -> Result<(), String> {
        let last = Duration::from_secs(self.heartbeat.load(Ordering::Relaxed));
        match self.started.elapsed().checked_sub(last) {
            Some(still) if still > STILL => Err(format!(
                "the pipeline has stood still for {} s",
                still.as_secs()
            )),
            _ => Ok(()),
        }
    }

    /// Something that should work does not, or does again.
    pub fn problem(&self, what: &'static str, state: Option<String>) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            Some(message) => {
                if problems.get(what) != Some(&message) {
                    tracing::warn!("{message}");
                }
                problems.insert(what, message);
            }
            None => {
                if problems.remove(what).is_some() {
                    tracing::info!("{what}: works again");
                }
            }
        }
    }

    /// Everything that should work and does not.
    pub fn degraded(&self) -> Vec<String> {
        let mut all: Vec<_> = self
            .guard()
            .hooks()
            .iter()
            .map(super::hook_view)
            .filter(view::Hook::is_degraded)
            .map(|hook| {
                let what = if hook.attached {
                    "does not fire"
                } else {
                    "is not attached"
                };
                let reason = hook.reason.map(|r| format!(": {r}")).unwrap_or_default();
                format!("hook {} {what}{reason}", hook.hook)
            })
            .collect();
        all.extend(
            gaps(&self.config.workloads, self.tier)
                .into_iter()
                .filter(|gap| gap.breaks_a_rule)
                .map(|gap| gap.text),
        );
        all.extend(self.health().err());
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(problems.values().cloned());
        all
    }

    /// Workloads, configured and found.
    pub fn workload_count(&self) -> usize {
        self.state().workloads.len()
    }

    /// The name of this machine, escaped.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The tier in use.
    pub fn tier(&self) -> &'static str {
        self.tier
    }

    /// A poisoned lock is taken all the same: a guard that stops guarding because one thread
    /// panicked helps nobody, and every change to the state is complete in itself.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn guard(&self) -> MutexGuard<'_, Box<dyn Guard>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shared between threads.
pub type SharedEngine = Arc<Engine>;

fn first_or_stored(
    store: &Store,
    name: &str,
    mode: &str,
) -> anyhow::Result<crate::store::WorkloadState> {
    if let Some(state) = store.workload(name)? {
        return Ok(state);
    }
    let state = modes::first_by_word(mode, clock::now())
        .ok_or_else(|| anyhow::anyhow!("workload {name}: {mode} is no mode"))?;
    store.set_workload(name, &state)?;
    Ok(state)
}

fn host_name() -> String {
    let name = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    slmguard_core::text::escape(name.trim_ascii())
}
