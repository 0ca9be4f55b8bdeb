//! The threads of the flow and the channels between them.
//!
//! | thread | does | its input, when full |
//! |---|---|---|
//! | rings | drains the rings, decodes | the rings: the kernel drops and counts per hook |
//! | pipeline | enriches, decides, learns, stores alerts | bounded channel: the rings thread waits; alerts that the store refuses wait in memory ([`super::waiting`]) |
//! | file sink | outbox → JSON-lines file | the outbox on disk: grows |
//! | detector | looks for workloads and agents | nothing: it runs by the clock |
//! | digests | works out digests of model files | a bounded list: what does not fit is asked for again |
//! | keeper | saves, publishes, enrols, counts, now and then | nothing: it runs by the clock |
//!
//! None of them is needed for a verdict: the kernel enforces without the daemon.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use monitor_common::class::{PROBE, PROBE_BOUND};
use slmguard_core::{
    decode::{DecodeError, decode},
    observation::Observation,
};

use super::{
    counts::Counts, discovery::worker, engine::SharedEngine, recorder::Raw, traffic::Told,
    waiting::Waiting,
};
use crate::{
    enrich::cgroup::Cgroups,
    export::jsonl::{JsonLines, SINK},
    kernel::Rings,
    store::KEPT_ALERTS,
};

/// Observations between the rings and the pipeline.
const CHANNEL: usize = 8192;
/// How long the rings thread waits for a verdict before it looks for observations: bounds how late
/// an observation is seen, and how soon a stop.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// Observations between two visits to the store.
pub(super) const BATCH: usize = 256;
/// How long the pipeline waits for something to do before it says that it is alive.
const IDLE: Duration = Duration::from_millis(500);
/// How often the keeper looks whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// How long the sink waits after failures: first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What goes through the pipeline.
pub enum Input {
    /// An observation.
    Observation(Box<Arrival>),
    /// An event that could not be decoded, for a recording.
    Unreadable(Raw),
    /// Everything that was there when this was asked for has been sent.
    Mark(u64),
}

/// An observation that came out of the rings.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The observation.
    pub observation: Observation,
    /// What it was decoded from, while a recording is made.
    pub raw: Option<Raw>,
    /// When it came.
    pub at: Instant,
}

/// Tells threads to stop.
pub type Stop = Arc<AtomicBool>;

/// The running threads.
#[derive(Debug)]
pub struct Threads {
    stop: Stop,
    /// The sink stops last: it hands on what the others store while they stop.
    stop_sink: Stop,
    rings: JoinHandle<()>,
    pipeline: JoinHandle<()>,
    keeper: JoinHandle<()>,
    detector: Option<JoinHandle<()>>,
    digests: JoinHandle<()>,
    sink: JoinHandle<()>,
}

impl Threads {
    /// Starts everything. Raw events that an earlier daemon did not read go through first.
    pub fn start(
        engine: &SharedEngine,
        rings: Rings,
        unread: Vec<Vec<u8>>,
        cgroups: Cgroups,
        file: JsonLines,
    ) -> std::io::Result<Self> {
        let (stop, stop_sink) = (Stop::default(), Stop::default());
        let (sender, receiver) = sync_channel(CHANNEL);
        let (bell, rung) = sync_channel(1);
        let _ = engine.sink_bell.set(bell);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.into()).spawn(work)
        };
        Ok(Self {
            rings: spawn("rings", {
                let (engine, stop) = (Arc::clone(engine), Arc::clone(&stop));
                Box::new(move || drain(&engine, rings, &unread, &sender, &stop))
            })?,
            pipeline: spawn("pipeline", {
                let engine = Arc::clone(engine);
                Box::new(move || pipeline(&engine, &receiver))
            })?,
            keeper: spawn("keeper", {
                let (engine, stop) = (Arc::clone(engine), Arc::clone(&stop));
                Box::new(move || keep(&engine, &cgroups, &stop))
            })?,
            detector: engine
                .config
                .detect
                .enabled
                .then(|| {
                    let (engine, stop) = (Arc::clone(engine), Arc::clone(&stop));
                    spawn("detector", Box::new(move || worker::work(&engine, &stop)))
                })
                .transpose()?,
            digests: spawn("digests", {
                let (engine, stop) = (Arc::clone(engine), Arc::clone(&stop));
                Box::new(move || engine.digests().work(&stop))
            })?,
            sink: spawn("file sink", {
                let (engine, stop) = (Arc::clone(engine), Arc::clone(&stop_sink));
                Box::new(move || deliver(&engine, file, &rung, &stop))
            })?,
            stop,
            stop_sink,
        })
    }

    /// Stops in the order of the flow, so that what was read is learned, stored and delivered.
    pub fn stop(self, engine: &SharedEngine) {
        self.stop.store(true, Ordering::Relaxed);
        self.keeper.thread().unpark();
        if let Some(detector) = &self.detector {
            detector.thread().unpark();
        }
        let threads = [
            ("rings", self.rings),
            ("pipeline", self.pipeline),
            ("keeper", self.keeper),
            ("digests", self.digests),
        ];
        let detector = self.detector.map(|thread| ("detector", thread));
        for (name, thread) in threads.into_iter().chain(detector) {
            if thread.join().is_err() {
                tracing::error!("the {name} thread had panicked");
            }
        }
        engine.barrier.close();
        if let Err(e) = engine.save_baseline() {
            tracing::error!("what was learned last is lost: {e}");
        }
        engine.save_evidence();
        engine.save_volumes();
        engine.save_paths();
        engine.save_calls();
        engine.save_models();
        engine.save_order();
        engine.save_lineages();
        self.stop_sink.store(true, Ordering::Relaxed);
        if let Some(bell) = engine.sink_bell.get() {
            let _ = bell.try_send(());
        }
        if self.sink.join().is_err() {
            tracing::error!("the file sink thread had panicked");
        }
    }
}

