//! Decides a recording again: the same decoding and the same state as the daemon's own flow, fed
//! with records instead of rings. Everything that the daemon drew, read from a clock or found in
//! `/proc` comes out of the recording, so that the same records give the same decisions, byte by
//! byte, on any machine.

use std::{
    collections::{BTreeMap, HashMap},
    mem::offset_of,
};

use anyhow::{Context, Result, bail};
use monitor_common::{
    class::{ClassId, Mode},
    event::Header as EventHeader,
    hook::Hook,
};
use slmguard_core::{
    alert::{Alert, ProcessInfo},
    baseline::{Baseline, Row},
    decide::evidence::budget::Place,
    decode::{ClassNames, ClockOffset, decode},
    observation::{Observation, Scope},
    recording::{Header, Member, Record},
    workload::mode_from,
};

use super::{accelerate::Kept, state::State, traffic};
use crate::{
    api::view,
    enrich::process::ProcessTable,
    store::{Basis, WorkloadState},
};

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decided {
    /// An observation, as `slmguard events` shows it.
    Event(Box<view::Event>),
    /// The alert about it, as `slmguard alerts` shows it.
    Alert(Box<Alert>),
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that were decided.
    pub events: u64,
    /// Alerts among them.
    pub alerts: u64,
    /// Events that could not be decoded.
    pub unreadable: u64,
    /// Events that the recording does not have.
    pub lost: u64,
}

#[derive(Debug, Default)]
pub(super) struct Names(HashMap<ClassId, Scope>);

impl ClassNames for Names {
    fn scope(&self, class: ClassId) -> Option<Scope> {
        self.0.get(&class).cloned()
    }
}

/// A recording on its way through the flow.
pub struct Replay {
    header: Header,
    pub(super) names: Names,
    /// The number that a hook has here, by the number that it has in the recording.
    hooks: Vec<Option<u8>>,
    clock: ClockOffset,
    known: Vec<Row>,
    pub(super) state: State,
    totals: Totals,
    /// What can be lived through again; only where that is wanted.
    pub(super) kept: Option<Kept>,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            header: Header::default(),
            names: Names::default(),
            hooks: vec![],
            clock: ClockOffset::default(),
            known: vec![],
            state: State::new(Baseline::default(), ProcessTable::told(), BTreeMap::new()),
            totals: Totals::default(),
            kept: None,
        }
    }
}

impl Replay {
    /// One that can be accelerated: it keeps what is learned, which others need no memory for.
    pub fn keeping() -> Self {
        Self {
            kept: Some(Kept::default()),
            ..Self::default()
        }
    }

    /// Takes the next record, and hands over what was decided about it.
    pub fn take(&mut self, record: Record) -> Result<Vec<Decided>> {
        self.watch(record, |_| {})
    }

