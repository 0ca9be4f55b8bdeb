//! The policy compiler: baseline, operator rules and invariants become what the kernel enforces
//! for one class.
//!
//! Nothing is ever left out silently: what does not parse or does not fit is an error that names
//! it. Equal inputs give equal images.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::Family,
    endpoint::{DENIED, DestinationKey, INVARIANT_POLICY, LISTEN},
    facility::Facility,
    hash::{FNV_BASIS, HashKey, component, fnv_step},
    limits::{MAX_DESTINATIONS, MAX_HOSTS, MAX_NAMES, MAX_TRANSITIONS},
    name::{HostKey, NameKey, space},
    path::{POLICY_DENIES_DESTINATIONS, POLICY_HOSTS, POLICY_HOSTS_BELOW, PolicyRoot, permission},
};

use super::{
    CompileError,
    automaton::{Automaton, compile},
    endpoint_rule::{EndpointRule, RuleError},
    host_rule::HostRule,
    invariants::invariant_paths,
    pattern::{Component, PathPattern, PatternError},
};
use crate::{baseline::Baseline, config::Rules, observation::Scope, text};

/// How large one policy may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Destination entries, allowed and denied together.
    pub destinations: usize,
    /// Edges of each of the two automata.
    pub transitions: usize,
    /// Names, allowed and denied together.
    pub names: usize,
    /// Entries about hosts.
    pub hosts: usize,
}

impl Default for PolicyLimits {
    /// A quarter of the maps: while a policy is swapped, the old and the new one are both there.
    fn default() -> Self {
        Self {
            destinations: MAX_DESTINATIONS as usize / 4,
            transitions: MAX_TRANSITIONS as usize / 4,
            names: MAX_NAMES as usize / 4,
            hosts: MAX_HOSTS as usize / 4,
        }
    }
}

/// What a policy is made of.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInputs<'a> {
    /// Number of the policy in the kernel.
    pub policy: u32,
    /// Key of the component hash.
    pub key: HashKey,
    /// First number for states; they and the ones behind must be free.
    pub first_state: u32,
    /// What was learned.
    pub baseline: &'a Baseline,
    /// The scope that the policy is for.
    pub scope: &'a Scope,
    /// What the operator allows besides.
    pub allow: &'a Rules,
    /// What the operator forbids, whatever else allows it.
    pub deny: &'a Rules,
    /// How large the policy may become.
    pub limits: PolicyLimits,
}

/// A policy as the kernel gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyImage {
    /// Entries of the destination map that allow: prefix length in bits, and key.
    pub destinations: Vec<(u32, DestinationKey)>,
    /// Entries of the same map that forbid; their policy number has [`DENIED`].
    pub denied: Vec<(u32, DestinationKey)>,
    /// Abstract unix sockets that are allowed, and ones that are forbidden: those have [`DENIED`] in
    /// their policy number.
    pub names: Vec<NameKey>,
    /// Hosts that are allowed.
    pub hosts: Vec<HostKey>,
    /// Some of them are about every name below one.
    pub hosts_below: bool,
    /// Facilities that are allowed, a bit each.
    pub facilities: u64,
    /// Facilities that the operator forbids.
    pub denied_facilities: u64,
    /// Paths that are allowed.
    pub allow: Automaton,
    /// Paths that are forbidden: invariants and the operator's deny rules. Its states are numbered
    /// behind those of [`Self::allow`].
    pub deny: Automaton,
    /// Fingerprint of the content (53 bits): equal rules have an equal version on every host and
    /// after every restart.
    pub version: u64,
}

impl PolicyImage {
    /// What the kernel keeps under the policy's number.
    pub fn root(&self) -> PolicyRoot {
        let when = |is: bool, flag: u64| if is { flag } else { 0 };
        let flags = when(!self.denied.is_empty(), POLICY_DENIES_DESTINATIONS)
            | when(!self.hosts.is_empty(), POLICY_HOSTS)
            | when(self.hosts_below, POLICY_HOSTS_BELOW);
        PolicyRoot {
            allow: self.allow.root,
            deny: self.deny.root,
            version: self.version,
            flags,
            facilities: self.facilities,
            denied_facilities: self.denied_facilities,
        }
    }

    /// State numbers that the two automata use, from the first one on.
    pub fn states(&self) -> u32 {
        self.allow.states + self.deny.states
    }
}

