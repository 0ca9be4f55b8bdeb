//! Rules about hosts: `name:port[/protocol]`, `*.name:…` for every name with one label before it,
//! `cdn-{n}.name:…` for those of a form, `name@private:…` for a name that has addresses in networks of
//! one's own.
//!
//! The kernel compares whole labels: it takes a form for `*`. What it lets through that is of another
//! form was looked up under a name that was not learned, and that is told. A form is therefore a rule
//! only where all such names belong to one owner.
//!
//! Which addresses a name has, the kernel reads from the answers of name servers that the policy
//! allows; here is what a rule says, and the entries that it becomes. It knows nothing about answers.

use std::{fmt, net::IpAddr};

use monitor_common::{
    endpoint::Scope,
    hash::{HashKey, component},
    name::{ANY_USE, HostKey, Reach, host_rule, reach},
};

use super::endpoint_rule::{RuleError, Service};
use crate::{baseline::destinations::suffix, observation::Endpoint};

/// Longest name that DNS knows, in text.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
const PRIVATE: &str = "private";

/// The label before a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum First {
    Any,
    /// Of this form: `cdn-{n}`.
    Form(String),
}

/// Hosts by name, and where they may be called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostRule {
    /// In lower case, without a dot at the end.
    name: String,
    /// Not that name, but those with one more label before it.
    first: Option<First>,
    /// Only its addresses in networks of one's own count; otherwise only public ones.
    private: bool,
    service: Service,
}

impl HostRule {
    /// Whether a text is meant as such a rule, rather than as one about addresses.
    pub fn is_meant(text: &str) -> bool {
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        !text.starts_with('[')
            && !host.contains(':')
            && (host.starts_with("*.")
                || host.bytes().any(|b| b.is_ascii_alphabetic() || b == b'@'))
    }

    /// Reads a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let (host, service) = text.rsplit_once(':').ok_or(RuleError::NoPort)?;
        let (host, private) = match host.split_once('@') {
            None => (host, false),
            Some((host, PRIVATE)) => (host, true),
            Some((_, other)) => return Err(RuleError::HostReach(other.into())),
        };
        let (name, first) = match host.split_once('.') {
            Some(("*" | "{any}", name)) => (name, Some(First::Any)),
            Some((label, name)) if label.contains('{') => {
                if suffix::open_of_form(host).is_none() {
                    return Err(RuleError::Form(host.into()));
                }
                (name, Some(First::Form(label.into())))
            }
            _ => (host, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if !is_name(&name) {
            return Err(RuleError::Host(host.into()));
        }
        if first.is_some() && suffix::is_shared(name.as_bytes()) {
            return Err(RuleError::SharedSuffix(name));
        }
        let service = Service::parse(service)?;
        Ok(Self {
            name,
            first,
            private,
            service,
        })
    }

    /// Whether it is about a name, in lower case and without a dot at the end.
    pub fn is_about(&self, name: &str) -> bool {
        let Some(first) = &self.first else {
            return name == self.name;
        };
        let Some((label, rest)) = name.split_once('.') else {
            return false;
        };
        !label.is_empty()
            && rest == self.name
            && match first {
                First::Any => true,
                First::Form(form) => {
                    let whole = suffix::form(name.as_bytes()).0;
                    whole.split_once('.').is_some_and(|(its, _)| its == form)
                }
            }
    }

    /// Whether it allows an endpoint to a workload to which name servers gave its address for these
    /// names.
    pub fn matches<'a>(
        &self,
        endpoint: &Endpoint,
        names: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        self.admits(endpoint.address)
            && self.service.matches(endpoint)
            && names.into_iter().any(|name| self.is_about(name))
    }

    /// Whether an answer with this address counts under the rule.
    fn admits(&self, address: IpAddr) -> bool {
        let octets = match address.to_canonical() {
            IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
            IpAddr::V6(a) => a.octets(),
        };
        match reach(&octets) {
            Reach::Public => !self.private,
            Reach::Private => self.private,
            Reach::Never => false,
        }
    }

    /// Entries of the kernel's set for this rule in a policy.
    pub fn entries(&self, policy: u32, key: HashKey) -> Vec<HostKey> {
        let name = component(key, self.name.as_bytes());
        let rule = host_rule(name, self.is_below(), self.private);
        let entry = |scope, protocol, port| HostKey {
            policy,
            scope,
            protocol,
            port,
            rule,
        };
        let of_service =
            |(scope, protocol, port): (Scope, u8, u16)| entry(scope as u8, protocol, port);
        let services = self.service.scopes().into_iter().map(of_service);
        services.chain([entry(ANY_USE, 0, 0)]).collect()
    }

    /// Whether the kernel is told about every name below one.
    pub fn is_below(&self) -> bool {
        self.first.is_some()
    }

    /// Port and protocol; `None` where any will do.
    pub fn service(&self) -> (Option<u16>, Option<u8>) {
        (self.service.port, self.service.protocol)
    }
}

/// Whether a text is a name that can be looked up; not an address, whose last label is a number.
pub fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= LONGEST_NAME
        && name.split('.').all(is_label)
        && !last.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            None => {}
            Some(First::Any) => f.write_str("*.")?,
            Some(First::Form(form)) => write!(f, "{form}.")?,
        }
        let private = if self.private { "@private" } else { "" };
        write!(f, "{}{private}:{}", self.name, self.service)
    }
}

#[cfg(test)]
#[path = "host_rule_tests.rs"]
mod tests;
