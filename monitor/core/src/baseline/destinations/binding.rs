//! Which name an address stands for when it is called, and what is odd about the call.
//!
//! The names that a workload was given for an address are in [`crate::names`]; that table keeps them
//! for people, an hour beyond their end. To stand for a destination an answer counts for a shorter
//! time: its own lifetime, at least five minutes, and a quarter of an hour more, because programs
//! keep connections and addresses.
//!
//! Knows answers, endpoints and what was seen of a connection; not baselines, not policies.

use std::{collections::BTreeSet, net::IpAddr};

use monitor_common::limits::{ANSWER_GRACE, SECOND_NS};

use crate::{
    names,
    observation::{Endpoint, Target},
    text,
};

/// Nanoseconds that an answer counts beyond its lifetime.
pub const GRACE: u64 = ANSWER_GRACE as u64 * SECOND_NS;

/// What decided between the names of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// It had only one.
    OnlyName,
    /// The server name of the TLS connection is one of them.
    ServerName,
    /// It was the most recent answer.
    LatestAnswer,
}

/// The name that an address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The name, escaped.
    pub name: &'a str,
    /// Why this one.
    pub by: By,
    /// How many names the address had at the time.
    pub names: usize,
}

/// Something about a call that is rare in a server and worth telling, by itself no reason to deny.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// The address was in no answer that still counts.
    DirectAddress,
    /// The server name of the TLS connection is none of the names that the address was given for.
    ServerNameDiffers,
    /// The server name is encrypted.
    ServerNameHidden,
    /// A name server that the workload was not learned to ask.
    UnlearnedResolver,
    /// A name server that is asked where nobody can look on: DNS over TLS, QUIC or HTTPS.
    EncryptedResolver,
    /// Through a declared proxy, to this host.
    Through(Target),
    /// Through a declared proxy, to a host that could not be seen: every destination of the proxy.
    Blind,
}

/// What was seen of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Where to.
    pub endpoint: Endpoint,
    /// Server name of its TLS hello, raw bytes.
    pub server_name: Option<&'a [u8]>,
    /// The true server name is encrypted.
    pub encrypted: bool,
    /// Host that a proxy was asked for.
    pub asked_for: Option<&'a Target>,
}

/// What is known about a workload's surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Name servers that it was learned to ask.
    pub resolvers: BTreeSet<Endpoint>,
    /// HTTP proxies that the operator declared.
    pub proxies: BTreeSet<Endpoint>,
}

/// The name that an address stands for in a workload at a time (nanoseconds since the epoch). Of
/// several, the server name decides if it is one of them; otherwise the most recent answer, and of
/// equally recent ones the first by name.
pub fn bind<'a>(
    table: &'a names::NameTable,
    workload: &str,
    address: IpAddr,
    server_name: Option<&[u8]>,
    now: u64,
) -> Option<Binding<'a>> {
    let valid: Vec<(&str, u64)> = valid(table, workload, address, now).collect();
    let bound = |name, by| Binding {
        name,
        by,
        names: valid.len(),
    };
    if let [(name, _)] = valid[..] {
        return Some(bound(name, By::OnlyName));
    }
    if let Some(wanted) = server_name.map(normal)
        && let Some((name, _)) = valid.iter().find(|(name, _)| *name == wanted)
    {
        return Some(bound(name, By::ServerName));
    }
    let newest = valid.iter().map(|(_, last)| *last).max()?;
    let (name, _) = valid.iter().find(|(_, last)| *last == newest)?;
    Some(bound(name, By::LatestAnswer))
}

/// Names that an address can stand for in a workload at a time, in a fixed order.
pub fn counting<'a>(
    table: &'a names::NameTable,
    workload: &str,
    address: IpAddr,
    now: u64,
) -> impl Iterator<Item = &'a str> {
    valid(table, workload, address, now).map(|(name, _)| name)
}

