//! Calls that are odd: which oddities are usual for which endpoint, and when one is not.
//!
//! What a call can be odd in is in [`super::binding`]. While the destinations of a scope are learned,
//! the oddities of each endpoint are learned with them: a server that has always called an address
//! without looking it up may do so. Afterwards an oddity that an endpoint did not have is told. An
//! endpoint that was first called after learning is watched for regular calls
//! ([`crate::baseline::volume::beacon`]). What is found is told; nothing is refused because of it.
//!
//! *Invariants:* a workload whose destinations were never learned under this ledger is not judged,
//! nor a scope that there was no room to learn: neither can tell new from old. What was refused or
//! would have been is not learned, and has an alert of its own: it counts as told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::{
    binding::{self, Feature, Surroundings},
    through::{self, Through, requested},
    told::{JITTER, Table, Told, within},
};
use crate::{
    baseline::volume::beacon::{Beacon, TOLD},
    names::NameTable,
    observation::{Endpoint, Fact, Flow, Observation, OddCall, Oddity, ProcessKey, Scope, Target},
    text,
    workload::{phase_from, phase_name, role_from, role_name},
};

/// Endpoints that one scope can learn, and oddities of them; about 0.5 MB.
pub const MAX_LEARNED: usize = 4096;
/// Name servers that one workload can learn.
pub const MAX_RESOLVERS: usize = 256;
/// Destinations of one workload, over its scopes, that are watched for regular calls: about 110 KB.
pub const MAX_BEACONS: usize = 256;
/// Findings that wait to be taken; what does not fit is found again at the next call.
pub const MAX_FINDINGS: usize = 256;
/// Nanoseconds after its beginning in which names are not judged: what was looked up before that is
/// not known.
pub const WARM: u64 = HOUR;
const HOUR: u64 = 3_600_000_000_000;
const DAY: u64 = 24 * HOUR;
/// Two reports of one flow agree about its beginning to so many nanoseconds.
const SAME: u64 = 1_000_000_000;

/// An odd call.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Of whom.
    pub scope: Scope,
    /// What.
    pub call: OddCall,
    /// The process that called last; pid 0 where it is not known.
    pub process: ProcessKey,
    /// When it was noticed, nanoseconds since the epoch.
    pub time: u64,
}

/// How the destination of a call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The destinations of the scope are learned.
    pub learning: bool,
    /// The destination was learned or approved elsewhere: regular calls of it are nobody's news.
    pub known: bool,
}

/// Everything that is known about calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    workloads: BTreeMap<String, Known>,
    /// HTTP proxies that the operator declared; not stored, because the configuration has them.
    declared: BTreeMap<String, BTreeSet<Endpoint>>,
    findings: Vec<Finding>,
    /// First observation, nanoseconds since the epoch; not stored, because names are not either.
    begun: Option<u64>,
}

/// What is known of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    around: Surroundings,
    through: Through,
    scopes: BTreeMap<Scope, Learned>,
}

/// What is known of a scope.
#[derive(Clone, Debug, Default, PartialEq)]
struct Learned {
    endpoints: BTreeSet<Endpoint>,
    oddities: BTreeSet<(Oddity, Endpoint)>,
    told: Table<(Oddity, Endpoint)>,
    beacons: BTreeMap<Endpoint, Track>,
    full: bool,
}

/// Calls of a destination that was not learned. Times are nanoseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Track {
    beacon: Beacon,
    /// Beginning of the last flow.
    began: u64,
    /// When it was last heard of.
    used: u64,
    told: Option<u64>,
}

/// A workload, for the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub workload: String,
    resolvers: Vec<Endpoint>,
    #[serde(default)]
    through: through::Row,
    scopes: Vec<ScopeRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ScopeRow {
    role: String,
    phase: String,
    endpoints: Vec<Endpoint>,
    oddities: Vec<(Oddity, Endpoint)>,
    told: Vec<(Oddity, Endpoint, Told)>,
    beacons: Vec<(Endpoint, Track)>,
    full: bool,
}

