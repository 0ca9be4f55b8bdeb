//! Followed: what is known of one workload and of one episode while it is followed. When which step
//! belongs to which is for [`super::follow`] to say.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::{Phase, Role},
    event::Verdict,
};

use super::{
    bigram::{Bigrams, EDGE, OTHER},
    chain::{Chain, Step, bit},
    declared::Declared,
    trace,
    whole::{Odd, Whole},
};
use crate::{
    baseline::evidence::episode::{EpisodeId, Kind},
    observation::{Endpoint, Fact, Observation, ProcessKey},
};

/// Connectors of one workload that have a number; later ones are [`OTHER`].
pub const MAX_CONNECTORS: usize = 62;
/// Calls of one episode that are taken in.
pub const MAX_CALLS: usize = 64;
/// Learned episodes from which on a new pair is told.
pub const LEAST: u64 = 30;
/// Processes of one episode that findings are brought home by.
const MAX_PROCESSES: usize = 8;
/// Bytes of a chain without its texts.
const CHAIN_BYTES: usize = 1024;

/// One workload.
#[derive(Clone, Debug, Default)]
pub(super) struct OfWorkload {
    pub(super) declared: Declared,
    pub(super) chains: BTreeMap<EpisodeId, Followed>,
    /// Numbered from 1 in the order in which they were first called.
    pub(super) connectors: Vec<Endpoint>,
    pub(super) pairs: BTreeMap<Role, Bigrams>,
    /// What is usual in whole episodes.
    pub(super) wholes: BTreeMap<(Role, Kind), Whole>,
    /// The last file with a taint bit, and when it was reported, nanoseconds since the epoch.
    pub(super) earlier: BTreeMap<(Role, u8), (u64, String)>,
}

/// One episode.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) kind: Kind,
    pub(super) role: Role,
    pub(super) phase: Phase,
    /// One of at most so many.
    pub(super) of: u16,
    pub(super) chain: Chain,
    /// What gave it the taint bits.
    pub(super) untrusted: Option<String>,
    pub(super) private: Option<String>,
    pub(super) strangers: BTreeSet<Endpoint>,
    pub(super) calls: Vec<u8>,
    /// Calls that have ended, by connector and bytes sent, and when the last one did.
    pub(super) ended: Vec<(u8, u64)>,
    pub(super) last: u64,
    pub(super) learning: bool,
    pub(super) processes: Vec<ProcessKey>,
    /// The episode in which it was started.
    pub(super) starter: Option<EpisodeId>,
    pub(super) used: u64,
    pub(super) over: bool,
}

impl OfWorkload {
    pub(super) fn learned(&self) -> bool {
        !self.connectors.is_empty() || !self.pairs.is_empty() || !self.wholes.is_empty()
    }

    pub(super) fn number(&mut self, endpoint: Endpoint, learning: bool) -> u8 {
        let known = self.connectors.iter().position(|known| *known == endpoint);
        let at = known.or_else(|| {
            let room = learning && self.connectors.len() < MAX_CONNECTORS;
            room.then(|| {
                self.connectors.push(endpoint);
                self.connectors.len() - 1
            })
        });
        at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(OTHER)
    }

    /// Learns of an episode, once; or says what is odd about it as a whole, at a budget of false
    /// alarms a day.
    pub(super) fn finish(&mut self, followed: &Followed, budget: f64) -> Option<Odd> {
        if followed.over || followed.calls.is_empty() {
            return None;
        }
        if followed.learning {
            let pairs = self.pairs.entry(followed.role).or_default();
            pairs.learn(&followed.calls);
        }
        // Of several requests at once nobody knows which call was whose.
        if followed.doubt() > 1 {
            return None;
        }
        let key = (followed.role, followed.kind);
        if followed.learning {
            let whole = self.wholes.entry(key).or_default();
            whole.learn(&followed.ended, followed.last);
            return None;
        }
        let connectors = &self.connectors;
        let name = |number: u8| {
            let at = usize::from(number).checked_sub(1);
            let known = at.and_then(|at| connectors.get(at));
            known.map_or_else(|| "another destination".to_owned(), Endpoint::to_string)
        };
        let whole = self.wholes.get_mut(&key)?;
        whole.judge(&followed.ended, budget, name)
    }

