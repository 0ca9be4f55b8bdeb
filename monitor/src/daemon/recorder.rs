//! Records what the flow takes in: each event with the state it met, in the order in which it was
//! decided.
//!
//! It hangs on the pipeline and on nothing before it: no verdict waits for it, and the pipeline does
//! not either. Lines go into a bounded channel; when whoever reads them is too slow, events are left
//! out and counted, and the next line that finds room says how many. Changes of the state are never
//! left out: without them what follows could not be decided again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use monitor_common::{ABI, hook::Hook};
use slmguard_core::{
    config::Workload,
    observation::Fact,
    recording::{BY_KERNEL, BY_RECORDER, End, Header, Member, Record, first_line, line},
    text::escape,
    time::rfc3339,
    workload::mode_name,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    clock,
    engine::Engine,
    state::{Outline, State},
};
use crate::{
    api::{Peer, Refusal, view},
    store::WorkloadState,
};

/// Messages between the pipeline and a slow reader; one holds an event and what came with it.
const CHANNEL: usize = 8192;
/// Bytes of changes that wait for room. More means that nobody reads any more.
const PATIENT: usize = 16 << 20;
/// How long the start and the end of a recording wait for events that are on their way.
const PATIENCE: Duration = Duration::from_secs(5);

/// An event's bytes, and what turned its clock into the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// As they came.
    pub bytes: Box<[u8]>,
    /// The offset that they were decoded with.
    pub offset: i64,
}

/// A recording under way.
#[derive(Debug)]
pub struct Recorder {
    sender: Sender<Bytes>,
    /// Lines that have to be written before the next event.
    waiting: String,
    offset: Option<i64>,
    classes: usize,
    workloads: usize,
    events: u64,
    /// Events left out since that was last said, and in all.
    left_out: u64,
    lost: u64,
}

impl Recorder {
    fn new(sender: Sender<Bytes>) -> Self {
        Self {
            sender,
            waiting: String::new(),
            offset: None,
            classes: 0,
            workloads: 0,
            events: 0,
            left_out: 0,
            lost: 0,
        }
    }

    /// A change of the state. It is written no later than the next event.
    pub fn change(&mut self, record: &Record) {
        if let Record::Lost { events, .. } = record {
            self.lost += events;
        }
        self.waiting.extend(line(record));
        self.flush();
    }

    /// An event that was taken in, `raw` and what the daemon drew and found out about it.
    fn event(&mut self, raw: &Raw, event: impl FnOnce(&[u8]) -> Record) {
        let mut lines = String::new();
        if self.left_out > 0 {
            let lost = Record::Lost {
                by: BY_RECORDER.into(),
                events: self.left_out,
            };
            lines.extend(line(&lost));
        }
        lines.push_str(&self.waiting);
        if self.offset != Some(raw.offset) {
            lines.extend(line(&Record::Clock {
                monotonic_to_wall_ns: raw.offset,
            }));
        }
        lines.extend(line(&event(&raw.bytes)));
        if self.sender.try_send(lines.into()).is_ok() {
            self.waiting.clear();
            self.offset = Some(raw.offset);
            self.left_out = 0;
            self.events += 1;
        } else {
            self.left_out += 1;
            self.lost += 1;
        }
    }

    fn flush(&mut self) {
        // While events are being left out, changes wait with them: what is missing has to be said
        // where it is missing.
        if self.left_out == 0
            && !self.waiting.is_empty()
            && self.sender.try_send(self.waiting.clone().into()).is_ok()
        {
            self.waiting.clear();
        }
    }

    /// Whether somebody still reads, and fast enough to be told of changes.
    fn lives(&self) -> bool {
        !self.sender.is_closed() && self.waiting.len() < PATIENT
    }

