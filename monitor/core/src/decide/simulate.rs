//! What a list would have refused of what was observed, had it been enforced.
//!
//! The kernel judges by compiled maps; here the same rules are read as they are written, so that a
//! list can be tried on a recording before anybody relies on it. Knows observations, lists and rules;
//! does not know where they come from, and changes nothing.
//!
//! What is not known cannot be told: what the workload would have done instead of what was refused,
//! and what a process did again after it was reported once.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::{Family, Phase, Role},
    event::Verdict,
    facility::{Facility, INVARIANT_FACILITIES, UNLEARNABLE_FACILITIES},
    hook::Hook,
    path::permission::{CONNECT, EXEC, READ, WRITE},
};
use serde::Serialize;

use super::{
    CompileError,
    endpoint_rule::EndpointRule,
    host_rule::HostRule,
    invariants::{guarded_endpoint, guarded_file},
    pattern::PathPattern,
    policy::check_rules,
};
use crate::{
    baseline::{Baseline, destinations::binding::counting},
    config::Rules,
    names::NameTable,
    observation::{Fact, FileAccess, Observation, Scope, UnixPeer},
    profile::Profile,
    text,
    time::rfc3339,
    workload::{family_from, family_name, phase_name, role_name},
};

/// What an operator wrote into the configuration of a workload.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    /// Allowed besides the list.
    pub allow: Rules,
    /// Forbidden, whatever the list says.
    pub deny: Rules,
    /// What was forbidden when the observations were made: an observation that met a rule of the
    /// operator's which is not among these was refused by a rejection, and rejections hold.
    pub denied_then: Rules,
}

/// Why something is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Neither the list nor a rule of the operator has it.
    NotListed,
    /// A deny rule of the operator.
    DenyRule,
    /// An operator had rejected it when it was observed.
    Rejected,
    /// Out of bounds for every workload.
    Invariant,
}

/// What would have followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Denied; where the tier cannot deny, what it does instead.
    Refused,
    /// Let through with an alert: the list is not complete for that family, or nothing can refuse it.
    Reported,
}

/// One subject that would not have been let through silently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Workload.
    pub workload: String,
    /// Role.
    pub role: &'static str,
    /// Phase.
    pub phase: &'static str,
    /// Family.
    pub family: &'static str,
    /// What it is about, in the form that rules have.
    pub subject: String,
    /// What would have followed.
    pub effect: Effect,
    /// Why.
    pub why: Why,
    /// Times it was observed.
    pub count: u64,
    /// Times it was refused even when it was observed.
    pub refused_then: u64,
    /// First time, RFC 3339.
    pub first_seen: String,
    /// Last time.
    pub last_seen: String,
    /// What is on the list instead, best first, at most three.
    pub nearest: Vec<String>,
}

/// How much there was. Operations that belong to two families (an open for reading and writing) count
/// in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Operations that the list and the operator let through.
    pub allowed: u64,
    /// Operations that would have been refused.
    pub refused: u64,
    /// Operations that would have been let through with an alert.
    pub reported: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    effect: Effect,
    why: Why,
    /// Reports by the hook at the end of execs, and by all others: with BPF LSM each exec is reported
    /// by two, once each.
    counts: [u64; 2],
    refused_then: u64,
    first: u64,
    last: u64,
}

impl Sum {
    fn count(&self) -> u64 {
        self.counts[0].max(self.counts[1])
    }
}

/// Rules of one scope, read.
#[derive(Debug, Default)]
struct Book {
    endpoints: Vec<EndpointRule>,
    hosts: Vec<HostRule>,
    listen: Vec<EndpointRule>,
    paths: Vec<PathPattern>,
    /// Abstract names, raw bytes.
    sockets: BTreeSet<Vec<u8>>,
    facilities: u64,
}

impl Book {
    /// Reads rules; the first that cannot be read is an error, because a rule that is left out would
    /// make a wrong answer.
    fn read(rules: &Rules, denies: bool) -> Result<Self, (&'static str, usize, CompileError)> {
        if let Some(problem) = check_rules(rules, denies).into_iter().next() {
            return Err(problem);
        }
        let mut book = Self::default();
        // Each parsed a moment ago.
        for rule in &rules.connect {
            if HostRule::is_meant(rule) {
                book.hosts.extend(HostRule::parse(rule).ok());
            } else {
                book.endpoints.extend(EndpointRule::parse(rule).ok());
            }
        }
        book.listen.extend(
            rules
                .listen
                .iter()
                .filter_map(|r| EndpointRule::parse_local(r).ok()),
        );
        for (list, permission) in [
            (&rules.read, READ),
            (&rules.write, WRITE),
            (&rules.exec, EXEC),
        ] {
            book.path(list.iter(), permission);
        }
        book.path(rules.unix.iter().filter(|r| r.starts_with('/')), CONNECT);
        let named = rules.unix.iter().filter_map(|rule| rule.strip_prefix('@'));
        book.sockets.extend(named.map(text::unescape));
        let facilities = rules
            .facilities
            .iter()
            .filter_map(|r| Facility::from_name(r));
        book.facilities = facilities.fold(0, |bits, facility| bits | facility.bit());
        Ok(book)
    }

