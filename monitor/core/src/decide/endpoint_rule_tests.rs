//! Tests of destination rules, with a model of the kernel's look-up.

use monitor_common::endpoint::INVARIANT_POLICY;
use proptest::prelude::*;

use super::*;

fn endpoint(address: &str, port: u16, protocol: u8) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        port,
        protocol,
    }
}

/// What the kernel does: three look-ups, each of which needs everything before the address to be
/// equal and the address to lie in the entry's prefix.
fn kernel_finds(entries: &[(u32, DestinationKey)], policy: u32, e: &Endpoint) -> bool {
    let address = match e.address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    };
    [Scope::Port, Scope::Protocol, Scope::Any]
        .into_iter()
        .any(|scope| {
            let wanted = DestinationKey::new(policy, scope, e.protocol, e.port, address);
            entries.iter().any(|(bits, key)| {
                let head = |k: &DestinationKey| (k.policy, k.scope, k.protocol, k.port);
                let shift = 128 - (bits - KEY_BITS);
                let top = |a: Address| u128::from_be_bytes(a).checked_shr(shift).unwrap_or(0);
                head(key) == head(&wanted) && top(key.address) == top(wanted.address)
            })
        })
}

#[test]
fn the_forms_of_the_manual_are_understood() {
    for text in [
        "10.0.0.0/8:443/tcp",
        "127.0.0.1:8080/tcp",
        "[::1]:53/udp",
        "10.1.2.3:*",
        "[2001:db8::]/32:443/tcp",
        "0.0.0.0/0:*",
        "[::]/0:443",
        "10.0.0.1:0/132",
        "10.0.0.1:*/icmp",
        "[fe80::1]:0/icmp6",
    ] {
        assert_eq!(EndpointRule::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(
        EndpointRule::parse("[2001:db8::/32]:1")
            .unwrap()
            .to_string(),
        "[2001:db8::]/32:1"
    );
    assert_eq!(
        EndpointRule::parse("[::ffff:10.0.0.0]/104:1")
            .unwrap()
            .to_string(),
        "10.0.0.0/8:1"
    );
}

#[test]
fn what_is_no_rule_says_why() {
    let error = |text: &str| EndpointRule::parse(text).unwrap_err();
    assert_eq!(error(""), RuleError::NoPort);
    assert_eq!(error("10.0.0.1"), RuleError::NoPort);
    assert_eq!(error("[::1]"), RuleError::NoPort);
    assert_eq!(error("::1:53"), RuleError::Address("::1".into()));
    assert_eq!(
        error("api.example.org:443"),
        RuleError::Address("api.example.org".into())
    );
    assert_eq!(error("[10.0.0.1]:1"), RuleError::Address("10.0.0.1".into()));
    assert_eq!(error("10.0.0.0/33:1"), RuleError::Prefix("33".into()));
    assert_eq!(error("10.0.0.0/+8:1"), RuleError::Prefix("+8".into()));
    assert_eq!(
        error("10.1.0.0/8:1/tcp"),
        RuleError::HostBits("10.0.0.0/8:1/tcp".into())
    );
    assert_eq!(error("10.0.0.1:65536"), RuleError::Port("65536".into()));
    assert_eq!(error("10.0.0.1:"), RuleError::Port("".into()));
    assert_eq!(error("10.0.0.1:1/sctp"), RuleError::Protocol("sctp".into()));
    assert_eq!(error("0.0.0.0:80"), RuleError::Unspecified("127.0.0.1"));
}

#[test]
fn a_port_without_a_protocol_is_tcp_and_udp() {
    let rule = EndpointRule::parse("10.0.0.1:53").unwrap();
    assert_eq!(rule.entries(7).len(), 2);
    assert!(rule.matches(&endpoint("10.0.0.1", 53, 6)));
    assert!(rule.matches(&endpoint("10.0.0.1", 53, 17)));
    assert!(!rule.matches(&endpoint("10.0.0.1", 53, 132)));
}

#[test]
fn ipv4_is_kept_as_mapped_ipv6() {
    let entries = EndpointRule::parse("10.0.0.0/8:443/tcp")
        .unwrap()
        .entries(INVARIANT_POLICY);
    let address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0];
    let key = DestinationKey {
        policy: u32::MAX,
        scope: 0,
        protocol: 6,
        port: 443,
        address,
    };
    assert_eq!(entries, [(64 + 96 + 8, key)]);
}

#[test]
fn all_of_ipv6_leaves_ipv4_out() {
    let rule = EndpointRule::parse("[::]/0:*").unwrap();
    let entries = rule.entries(1);
    assert_eq!(entries.len(), 96);
    for (address, inside) in [
        ("10.0.0.1", false),
        ("0.0.0.1", false),
        ("::1", true),
        ("::fffe:1:1", true),
        ("ff02::1", true),
    ] {
        assert_eq!(
            kernel_finds(&entries, 1, &endpoint(address, 1, 6)),
            inside,
            "{address}"
        );
    }
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|a| Ipv4Addr::from(a).into()),
        (0u32..4).prop_map(|a| Ipv4Addr::from(0x0a00_0000 | a).into()),
        any::<u128>().prop_map(|a| IpAddr::from(Ipv6Addr::from(a))),
        (0u128..4).prop_map(|a| IpAddr::from(Ipv6Addr::from(a << 47 | 1))),
    ]
    .prop_map(|a: IpAddr| a.to_canonical())
}

