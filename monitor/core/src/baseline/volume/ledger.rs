//! The ledger: how much each connector of each workload carries away, slot by slot, and when that
//! is more than it ever was.
//!
//! A slot (a minute) in which something was sent is an episode; the largest of them make the limit
//! of a burst. Windows of [`WINDOW`] slots, empty ones too, make what is usual at each hour of the
//! day; a CUSUM against it finds what is only a little more, for long. Both learn while the workload
//! does, and afterwards until they have enough to judge by; then they are frozen, so that slow growth
//! cannot teach them anything. What is found is told; nothing is refused because of a statistic.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    cusum::{self, Cusum, Hours},
    peaks::{self, Basis, Tail},
};
use crate::{
    observation::{Connector, Excess, Flow, ProcessKey, Scope, Volume},
    text::bytes,
    workload::{phase_from, phase_name, role_from, role_name},
};

/// Slots of a window.
pub const WINDOW: u64 = 5;
/// Connectors of one workload, over its scopes: with about 5 KB each well under a megabyte.
pub const MAX_CONNECTORS: usize = 128;
/// Bytes that no slot is told for, whatever is usual: a TLS handshake must never be news.
pub const LEAST_LIMIT: u64 = super::budget::LEAST_BURST;
/// How often a busy slot may exceed the limit, where the tail can be extrapolated.
pub const RATE: f64 = 1e-4;
/// A connector that was told for a burst is told again after so many nanoseconds, with a count.
/// Memory of one connector, with its sketches.
const TRACK_BYTES: usize = 5 * 1024;
const QUIET: u64 = 3_600_000_000_000;
/// A silence of more windows than this is not counted as silence: nobody may have watched.
const LONGEST_GAP: u64 = cusum::LEAST;
/// Slots by which the clock may be set back before what is open is thrown away.
const JITTER: u64 = 5;
const SECOND: u64 = 1_000_000_000;

/// How it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Length of a slot, nanoseconds; not 0.
    pub slot: u64,
    /// Busy slots to learn before anything is judged by them.
    pub least: u64,
}

impl Default for Settings {
    /// A minute, and a hundred of them.
    fn default() -> Self {
        Self {
            slot: 60 * SECOND,
            least: 100,
        }
    }
}

/// Something that is more than usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Of whom.
    pub scope: Scope,
    /// What.
    pub volume: Volume,
    /// The process that sent last.
    pub process: ProcessKey,
    /// When it was noticed, nanoseconds since the epoch.
    pub time: u64,
}

/// What is known of one connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub scope: Scope,
    /// Which.
    pub connector: Connector,
    /// Bursts are judged.
    pub bursts: bool,
    /// Slow leaks are watched for.
    pub leaks: bool,
    /// For a person.
    pub line: String,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    settings: Settings,
    scopes: BTreeMap<Scope, BTreeMap<Connector, Track>>,
    /// Scopes that do not learn.
    judged: BTreeSet<Scope>,
    /// Connectors of each workload that there was no room for.
    refused: BTreeMap<String, BTreeSet<Connector>>,
    findings: Vec<Finding>,
}

/// One connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Track {
    tail: Tail,
    hours: Hours,
    peaks: Option<peaks::Anchor>,
    windows: Option<cusum::Anchor>,
    cusum: Cusum,
    /// Bytes sent since the sum left zero, and what was to be expected.
    risen: (u64, f64),
    /// When it was last told for a burst.
    told: Option<u64>,
    /// Slots over the limit since then.
    over: u64,
    #[serde(skip)]
    slot: Option<Open>,
    #[serde(skip)]
    window: Option<Open>,
    #[serde(skip)]
    last: Option<ProcessKey>,
}

/// A slot or a window that has not ended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Open {
    number: u64,
    sent: u64,
    /// A slot: it was found to be over the limit. A window: its beginning was not watched.
    marked: bool,
}

/// A workload, for the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub workload: String,
    /// Length of the slots that were counted in, nanoseconds.
    pub slot: u64,
    tracks: Vec<TrackRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TrackRow {
    role: String,
    phase: String,
    connector: Connector,
    track: Track,
}