    /// The last pair of known connectors in an episode that is not usual.
    pub(super) fn news(&self, followed: &Followed) -> Option<String> {
        let pairs = self.pairs.get(&followed.role)?;
        if pairs.episodes() < LEAST || followed.learning || followed.doubt() > 1 {
            return None;
        }
        let calls = &followed.calls;
        let before = std::iter::once(EDGE).chain(calls.iter().copied());
        let all: Vec<(u8, u8)> = before.zip(calls.iter().copied()).collect();
        let news = |(a, b): &&(u8, u8)| *a != OTHER && *b != OTHER && !pairs.knows(*a, *b);
        let (before, after) = all.iter().rev().find(news)?;
        let name = |number: u8| {
            let at = usize::from(number).checked_sub(1)?;
            self.connectors.get(at).map(Endpoint::to_string)
        };
        let before = name(*before);
        Some(trace::pair(
            before.as_deref(),
            &name(*after)?,
            pairs.episodes(),
        ))
    }

    /// Whether it would be a trifecta if known files were told each time.
    pub(super) fn earlier(&self, followed: &Followed, seen: &Observation) -> Option<String> {
        let out = matches!(&seen.fact, Fact::Connect(_) | Fact::Send(_));
        if !out || seen.verdict == Verdict::Known {
            return None;
        }
        let bits = followed.chain.bits();
        let mut found = vec![];
        for (taint, kind) in [(bit::UNTRUSTED, "untrusted"), (bit::PRIVATE, "private")] {
            if bits & taint == 0 {
                let (time, what) = self.earlier.get(&(followed.role, taint))?;
                let seconds = seen.time.saturating_sub(*time) / 1_000_000_000;
                found.push((kind, what.as_str(), seconds));
            }
        }
        (!found.is_empty()).then(|| trace::earlier(followed.role, &found))
    }

    pub(super) fn bytes(&self) -> usize {
        let chains: usize = self.chains.values().map(Followed::bytes).sum();
        let pairs: usize = self.pairs.values().map(Bigrams::bytes).sum();
        let wholes: usize = self.wholes.values().map(Whole::bytes).sum();
        chains + pairs + wholes + self.connectors.len() * size_of::<Endpoint>()
    }
}

impl Followed {
    /// One of so many requests. What is uncertain about a minute of background work is another
    /// matter, and is said in another way.
    pub(super) fn doubt(&self) -> u16 {
        match self.kind {
            Kind::Slot => 1,
            Kind::Request | Kind::ToolLife => self.of,
        }
    }

    pub(super) fn touch(&mut self, process: ProcessKey) {
        if !self.processes.contains(&process) {
            if self.processes.len() >= MAX_PROCESSES {
                self.processes.remove(0);
            }
            self.processes.push(process);
        }
    }

    /// Whether it completes the trifecta.
    pub(super) fn add(&mut self, time: u64, step: &Step) -> bool {
        if let Step::Read(class, what) = step {
            let places = [
                (bit::UNTRUSTED, &mut self.untrusted),
                (bit::PRIVATE, &mut self.private),
            ];
            for (taint, place) in places {
                if class.bits() & taint != 0 && place.is_none() {
                    *place = Some(what.clone());
                }
            }
        }
        if self.chain.has(step) {
            return self.chain.completes(step);
        }
        self.chain.step(time, step.clone())
    }

    pub(super) fn bytes(&self) -> usize {
        let text = |(_, step): &(u64, Step)| match step {
            Step::Inbound(text) | Step::Read(_, text) | Step::Exec(text) => text.len(),
            Step::Egress { destination, .. } => destination.len(),
        };
        CHAIN_BYTES + self.chain.steps().iter().map(text).sum::<usize>()
    }
}
