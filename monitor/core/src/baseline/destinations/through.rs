//! Hosts behind declared proxies: which a workload asked for while its destinations were learned, and
//! which are new.
//!
//! Behind a proxy the host that it is asked for is the destination: the proxy's own address says
//! nothing. A host is learned with its port, by name in the form that names are learned in
//! ([`super::suffix`]), over all proxies of the workload, because it is the same host behind each. A
//! call that shows no host could lead anywhere: it is *blind*, and never learned to be usual.
//!
//! Told, not refused. Knows requests; not how they were seen, and no policy.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::class::Family;
use serde::{Deserialize, Serialize};

use super::{
    calls::canonical,
    suffix,
    told::{Table, Told},
};
use crate::{
    baseline::nearest::nearest,
    observation::{Endpoint, Fact, Host, Observation, OddCall, Oddity, Request, Target},
};

/// Hosts that one workload can learn behind its proxies; about 0.3 MB.
pub const MAX_HOSTS: usize = 4096;
/// Nanoseconds within which the same new host behind the same proxy is told once.
const HOST_QUIET: u64 = 3_600_000_000_000;
/// Nanoseconds within which blind calls of the same proxy are told once.
const BLIND_QUIET: u64 = 24 * HOST_QUIET;

/// What is known of a workload behind its proxies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Through {
    /// Proxies that were declared while it learned; what is behind others cannot be judged.
    judged: BTreeSet<Endpoint>,
    /// Forms of hosts, with their ports.
    hosts: BTreeSet<String>,
    /// New hosts; `None` is a blind call.
    told: Table<(Endpoint, Option<String>)>,
    /// Blind calls of each proxy since it is known.
    blind: BTreeMap<Endpoint, u64>,
    full: bool,
}

/// The same for the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    judged: Vec<Endpoint>,
    hosts: Vec<String>,
    told: Vec<(Endpoint, Option<String>, Told)>,
    blind: Vec<(Endpoint, u64)>,
    full: bool,
}

impl Through {
    /// It learns while these proxies are declared.
    pub(super) fn expect(&mut self, declared: &BTreeSet<Endpoint>) {
        self.judged.extend(declared);
    }

    /// Takes calls in that are usual; `target` is `None` where they are blind.
    pub(super) fn learn(&mut self, proxy: Endpoint, target: Option<&Target>, calls: u64) {
        self.judged.insert(proxy);
        let Some(target) = target else {
            return self.count_blind(proxy, calls);
        };
        let form = form(target);
        self.told.remove(&(proxy, Some(form.clone())));
        if self.hosts.len() < MAX_HOSTS {
            self.hosts.insert(form);
        } else {
            self.full |= !self.hosts.contains(&form);
        }
    }

    /// What is to be told of calls at a `time` (nanoseconds since the epoch), if anything is and there
    /// is `room`.
    pub(super) fn judge(
        &mut self,
        proxy: Endpoint,
        target: Option<&Target>,
        (time, calls): (u64, u64),
        room: bool,
    ) -> Option<OddCall> {
        let Some(target) = target else {
            self.count_blind(proxy, calls);
            let count = self
                .told
                .weigh((proxy, None), (time, calls), BLIND_QUIET, room)?;
            return Some(odd(proxy, Oddity::Blind, count));
        };
        let form = form(target);
        if self.full || !self.judged.contains(&proxy) || self.hosts.contains(&form) {
            return None;
        }
        let key = (proxy, Some(form.clone()));
        let count = self.told.weigh(key, (time, calls), HOST_QUIET, room)?;
        let known = self.hosts.iter().map(String::as_str);
        Some(OddCall {
            host: Some(target.to_string()),
            nearest: nearest(Family::Name, &form, known),
            ..odd(proxy, Oddity::UnlearnedHost, count)
        })
    }

    /// What is not watched behind these proxies, in sentences.
    pub(super) fn unwatched(&self, workload: &str, declared: &BTreeSet<Endpoint>) -> Vec<String> {
        let mut all = vec![];
        if self.full {
            all.push(format!(
                "More than {MAX_HOSTS} hosts behind proxies were learned: new ones are not told."
            ));
        }
        for proxy in declared {
            if !self.judged.contains(proxy) {
                all.push(format!(
                    "It has not learned since the proxy {proxy} was declared: hosts behind it are not \
                     told; `slmguard mode {workload} learn` begins it."
                ));
            }
            if let Some(calls) = self.blind.get(proxy) {
                let (calls, their) = match calls {
                    1 => ("1 call".to_owned(), "its"),
                    n => (format!("{n} calls"), "their"),
                };
                all.push(format!(
                    "{calls} of the proxy {proxy} did not show {their} host: where that led is not known."
                ));
            }
        }
        all
    }

    /// For the store.
    pub(super) fn row(&self) -> Row {
        let told = self.told.iter();
        Row {
            judged: self.judged.iter().copied().collect(),
            hosts: self.hosts.iter().cloned().collect(),
            told: told
                .map(|((at, host), told)| (*at, host.clone(), *told))
                .collect(),
            blind: self.blind.iter().map(|(at, calls)| (*at, *calls)).collect(),
            full: self.full,
        }
    }

    /// Back from [`Self::row`], as far as there is room.
    pub(super) fn from_row(row: Row) -> Self {
        let told = row.told.into_iter();
        Self {
            judged: row.judged.into_iter().take(MAX_HOSTS).collect(),
            full: row.full || row.hosts.len() > MAX_HOSTS,
            hosts: row.hosts.into_iter().take(MAX_HOSTS).collect(),
            told: told.map(|(at, host, told)| ((at, host), told)).collect(),
            blind: row.blind.into_iter().take(MAX_HOSTS).collect(),
        }
    }

    fn count_blind(&mut self, proxy: Endpoint, calls: u64) {
        let count = self.blind.entry(proxy).or_default();
        *count = count.saturating_add(calls);
    }
}

/// The proxy that was asked for something, if it is one, and for what. What a connection to it that
/// was there before has asked for could not be seen.
pub(super) fn requested(seen: &Observation) -> Option<(Endpoint, Option<&Target>)> {
    match (&seen.fact, seen.fact.inner()) {
        (_, Fact::Request(Request { proxy, target, .. })) => {
            Some((canonical(*proxy), target.as_ref()))
        }
        (Fact::Found(_), Fact::Connect(endpoint)) => Some((canonical(*endpoint), None)),
        _ => None,
    }
}

/// Under what a host is learned.
fn form(target: &Target) -> String {
    if let Host::Name(name) = &target.host
        && let (form, true) = suffix::form(name)
    {
        return format!("{form}:{}", target.port);
    }
    target.to_string()
}

fn odd(proxy: Endpoint, what: Oddity, count: u64) -> OddCall {
    OddCall {
        endpoint: proxy,
        what,
        name: None,
        host: None,
        nearest: vec![],
        count,
        score: None,
    }
}

#[cfg(test)]
#[path = "through_tests.rs"]
mod tests;