impl Open {
    fn at(number: u64) -> Self {
        Self {
            number,
            sent: 0,
            marked: false,
        }
    }
}

impl Ledger {
    /// An empty one.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Settings {
                slot: settings.slot.max(1),
                ..settings
            },
            ..Self::default()
        }
    }

    /// Counts what a flow has carried since it was last told of. `time` is nanoseconds since the
    /// epoch.
    pub fn observe(&mut self, scope: &Scope, flow: &Flow, process: ProcessKey, time: u64) {
        let connector = if flow.inbound {
            Connector::In(flow.local_port, flow.peer.protocol)
        } else {
            Connector::Out(flow.peer)
        };
        if !self.has_room(scope, connector) {
            let refused = self.refused.entry(scope.workload.clone()).or_default();
            if refused.len() < MAX_CONNECTORS {
                refused.insert(connector);
            }
            return;
        }
        let (settings, judged) = (self.settings, self.judged.contains(scope));
        let track = self
            .scopes
            .entry(scope.clone())
            .or_default()
            .entry(connector)
            .or_insert_with(|| Track::new(settings));
        track.last = Some(process);
        let leak = track.pass(time, judged, settings);
        let burst = track.add(flow.sent, time, settings);
        self.tell(scope, connector, time, [leak, burst]);
    }

    /// Lets time go by. `judged` are the scopes that do not learn (any more).
    pub fn advance(&mut self, now: u64, judged: BTreeSet<Scope>) {
        let settings = self.settings;
        let mut found = vec![];
        for (scope, tracks) in &mut self.scopes {
            let is_judged = judged.contains(scope);
            for (connector, track) in tracks {
                if !is_judged {
                    track.learn_again(settings);
                }
                if let Some(leak) = track.pass(now, is_judged, settings) {
                    found.push((scope.clone(), *connector, leak));
                }
            }
        }
        self.judged = judged;
        for (scope, connector, leak) in found {
            self.tell(&scope, connector, now, [Some(leak), None]);
        }
    }

    /// What was found since the last time.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Forgets a workload.
    pub fn forget(&mut self, workload: &str) {
        self.scopes.retain(|scope, _| scope.workload != workload);
        self.refused.remove(workload);
    }

    /// Bytes that a workload's connectors take, about.
    pub fn bytes(&self, workload: &str) -> usize {
        let scopes = self.scopes.iter().filter(|(s, _)| s.workload == workload);
        scopes.map(|(_, tracks)| tracks.len() * TRACK_BYTES).sum()
    }

    /// What is known of the connectors of a workload, in a fixed order.
    pub fn standing(&self, workload: &str) -> Vec<Standing> {
        let mut all = vec![];
        for (scope, tracks) in self.scopes.iter().filter(|(s, _)| s.workload == workload) {
            all.extend(tracks.iter().map(|(connector, track)| Standing {
                scope: scope.clone(),
                connector: *connector,
                bursts: track.peaks.is_some(),
                leaks: track.windows.is_some(),
                line: track.line(connector, self.settings),
            }));
        }
        all
    }

    /// What there was no room for, in a sentence; `None` where all of it is watched.
    pub fn unwatched(&self, workload: &str) -> Option<String> {
        let refused = self.refused.get(workload)?;
        Some(format!(
            "More than {MAX_CONNECTORS} connectors are in use: what others carry ({} at least) is not watched.",
            refused.len()
        ))
    }

    /// What was counted, for the store, a row per workload.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for (scope, tracks) in &self.scopes {
            let row = rows.entry(&scope.workload).or_insert_with(|| Row {
                workload: scope.workload.clone(),
                slot: self.settings.slot,
                tracks: vec![],
            });
            row.tracks
                .extend(tracks.iter().map(|(connector, track)| TrackRow {
                    role: role_name(scope.role).into(),
                    phase: phase_name(scope.phase).into(),
                    connector: *connector,
                    track: track.clone(),
                }));
        }
        rows.into_values().collect()
    }

    /// Takes back in what [`Self::rows`] gave. Returns workloads whose rows are of no use: counted
    /// in slots of another length, or with words that are not known here.
    pub fn restore(&mut self, rows: Vec<Row>) -> Vec<String> {
        let mut useless = vec![];
        for row in rows {
            if row.slot != self.settings.slot {
                useless.push(row.workload);
                continue;
            }
            for one in row.tracks {
                let (Some(role), Some(phase)) = (role_from(&one.role), phase_from(&one.phase))
                else {
                    useless.push(row.workload.clone());
                    continue;
                };
                let scope = Scope {
                    workload: row.workload.clone(),
                    role,
                    phase,
                };
                if self.has_room(&scope, one.connector) {
                    let tracks = self.scopes.entry(scope).or_default();
                    tracks.insert(one.connector, one.track);
                }
            }
        }
        useless
    }

    fn has_room(&self, scope: &Scope, connector: Connector) -> bool {
        if let Some(tracks) = self.scopes.get(scope)
            && tracks.contains_key(&connector)
        {
            return true;
        }
        let of_workload = self
            .scopes
            .iter()
            .filter(|(s, _)| s.workload == scope.workload);
        of_workload.map(|(_, tracks)| tracks.len()).sum::<usize>() < MAX_CONNECTORS
    }

    fn tell(&mut self, scope: &Scope, connector: Connector, time: u64, found: [Option<Over>; 2]) {
        let tracks = self.scopes.get(scope);
        let last = tracks.and_then(|tracks| tracks.get(&connector)?.last);
        for over in found.into_iter().flatten() {
            self.findings.push(Finding {
                scope: scope.clone(),
                volume: Volume {
                    connector,
                    sent: over.sent,
                    seconds: over.slots.saturating_mul(self.settings.slot) / SECOND,
                    excess: over.excess,
                },
                process: last.unwrap_or(ProcessKey {
                    pid: 0,
                    start_time: 0,
                }),
                time,
            });
        }
    }
}

