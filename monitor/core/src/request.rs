//! Requests to HTTP proxies as a fact: which host a proxy was asked for, by CONNECT (RFC 9110) or with
//! a target in absolute form (RFC 9112).
//!
//! Knows how host and port are written; which proxies count is declared, and which hosts are usual is
//! learned ([`crate::baseline::destinations::through`]).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{observation::Endpoint, text};

/// A request to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The proxy.
    pub proxy: Endpoint,
    /// What it was asked for; `None` where that could not be seen, which is told of declared proxies
    /// only.
    pub target: Option<Target>,
    /// Asked for with CONNECT.
    pub tunnel: bool,
    /// Cookie of the socket.
    pub cookie: u64,
}

/// A host and a port behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// A host as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// By address; IPv4-mapped ones are IPv4 here.
    Address(IpAddr),
    /// By name, raw bytes in lower case, no dot at the end.
    Name(Vec<u8>),
}

impl Target {
    /// Reads `host:port`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
    /// The port can be left out only where there is a `usual` one. `None` for everything else: what
    /// a proxy would make of it is not known.
    pub fn parse(authority: &[u8], usual: Option<u16>) -> Option<Self> {
        let (host, port) = match authority.strip_prefix(b"[") {
            Some(rest) => {
                let end = rest.iter().position(|b| *b == b']')?;
                let address: Ipv6Addr = str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
                let host = Host::Address(IpAddr::from(address).to_canonical());
                match rest.get(end + 1..)? {
                    b"" => (host, &b""[..]),
                    behind => (host, behind.strip_prefix(b":")?),
                }
            }
            None => {
                let (name, port) = match authority.iter().position(|b| *b == b':') {
                    Some(at) => (authority.get(..at)?, authority.get(at + 1..)?),
                    None => (authority, &b""[..]),
                };
                (host(name)?, port)
            }
        };
        let port = match port {
            b"" => usual?,
            digits if digits.iter().all(u8::is_ascii_digit) => {
                str::from_utf8(digits).ok()?.parse().ok()?
            }
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// A host that is no IPv6 address.
fn host(name: &[u8]) -> Option<Host> {
    let name = name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%".contains(b);
    if name.is_empty() || !name.iter().all(plain) {
        return None;
    }
    let address: Option<Ipv4Addr> = str::from_utf8(&name).ok()?.parse().ok();
    Some(address.map_or(Host::Name(name), |v4| Host::Address(v4.into())))
}

impl fmt::Display for Target {
    /// `api.example.com:443`, `10.0.0.1:80`, `[2001:db8::1]:443`; names escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{}:{}", text::escape(name), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn reads(authority: &str, usual: Option<u16>, as_text: Option<&str>) {
        let target = Target::parse(authority.as_bytes(), usual);
        let text = target.map(|target| target.to_string());
        assert_eq!(text.as_deref(), as_text, "{authority}");
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_has_a_port() {
        reads("Api.Example.com.:443", None, Some("api.example.com:443"));
        reads("localhost:80", None, Some("localhost:80"));
        reads("10.0.0.1:8080", None, Some("10.0.0.1:8080"));
        reads("[2001:DB8::1]:443", None, Some("[2001:db8::1]:443"));
        reads("[::ffff:10.0.0.1]:443", None, Some("10.0.0.1:443"));
        reads("a.example", Some(80), Some("a.example:80"));
        reads("a.example:", Some(80), Some("a.example:80"));
        reads("[::1]", Some(443), Some("[::1]:443"));
        reads("%61.example:443", None, Some("%61.example:443"));
    }

    #[test]
    fn what_a_proxy_could_take_for_several_things_is_no_host() {
        for bad in [
            "",
            ":443",
            ".:443",
            "a.example",
            "a.example:",
            "a.example:x",
            "a.example:+80",
            "a.example:65536",
            "a:b:443",
            "::1:443",
            "[::1",
            "[::1]443",
            "[a.example]:443",
            "[fe80::1%25eth0]:443",
            "user@a.example:443",
            "a example:443",
            "a/b:443",
            "a\u{0}:443",
            "ä.example:443",
        ] {
            reads(bad, None, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "[a-zA-Z0-9.:\\[\\]%~_-]{0,40}", usual in any::<Option<u16>>()) {
            for authority in [&bytes[..], text.as_bytes()] {
                if let Some(target) = Target::parse(authority, usual) {
                    let shown = target.to_string();
                    prop_assert_eq!(Target::parse(shown.as_bytes(), None), Some(target), "{}", shown);
                }
            }
        }
    }
}
