//! Destinations by name: which services a workload calls, in forms that outlive one address and one
//! numbered host.
//!
//! Key is (form of the name, port, protocol). [`suffix`] says what of a name may be general;
//! [`binding`] which name an address stands for; [`addresses`] which addresses a name has. The sums
//! are sets with up to three episodes each, so that the baselines of several hosts are joined by
//! union, in any order.
//!
//! It knows names, addresses and numbers of episodes; not policies, storage or clocks. Destinations
//! without a name are not its business: [`binding::Feature::DirectAddress`] tells them apart, and
//! they stay in the baseline as endpoints.

pub mod addresses;
pub mod binding;
pub mod calls;
pub mod few;
pub mod host;
pub mod open;
pub mod suffix;
pub mod through;
mod told;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use monitor_common::class::Family;

use self::{
    addresses::{Addresses, Network},
    few::{ENOUGH, Few},
};
use super::nearest;
use crate::observation::Endpoint;

/// Services that one model can hold; beyond that it stops learning, and
/// [`DestinationModel::refused`] says how often. Merging keeps the first in their order.
pub const MAX_SERVICES: usize = 4096;

/// A service by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// Form of the name: classes in braces, everything else escaped.
    pub name: String,
    /// Port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl fmt::Display for Service {
    /// `cdn-{n}.example.com:443/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = Endpoint {
            address: IpAddr::from([0; 4]),
            port: self.port,
            protocol: self.protocol,
        };
        write!(
            f,
            "{}:{}/{}",
            self.name,
            self.port,
            endpoint.protocol_name()
        )
    }
}

/// What a model says about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Exactly this name was called.
    Exact,
    /// Names of this form were called.
    Class(String),
    /// So many siblings were called that any name directly below their domain will do.
    Suffix(String),
    /// None of these.
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    episodes: Few,
    addresses: Addresses,
}

/// What was learned about the services that one workload × role × phase calls.
#[derive(Clone, Debug, Default)]
pub struct DestinationModel {
    services: BTreeMap<Service, Entry>,
    refused: u64,
}

impl PartialEq for DestinationModel {
    /// Whether the same is known.
    fn eq(&self, other: &Self) -> bool {
        self.services == other.services
    }
}

impl DestinationModel {
    /// Takes in that a name (raw bytes) was called, and at which address if that is known, in an
    /// episode. Returns whether the service was new.
    pub fn absorb(
        &mut self,
        name: &[u8],
        port: u16,
        protocol: u8,
        address: Option<IpAddr>,
        episode: u64,
    ) -> bool {
        let service = service(name, port, protocol);
        let full = self.services.len() >= MAX_SERVICES;
        let new = !self.services.contains_key(&service);
        if new && full {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        let entry = self.services.entry(service).or_default();
        entry.episodes.add(episode);
        if let Some(address) = address {
            entry.addresses.add(address, episode);
        }
        new
    }

    /// What is known about a name, port and protocol.
    pub fn knows(&self, name: &[u8], port: u16, protocol: u8) -> Known {
        let service = service(name, port, protocol);
        if self.services.contains_key(&service) {
            return match suffix::form(name) {
                (form, true) => Known::Class(form),
                _ => Known::Exact,
            };
        }
        let open = suffix::open(name).map(|name| Service { name, ..service });
        match open.filter(|open| self.is_open(open)) {
            Some(open) => Known::Suffix(open.name),
            None => Known::Unknown,
        }
    }

    /// Whether a service was called at an address, or its name fills the network around it.
    pub fn has_address(&self, name: &[u8], port: u16, protocol: u8, address: IpAddr) -> bool {
        let entry = self.services.get(&service(name, port, protocol));
        entry.is_some_and(|entry| entry.addresses.contains(address))
    }

    /// Every service with its networks and addresses, for the policy and for people, in a fixed
    /// order: open forms in place of the names that they stand for, with the addresses of all.
    pub fn patterns(&self) -> Vec<(Service, Vec<Network>)> {
        let mut all: BTreeMap<Service, BTreeSet<Network>> = BTreeMap::new();
        for (service, entry) in &self.services {
            let open = open_of(service).filter(|open| self.is_open(open));
            let service = open.unwrap_or_else(|| service.clone());
            let networks = all.entry(service).or_default();
            networks.extend(entry.addresses.networks());
        }
        let list =
            |(service, networks): (_, BTreeSet<_>)| (service, networks.into_iter().collect());
        all.into_iter().map(list).collect()
    }

    /// The nearest known services, best first, at most three: for people.
    pub fn nearest(&self, name: &[u8], port: u16, protocol: u8) -> Vec<String> {
        let known: BTreeSet<&str> = self.services.keys().map(|s| s.name.as_str()).collect();
        let wanted = service(name, port, protocol).name;
        nearest::nearest(Family::Name, &wanted, known.into_iter())
    }

    /// Takes in everything that another model knows, in any order with the same result.
    pub fn merge(&mut self, other: &Self) {
        for (service, entry) in &other.services {
            let known = self.services.entry(service.clone()).or_default();
            known.episodes = known.episodes.join(entry.episodes);
            known.addresses.merge(&entry.addresses);
        }
        self.refused = self.refused.saturating_add(other.refused);
        while self.services.len() > MAX_SERVICES {
            self.services.pop_last();
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// Number of services.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Bytes that the services take, about.
    pub fn bytes(&self) -> usize {
        let of_one = |(service, entry): (&Service, &Entry)| {
            let address = size_of::<IpAddr>() + size_of::<Few>();
            let fixed = size_of::<Service>() + size_of::<Entry>();
            fixed + service.name.len() + entry.addresses.len() * address
        };
        self.services.iter().map(of_one).sum()
    }

    /// Calls that were not learned because the model was full; each time counts.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether enough different siblings of an open form were called, in enough episodes.
    fn is_open(&self, open: &Service) -> bool {
        // The cheap question first: most services are of other domains.
        let domain = open.name.trim_start_matches("{any}");
        let siblings = self
            .services
            .iter()
            .filter(|(service, _)| service.name.ends_with(domain))
            .filter(|(service, _)| open_of(service).as_ref() == Some(open));
        let (mut count, mut episodes) = (0, Few::default());
        for (_, entry) in siblings {
            count += 1;
            episodes = episodes.join(entry.episodes);
        }
        count >= ENOUGH && episodes.is_enough()
    }
}

fn service(name: &[u8], port: u16, protocol: u8) -> Service {
    Service {
        name: suffix::form(name).0,
        port,
        protocol,
    }
}

/// The open form that a known service belongs to.
fn open_of(service: &Service) -> Option<Service> {
    let name = suffix::open_of_form(&service.name)?;
    Some(Service {
        name,
        port: service.port,
        protocol: service.protocol,
    })
}
