//! Following: a chain for every episode, and the pairs of connectors that are usual in one.
//!
//! Evidence for alerts that are made anyway: nothing in here alerts, and nothing is stopped by it. A
//! state machine over observations, with episodes of its own ([`Episodes`]) and times as input, so that
//! the same observations always give the same chains.
//!
//! What is *untrusted*: files that an operator declares, and what a destination answers that is not
//! in the list. Not untrusted are the requests that come in: serving them is what a server is for, and
//! taking all of them for an attack would leave nothing to tell apart. What is *private*: files that
//! an operator declares, and those that hold secrets.
//!
//! What it cannot know:
//! - With several requests open at once, what is done belongs to one of them. It is taken for all of
//!   them, and the sentence says so. Counted requests are not seen while they last.
//! - Background work is cut into minutes; a chain reaches over one end of a minute and not over two.
//! - The kernel reports what is known once per role and phase, and then counts: a known file that is
//!   read again is no step. The sentence says when that may matter.
//! - A tool inherits the chain of what started it, and what it does is a step there too. Between
//!   processes of the same role, or through files and sockets, nothing is followed.
//! - Names that are looked up and unix sockets are no ways out here.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{event::Verdict, path::permission::READ};

use super::{
    chain::{Chain, Class, Step, bit},
    declared::Declared,
    followed::{Followed, MAX_CALLS, OfWorkload},
    trace::{self, Trace},
    whole::{Odd, Whole},
};
use crate::{
    baseline::evidence::episode::{Attribution, EpisodeId, Episodes, Kind},
    observation::{Endpoint, Fact, Observation, ProcessKey, Scope},
    workload::role_name,
};

/// Chains of one workload; the least recently used goes first. About 300 KB.
pub const MAX_CHAINS: usize = 64;
/// Characters of one text of a step.
const MAX_TEXT: usize = 200;
/// Processes that were started and have not become tools yet.
const MAX_BORN: usize = 4096;
/// Destinations outside the list that one episode remembers to have called.
const MAX_STRANGERS: usize = 16;
/// Odd episodes that wait to be told.
const MAX_FINDINGS: usize = 256;
/// Starters of starters that a step is told to.
const MAX_DEPTH: usize = 4;

/// What an observation added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Episodes that it belongs to.
    episodes: Vec<EpisodeId>,
    /// It is a step itself.
    own: bool,
    /// It completed the trifecta of these.
    completed: Vec<EpisodeId>,
}

/// An episode that is odd as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Whose.
    pub scope: Scope,
    /// What kind of episode.
    pub kind: Kind,
    /// A process that took part.
    pub process: ProcessKey,
    /// When its last call ended, nanoseconds since the epoch.
    pub time: u64,
    /// In what it is odd.
    pub odd: Odd,
}

/// All chains.
#[derive(Clone, Debug)]
pub struct Chains {
    episodes: Episodes,
    /// False alarms a day and workload that odd episodes may cost.
    budget: f64,
    findings: Vec<Finding>,
    pub(super) workloads: BTreeMap<String, OfWorkload>,
    /// In which episode a process was started.
    born: BTreeMap<ProcessKey, EpisodeId>,
    /// Counts uses.
    turn: u64,
}

impl Default for Chains {
    fn default() -> Self {
        Self {
            episodes: Episodes::new(0, 1),
            budget: 0.0,
            findings: vec![],
            workloads: BTreeMap::new(),
            born: BTreeMap::new(),
            turn: 0,
        }
    }
}

impl Chains {
    /// An operator says which files of a workload are private or untrusted.
    pub fn declare(&mut self, workload: &str, declared: Declared) {
        self.workload(workload).declared = declared;
    }

    /// Odd episodes may cost so many false alarms a day and workload; none are told at 0.
    pub fn spend(&mut self, budget: f64) {
        self.budget = budget;
    }

    /// Episodes that were odd since the last time.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// For a person: whether the episodes of a workload are judged as a whole, by role and kind.
    pub fn lines(&self, workload: &str) -> Vec<String> {
        let of = self.workloads.get(workload).into_iter();
        let wholes = of.flat_map(|of| &of.wholes);
        let line = |((role, kind), whole): (&(_, Kind), &Whole)| {
            let kind = trace::kind(*kind);
            format!(
                "{kind} of role {}: {}",
                role_name(*role),
                whole.line(self.budget)
            )
        };
        wholes.map(line).collect()
    }

    /// Forgets what was learned about a workload and what it is doing; what was declared stays.
    pub fn forget(&mut self, workload: &str) {
        self.episodes.forget(workload);
        if let Some(of) = self.workloads.get_mut(workload) {
            let declared = std::mem::take(&mut of.declared);
            *of = OfWorkload {
                declared,
                ..OfWorkload::default()
            };
        }
    }