impl Calls {
    /// Takes an observation in; what is no outbound call and no look-up says nothing. `names` are
    /// those that workloads were given addresses for.
    pub fn observe(&mut self, seen: &Observation, names: &NameTable, standing: Standing) {
        let begun = match self.begun {
            Some(begun) if begun <= seen.time.saturating_add(JITTER) => begun,
            _ => *self.begun.insert(seen.time),
        };
        let workload = &seen.scope.workload;
        if let Fact::Query(lookup) | Fact::Answer { lookup, .. } = &seen.fact {
            if standing.learning {
                self.learn_resolver(workload, lookup.resolver);
            }
            return;
        }
        if let Some((proxy, target)) = requested(seen) {
            self.observe_request(seen, names, (proxy, target), standing.learning);
        }
        let Some(call) = Call::of(seen) else { return };
        if standing.learning {
            if !seen.verdict.is_adverse() && !seen.invariant {
                let known = self.known(workload);
                let oddities = call.oddities(names, workload, &known.around, 0);
                let learned = known.scopes.entry(seen.scope.clone()).or_default();
                learned.learn(call.endpoint, oddities);
            }
            return;
        }
        let Some(known) = self.workloads.get_mut(workload) else {
            return;
        };
        let oddities = call.oddities(names, workload, &known.around, begun);
        let learned = known.scopes.entry(seen.scope.clone()).or_default();
        if learned.full || call.found {
            return;
        }
        let mut found = vec![];
        for what in oddities {
            let room = self.findings.len() + found.len() < MAX_FINDINGS;
            let key = (what, call.endpoint);
            if let Some(count) = learned.weigh(key, seen, call.calls, room) {
                found.push(call.told(what, count));
            }
        }
        if let Some(flow) = call.flow
            && !standing.known
            && !is_loopback(call.endpoint.address)
            && !learned.endpoints.contains(&call.endpoint)
        {
            let room = self.findings.len() + found.len() < MAX_FINDINGS;
            let track = learned.beacons.entry(call.endpoint).or_default();
            found.extend(track.add(&call, flow, seen.time, room));
            known.make_room();
        }
        self.findings.extend(found.into_iter().map(|call| Finding {
            scope: seen.scope.clone(),
            call,
            process: seen.process,
            time: seen.time,
        }));
    }

    /// What a proxy of the workload is asked for is learned or judged.
    fn observe_request(
        &mut self,
        seen: &Observation,
        names: &NameTable,
        (proxy, target): (Endpoint, Option<&Target>),
        learning: bool,
    ) {
        let workload = &seen.scope.workload;
        let room = self.findings.len() < MAX_FINDINGS;
        let known = if learning {
            self.known(workload)
        } else {
            let Some(known) = self.workloads.get_mut(workload) else {
                return;
            };
            known
        };
        let call = binding::Call {
            endpoint: proxy,
            server_name: None,
            encrypted: false,
            asked_for: target,
        };
        for feature in binding::features(names, workload, &call, &known.around, seen.time) {
            let target = match &feature {
                Feature::Through(target) => Some(target),
                Feature::Blind => None,
                _ => continue,
            };
            let calls = seen.count.max(1);
            if learning {
                known.through.learn(proxy, target, calls);
            } else if let Some(call) = known.through.judge(proxy, target, (seen.time, calls), room)
            {
                self.findings.push(Finding {
                    scope: seen.scope.clone(),
                    call,
                    process: seen.process,
                    time: seen.time,
                });
                return;
            }
        }
    }

    /// An operator says which HTTP proxies a workload has.
    pub fn declare(&mut self, workload: &str, proxies: impl IntoIterator<Item = Endpoint>) {
        let proxies: BTreeSet<Endpoint> = proxies.into_iter().map(canonical).collect();
        if let Some(known) = self.workloads.get_mut(workload) {
            known.around.proxies.clone_from(&proxies);
        }
        self.declared.insert(workload.to_owned(), proxies);
    }