    /// The same, and shows the observation before it is decided.
    pub fn watch(
        &mut self,
        record: Record,
        watcher: impl FnOnce(&Observation),
    ) -> Result<Vec<Decided>> {
        match record {
            Record::Header(header) => {
                self.hooks = header.hooks.iter().map(|name| hook_number(name)).collect();
                self.header = header;
            }
            // Rules are in the policies that the kernel enforced; its verdicts are in the events.
            Record::Workload(workload) => self.state.declare_files(&workload)?,
            Record::End(_) => {}
            Record::Order(row) => drop(self.state.chains.restore(vec![row])),
            Record::Flow {
                member,
                process,
                flow,
                count,
                time,
            } => {
                let sum = traffic::told(&scope(&member)?, process, flow, count, time);
                self.state.follow(&sum);
            }
            Record::Class(member) => {
                let scope = scope(&member)?;
                self.names.0.insert(member.class, scope);
            }
            Record::Mode {
                workload,
                mode,
                changed,
                ..
            } => {
                let mode = mode_from(&mode)
                    .with_context(|| format!("`{mode}` is no mode that this version knows"))?;
                let next = WorkloadState {
                    mode,
                    basis: Basis::None,
                    changed,
                };
                self.state.add_workload(&workload, next);
            }
            Record::Policy { number, version } => self.state.set_version(number, version),
            Record::Known(row) => self.known.push(row),
            Record::Name {
                workload,
                address,
                name,
                ends,
            } => self.state.names.restore(&workload, name, address, ends, 0),
            Record::Process { info, member } => {
                let scope = scope(&member)?;
                self.state.processes.enter(info, scope);
                self.state.processes.take_found();
            }
            Record::Clock {
                monotonic_to_wall_ns,
            } => {
                self.clock = ClockOffset {
                    monotonic_to_wall_ns,
                }
            }
            Record::Begin => {
                let known = std::mem::take(&mut self.known);
                // Who has learned something is held to it.
                let learned = known.iter().map(|row| row.workload.as_str());
                self.state.calls.expect(learned);
                self.state.baseline = Baseline::from_rows(known)?;
            }
            Record::Lost { events, .. } => self.totals.lost += events,
            Record::Event { bytes, id, process } => {
                return Ok(self.event(bytes.0, id, process, watcher));
            }
        }
        Ok(vec![])
    }

    fn event(
        &mut self,
        mut bytes: Vec<u8>,
        id: Option<String>,
        process: Option<Box<ProcessInfo>>,
        watcher: impl FnOnce(&Observation),
    ) -> Vec<Decided> {
        // Versions may number their hooks differently; one that this version does not have has no
        // number here.
        if let Some(hook) = bytes.get_mut(offset_of!(EventHeader, hook))
            && let Some(here) = self.hooks.get(usize::from(*hook))
        {
            *hook = here.unwrap_or(u8::MAX);
        }
        let Ok(observation) = decode(&bytes, &self.names, self.clock) else {
            self.totals.unreadable += 1;
            return vec![];
        };
        self.totals.events += 1;
        let learns = self.state.mode(&observation.scope.workload) == Some(Mode::Learn);
        if let Some(kept) = &mut self.kept {
            if learns {
                kept.learned.push((observation.time, self.clock, bytes));
            }
            kept.living.note(&observation);
        }
        watcher(&observation);
        let mut outline = self.state.observe(observation);
        // What is not said here is what is in the table: so the recorder decides what to say.
        let known = self
            .state
            .processes
            .get(outline.decision.observation.process.pid);
        if let Some(process) = process.map(|p| *p).or(known.map(|p| p.info.clone())) {
            outline.process = process;
        }
        let mut decided = vec![Decided::Event(Box::new(outline.event()))];
        if outline.alerts() && self.state.place(&outline) == Place::Tell {
            self.totals.alerts += 1;
            // The daemon told none here, so it drew no id either.
            let id = id.unwrap_or_else(|| format!("replayed-{:06}", self.totals.events));
            let alert = outline.alert(id, &self.header.host, &self.header.tier);
            decided.push(Decided::Alert(Box::new(alert)));
        }
        decided
    }

    /// Where the recording comes from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How much there was up to now.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What is known by now.
    pub fn baseline(&self) -> &Baseline {
        &self.state.baseline
    }
}

impl Decided {
    /// One line of JSON, as `events` and `alerts` print it.
    pub fn to_json_line(&self) -> Result<String> {
        match self {
            Self::Event(event) => serde_json::to_string(event).context("cannot write JSON"),
            Self::Alert(alert) => Ok(alert.to_json_line()),
        }
    }
}

/// The number of a hook in this version.
fn hook_number(name: &str) -> Option<u8> {
    let hook = Hook::ALL.into_iter().find(|hook| hook.name() == name)?;
    Some(hook as u8)
}

fn scope(member: &Member) -> Result<Scope> {
    match member.scope() {
        Some(scope) => Ok(scope),
        None => bail!(
            "class {} has role `{}` and phase `{}`, which this version does not know",
            member.class,
            member.role,
            member.phase
        ),
    }
}