/// Compiles the policy of one class.
pub fn compile_policy(inputs: &PolicyInputs) -> Result<PolicyImage, CompileError> {
    let policy = inputs.policy;
    if policy & DENIED != 0 || policy | DENIED == INVARIANT_POLICY {
        return Err(CompileError::ReservedPolicy(policy));
    }
    let mut allowed = Rulebook::default();
    let mut denied = Rulebook {
        denies: true,
        ..Rulebook::default()
    };
    for (family, subject, _) in inputs.baseline.entries(inputs.scope) {
        allowed.learned(family, subject)?;
    }
    allowed.operator(inputs.allow)?;
    denied.operator(inputs.deny)?;
    let version = fingerprint(&allowed, &denied);

    let mut room = inputs.limits.destinations;
    let destinations = allowed.destinations(policy, &mut room, inputs.limits.destinations)?;
    let forbidden = denied.destinations(policy | DENIED, &mut room, inputs.limits.destinations)?;

    let mut names = allowed.names(inputs.key, policy);
    names.extend(denied.names(inputs.key, policy | DENIED));
    if names.len() > inputs.limits.names {
        return Err(CompileError::TooManyNames {
            limit: inputs.limits.names,
            have: names.len(),
        });
    }

    let hosts: Vec<HostKey> = allowed
        .hosts
        .iter()
        .flat_map(|rule| rule.entries(policy, inputs.key))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if hosts.len() > inputs.limits.hosts {
        return Err(CompileError::TooManyHosts {
            limit: inputs.limits.hosts,
            have: hosts.len(),
        });
    }

    let allow = allowed.automaton(
        inputs.key,
        inputs.first_state,
        inputs.limits.transitions,
        vec![],
    )?;
    let behind = inputs
        .first_state
        .max(1)
        .checked_add(allow.states)
        .ok_or(CompileError::StatesExhausted(inputs.first_state))?;
    let deny = denied.automaton(
        inputs.key,
        behind,
        inputs.limits.transitions,
        invariant_paths(),
    )?;
    Ok(PolicyImage {
        destinations,
        denied: forbidden,
        names,
        hosts,
        hosts_below: allowed.hosts.iter().any(HostRule::is_below),
        facilities: allowed.facilities,
        denied_facilities: denied.facilities,
        allow,
        deny,
        version,
    })
}

/// Whether a policy can hold what was observed. Only that is learned: one subject that no rule can
/// express would keep its whole workload without a policy.
pub fn is_rule(family: Family, subject: &str) -> bool {
    Rulebook::default().learned(family, subject).is_ok()
}

/// Reads operator rules without compiling them; every rule that cannot be read is reported, with
/// the list it stands in and its place there. `denies` says whether they forbid.
pub fn check_rules(rules: &Rules, denies: bool) -> Vec<(&'static str, usize, CompileError)> {
    let mut book = Rulebook {
        denies,
        ..Rulebook::default()
    };
    let mut problems = vec![];
    for (at, rule) in rules.connect.iter().enumerate() {
        problems.extend(book.destination(rule).err().map(|e| ("connect", at, e)));
    }
    for (list, rules, permission) in path_lists(rules) {
        for (at, rule) in rules.iter().enumerate() {
            problems.extend(book.path(rule, permission).err().map(|e| (list, at, e)));
        }
    }
    for (at, rule) in rules.unix.iter().enumerate() {
        problems.extend(book.unix(rule).err().map(|e| ("unix", at, e)));
    }
    for (at, rule) in rules.listen.iter().enumerate() {
        problems.extend(book.listen(rule).err().map(|e| ("listen", at, e)));
    }
    for (at, rule) in rules.facilities.iter().enumerate() {
        problems.extend(book.facility(rule).err().map(|e| ("facilities", at, e)));
    }
    problems
}

