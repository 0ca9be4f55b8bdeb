//! Names: abstract unix sockets, and hosts that a policy may reach by name.
//!
//! A host is reached through its addresses: what a name server answered is bound to the name that was
//! asked for, per workload and for as long as the answer counts. A rule about a host is then a
//! number that both sides compute ([`host_rule`]); an address is allowed while one of the rules that
//! admitted it is in the policy of whoever connects.

use crate::{assert_layout, endpoint::Address, hash::chain};

/// What kind of name a key is about.
pub mod space {
    /// Abstract unix sockets.
    pub const ABSTRACT: u32 = 1;
}

/// Key of an entry of the set of abstract unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct NameKey {
    /// Policy that the entry belongs to; with [`crate::endpoint::DENIED`] it forbids.
    pub policy: u32,
    /// [`space`].
    pub space: u32,
    /// Hash of the name ([`crate::hash::component`]).
    pub hash: u64,
}
assert_layout!(NameKey, 16);

/// Scope of a [`HostKey`] beside those of [`crate::endpoint::Scope`]: the policy has a rule about
/// the host, for whatever port.
pub const ANY_USE: u8 = 3;

/// Key of an entry of the set that says which hosts a policy may reach, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct HostKey {
    /// Policy that the entry belongs to.
    pub policy: u32,
    /// [`crate::endpoint::Scope`], or [`ANY_USE`].
    pub scope: u8,
    /// IP protocol number; 0 where any will do.
    pub protocol: u8,
    /// Port in host byte order; 0 where any will do.
    pub port: u16,
    /// [`host_rule`].
    pub rule: u64,
}
assert_layout!(HostKey, 16);

/// Number of a rule about hosts. `name` is the hash ([`crate::hash::component`]) of a whole name in
/// lower case; with `below` the rule is about every name with one label before that one. Only private
/// addresses count where it is `private`, only public ones otherwise ([`reach`]).
#[inline(always)]
pub const fn host_rule(name: u64, below: bool, private: bool) -> u64 {
    chain(name, 1 + below as u64 + 2 * private as u64)
}

/// Where an address lies, as far as answers of name servers are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reach {
    /// Anywhere else.
    Public = 0,
    /// Networks of one's own: RFC 1918, RFC 6598, RFC 4193, RFC 2544.
    Private = 1,
    /// No answer leads there: this host, this link, nobody or everybody, and addresses that carry
    /// an IPv4 address inside. A name that suddenly points there is an attack (DNS rebinding).
    Never = 2,
}

/// Where an address lies.
#[inline(always)]
pub const fn reach(address: &Address) -> Reach {
    let a = address;
    let zero_10 = a[0] | a[1] | a[2] | a[3] | a[4] | a[5] | a[6] | a[7] | a[8] | a[9] == 0;
    if zero_10 && a[10] == 0xff && a[11] == 0xff {
        return reach_v4(a[12], a[13]);
    }
    let embedded = zero_10 && a[10] == 0 && a[11] == 0;
    let translated = a[0] == 0 && a[1] == 0x64 && a[2] == 0xff && a[3] == 0x9b;
    let tunnelled = a[0] == 0x20 && (a[1] == 0x02 || a[1] == 0x01 && a[2] == 0 && a[3] == 0);
    // fe80::/10, fec0::/10, ff00::/8.
    let local = a[0] == 0xfe && a[1] >= 0x80 || a[0] == 0xff;
    if embedded || translated || tunnelled || local {
        Reach::Never
    } else if a[0] & 0xfe == 0xfc {
        Reach::Private
    } else {
        Reach::Public
    }
}

#[inline(always)]
const fn reach_v4(first: u8, second: u8) -> Reach {
    if first == 0 || first == 127 || first >= 224 || first == 169 && second == 254 {
        Reach::Never
    } else if first == 10
        || first == 100 && second & 0xc0 == 64
        || first == 172 && second & 0xf0 == 16
        || first == 192 && second == 168
        || first == 198 && second & 0xfe == 18
    {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Key of an address that name servers gave a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct AdmittedKey {
    /// Number of the workload ([`crate::class::Class::workload`]).
    pub workload: u64,
    /// The address.
    pub address: Address,
}
assert_layout!(AdmittedKey, 24);

/// One rule that an answer came under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Binding {
    /// [`host_rule`]; 0 where there is none.
    pub rule: u64,
    /// When it ends, nanoseconds since boot, CLOCK_MONOTONIC.
    pub expires: u64,
}

/// Names that one address can go by at once in one workload; of more, what ends first is forgotten.
pub const BINDINGS: usize = 4;

/// By which rules an address is admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Admitted {
    /// In no order.
    pub bindings: [Binding; BINDINGS],
}
assert_layout!(Admitted, 64);

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv6Addr};

    use super::*;

    #[track_caller]
    fn is(reach_of: Reach, addresses: &[&str]) {
        for text in addresses {
            let address: IpAddr = text.parse().unwrap();
            let octets: Ipv6Addr = match address {
                IpAddr::V4(a) => a.to_ipv6_mapped(),
                IpAddr::V6(a) => a,
            };
            assert_eq!(reach(&octets.octets()), reach_of, "{text}");
        }
    }

    #[test]
    fn no_answer_leads_to_this_host_or_link() {
        is(
            Reach::Never,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "127.0.0.1",
                "127.9.9.9",
                "169.254.169.254",
                "224.0.0.1",
                "255.255.255.255",
                "240.0.0.1",
                "::",
                "::1",
                "::127.0.0.1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff02::1",
                "64:ff9b::a00:1",
                "2002:a00:1::1",
                "2001:0:1::1",
            ],
        );
        is(
            Reach::Private,
            &[
                "10.0.0.1",
                "10.255.255.255",
                "100.64.0.1",
                "100.127.255.255",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "198.18.0.1",
                "198.19.255.255",
                "fc00::1",
                "fdff::1",
            ],
        );
        is(
            Reach::Public,
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.1",
                "100.63.255.255",
                "100.128.0.1",
                "172.15.0.1",
                "172.32.0.1",
                "192.167.1.1",
                "198.17.0.1",
                "198.20.0.1",
                "169.253.1.1",
                "223.255.255.255",
                "2606:4700::1",
                "2001:db8::1",
                "2a00::1",
                "fbff::1",
            ],
        );
    }

    #[test]
    fn rules_differ_by_all_that_they_say() {
        let all = [
            host_rule(7, false, false),
            host_rule(7, false, true),
            host_rule(7, true, false),
            host_rule(7, true, true),
            host_rule(8, false, false),
        ];
        for (at, rule) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(rule));
        }
    }
}
