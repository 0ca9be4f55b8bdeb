//! The detector thread: scans, applies, looks for callers, and writes down.

use std::{
    collections::HashSet,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use monitor_common::class::NONE;
use slmguard_core::{decode::ClassNames, detect::mcp};

use super::show::without_rule;
use crate::{
    daemon::{
        engine::{Engine, SharedEngine},
        threads::Stop,
    },
    enrich::{
        cgroup::Cgroups,
        detect::{Scanner, callers::Callers},
    },
};

/// Pause between two scans, and at least so many times as long as a scan took: what a host with
/// very many processes pays stays small.
const PAUSE: Duration = Duration::from_millis(500);
const REST: u32 = 10;
/// Pause between two looks who calls: connections live shorter than scans are apart.
const CALLS: Duration = Duration::from_millis(100);
/// Pause between two visits to the store.
const SAVE: Duration = Duration::from_secs(2);

/// Works until told to stop.
pub(in crate::daemon) fn work(engine: &SharedEngine, stop: &Stop) {
    let cgroups = Cgroups::discover();
    let mut scanner = Scanner::new(engine.proc.clone());
    let mut callers = Callers::default();
    let mut saved = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        engine.search_once(&mut scanner, &mut callers, &cgroups);
        if saved.elapsed() >= SAVE {
            engine.save_found();
            saved = Instant::now();
        }
        let pause = PAUSE.max(began.elapsed() * REST);
        let until = Instant::now() + pause;
        while !stop.load(Ordering::Relaxed) {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            thread::park_timeout(left.min(CALLS));
            engine.look_for_callers(&mut scanner, &mut callers);
        }
    }
    engine.save_found();
}

impl Engine {
    /// One look at everything that runs.
    pub(in crate::daemon) fn search_once(
        &self,
        scanner: &mut Scanner,
        callers: &mut Callers,
        cgroups: &Cgroups,
    ) {
        let members: HashSet<u32> = self
            .guard()
            .members()
            .into_iter()
            .map(|(pid, _)| pid)
            .collect();
        if let Err(e) = scanner.scan(&|pid| members.contains(&pid)) {
            let text = format!("workloads cannot be looked for: /proc cannot be read: {e}");
            return self.problem("detection", Some(text));
        }
        self.problem("detection", None);
        self.let_strangers_go();
        self.apply(scanner, cgroups);
        self.look_for_callers(scanner, callers);
        self.look_for_mcp(scanner);
        let mut discovery = self.discovery();
        let confirmed = discovery.found.values().filter(|f| f.confirmed).count();
        let unconfirmed = discovery.found.len() - confirmed;
        // What is gone is refused no longer.
        if scanner.sightings().all(|s| !s.verdict.found()) {
            discovery.refused.clear();
        }
        let counts = [unconfirmed, confirmed, discovery.refused.len()];
        let agents = discovery.count_agents();
        let refused = discovery.refused.values().next().cloned();
        let left_out = discovery.without_rule;
        drop(discovery);
        self.metrics.set_detected(counts);
        self.metrics.set_agents(agents);
        self.problem("detected workloads", refused);
        self.problem(
            "detected rules",
            (left_out > 0).then(|| without_rule(left_out)),
        );
    }

    /// Members of a workload that was dismissed while they were becoming members.
    fn let_strangers_go(&self) {
        let guard = self.guard();
        for (pid, class) in guard.members() {
            if self.classes.scope(class).is_some() && !self.classes.is_configured(class) {
                guard.set_member(pid, NONE);
            }
        }
    }

    /// Members that are MCP servers of other members.
    fn look_for_mcp(&self, scanner: &Scanner) {
        let guard = self.guard();
        let defined: Vec<mcp::Server> = scanner
            .sightings()
            .filter(|s| guard.member(s.pid) != NONE)
            .flat_map(|s| s.mcp.clone())
            .collect();
        let found = scanner
            .sightings()
            .filter(|s| guard.member(s.pid) != NONE && guard.member(s.parent) != NONE)
            .filter(|s| mcp::is_stdio_server(&s.facts, s.stdio, &defined))
            .map(|s| s.pid)
            .collect();
        drop(guard);
        self.discovery().mcp = found;
    }
}