fn path_lists(rules: &Rules) -> [(&'static str, &[String], u8); 3] {
    [
        ("read", &rules.read, permission::READ),
        ("write", &rules.write, permission::WRITE),
        ("exec", &rules.exec, permission::EXEC),
    ]
}

/// Edges per component of the patterns beyond which wildcards are taken to multiply each other.
const EDGES_PER_COMPONENT: usize = 16;
/// Edges that any policy may have.
const EDGES_IN_ANY_CASE: usize = 4096;

/// Rules of one kind, merged: the same path under several families is one pattern.
#[derive(Default)]
struct Rulebook {
    /// What is in it is forbidden.
    denies: bool,
    endpoints: BTreeSet<EndpointRule>,
    hosts: BTreeSet<HostRule>,
    listen: BTreeSet<EndpointRule>,
    /// Abstract unix sockets, raw bytes.
    sockets: BTreeSet<Vec<u8>>,
    facilities: u64,
    paths: BTreeMap<Vec<Component>, u8>,
}

impl Rulebook {
    fn learned(&mut self, family: Family, subject: &str) -> Result<(), CompileError> {
        match family {
            Family::Destination => self.destination(subject),
            Family::Read => self.path(subject, permission::READ),
            Family::Write => self.path(subject, permission::WRITE),
            Family::Exec => self.path(subject, permission::EXEC),
            Family::Unix => self.unix(subject),
            Family::Listen => self.listen(subject),
            Family::Facility => self.facility(subject),
            // Names that were looked up are observed; where they may be called, rules about hosts say.
            Family::Name => Ok(()),
        }
    }

    fn operator(&mut self, rules: &Rules) -> Result<(), CompileError> {
        rules
            .connect
            .iter()
            .try_for_each(|rule| self.destination(rule))?;
        path_lists(rules)
            .into_iter()
            .try_for_each(|(_, list, permission)| {
                list.iter().try_for_each(|rule| self.path(rule, permission))
            })?;
        rules.unix.iter().try_for_each(|rule| self.unix(rule))?;
        rules.listen.iter().try_for_each(|rule| self.listen(rule))?;
        rules
            .facilities
            .iter()
            .try_for_each(|rule| self.facility(rule))
    }

    fn unix(&mut self, rule: &str) -> Result<(), CompileError> {
        if let Some(name) = rule.strip_prefix('@') {
            self.sockets.insert(text::unescape(name));
            Ok(())
        } else if rule.starts_with('/') {
            self.path(rule, permission::CONNECT)
        } else {
            Err(CompileError::Unix(rule.into()))
        }
    }

    fn listen(&mut self, rule: &str) -> Result<(), CompileError> {
        let parsed = EndpointRule::parse_local(rule).map_err(|reason| {
            let rule = rule.into();
            CompileError::Destination { rule, reason }
        })?;
        self.listen.insert(parsed);
        Ok(())
    }

    fn facility(&mut self, rule: &str) -> Result<(), CompileError> {
        let facility = Facility::from_name(rule).ok_or_else(|| CompileError::Facility {
            rule: rule.into(),
            known: Facility::ALL.iter().map(|f| f.name()).collect(),
        })?;
        self.facilities |= facility.bit();
        Ok(())
    }

    fn names(&self, key: HashKey, policy: u32) -> Vec<NameKey> {
        let named = |name: &Vec<u8>| NameKey {
            policy,
            space: space::ABSTRACT,
            hash: component(key, name),
        };
        self.sockets.iter().map(named).collect()
    }

    fn destination(&mut self, rule: &str) -> Result<(), CompileError> {
        let wrong = |reason| CompileError::Destination {
            rule: rule.into(),
            reason,
        };
        if !HostRule::is_meant(rule) {
            self.endpoints
                .insert(EndpointRule::parse(rule).map_err(wrong)?);
        } else if self.denies {
            return Err(wrong(RuleError::ForbiddenHost));
        } else {
            self.hosts.insert(HostRule::parse(rule).map_err(wrong)?);
        }
        Ok(())
    }

    fn path(&mut self, rule: &str, permission: u8) -> Result<(), CompileError> {
        let parsed = PathPattern::parse(rule, permission).map_err(|reason| CompileError::Path {
            rule: rule.into(),
            reason,
        })?;
        if self.denies && parsed.widened().is_some() {
            return Err(CompileError::Path {
                rule: rule.into(),
                reason: PatternError::Forbidden(rule.into()),
            });
        }
        *self.paths.entry(parsed.components).or_default() |= permission;
        Ok(())
    }

    fn destinations(
        &self,
        policy: u32,
        room: &mut usize,
        limit: usize,
    ) -> Result<Vec<(u32, DestinationKey)>, CompileError> {
        let mut all = BTreeSet::new();
        let listening = self.listen.iter().map(|rule| (rule, policy | LISTEN));
        let reached = self.endpoints.iter().map(|rule| (rule, policy));
        for (rule, policy) in reached.chain(listening) {
            all.extend(rule.entries(policy));
            if all.len() > *room {
                return Err(CompileError::TooManyDestinations {
                    limit,
                    offender: rule.to_string(),
                });
            }
        }
        *room -= all.len();
        Ok(all.into_iter().collect())
    }

    fn automaton(
        &self,
        key: HashKey,
        first_state: u32,
        limit: usize,
        mut patterns: Vec<PathPattern>,
    ) -> Result<Automaton, CompileError> {
        patterns.extend(self.patterns());
        let components: usize = patterns.iter().map(|p| p.components.len()).sum();
        let budget = limit.min(components * EDGES_PER_COMPONENT + EDGES_IN_ANY_CASE);
        compile(&patterns, key, first_state, budget)
    }

    fn patterns(&self) -> impl Iterator<Item = PathPattern> {
        self.paths
            .iter()
            .map(|(components, permissions)| PathPattern {
                components: components.clone(),
                permissions: *permissions,
                other_process: false,
            })
    }
}

/// Hash over the text forms of all rules, in order; the invariants count, because they change with
/// the daemon's version.
fn fingerprint(allowed: &Rulebook, denied: &Rulebook) -> u64 {
    let mut hash = FNV_BASIS;
    let mut line = |text: String| {
        hash = text.bytes().chain([b'\n']).fold(hash, fnv_step);
    };
    for (word, book) in [("allow", allowed), ("deny", denied)] {
        book.endpoints
            .iter()
            .for_each(|rule| line(format!("{word} {rule}")));
        book.hosts
            .iter()
            .for_each(|rule| line(format!("{word} {rule}")));
        book.listen
            .iter()
            .for_each(|rule| line(format!("{word} listen {rule}")));
        book.sockets
            .iter()
            .for_each(|name| line(format!("{word} @{}", text::escape(name))));
        if book.facilities != 0 {
            line(format!("{word} facilities {:x}", book.facilities));
        }
        book.patterns()
            .for_each(|p| line(format!("{word} {} {p}", p.permissions)));
    }
    invariant_paths()
        .iter()
        .for_each(|p| line(format!("never {p}")));
    // JSON readers that keep numbers as floating point hold 53 bits.
    hash >> 11
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
