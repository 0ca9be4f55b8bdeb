//! Addresses that one name had, and the networks that they fill.
//!
//! A service behind many addresses hands out others tomorrow. Where one name had at least
//! [`ADDRESSES`] of one small network (IPv4 /24, IPv6 /48) in at least three episodes, the whole
//! network counts as addresses of that name, and of no other. No table of providers is used: a
//! provider's network says nothing about whose machine an address is.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::few::Few;
use crate::decide::invariants::invariant_endpoints;

/// Addresses of one network from which on the network counts.
pub const ADDRESSES: usize = 4;

/// Addresses that are remembered for one name; beyond that the largest are dropped, so that the
/// order in which they came makes no difference.
pub const MAX_ADDRESSES: usize = 256;

/// Bits of a network's address that count.
const V4_PREFIX: u8 = 24;
const V6_PREFIX: u8 = 48;

/// A network: address with its other bits zero, and number of bits that count.
pub type Network = (IpAddr, u8);

/// Addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    seen: BTreeMap<IpAddr, Few>,
}

impl Addresses {
    /// In an episode, the name stood for an address.
    pub fn add(&mut self, address: IpAddr, episode: u64) {
        self.join_one(address.to_canonical(), Few::one(episode));
        self.cut();
    }

    /// Takes in what another host saw.
    pub fn merge(&mut self, other: &Self) {
        for (address, episodes) in &other.seen {
            self.join_one(*address, *episodes);
        }
        self.cut();
    }

    fn join_one(&mut self, address: IpAddr, episodes: Few) {
        let known = self.seen.entry(address).or_default();
        *known = known.join(episodes);
    }

    fn cut(&mut self) {
        while self.seen.len() > MAX_ADDRESSES {
            self.seen.pop_last();
        }
    }

    /// Number of addresses.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The networks that count as the name's, and the single addresses outside them, in order.
    pub fn networks(&self) -> Vec<Network> {
        let mut groups: BTreeMap<Network, (usize, Few)> = BTreeMap::new();
        for (address, episodes) in &self.seen {
            if let Some(network) = network_of(*address) {
                let (count, all) = groups.entry(network).or_default();
                *count += 1;
                *all = all.join(*episodes);
            }
        }
        groups.retain(|network, (count, episodes)| {
            *count >= ADDRESSES && episodes.is_enough() && is_free(network)
        });
        let single = self.seen.keys().filter_map(|address| {
            let inside = network_of(*address).is_some_and(|network| groups.contains_key(&network));
            (!inside).then_some((*address, width(*address)))
        });
        let mut all: Vec<Network> = single.chain(groups.keys().copied()).collect();
        all.sort_unstable();
        all
    }

    /// Whether an address is one of the name's, or in one of its networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.seen.contains_key(&address)
            || network_of(address).is_some_and(|network| self.networks().contains(&network))
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The network that an address may be widened to: none for addresses inside one's own house, where
/// neighbours are other machines and not more of the same service.
fn network_of(address: IpAddr) -> Option<Network> {
    match address {
        IpAddr::V4(a) => {
            let [first, second, third, _] = a.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            let inside = a.is_private()
                || a.is_loopback()
                || a.is_link_local()
                || a.is_multicast()
                || a.is_broadcast()
                || first == 0
                || shared;
            let network = Ipv4Addr::new(first, second, third, 0);
            (!inside).then_some((network.into(), V4_PREFIX))
        }
        IpAddr::V6(a) => {
            let segments = a.segments();
            let public = segments[0] & 0xe000 == 0x2000;
            let network = Ipv6Addr::new(segments[0], segments[1], segments[2], 0, 0, 0, 0, 0);
            public.then_some((network.into(), V6_PREFIX))
        }
    }
}

/// Whether no invariant is about an address of the network.
fn is_free(network: &Network) -> bool {
    !invariant_endpoints()
        .iter()
        .any(|rule| network_of(rule.address()) == Some(*network))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(all: &[(&str, u64)]) -> Addresses {
        let mut addresses = Addresses::default();
        for (address, episode) in all {
            addresses.add(address.parse().unwrap(), *episode);
        }
        addresses
    }

    fn texts(addresses: &Addresses) -> Vec<String> {
        let text = |(a, p): Network| format!("{a}/{p}");
        addresses.networks().into_iter().map(text).collect()
    }

    #[test]
    fn four_addresses_in_three_episodes_make_a_network() {
        let four = [
            ("192.0.2.1", 1),
            ("192.0.2.2", 1),
            ("192.0.2.3", 2),
            ("192.0.2.9", 3),
        ];
        let addresses = of(&four);
        assert_eq!(texts(&addresses), ["192.0.2.0/24"]);
        assert!(addresses.contains("192.0.2.77".parse().unwrap()));
        assert!(addresses.contains("::ffff:192.0.2.77".parse().unwrap()));
        assert!(!addresses.contains("192.0.3.1".parse().unwrap()));
        assert_eq!(of(&four[..3]).networks().len(), 3, "too few addresses");
        let once = four.map(|(a, _)| (a, 1));
        assert_eq!(of(&once).networks().len(), 4, "one episode");
        let v6 = ["1", "2:1", "3:2", "4:3"].map(|n| format!("2001:db8:7:{n}::1"));
        let v6: Vec<_> = v6.iter().zip(0..).map(|(a, e)| (a.as_str(), e)).collect();
        assert_eq!(texts(&of(&v6)), ["2001:db8:7::/48"]);
    }

    #[test]
    fn inside_the_house_and_around_an_invariant_nothing_is_widened() {
        for net in [
            "10.0.0",
            "192.168.1",
            "169.254.169",
            "100.100.100",
            "168.63.129",
            "127.0.0",
        ] {
            let all: Vec<String> = (1..9).map(|n| format!("{net}.{n}")).collect();
            let all: Vec<_> = all.iter().zip(0..).map(|(a, e)| (a.as_str(), e)).collect();
            assert_eq!(of(&all).networks().len(), 8, "{net}");
        }
        let own: Vec<String> = (1..9).map(|n| format!("fd00:ec2::{n}")).collect();
        let own: Vec<_> = own.iter().zip(0..).map(|(a, e)| (a.as_str(), e)).collect();
        assert_eq!(of(&own).networks().len(), 8);
    }

    proptest! {
        #[test]
        fn the_order_and_the_host_do_not_matter(all in proptest::collection::vec((0u32..600, 0u64..5), 0..700), cut in any::<prop::sample::Index>()) {
            let of = |all: &[(u32, u64)]| {
                let mut addresses = Addresses::default();
                for (n, e) in all {
                    addresses.add(Ipv4Addr::from(0x0808_0000 + n).into(), *e);
                }
                addresses
            };
            let whole = of(&all);
            prop_assert!(whole.len() <= MAX_ADDRESSES);
            let (a, b) = all.split_at(if all.is_empty() { 0 } else { cut.index(all.len()) });
            let (mut ab, mut ba) = (of(a), of(b));
            ab.merge(&of(b));
            ba.merge(&of(a));
            prop_assert_eq!(&ab, &whole);
            prop_assert_eq!(&ba, &whole);
        }
    }
}
