//! Destination rules: `address[/prefix]:port[/protocol]` as the operator or the baseline writes it,
//! and as the entries of the kernel's longest-prefix map.
//!
//! A port without a protocol means TCP and UDP; `*` is any port; `*` without a protocol is
//! everything. IPv6 addresses stand in brackets. IPv4 and IPv6 never match each other: `[::]/0` is
//! all of IPv6 and nothing of IPv4, although the map keeps both in one number space.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use monitor_common::endpoint::{Address, DestinationKey, KEY_BITS, Scope};

use crate::observation::Endpoint;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Where IPv4 lies in the map's number space: [`monitor_common::endpoint::V4_PREFIX`] and 32 more bits.
const V4_SPACE: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();

/// A set of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointRule {
    /// Address or network, host bits zero.
    address: IpAddr,
    /// Bits of the address that count.
    prefix: u8,
    service: Service,
}

/// Ports and protocols of a rule: `443/tcp`, `443`, `*/udp`, `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Service {
    /// Port; `None` any.
    pub port: Option<u16>,
    /// IP protocol number; `None`: with a port TCP and UDP, without one anything.
    pub protocol: Option<u8>,
}

impl Service {
    /// Reads what stands behind the last colon of a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let (port, protocol) = match text.split_once('/') {
            Some((port, protocol)) => (port, Some(protocol_number(protocol)?)),
            None => (text, None),
        };
        let port = match port {
            "*" => None,
            digits => Some(number(digits).ok_or(RuleError::Port(digits.into()))?),
        };
        Ok(Self { port, protocol })
    }

    /// Whether an endpoint's port and protocol are meant.
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        match (self.port, self.protocol) {
            (None, None) => true,
            (None, Some(protocol)) => endpoint.protocol == protocol,
            (Some(port), Some(protocol)) => (endpoint.port, endpoint.protocol) == (port, protocol),
            (Some(port), None) => endpoint.port == port && matches!(endpoint.protocol, TCP | UDP),
        }
    }

    /// What the kernel looks for: scope, protocol and port.
    pub fn scopes(&self) -> Vec<(Scope, u8, u16)> {
        match (self.port, self.protocol) {
            (None, None) => vec![(Scope::Any, 0, 0)],
            (None, Some(protocol)) => vec![(Scope::Protocol, protocol, 0)],
            (Some(port), Some(protocol)) => vec![(Scope::Port, protocol, port)],
            (Some(port), None) => vec![(Scope::Port, TCP, port), (Scope::Port, UDP, port)],
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("*")?,
        }
        let Some(protocol) = self.protocol else {
            return Ok(());
        };
        let name = Endpoint {
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            protocol,
        }
        .protocol_name();
        write!(f, "/{name}")
    }
}

/// Why a text is not a destination rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No `:port`.
    #[error(
        "has no port: write `address:port`, `address/prefix:port` or `[ipv6]:port`, with `*` for any port"
    )]
    NoPort,
    /// The address is not one.
    #[error("`{0}` is not an IP address; IPv6 needs brackets as in `[::1]:443`")]
    Address(String),
    /// The host is not one.
    #[error(
        "`{0}` is no name: write letters, digits and hyphens with dots between labels, and `*.` \
         before a name for all that are one label below it"
    )]
    Host(String),
    /// A form that is none, or of names with different owners.
    #[error(
        "`{0}` is no form of names that belong to one owner: one label with a class such as `{{n}}`, \
         before a registered domain"
    )]
    Form(String),
    /// Something else than `@private`.
    #[error("`@{0}` cannot be had: write `name@private` for addresses in networks of your own")]
    HostReach(String),
    /// Everybody can have a name there.
    #[error("anybody can have a name below `{0}`: name the hosts that are meant")]
    SharedSuffix(String),
    /// A name where something is forbidden.
    #[error(
        "a name can be allowed, not forbidden: its addresses are known only when it is looked up; \
         forbid addresses, or leave the name out of what is allowed"
    )]
    ForbiddenHost,
    /// The prefix is not one.
    #[error("`/{0}` is not a prefix length of that address")]
    Prefix(String),
    /// Bits behind the prefix.
    #[error("has bits behind its prefix; did you mean `{0}`?")]
    HostBits(String),
    /// The port is not one.
    #[error("`{0}` is not a port: write 0 to 65535, or `*` for any")]
    Port(String),
    /// The protocol is not one.
    #[error(
        "`{0}` is not a protocol: write `tcp`, `udp`, `icmp`, `icmp6` or a number from 0 to 255"
    )]
    Protocol(String),
    /// The unspecified address.
    #[error("connecting to the unspecified address leads to this host: write `{0}`")]
    Unspecified(&'static str),
}