    /// Forgets what is going on, and keeps what was learned: whoever takes in the same observations
    /// from here on has the same chains.
    pub fn begin_anew(&mut self) {
        self.episodes = Episodes::new(0, 1);
        self.born.clear();
        self.turn = 0;
        for of in self.workloads.values_mut() {
            of.chains.clear();
            of.earlier.clear();
        }
        self.findings.clear();
    }

    /// Takes an observation in. `learning`: the destinations of its scope are learned.
    pub fn observe(&mut self, seen: &Observation, learning: bool) -> Place {
        // What was there before is in no recording, and in no episode.
        if matches!(seen.fact, Fact::Found(_)) {
            return Place::default();
        }
        let before = match &seen.fact {
            Fact::Exec { after: Some(_), .. } => self.born.remove(&seen.process),
            _ => None,
        };
        let attribution = self.episodes.observe(seen);
        if !self.episodes.take_closed().is_empty() {
            self.settle();
        }
        let Some(attribution) = attribution else {
            return Place::default();
        };
        if let Fact::Exit { .. } = &seen.fact {
            self.born.remove(&seen.process);
        }
        self.turn += 1;
        let steps = self.steps(seen);
        let call = call_of(&seen.fact);
        let workload = &seen.scope.workload;
        let mut place = Place {
            episodes: self.of(&seen.scope, &attribution),
            ..Place::default()
        };
        if let Fact::Fork { child } = &seen.fact {
            self.bear(*child, &place, &attribution, workload);
        }
        let lacks = match attribution.kind {
            Kind::Slot => !place.episodes.contains(&attribution.newest),
            Kind::Request | Kind::ToolLife => place.episodes.is_empty(),
        };
        if lacks && (!steps.is_empty() || call.is_some()) {
            self.begin(seen, &attribution, before);
            place.episodes.push(attribution.newest);
        }
        for step in steps {
            self.remember(seen, &step);
            place.own = true;
            self.add(seen, &mut place, attribution.of, &step);
        }
        self.answered(seen, &place);
        if let Some(endpoint) = call {
            self.call(seen, endpoint, attribution.newest, learning);
        }
        place
    }

    /// Where a process last did something: for what is found out about it later.
    pub fn find(&self, scope: &Scope, process: ProcessKey) -> Place {
        let chains = self.workloads.get(&scope.workload).map(|of| &of.chains);
        let did = |followed: &Followed| followed.processes.contains(&process);
        let of_process = chains.into_iter().flatten().filter(|(_, f)| did(f));
        let last = of_process.max_by_key(|(_, followed)| followed.used);
        Place {
            episodes: last.map(|(id, _)| *id).into_iter().collect(),
            ..Place::default()
        }
    }

    /// What came before, for an alert; `None` if nothing did.
    pub fn trace(&self, seen: &Observation, place: &Place) -> Option<Trace> {
        let of = self.workloads.get(&seen.scope.workload)?;
        let ids = place.episodes.iter();
        let (id, followed) = ids
            .filter_map(|id| Some((id, of.chains.get(id)?)))
            .max_by_key(|(id, followed)| {
                let bits = followed.chain.bits().count_ones();
                let steps = followed.chain.steps().len();
                (place.completed.contains(id), bits, steps, **id)
            })?;
        let trifecta = place.completed.contains(id);
        let mut sentences = vec![];
        let steps = followed.chain.steps();
        let alone = steps.len() <= usize::from(place.own);
        if !alone {
            let beginning = trace::beginning(followed.kind, followed.doubt());
            sentences.push(format!("{beginning} {}", followed.chain.sentence()));
        }
        if trifecta {
            let untrusted = followed.untrusted.as_deref().unwrap_or_default();
            let private = followed.private.as_deref().unwrap_or_default();
            sentences.push(trace::trifecta(untrusted, private, followed.doubt()));
        } else {
            sentences.extend(of.earlier(followed, seen));
        }
        sentences.extend(of.news(followed));
        (!sentences.is_empty()).then(|| Trace {
            sentences,
            steps: if alone { vec![] } else { steps.to_vec() },
            trifecta,
        })
    }

    /// Bytes that a workload takes, about.
    pub fn bytes(&self, workload: &str) -> usize {
        self.workloads.get(workload).map_or(0, OfWorkload::bytes)
    }

    pub(super) fn workload(&mut self, workload: &str) -> &mut OfWorkload {
        if !self.workloads.contains_key(workload) {
            self.workloads
                .insert(workload.to_owned(), OfWorkload::default());
        }
        self.workloads.entry(workload.to_owned()).or_default()
    }