    /// These workloads learn their destinations: from now on they can be judged, even if they call
    /// nobody.
    pub fn expect<'a>(&mut self, learning: impl IntoIterator<Item = &'a str>) {
        for workload in learning {
            let Known {
                around, through, ..
            } = self.known(workload);
            through.expect(&around.proxies);
        }
    }

    fn known(&mut self, workload: &str) -> &mut Known {
        let declared = self.declared.get(workload);
        let known = || Known {
            around: Surroundings {
                proxies: declared.cloned().unwrap_or_default(),
                ..Surroundings::default()
            },
            ..Known::default()
        };
        self.workloads
            .entry(workload.to_owned())
            .or_insert_with(known)
    }

    /// What was found since the last time.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Forgets a workload.
    pub fn forget(&mut self, workload: &str) {
        self.workloads.remove(workload);
        self.findings
            .retain(|finding| finding.scope.workload != workload);
    }

    /// Whether a workload has learned since calls and look-ups are watched for.
    pub fn is_watched(&self, workload: &str) -> bool {
        self.workloads.contains_key(workload)
    }

    /// What of a workload is not judged, in a sentence; `None` where all of it is.
    pub fn unwatched(&self, workload: &str) -> Option<String> {
        let Some(known) = self.workloads.get(workload) else {
            return Some(
                "It has not learned since odd calls are watched for: none is told.".to_owned(),
            );
        };
        let full = known.scopes.iter().filter(|(_, learned)| learned.full);
        let full: Vec<String> = full
            .map(|(scope, _)| format!("{} ({})", role_name(scope.role), phase_name(scope.phase)))
            .collect();
        let mut all = vec![];
        if !full.is_empty() {
            all.push(format!(
                "More than {MAX_LEARNED} endpoints were learned: odd calls are not told of {}.",
                full.join(", ")
            ));
        }
        all.extend(known.through.unwatched(workload, &known.around.proxies));
        (!all.is_empty()).then(|| all.join(" "))
    }

    /// What is known, for the store, a row per workload.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(workload, known): (&String, &Known)| Row {
            workload: workload.clone(),
            resolvers: known.around.resolvers.iter().copied().collect(),
            through: known.through.row(),
            scopes: known.scopes.iter().map(ScopeRow::of).collect(),
        };
        self.workloads.iter().map(row).collect()
    }

    /// Takes back in what [`Self::rows`] gave, as far as there is room. Returns workloads of whose
    /// rows a part is of no use: with words that are not known here.
    pub fn restore(&mut self, rows: Vec<Row>) -> Vec<String> {
        let mut useless = vec![];
        for row in rows {
            let known = self.known(&row.workload);
            known.through = Through::from_row(row.through);
            known.around.resolvers = row.resolvers.into_iter().take(MAX_RESOLVERS).collect();
            for one in row.scopes {
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
                known.scopes.insert(scope, one.into_learned());
                known.make_room();
            }
        }
        useless
    }

    fn learn_resolver(&mut self, workload: &str, resolver: Endpoint) {
        let known = self.known(workload);
        if known.around.resolvers.len() < MAX_RESOLVERS {
            known.around.resolvers.insert(canonical(resolver));
        }
    }
}

impl Known {
    /// Forgets the destinations that were not heard of for longest.
    fn make_room(&mut self) {
        let count = |known: &Self| {
            known
                .scopes
                .values()
                .map(|s| s.beacons.len())
                .sum::<usize>()
        };
        while count(self) > MAX_BEACONS {
            let all = self.scopes.iter().flat_map(|(scope, learned)| {
                let of_one = learned.beacons.iter();
                of_one.map(move |(endpoint, track)| (track.used, scope, *endpoint))
            });
            let Some((_, scope, endpoint)) = all.min() else {
                return;
            };
            let scope = scope.clone();
            if let Some(learned) = self.scopes.get_mut(&scope) {
                learned.beacons.remove(&endpoint);
            }
        }
    }
}

impl Learned {
    fn learn(&mut self, endpoint: Endpoint, oddities: BTreeSet<Oddity>) {
        self.beacons.remove(&endpoint);
        self.full |= !insert(&mut self.endpoints, endpoint);
        for what in oddities {
            self.told.remove(&(what, endpoint));
            self.full |= !insert(&mut self.oddities, (what, endpoint));
        }
    }

    /// How often an oddity was seen, where it is to be told now; without `room` it is not.
    fn weigh(
        &mut self,
        key: (Oddity, Endpoint),
        seen: &Observation,
        calls: u64,
        room: bool,
    ) -> Option<u64> {
        if self.oddities.contains(&key) {
            return None;
        }
        let adverse = seen.verdict.is_adverse();
        let count = self
            .told
            .weigh(key, (seen.time, calls), HOUR, room || adverse)?;
        (!adverse).then_some(count)
    }
}

impl Track {
    /// Takes a flow in; what is to be told, if it is and there is `room`.
    fn add(&mut self, call: &Call<'_>, flow: &Flow, time: u64, room: bool) -> Option<OddCall> {
        self.used = time;
        // What a flow carries while it lives is told again and again.
        if self.began > 0 && self.began.abs_diff(call.time) <= SAME {
            return None;
        }
        self.began = call.time;
        self.beacon.add(call.time, flow.sent);
        let score = self
            .beacon
            .score(time)
            .filter(|score| score.total >= TOLD)?;
        if !room || self.told.is_some_and(|told| within(told, DAY, time)) {
            return None;
        }
        self.told = Some(time);
        Some(OddCall {
            score: Some(score),
            ..call.told(Oddity::Beacon, score.connections.into())
        })
    }
}

