//! Destination rules: read, written, and as entries of the kernel's map, which must match what the
//! rule says it matches.
//!
//! The first 19 bytes are an endpoint, the rest is a rule.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use monitor_common::endpoint::{DestinationKey, KEY_BITS, Scope};
use slmguard_core::{decide::endpoint_rule::EndpointRule, observation::Endpoint};
use slmguard_fuzz::is_harmless;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((address, rest)) = data.split_first_chunk::<16>() else {
        return;
    };
    let Some((&[low, high, protocol], rule)) = rest.split_first_chunk::<3>() else {
        return;
    };
    let endpoint = Endpoint {
        address: Ipv6Addr::from(*address).to_canonical(),
        port: u16::from_le_bytes([low, high]),
        protocol,
    };
    let exact = EndpointRule::exact(&endpoint);
    assert!(exact.matches(&endpoint) && kernel_finds(&exact, &endpoint));
    assert_eq!(EndpointRule::parse_local(&exact.to_string()), Ok(exact));
    let Ok(text) = std::str::from_utf8(rule) else {
        return;
    };
    for parse in [EndpointRule::parse, EndpointRule::parse_local] {
        match parse(text) {
            Ok(rule) => {
                let written = rule.to_string();
                is_harmless(&written);
                assert_eq!(parse(&written), Ok(rule), "{written}");
                assert_eq!(
                    rule.matches(&endpoint),
                    kernel_finds(&rule, &endpoint),
                    "{written} {endpoint}"
                );
                let (port, protocol) = rule.service();
                let inside = Endpoint {
                    address: rule.address(),
                    port: port.unwrap_or(endpoint.port),
                    protocol: protocol.unwrap_or(6),
                };
                assert!(
                    rule.matches(&inside) && kernel_finds(&rule, &inside),
                    "{written}"
                );
            }
            Err(error) => drop(error.to_string()),
        }
    }
});

/// What the kernel does: everything before the address is equal, and the address lies in the prefix.
fn kernel_finds(rule: &EndpointRule, endpoint: &Endpoint) -> bool {
    let address = match endpoint.address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    [Scope::Port, Scope::Protocol, Scope::Any]
        .into_iter()
        .any(|scope| {
            let octets = address.octets();
            let wanted = DestinationKey::new(7, scope, endpoint.protocol, endpoint.port, octets);
            rule.entries(7).iter().any(|(bits, key)| {
                let head = |k: &DestinationKey| (k.policy, k.scope, k.protocol, k.port);
                let shift = 128 - (bits - KEY_BITS);
                let top = |a: [u8; 16]| u128::from_be_bytes(a).checked_shr(shift).unwrap_or(0);
                head(key) == head(&wanted) && top(key.address) == top(wanted.address)
            })
        })
}