    /// Episodes that are followed and that something may belong to.
    fn of(&self, scope: &Scope, attribution: &Attribution) -> Vec<EpisodeId> {
        let Some(of) = self.workloads.get(&scope.workload) else {
            return vec![];
        };
        let (first, last) = (attribution.episode, attribution.newest);
        if first > last {
            return vec![];
        }
        let may_be = |(id, followed): &(&EpisodeId, &Followed)| match attribution.kind {
            Kind::Request => followed.kind == Kind::Request && followed.role == scope.role,
            Kind::ToolLife | Kind::Slot => **id == first || **id == last,
        };
        let all = of.chains.range(first..=last);
        all.filter(may_be).map(|(id, _)| *id).collect()
    }

    fn begin(&mut self, seen: &Observation, attribution: &Attribution, starter: Option<EpisodeId>) {
        let (turn, budget) = (self.turn, self.budget);
        let mut odd = None;
        let of = self.workload(&seen.scope.workload);
        if of.chains.len() >= MAX_CHAINS {
            let least = of.chains.iter().min_by_key(|(_, f)| (!f.over, f.used));
            if let Some(id) = least.map(|(id, _)| *id)
                && let Some(gone) = of.chains.remove(&id)
            {
                odd = of.finish(&gone, budget).map(|odd| (gone, odd));
            }
        }
        let inherited = starter
            .filter(|_| attribution.kind == Kind::ToolLife)
            .and_then(|id| Some((id, of.chains.get(&id)?.clone())));
        let (role, phase) = match &seen.fact {
            Fact::Exec {
                after: Some(after), ..
            } => (after.role, after.phase),
            _ => (seen.scope.role, seen.scope.phase),
        };
        let (chain, of_starter) = match inherited {
            Some((id, followed)) => (followed.chain.clone(), Some((id, followed))),
            None => (Chain::default(), None),
        };
        let (id, from) = of_starter.unzip();
        let followed = Followed {
            kind: attribution.kind,
            role,
            phase,
            of: from.as_ref().map_or(1, Followed::doubt),
            chain,
            untrusted: from.as_ref().and_then(|f| f.untrusted.clone()),
            private: from.as_ref().and_then(|f| f.private.clone()),
            strangers: from.map(|f| f.strangers).unwrap_or_default(),
            calls: vec![],
            ended: vec![],
            last: seen.time,
            learning: true,
            processes: vec![],
            starter: id,
            used: turn,
            over: false,
        };
        of.chains.insert(attribution.newest, followed);
        if let Some((gone, odd)) = odd {
            self.found(&seen.scope.workload, &gone, odd);
        }
    }

    fn found(&mut self, workload: &str, followed: &Followed, odd: Odd) {
        if self.findings.len() >= MAX_FINDINGS {
            return;
        }
        self.findings.push(Finding {
            scope: Scope {
                workload: workload.to_owned(),
                role: followed.role,
                phase: followed.phase,
            },
            kind: followed.kind,
            process: followed.processes.last().copied().unwrap_or(ProcessKey {
                pid: 0,
                start_time: 0,
            }),
            time: followed.last,
            odd,
        });
    }

    /// Steps that an observation is.
    fn steps(&self, seen: &Observation) -> Vec<Step> {
        // What was refused did not happen; only that it was called tells something.
        let happened = seen.verdict != Verdict::Blocked;
        match &seen.fact {
            Fact::Accept { peer, .. } => vec![Step::Inbound(peer.address.to_string())],
            Fact::Open(file) if file.access & READ != 0 && happened => {
                let of = self.workloads.get(&seen.scope.workload);
                let classes = match of {
                    Some(of) => of.declared.classes(file),
                    None => Declared::default().classes(file),
                };
                let read = |class| Step::Read(class, short(file.subject()));
                classes.into_iter().map(read).collect()
            }
            Fact::Exec { program, .. } if happened => vec![Step::Exec(short(program.subject()))],
            Fact::Connect(endpoint) | Fact::Send(endpoint) => vec![Step::Egress {
                destination: endpoint.to_string(),
                // While it is learned, what is new becomes part of the list.
                known: !seen.verdict.is_adverse(),
                bytes: None,
            }],
            _ => vec![],
        }
    }

    /// Adds a step to the episodes of a place and to those that they were started in.
    fn add(&mut self, seen: &Observation, place: &mut Place, of: u16, step: &Step) {
        let turn = self.turn;
        let workload = self.workload(&seen.scope.workload);
        let mut done = BTreeSet::new();
        for id in place.episodes.clone() {
            let mut next = Some(id);
            for depth in 0..MAX_DEPTH {
                let Some(id) = next.filter(|id| done.insert(*id)) else {
                    break;
                };
                let Some(followed) = workload.chains.get_mut(&id) else {
                    break;
                };
                if depth == 0 {
                    followed.of = followed.of.max(of);
                    followed.touch(seen.process);
                }
                followed.used = turn;
                if followed.add(seen.time, step) && depth == 0 {
                    place.completed.push(id);
                }
                if let (
                    Fact::Connect(endpoint) | Fact::Send(endpoint),
                    Step::Egress { known: false, .. },
                ) = (&seen.fact, step)
                    && seen.verdict != Verdict::Blocked
                    && followed.strangers.len() < MAX_STRANGERS
                {
                    followed.strangers.insert(*endpoint);
                }
                next = followed.starter;
            }
        }
    }