/// More than usual.
#[derive(Clone, Copy, Debug)]
struct Over {
    sent: u64,
    /// Slots in which that was sent.
    slots: u64,
    excess: Excess,
}

impl Track {
    fn new(settings: Settings) -> Self {
        Self {
            tail: Tail::default(),
            hours: Hours::default(),
            peaks: None,
            windows: None,
            cusum: Cusum::new(window_seconds(settings)),
            risen: (0, 0.0),
            told: None,
            over: 0,
            slot: None,
            window: None,
            last: None,
        }
    }

    /// Nothing is frozen any more.
    fn learn_again(&mut self, settings: Settings) {
        if self.peaks.take().is_some() | self.windows.take().is_some() {
            self.cusum = Cusum::new(window_seconds(settings));
            (self.risen, self.told, self.over) = ((0, 0.0), None, 0);
        }
    }

    /// Ends what has ended by `time`.
    fn pass(&mut self, time: u64, judged: bool, settings: Settings) -> Option<Over> {
        let slot = time / settings.slot;
        let window = slot / WINDOW;
        if judged {
            self.freeze(settings);
        }
        let set_back = |open: &Open, number: u64| open.number > number + JITTER;
        if self.slot.is_some_and(|open| set_back(&open, slot)) {
            (self.slot, self.window) = (None, None);
        }
        if let Some(open) = self.slot.filter(|open| open.number < slot) {
            self.slot = None;
            if self.peaks.is_none() && open.sent > 0 {
                self.tail.add(open.sent as f64);
            }
        }
        let open = self.window.filter(|open| open.number < window)?;
        self.window = Some(Open::at(window));
        let mut found = None;
        if !open.marked {
            found = self.end_window(open.number, open.sent, settings);
        }
        if window - open.number <= LONGEST_GAP {
            for number in open.number + 1..window {
                found = self.end_window(number, 0, settings).or(found);
            }
        }
        found
    }