/// The rings thread.
fn drain(
    engine: &SharedEngine,
    mut rings: Rings,
    unread: &[Vec<u8>],
    sender: &SyncSender<Input>,
    stop: &Stop,
) {
    let mut sorter = Sorter {
        engine,
        sender,
        waiting: vec![],
    };
    unread.iter().for_each(|bytes| sorter.take(bytes));
    sorter.send();
    let mut marked = 0;
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        let wanted = engine.barrier.requested();
        let patience = if wanted > marked || stopping {
            Duration::ZERO
        } else {
            DRAIN_EVERY
        };
        rings.next_batch(patience, &mut |bytes| sorter.take(bytes));
        sorter.send();
        if wanted > marked {
            marked = wanted;
            let _ = sender.send(Input::Mark(wanted));
        }
        if stopping {
            return;
        }
    }
}

/// Decodes, and puts what came from two rings into the order in which it happened: a process is
/// known by the time its verdict comes.
struct Sorter<'a> {
    engine: &'a SharedEngine,
    sender: &'a SyncSender<Input>,
    #[allow(clippy::vec_box, reason = "they are sorted, and sent on as they are")]
    waiting: Vec<Box<Arrival>>,
}

impl Sorter<'_> {
    fn take(&mut self, bytes: &[u8]) {
        if self.waiting.is_empty() {
            // One offset for all that is sorted together: by it they are in the order of the
            // kernel's clock, wherever somebody set the wall clock to meanwhile.
            self.engine.set_clock();
        }
        let clock = self.engine.clock_offset();
        let recording = self.engine.recording.load(Ordering::Relaxed);
        let raw = recording.then(|| Raw {
            bytes: bytes.into(),
            offset: clock.monotonic_to_wall_ns,
        });
        match decode(bytes, &self.engine.classes, clock) {
            Ok(observation) => self.waiting.push(Box::new(Arrival {
                observation,
                raw,
                at: Instant::now(),
            })),
            // Our own self-test, when hooks are attached later than the others.
            Err(DecodeError::UnknownClass {
                class: PROBE | PROBE_BOUND,
                ..
            }) => {}
            Err(e) => {
                self.engine.metrics.decode_error();
                tracing::debug!("an event from the kernel cannot be read: {e}");
                if let Some(raw) = raw {
                    let _ = self.sender.send(Input::Unreadable(raw));
                }
            }
        }
        if self.waiting.len() >= CHANNEL {
            self.send();
        }
    }

    fn send(&mut self) {
        self.waiting.sort_by_key(|arrival| arrival.observation.time);
        for arrival in self.waiting.drain(..) {
            // The pipeline ends only after this thread.
            let _ = self.sender.send(Input::Observation(arrival));
        }
    }
}