    fn path<'a>(&mut self, rules: impl Iterator<Item = &'a String>, permission: u8) {
        self.paths
            .extend(rules.filter_map(|rule| PathPattern::parse(rule, permission).ok()));
    }

    /// Whether the kernel lets it through for a class of names that it is not of.
    fn widens_to(&self, family: Family, fact: &Fact) -> bool {
        let permission = match family {
            Family::Read => READ,
            Family::Write => WRITE,
            _ => return false,
        };
        fact.file().is_some_and(|file| {
            let path: Vec<&[u8]> = text::components(&file.name).collect();
            let of_that_kind = self
                .paths
                .iter()
                .filter(|p| p.permissions & permission != 0);
            let mut wider = of_that_kind.filter_map(PathPattern::widened);
            wider.any(|pattern| pattern.matches(&path, false))
        })
    }

    /// Whether a rule of that family is about what was done, with the names that an address went by.
    fn has(&self, family: Family, fact: &Fact, names: &[&str]) -> bool {
        let permission = match family {
            Family::Read => READ,
            Family::Write => WRITE,
            Family::Exec => EXEC,
            _ => CONNECT,
        };
        match fact.inner() {
            Fact::Connect(e) | Fact::Send(e) => {
                let mut hosts = self.hosts.iter();
                self.endpoints.iter().any(|rule| rule.matches(e))
                    || hosts.any(|rule| rule.matches(e, names.iter().copied()))
            }
            Fact::Listen(e) => self.listen.iter().any(|rule| rule.matches(e)),
            Fact::Unix(UnixPeer::Abstract(name)) => self.sockets.contains(name),
            Fact::Facility { facility, .. } => self.facilities & facility.bit() != 0,
            fact => fact.file().is_some_and(|file| {
                let path: Vec<&[u8]> = text::components(&file.name).collect();
                let of_that_kind = |p: &&PathPattern| p.permissions & permission != 0;
                let mut patterns = self.paths.iter().filter(of_that_kind);
                patterns.any(|pattern| pattern.matches(&path, false))
            }),
        }
    }
}

type Key = (Role, Phase, Family, String);

/// A list being tried on observations.
#[derive(Debug)]
pub struct Simulation {
    workload: String,
    listed: BTreeMap<(Role, Phase), Book>,
    /// The same as a baseline, for what is similar.
    known: Baseline,
    covered: BTreeSet<Family>,
    allow: Book,
    deny: Book,
    denied_then: Book,
    sums: BTreeMap<Key, Sum>,
    /// Execs that were let through, by the two kinds of hooks that report them.
    execs: BTreeMap<(Role, Phase, String), [u64; 2]>,
    allowed: u64,
    /// What name servers answered meanwhile.
    names: NameTable,
}

impl Simulation {
    /// The list of `profile` for `workload`, with what the operator says. An error names the rule
    /// that cannot be read.
    pub fn new(workload: &str, profile: &Profile, operator: &Operator) -> Result<Self, String> {
        let read = |place: &str, rules: &Rules, denies| {
            Book::read(rules, denies).map_err(|(list, at, problem)| {
                format!("{place}, {list}, entry {}: {problem}", at + 1)
            })
        };
        let mut listed = BTreeMap::new();
        for (kind, rules) in profile.rules() {
            let place = format!("the list ({}, {})", role_name(kind.0), phase_name(kind.1));
            listed.insert(kind, read(&place, &rules, false)?);
        }
        let families = profile.families.iter().filter_map(|word| family_from(word));
        Ok(Self {
            workload: workload.into(),
            listed,
            known: profile.to_baseline(workload),
            covered: families.collect(),
            allow: read("the operator's allow rules", &operator.allow, false)?,
            deny: read("the operator's deny rules", &operator.deny, true)?,
            denied_then: read("the deny rules of then", &operator.denied_then, true)?,
            sums: BTreeMap::new(),
            execs: BTreeMap::new(),
            allowed: 0,
            names: NameTable::default(),
        })
    }