/// What of an observation is a call.
struct Call<'a> {
    endpoint: Endpoint,
    /// When it began, nanoseconds since the epoch.
    time: u64,
    hello: bool,
    server_name: Option<&'a [u8]>,
    encrypted: bool,
    flow: Option<&'a Flow>,
    /// It was there when its process was made a member.
    found: bool,
    /// Calls that it stands for; 0 where a flow will stand for the same.
    calls: u64,
}

impl<'a> Call<'a> {
    fn of(seen: &'a Observation) -> Option<Self> {
        let found = matches!(seen.fact, Fact::Found(_));
        let plain = |endpoint: Endpoint| Self {
            endpoint: canonical(endpoint),
            time: seen.time,
            hello: false,
            server_name: None,
            encrypted: false,
            flow: None,
            found,
            calls: 0,
        };
        match seen.fact.inner() {
            Fact::Connect(endpoint) | Fact::Send(endpoint) => Some(plain(*endpoint)),
            Fact::Hello {
                endpoint,
                name,
                encrypted,
                ..
            } => Some(Self {
                hello: true,
                server_name: name.as_deref(),
                encrypted: *encrypted,
                calls: seen.count,
                ..plain(*endpoint)
            }),
            Fact::Flow(flow) if !flow.inbound => Some(Self {
                // Its address was looked up before it began, however long it lasted.
                time: seen.time.saturating_sub(flow.duration),
                flow: Some(flow),
                calls: seen.count,
                ..plain(flow.peer)
            }),
            _ => None,
        }
    }

    /// What is odd about it. A hello is asked about its server name, everything else about its
    /// address: each call is counted once.
    fn oddities(
        &self,
        names: &NameTable,
        workload: &str,
        around: &Surroundings,
        begun: u64,
    ) -> BTreeSet<Oddity> {
        let call = binding::Call {
            endpoint: self.endpoint,
            server_name: self.server_name,
            encrypted: self.encrypted,
            asked_for: None,
        };
        let warm = self.time >= begun.saturating_add(WARM) || begun == 0;
        let features = binding::features(names, workload, &call, around, self.time);
        let odd = |feature| match feature {
            Feature::DirectAddress => {
                let counts = warm && !self.hello && !is_loopback(self.endpoint.address);
                counts.then_some(Oddity::DirectAddress)
            }
            Feature::ServerNameDiffers => warm.then_some(Oddity::ServerNameDiffers),
            Feature::ServerNameHidden => Some(Oddity::ServerNameHidden),
            Feature::UnlearnedResolver => (!self.hello).then_some(Oddity::UnlearnedResolver),
            Feature::EncryptedResolver => Some(Oddity::EncryptedResolver),
            Feature::Through(_) | Feature::Blind => None,
        };
        features.into_iter().filter_map(odd).collect()
    }

    fn told(&self, what: Oddity, count: u64) -> OddCall {
        OddCall {
            endpoint: self.endpoint,
            what,
            name: self.server_name.map(text::escape),
            host: None,
            nearest: vec![],
            count: count.max(1),
            score: None,
        }
    }
}

impl ScopeRow {
    fn of((scope, learned): (&Scope, &Learned)) -> Self {
        let told = learned.told.iter();
        let beacons = learned.beacons.iter();
        Self {
            role: role_name(scope.role).into(),
            phase: phase_name(scope.phase).into(),
            endpoints: learned.endpoints.iter().copied().collect(),
            oddities: learned.oddities.iter().copied().collect(),
            told: told.map(|((what, at), told)| (*what, *at, *told)).collect(),
            beacons: beacons.map(|(at, track)| (*at, track.clone())).collect(),
            full: learned.full,
        }
    }

    fn into_learned(self) -> Learned {
        let full = self.endpoints.len() > MAX_LEARNED || self.oddities.len() > MAX_LEARNED;
        let told = self.told.into_iter();
        Learned {
            endpoints: self.endpoints.into_iter().take(MAX_LEARNED).collect(),
            oddities: self.oddities.into_iter().take(MAX_LEARNED).collect(),
            told: told.map(|(what, at, told)| ((what, at), told)).collect(),
            beacons: self.beacons.into_iter().collect(),
            full: self.full || full,
        }
    }
}

/// False if there is no room for one that is new.
fn insert<T: Ord>(set: &mut BTreeSet<T>, value: T) -> bool {
    if set.len() >= MAX_LEARNED && !set.contains(&value) {
        return false;
    }
    set.insert(value);
    true
}

pub(super) fn canonical(endpoint: Endpoint) -> Endpoint {
    Endpoint {
        address: endpoint.address.to_canonical(),
        ..endpoint
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