impl EndpointRule {
    /// Reads a rule about destinations.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let rule = Self::parse_local(text)?;
        if rule.is_host() && rule.address.is_unspecified() {
            return Err(RuleError::Unspecified(if rule.address.is_ipv4() {
                "127.0.0.1"
            } else {
                "[::1]"
            }));
        }
        Ok(rule)
    }

    /// Reads a rule about local endpoints, where the unspecified address means every address.
    pub fn parse_local(text: &str) -> Result<Self, RuleError> {
        let (network, service) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, behind) = rest
                    .split_once(']')
                    .ok_or(RuleError::Address(text.into()))?;
                let (prefix, service) = behind.split_once(':').ok_or(RuleError::NoPort)?;
                (format!("{inside}{prefix}"), service)
            }
            None => {
                let (network, service) = text.rsplit_once(':').ok_or(RuleError::NoPort)?;
                if network.contains(':') {
                    return Err(RuleError::Address(network.into()));
                }
                (network.to_owned(), service)
            }
        };
        let bracketed = text.starts_with('[');
        let (address, prefix) = match network.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (network.as_str(), None),
        };
        let wrong = || RuleError::Address(address.into());
        let written: IpAddr = match bracketed {
            true => Ipv6Addr::from_str(address).map_err(|_| wrong())?.into(),
            false => Ipv4Addr::from_str(address).map_err(|_| wrong())?.into(),
        };
        let (address, prefix) = network_of(written, prefix)?;
        let rule = Self {
            address,
            prefix,
            service: Service::parse(service)?,
        };
        let masked = rule.masked();
        if masked != rule {
            return Err(RuleError::HostBits(masked.to_string()));
        }
        Ok(rule)
    }

    /// The rule for exactly one endpoint.
    pub fn exact(endpoint: &Endpoint) -> Self {
        let address = endpoint.address.to_canonical();
        Self {
            address,
            prefix: width(address),
            service: Service {
                port: Some(endpoint.port),
                protocol: Some(endpoint.protocol),
            },
        }
    }

    /// Whether an endpoint is in the set.
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        let address = endpoint.address.to_canonical();
        self.service.matches(endpoint)
            && address.is_ipv4() == self.address.is_ipv4()
            && mask(address, self.prefix) == self.address
    }

    /// Entries of the kernel's map for this rule in a policy: prefix length in bits, and key.
    pub fn entries(&self, policy: u32) -> Vec<(u32, DestinationKey)> {
        let networks = self.networks();
        let entry = |(scope, protocol, port)| {
            networks.iter().map(move |(address, prefix)| {
                (
                    KEY_BITS + prefix,
                    DestinationKey::new(policy, scope, protocol, port, *address),
                )
            })
        };
        self.service.scopes().into_iter().flat_map(entry).collect()
    }

    /// The network in the map's number space, where IPv4 lies inside IPv6: an IPv6 network around
    /// it is cut into the pieces that leave it out.
    fn networks(&self) -> Vec<(Address, u32)> {
        let prefix = u32::from(self.prefix);
        match self.address {
            IpAddr::V4(address) => vec![(address.to_ipv6_mapped().octets(), 96 + prefix)],
            IpAddr::V6(_) if prefix < 96 && mask(V4_SPACE.into(), self.prefix) == self.address => {
                let hole = u128::from(V4_SPACE);
                // The sibling of each step on the way from the network down to the hole.
                (prefix + 1..=96)
                    .map(|length| {
                        let bit = 1u128 << (128 - length);
                        let network = (hole & !(bit - 1)) ^ bit;
                        (network.to_be_bytes(), length)
                    })
                    .collect()
            }
            IpAddr::V6(address) => vec![(address.octets(), prefix)],
        }
    }

    /// Address or network.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Port and protocol; `None` where any will do.
    pub fn service(&self) -> (Option<u16>, Option<u8>) {
        (self.service.port, self.service.protocol)
    }

    /// Whether it is about one address.
    pub fn is_host(&self) -> bool {
        self.prefix == width(self.address)
    }

    fn masked(&self) -> Self {
        Self {
            address: mask(self.address, self.prefix),
            ..*self
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(a) & bits).into()
        }
        IpAddr::V6(a) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(a) & bits).into()
        }
    }
}

/// Address and prefix; an IPv4-mapped network becomes the IPv4 network that it is.
fn network_of(written: IpAddr, prefix: Option<&str>) -> Result<(IpAddr, u8), RuleError> {
    let length = match prefix {
        None => width(written),
        Some(digits) => number(digits)
            .filter(|n| *n <= width(written))
            .ok_or(RuleError::Prefix(digits.into()))?,
    };
    Ok(match written.to_canonical() {
        IpAddr::V4(inner) if written.is_ipv6() && length >= 96 => (inner.into(), length - 96),
        _ => (written, length),
    })
}

/// A number in plain digits: no sign, no space.
fn number<N: FromStr>(digits: &str) -> Option<N> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

fn protocol_number(word: &str) -> Result<u8, RuleError> {
    match word {
        "tcp" => Ok(TCP),
        "udp" => Ok(UDP),
        "icmp" => Ok(1),
        "icmp6" => Ok(58),
        digits => number(digits).ok_or(RuleError::Protocol(word.into())),
    }
}

impl FromStr for EndpointRule {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}

impl fmt::Display for EndpointRule {
    /// The text form; the rule for one endpoint reads as the endpoint does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(a) => write!(f, "{a}")?,
            IpAddr::V6(a) => write!(f, "[{a}]")?,
        }
        if !self.is_host() {
            write!(f, "/{}", self.prefix)?;
        }
        write!(f, ":{}", self.service)
    }
}

#[cfg(test)]
#[path = "endpoint_rule_tests.rs"]
mod tests;