    /// Holds an observation against the list. Those of other workloads are none of its business.
    pub fn take(&mut self, seen: &Observation) {
        if seen.scope.workload != self.workload || is_enrolment(seen) {
            return;
        }
        if let Fact::Answer {
            lookup, addresses, ..
        } = &seen.fact
        {
            for (address, ttl) in addresses {
                let (name, time) = (&lookup.name, seen.time);
                self.names.learn(&self.workload, name, *address, *ttl, time);
            }
        }
        let subject = seen.subject();
        let (role, phase) = (seen.scope.role, seen.scope.phase);
        let reporter = usize::from(seen.hook == Hook::ProcessExec);
        for family in seen.families() {
            let Some(why) = self.why(seen, family) else {
                match family {
                    Family::Exec => {
                        let counts = self.execs.entry((role, phase, subject.clone()));
                        let count = &mut counts.or_default()[reporter];
                        *count = count.saturating_add(seen.count);
                    }
                    _ => self.allowed = self.allowed.saturating_add(seen.count),
                }
                continue;
            };
            let effect = self.effect(seen, family, why);
            let sum = Sum {
                effect,
                why,
                counts: [0; 2],
                refused_then: 0,
                first: seen.time,
                last: seen.time,
            };
            let key = (role, phase, family, subject.clone());
            let sum = self.sums.entry(key).or_insert(sum);
            // The gravest of each: an invariant can be met in one way and not in another.
            sum.effect = sum.effect.min(effect);
            sum.why = sum.why.max(why);
            let count = &mut sum.counts[reporter];
            *count = count.saturating_add(seen.count);
            if matches!(seen.verdict, Verdict::Blocked | Verdict::Killed) {
                sum.refused_then = sum.refused_then.saturating_add(seen.count);
            }
            sum.first = sum.first.min(seen.time);
            sum.last = sum.last.max(seen.time);
        }
    }

    /// Why it would not have been let through; `None` if it would.
    fn why(&self, seen: &Observation, family: Family) -> Option<Why> {
        let fact = &seen.fact;
        let names: Vec<&str> = match fact.address() {
            Some(address) => counting(&self.names, &self.workload, address, seen.time).collect(),
            None => vec![],
        };
        let guarded = match fact.inner() {
            Fact::Connect(endpoint) | Fact::Send(endpoint) => guarded_endpoint(endpoint).is_some(),
            Fact::Facility { facility, .. } => INVARIANT_FACILITIES & facility.bit() != 0,
            fact => fact.file().is_some_and(|file| guarded_file(file).is_some()),
        };
        if guarded {
            return Some(Why::Invariant);
        }
        if self.deny.has(family, fact, &names) {
            return Some(Why::DenyRule);
        }
        let denied_then = seen
            .families()
            .into_iter()
            .any(|family| self.denied_then.has(family, fact, &names));
        if seen.invariant && !denied_then {
            return Some(match fact {
                // Of these an invariant may lie below the name.
                Fact::Change { .. } => Why::Invariant,
                _ => Why::Rejected,
            });
        }
        let whole = fact.file().is_none_or(FileAccess::is_whole);
        let learnable = !matches!(fact, Fact::Facility { facility, .. }
            if UNLEARNABLE_FACILITIES & facility.bit() != 0);
        let listed = self.listed.get(&(seen.scope.role, seen.scope.phase));
        let listed = match family {
            Family::Name => self.known.known_as(&seen.scope, family, fact).is_some(),
            _ => learnable && listed.is_some_and(|book| book.has(family, fact, &names)),
        };
        let unnamed = matches!(fact, Fact::Unix(UnixPeer::Unnamed));
        let allowed = whole && (listed || unnamed || self.allow.has(family, fact, &names));
        (!allowed).then_some(Why::NotListed)
    }

    fn effect(&self, seen: &Observation, family: Family, why: Why) -> Effect {
        let too_late = matches!(seen.fact, Fact::Found(_)) || family == Family::Name;
        let listed = self.listed.get(&(seen.scope.role, seen.scope.phase));
        let widened = listed.is_some_and(|book| book.widens_to(family, &seen.fact));
        let told_only = why == Why::NotListed && (widened || !self.covered.contains(&family));
        if too_late || told_only {
            Effect::Reported
        } else {
            Effect::Refused
        }
    }

    /// What would not have been let through silently, by role, phase, family and subject.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |((role, phase, family, subject), sum): (&Key, &Sum)| {
            let scope = Scope {
                workload: self.workload.clone(),
                role: *role,
                phase: *phase,
            };
            Finding {
                workload: self.workload.clone(),
                role: role_name(*role),
                phase: phase_name(*phase),
                family: family_name(*family),
                subject: subject.clone(),
                effect: sum.effect,
                why: sum.why,
                count: sum.count(),
                refused_then: sum.refused_then,
                first_seen: rfc3339(sum.first),
                last_seen: rfc3339(sum.last),
                nearest: self.known.nearest(&scope, *family, subject),
            }
        };
        self.sums.iter().map(finding).collect()
    }

    /// How much there was up to now.
    pub fn totals(&self) -> Totals {
        let of = |effect| {
            let sums = self.sums.values().filter(|sum| sum.effect == effect);
            sums.fold(0u64, |all, sum| all.saturating_add(sum.count()))
        };
        let execs = self.execs.values().map(|[a, b]| *a.max(b));
        Totals {
            allowed: execs.fold(self.allowed, u64::saturating_add),
            refused: of(Effect::Refused),
            reported: of(Effect::Reported),
        }
    }
}

/// A program that made its process a member by being started: no policy was asked.
fn is_enrolment(seen: &Observation) -> bool {
    matches!(seen.fact, Fact::Exec { .. }) && seen.policy == 0 && seen.verdict == Verdict::Known
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