/// The pipeline thread. Ends when the rings thread has.
pub(super) fn pipeline(engine: &SharedEngine, receiver: &Receiver<Input>) {
    let mut waiting = Waiting::default();
    loop {
        engine.beat();
        let mut next = receiver.recv_timeout(IDLE);
        let ended = matches!(next, Err(RecvTimeoutError::Disconnected));
        let mut mark = None;
        let mut taken = 0;
        loop {
            match next {
                Ok(Input::Observation(arrival)) => {
                    let Arrival {
                        observation,
                        raw,
                        at,
                    } = *arrival;
                    if let Some(alert) = engine.ingest(observation, raw.as_ref(), at) {
                        waiting.push(alert);
                    }
                }
                Ok(Input::Unreadable(raw)) => engine.keep_unreadable(&raw),
                Ok(Input::Mark(n)) => {
                    mark = Some(n);
                    break;
                }
                Err(_) => break,
            }
            taken += 1;
            // Before the next one is taken out of the channel: what is taken is worked on.
            if taken == BATCH {
                break;
            }
            next = receiver.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
        let rest = if ended { engine.tell_rest() } else { vec![] };
        for alert in engine.tell().into_iter().chain(rest) {
            waiting.push(alert);
        }
        waiting.store(engine);
        if let Some(mark) = mark {
            engine.barrier.reached(mark);
        }
        if ended {
            waiting.give_up();
            return;
        }
    }
}

/// The file sink's thread.
fn deliver(engine: &SharedEngine, mut file: JsonLines, bell: &Receiver<()>, stop: &Stop) {
    let (first, longest) = RETRY;
    let mut pause = first;
    loop {
        // Asked first: whatever was stored before the stop is delivered below.
        let stopping = stop.load(Ordering::Relaxed);
        match file.deliver(&engine.store) {
            Ok(count) => {
                if count > 0 {
                    engine.metrics.delivered(SINK, count, true);
                    if let Err(e) = engine.store.prune_alerts(KEPT_ALERTS) {
                        tracing::warn!("{e}");
                    }
                }
                engine.problem("alert file", None);
                pause = first;
            }
            Err(e) => {
                engine.metrics.delivered(SINK, 1, false);
                engine.problem("alert file", Some(e.to_string()));
                // A bell does not make the disk larger: wait, but not through a stop.
                let until = Instant::now() + pause;
                while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(100));
                }
                pause = (pause * 2).min(longest);
            }
        }
        if stopping {
            return;
        }
        let _ = bell.recv_timeout(IDLE);
    }
}

/// Work that is due every so often.
struct Due {
    every: Duration,
    next: Instant,
}

impl Due {
    fn every(seconds: u64) -> Self {
        let every = Duration::from_secs(seconds);
        Self {
            every,
            next: Instant::now() + every,
        }
    }

    fn now(&mut self) -> bool {
        let now = Instant::now();
        if now < self.next {
            return false;
        }
        self.next = now + self.every;
        true
    }
}

/// The keeper's thread.
fn keep(engine: &SharedEngine, cgroups: &Cgroups, stop: &Stop) {
    let (mut counts, mut told) = (Counts::default(), Told::default());
    let [
        mut save,
        mut flows,
        mut enrol,
        mut count,
        mut publish,
        mut keep,
    ] = [1, 3, 5, 10, 30, 60].map(Due::every);
    while !stop.load(Ordering::Relaxed) {
        if save.now() {
            let problem = engine.save_baseline().err();
            engine.problem(
                "baseline",
                problem.map(|e| format!("what is learned cannot be saved: {e}")),
            );
        }
        if flows.now() {
            engine.tell_flows(&mut told);
            engine.weigh_volumes();
            engine.weigh_calls();
            engine.weigh_models();
        }
        if enrol.now() {
            let problem = engine.refresh_enrolment(cgroups).err();
            engine.problem(
                "enrolment",
                problem.map(|e| format!("cannot enrol workloads: {e:#}")),
            );
        }
        if count.now() {
            engine.merge_counts(&mut counts);
            engine.tidy_processes();
            engine.measure_baseline();
            engine.promote();
            engine.weigh_lineages();
        }
        if keep.now() {
            engine.save_evidence();
            engine.save_volumes();
            engine.save_paths();
            engine.save_calls();
            engine.save_models();
            engine.save_order();
            engine.tend_lineages();
            engine.save_lineages();
            engine.save_lineages();
        }
        if publish.now() {
            engine.weigh_paths();
            engine.publish_learned();
        }
        engine.read_counters(&mut counts);
        thread::park_timeout(TICK);
    }
}