/// The same, each with when it was last given.
fn valid<'a>(
    table: &'a names::NameTable,
    workload: &str,
    address: IpAddr,
    now: u64,
) -> impl Iterator<Item = (&'a str, u64)> {
    let answers = table.answers(workload, address);
    answers
        .filter(move |(_, ends, _)| counts_until(*ends) > now)
        .map(|(name, _, last)| (name, last))
}

/// Until when an answer counts that the table keeps until `ends`.
fn counts_until(ends: u64) -> u64 {
    ends.saturating_sub(names::KEPT).saturating_add(GRACE)
}

/// What is odd about a call, in a fixed order.
pub fn features(
    table: &names::NameTable,
    workload: &str,
    call: &Call,
    around: &Surroundings,
    now: u64,
) -> BTreeSet<Feature> {
    let mut found = BTreeSet::new();
    let endpoint = Endpoint {
        address: call.endpoint.address.to_canonical(),
        ..call.endpoint
    };
    if around.proxies.contains(&endpoint) {
        // The proxy is what the operator said it is; what counts is behind it.
        found.insert(match call.asked_for {
            Some(target) => Feature::Through(target.clone()),
            None => Feature::Blind,
        });
        return found;
    }
    let learned = around.resolvers.contains(&endpoint);
    if asks_plainly(&endpoint) && !learned {
        found.insert(Feature::UnlearnedResolver);
    }
    if asks_encrypted(&endpoint, call.server_name) {
        found.insert(Feature::EncryptedResolver);
    }
    if call.encrypted {
        found.insert(Feature::ServerNameHidden);
    }
    let names: Vec<&str> = counting(table, workload, endpoint.address, now).collect();
    if names.is_empty() {
        // A name server is called by its address: nobody can look it up before.
        if !learned {
            found.insert(Feature::DirectAddress);
        }
    } else if let Some(name) = call.server_name.map(normal)
        && !call.encrypted
        && !names.contains(&name.as_str())
    {
        found.insert(Feature::ServerNameDiffers);
    }
    found
}

/// As names are in the table: lower case, no dot at the end, escaped.
fn normal(name: &[u8]) -> String {
    let name = name.strip_suffix(b".").unwrap_or(name);
    text::escape(&name.to_ascii_lowercase())
}

fn asks_plainly(endpoint: &Endpoint) -> bool {
    endpoint.port == 53
}

/// DNS over TLS and QUIC have a port of their own (RFC 7858, RFC 9250); over HTTPS (RFC 8484) only
/// the well-known servers can be told.
fn asks_encrypted(endpoint: &Endpoint, server_name: Option<&[u8]>) -> bool {
    let over_https = || {
        endpoint.port == 443
            && (WELL_KNOWN_ADDRESSES.contains(&endpoint.address.to_string().as_str())
                || server_name
                    .is_some_and(|name| WELL_KNOWN_NAMES.contains(&normal(name).as_str())))
    };
    endpoint.port == 853 || over_https()
}

/// Public name servers that answer over HTTPS.
const WELL_KNOWN_NAMES: &[&str] = &[
    "cloudflare-dns.com",
    "mozilla.cloudflare-dns.com",
    "security.cloudflare-dns.com",
    "one.one.one.one",
    "dns.google",
    "dns.quad9.net",
    "doh.opendns.com",
    "dns.adguard-dns.com",
    "dns.nextdns.io",
    "doh.cleanbrowsing.org",
    "dns.alidns.com",
    "doh.pub",
];

/// Addresses of the same.
const WELL_KNOWN_ADDRESSES: &[&str] = &[
    "1.1.1.1",
    "1.0.0.1",
    "8.8.8.8",
    "8.8.4.4",
    "9.9.9.9",
    "149.112.112.112",
    "208.67.222.222",
    "208.67.220.220",
    "94.140.14.14",
    "223.5.5.5",
    "2606:4700:4700::1111",
    "2606:4700:4700::1001",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
    "2620:fe::fe",
];

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