    /// The last lines, whenever there is room for them.
    fn end(mut self, reason: &str) {
        if self.left_out > 0 {
            let lost = Record::Lost {
                by: BY_RECORDER.into(),
                events: self.left_out,
            };
            self.waiting.insert_str(0, &line(&lost).unwrap_or_default());
        }
        let end = Record::End(End {
            reason: reason.into(),
            events: self.events,
            lost: self.lost,
        });
        self.waiting.extend(line(&end));
        let Self {
            sender, waiting, ..
        } = self;
        // On a thread that may wait: the reader takes the rest out of the channel first.
        let _ = sender.blocking_send(waiting.into());
    }
}

impl State {
    /// Tells the recording, if there is one, what was taken in.
    pub(super) fn record_event(
        &mut self,
        raw: Option<&Raw>,
        outline: Option<(&Outline, Option<&str>)>,
        engine: &Engine,
    ) {
        let found = self.processes.take_found();
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        for process in &found {
            recorder.change(&Record::Process {
                info: process.info.clone(),
                member: Member::new(0, &process.scope),
            });
        }
        // Numbers are drawn upwards and never taken back.
        if engine.classes.len() != recorder.classes {
            let rows = engine.classes.rows();
            for (id, scope) in rows.iter().skip(recorder.classes) {
                recorder.change(&Record::Class(Member::new(*id, scope)));
            }
            recorder.classes = rows.len();
        }
        // Workloads come and stay.
        if self.workloads.len() != recorder.workloads {
            for (name, standing) in &self.workloads {
                recorder.change(&mode(name, &standing.state));
            }
            recorder.workloads = self.workloads.len();
        }
        if let Some(raw) = raw {
            let id = outline.and_then(|(_, id)| id).map(str::to_owned);
            // What is not in the table was looked up for this event alone.
            let process = outline.and_then(|(outline, _)| {
                let pid = outline.decision.observation.process.pid;
                let known = self.processes.get(pid).map(|process| &process.info);
                (known != Some(&outline.process)).then(|| Box::new(outline.process.clone()))
            });
            recorder.event(raw, |bytes| Record::event(bytes, id, process));
        } else if let Some((outline, _)) = outline
            && let seen = &outline.decision.observation
            && let Fact::Flow(flow) = &seen.fact
        {
            recorder.change(&Record::Flow {
                member: Member::new(0, &seen.scope),
                process: seen.process,
                flow: *flow,
                count: seen.count,
                time: seen.time,
            });
        }
        if !recorder.lives() {
            self.recorder = None;
            engine.recording.store(false, Ordering::Relaxed);
            tracing::info!("the recording ended: nobody reads it any more");
        }
    }

    /// Tells the recording, if there is one, what changed.
    pub(super) fn record(&mut self, record: impl FnOnce() -> Record) {
        if let Some(recorder) = &mut self.recorder {
            recorder.change(&record());
        }
    }
}

/// The mode of a workload as a record.
pub(super) fn mode(workload: &str, state: &WorkloadState) -> Record {
    Record::Mode {
        workload: workload.into(),
        mode: mode_name(state.mode).into(),
        basis: state.basis.name().into(),
        changed: state.changed,
    }
}

impl Engine {
    /// Starts a recording. What it holds comes out of the receiver, line after line, until
    /// [`Self::end_recording`]; whoever drops the receiver ends it too.
    pub fn start_recording(
        &self,
        order: &view::RecordingOrder,
        peer: Peer,
    ) -> Result<Receiver<Bytes>, Refusal> {
        self.may_change(peer, "only root may record; run this as root")?;
        let (sender, receiver) = channel(CHANNEL);
        {
            let mut state = self.state();
            if state.recorder.as_ref().is_some_and(Recorder::lives) {
                return Err(Refusal::Conflict(
                    "a recording is being made already; end it first".into(),
                ));
            }
            // Nobody else can start one from here on, and nothing is written to this one yet.
            state.recorder = None;
            self.recording.store(true, Ordering::Relaxed);
        }
        // What is on its way was read without being kept.
        if !self.barrier.wait(PATIENCE) {
            self.recording.store(false, Ordering::Relaxed);
            return Err(Refusal::Failed(
                "events are still on their way after 5 s, so that the recording would start with a \
                 gap; try again when the daemon is less busy"
                    .into(),
            ));
        }
        let mut state = self.state();
        if state.recorder.is_some() {
            return Err(Refusal::Conflict(
                "a recording was started at the same moment; end it first".into(),
            ));
        }
        let mut recorder = Recorder::new(sender);
        recorder.waiting = self.beginning(&mut state, order, peer);
        recorder.classes = self.classes.len();
        recorder.workloads = state.workloads.len();
        recorder.flush();
        state.recorder = Some(recorder);
        tracing::info!(
            "recording for user {} (pid {}): {}",
            peer.uid,
            peer.pid,
            escape(order.command.as_bytes())
        );
        Ok(receiver)
    }