prop_compose! {
    fn rule()(address in address(), cut in 0u8..=128, port in proptest::option::of(0u16..3), protocol in proptest::option::of(prop_oneof![Just(6u8), Just(17), Just(1)])) -> EndpointRule {
        let prefix = cut.min(width(address));
        EndpointRule { address, prefix, service: Service { port, protocol } }.masked()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parsing_takes_any_text(text in "[\\[\\]0-9a-f:./*tcp]{0,30}") {
        let _ = EndpointRule::parse(&text);
    }

    #[test]
    fn the_text_form_comes_back(rule in rule()) {
        prop_assume!(!(rule.is_host() && rule.address.is_unspecified()));
        prop_assume!(rule.address.is_ipv4() || rule.address.to_canonical().is_ipv6());
        prop_assert_eq!(EndpointRule::parse(&rule.to_string()), Ok(rule));
    }

    #[test]
    fn the_kernel_finds_what_the_rule_matches(rule in rule(), other in address(), port in 0u16..3, protocol in prop_oneof![Just(6u8), Just(17), Just(1), Just(132)], flip in 0u32..128) {
        // Half of the endpoints are the rule's own address with one bit flipped.
        let near = match rule.address {
            IpAddr::V4(a) => Ipv4Addr::from(u32::from(a) ^ 1u32 << (flip % 32)).into(),
            IpAddr::V6(a) => IpAddr::from(Ipv6Addr::from(u128::from(a) ^ 1 << flip)).to_canonical(),
        };
        for address in [other, near, rule.address.to_canonical()] {
            let e = Endpoint { address, port, protocol };
            prop_assert_eq!(kernel_finds(&rule.entries(9), 9, &e), rule.matches(&e), "{} {}", rule, e);
            prop_assert!(!kernel_finds(&rule.entries(9), 8, &e));
        }
    }

    #[test]
    fn a_learned_subject_is_a_rule_for_exactly_that_endpoint(address in address(), port in any::<u16>(), protocol in any::<u8>(), other in address()) {
        prop_assume!(!address.is_unspecified());
        let seen = Endpoint { address, port, protocol };
        let rule = EndpointRule::parse(&seen.to_string()).unwrap();
        prop_assert_eq!(rule, EndpointRule::exact(&seen));
        prop_assert!(rule.matches(&seen));
        prop_assert_eq!(rule.matches(&Endpoint { address: other, ..seen }), other == address);
    }
}