    fn add(&mut self, sent: u64, time: u64, settings: Settings) -> Option<Over> {
        let number = time / settings.slot;
        let window = self.window.get_or_insert(Open {
            marked: true,
            ..Open::at(number / WINDOW)
        });
        window.sent = window.sent.saturating_add(sent);
        let slot = self.slot.get_or_insert(Open::at(number));
        slot.sent = slot.sent.saturating_add(sent);
        let (limit, largest, extrapolated) = limit(self.peaks.as_ref()?)?;
        if slot.marked || slot.sent <= limit {
            return None;
        }
        slot.marked = true;
        let sent = slot.sent;
        self.over += 1;
        if self
            .told
            .is_some_and(|told| (told..told.saturating_add(QUIET)).contains(&time))
        {
            return None;
        }
        self.told = Some(time);
        Some(Over {
            sent,
            slots: 1,
            excess: Excess::Burst {
                limit,
                largest,
                learned: self.peaks.as_ref()?.count(),
                extrapolated,
                slots: std::mem::take(&mut self.over),
            },
        })
    }

    /// What is there is enough to judge by, and is not added to any more.
    fn freeze(&mut self, settings: Settings) {
        if self.peaks.is_none() && self.tail.count() >= settings.least.max(1) {
            self.peaks = Some(self.tail.freeze());
        }
        if self.windows.is_none() {
            self.windows = self.hours.freeze();
        }
    }

    fn end_window(&mut self, number: u64, sent: u64, settings: Settings) -> Option<Over> {
        let time = number.saturating_mul(WINDOW * settings.slot);
        let Some(anchor) = &self.windows else {
            self.hours.add(time, sent);
            return None;
        };
        self.risen.0 = self.risen.0.saturating_add(sent);
        self.risen.1 += anchor.expected(time);
        let Some(shift) = self.cusum.add(anchor.z(time, sent)) else {
            if self.cusum.progress() == 0.0 {
                self.risen = (0, 0.0);
            }
            return None;
        };
        let (sent, expected) = std::mem::take(&mut self.risen);
        Some(Over {
            sent,
            slots: shift.windows.saturating_mul(WINDOW),
            excess: Excess::Leak {
                expected: expected as u64,
            },
        })
    }

    fn line(&self, connector: &Connector, settings: Settings) -> String {
        let to = match connector {
            Connector::Out(endpoint) => format!("to {endpoint}"),
            Connector::In(..) => format!("to callers of {connector}"),
        };
        let burst = match self.peaks.as_ref().and_then(limit) {
            Some((limit, largest, extrapolated)) => {
                let learned = self.peaks.as_ref().map_or(0, peaks::Anchor::count);
                let why = if extrapolated {
                    format!("about one busy slot in {:.0}", 1.0 / RATE)
                } else if limit > largest.saturating_mul(2) {
                    "less is never told".to_owned()
                } else {
                    "twice the most that was learned".to_owned()
                };
                format!(
                    "more than {} in {} s is told ({why}; {learned} busy slots learned, {} at most)",
                    bytes(limit),
                    settings.slot / SECOND,
                    bytes(largest)
                )
            }
            None => format!(
                "{} of {} busy slots learned, bursts are not judged yet",
                self.tail.count(),
                settings.least
            ),
        };
        let leak = if self.windows.is_some() {
            "slow leaks are watched for".to_owned()
        } else {
            format!(
                "{} of {} windows learned, slow leaks are not watched for yet",
                self.hours.count(),
                cusum::LEAST
            )
        };
        format!("{to}: {burst}; {leak}")
    }
}

/// The limit of a slot, the most that was learned, and whether it was extrapolated.
fn limit(anchor: &peaks::Anchor) -> Option<(u64, u64, bool)> {
    let known = anchor.limit(RATE)?;
    let largest = anchor.largest() as u64;
    let (limit, extrapolated) = match known.basis {
        Basis::Extrapolated => (known.value as u64, true),
        Basis::Counted => (largest.saturating_mul(2), false),
    };
    Some((limit.max(LEAST_LIMIT), largest, extrapolated))
}

fn window_seconds(settings: Settings) -> u32 {
    u32::try_from(WINDOW.saturating_mul(settings.slot) / SECOND).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