    /// Ends the recording, if there is one, after everything that has happened up to now.
    pub fn end_recording(&self, reason: &str) {
        self.barrier.wait(PATIENCE);
        let recorder = self.state().recorder.take();
        self.recording.store(false, Ordering::Relaxed);
        if let Some(recorder) = recorder {
            tracing::info!(
                "the recording ended ({reason}): {} events, {} lost",
                recorder.events,
                recorder.lost
            );
            recorder.end(reason);
        }
    }

    /// Everything up to the first event.
    fn beginning(&self, state: &mut State, order: &view::RecordingOrder, peer: Peer) -> String {
        let header = Header {
            version: env!("CARGO_PKG_VERSION").into(),
            abi: ABI,
            kernel: kernel_release(),
            arch: std::env::consts::ARCH.into(),
            tier: self.tier().into(),
            hooks: Hook::ALL.iter().map(|hook| hook.name().into()).collect(),
            host: self.host().into(),
            started: rfc3339(clock::now()),
            uid: peer.uid,
            command: escape(order.command.as_bytes()),
            note: escape(order.note.as_bytes()),
        };
        // What was found out about processes is in the table.
        state.processes.take_found();
        let mut text = first_line();
        let mut add = |record: Record| text.extend(line(&record));
        add(Record::Header(header));
        for workload in &self.config.workloads {
            add(Record::Workload(workload.clone()));
        }
        for name in state.workloads.keys() {
            if !self.config.workloads.iter().any(|w| w.name == *name) {
                add(Record::Workload(Workload {
                    name: name.clone(),
                    ..self.found.clone()
                }));
            }
        }
        for (id, scope) in &self.classes.rows() {
            add(Record::Class(Member::new(*id, scope)));
        }
        for (name, standing) in &state.workloads {
            add(mode(name, &standing.state));
        }
        let mut versions: Vec<_> = state.versions().collect();
        versions.sort_unstable();
        for (number, version) in versions {
            add(Record::Policy { number, version });
        }
        state.baseline.rows().map(Record::Known).for_each(&mut add);
        // A replay knows of no episode that has begun already, and of no alert that was told.
        state.chains.begin_anew();
        state.told.begin_anew();
        state
            .chains
            .rows()
            .into_iter()
            .map(Record::Order)
            .for_each(&mut add);
        for (workload, address, name, ends) in state.names.entries() {
            add(Record::Name {
                workload: workload.into(),
                address,
                name: name.into(),
                ends,
            });
        }
        let mut processes: Vec<_> = state.processes.all().collect();
        processes.sort_unstable_by_key(|p| p.info.pid);
        for process in processes {
            add(Record::Process {
                info: process.info.clone(),
                member: Member::new(0, &process.scope),
            });
        }
        add(Record::Begin);
        text
    }

    /// An event that could not be decoded belongs to the recording as well.
    pub(super) fn keep_unreadable(&self, raw: &Raw) {
        self.state().record_event(Some(raw), None, self);
    }

    /// Says in the recording that the kernel's rings had no room.
    pub(super) fn record_lost(&self, events: u64) {
        self.state().record(|| Record::Lost {
            by: BY_KERNEL.into(),
            events,
        });
    }
}

fn kernel_release() -> String {
    let text = std::fs::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    escape(text.trim_ascii())
}