    /// A destination that is not in the list has answered: what it said is nobody's who is trusted.
    fn answered(&mut self, seen: &Observation, place: &Place) {
        let Fact::Flow(flow) = &seen.fact else { return };
        if flow.inbound || flow.received == 0 {
            return;
        }
        let stranger = |followed: &Followed| followed.strangers.contains(&flow.peer);
        let of = self.workload(&seen.scope.workload);
        let told: Vec<EpisodeId> = place
            .episodes
            .iter()
            .copied()
            .filter(|id| of.chains.get(id).is_some_and(stranger))
            .collect();
        if !told.is_empty() {
            let mut place = Place {
                episodes: told,
                ..Place::default()
            };
            let answer = format!("what {} answered", flow.peer);
            self.add(seen, &mut place, 1, &Step::Read(Class::Untrusted, answer));
        }
    }

    /// A connector was called in an episode.
    fn call(&mut self, seen: &Observation, endpoint: Endpoint, id: EpisodeId, learning: bool) {
        let adverse = seen.verdict.is_adverse() || seen.invariant;
        let of = self.workload(&seen.scope.workload);
        let number = of.number(endpoint, learning && !adverse);
        let Some(followed) = of.chains.get_mut(&id) else {
            return;
        };
        followed.touch(seen.process);
        followed.learning &= learning && !adverse;
        if let Fact::Flow(flow) = &seen.fact
            && followed.ended.len() < MAX_CALLS
        {
            followed.ended.push((number, flow.sent));
            followed.last = seen.time;
        }
        if followed.calls.last() != Some(&number) && followed.calls.len() < MAX_CALLS {
            followed.calls.push(number);
        }
    }

    /// A process is started: in the episode, of those that it may be, with the most in its chain.
    fn bear(&mut self, child: ProcessKey, place: &Place, from: &Attribution, workload: &str) {
        let of = self.workloads.get_mut(workload);
        let chains = of.map(|of| &mut of.chains);
        let mut id = from.newest;
        if let Some(chains) = chains {
            let bits = |id: &&EpisodeId| chains.get(id).map(|f| f.chain.bits().count_ones());
            id = place
                .episodes
                .iter()
                .max_by_key(bits)
                .copied()
                .unwrap_or(id);
            if let Some(followed) = chains.get_mut(&id) {
                followed.of = followed.of.max(from.of);
            }
        }
        if self.born.len() >= MAX_BORN {
            self.born.pop_first();
        }
        self.born.insert(child, id);
    }

    /// Keeps what a role read, for later episodes.
    fn remember(&mut self, seen: &Observation, step: &Step) {
        let Step::Read(class, what) = step else {
            return;
        };
        let of = self.workload(&seen.scope.workload);
        for taint in [bit::UNTRUSTED, bit::PRIVATE] {
            if class.bits() & taint != 0 {
                let place = (seen.scope.role, taint);
                of.earlier.insert(place, (seen.time, what.clone()));
            }
        }
    }

    /// Learns of the episodes that have ended.
    fn settle(&mut self) {
        let (episodes, budget) = (&self.episodes, self.budget);
        let mut odd = vec![];
        for (workload, of) in &mut self.workloads {
            let ended = |(id, f): (&EpisodeId, &Followed)| !f.over && !episodes.is_open(*id);
            let over: Vec<EpisodeId> = of
                .chains
                .iter()
                .filter(|(id, f)| ended((id, f)))
                .map(|(id, _)| *id)
                .collect();
            for id in over {
                if let Some(mut followed) = of.chains.remove(&id) {
                    if let Some(found) = of.finish(&followed, budget) {
                        odd.push((workload.clone(), followed.clone(), found));
                    }
                    followed.over = true;
                    of.chains.insert(id, followed);
                }
            }
        }
        for (workload, followed, found) in odd {
            self.found(&workload, &followed, found);
        }
    }
}

/// The destination that is called.
fn call_of(fact: &Fact) -> Option<Endpoint> {
    match fact {
        Fact::Connect(endpoint) | Fact::Send(endpoint) => Some(*endpoint),
        Fact::Flow(flow) if !flow.inbound => Some(flow.peer),
        _ => None,
    }
}

/// A text, cut where it is too long for a step.
fn short(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
