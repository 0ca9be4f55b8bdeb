//! Tests of rules about hosts: what they say, what is refused, and what the kernel gets.

use monitor_common::hash::HashKey;
use proptest::prelude::*;

use super::*;
use crate::testing::endpoint;

const KEY: HashKey = HashKey { k0: 1, k1: 2 };

fn rule(text: &str) -> HostRule {
    assert!(HostRule::is_meant(text), "{text}");
    HostRule::parse(text).unwrap()
}

#[track_caller]
fn refused(text: &str, says: &str) {
    let error = HostRule::parse(text).unwrap_err().to_string();
    assert!(error.contains(says), "{text}: {error}");
}

#[test]
fn rules_are_written_as_they_are_read() {
    for text in [
        "api.example.com:443/tcp",
        "*.example.com:443",
        "db.corp.example@private:5432/tcp",
        "*.svc.cluster.local@private:*",
        "db1:*/udp",
        "_sip.example.com:5060/udp",
    ] {
        assert_eq!(rule(text).to_string(), text);
    }
    assert_eq!(
        rule("API.Example.COM.:443").to_string(),
        "api.example.com:443"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_reason() {
    refused("api.example.com", "no port");
    refused("api..example.com:443", "`api..example.com`");
    refused("a b.example:443", "`a b.example`");
    refused("*.*.example.com:443", "is no name");
    refused("x*.example.com:443", "is no name");
    refused("10.0.0.300:443", "`10.0.0.300`");
    refused("api.example.com@public:443", "`@public`");
    refused("api.example.com:443/sctpp", "`sctpp`");
    refused("*.com:443", "below `com`");
    refused("*.github.io:443", "below `github.io`");
    refused("*.s3.amazonaws.com:443", "below `s3.amazonaws.com`");
    refused("*.amazonaws.com:443", "below `amazonaws.com`");
    let long = "a".repeat(64);
    refused(&format!("{long}.example:1"), &long);
}

#[test]
fn addresses_are_not_meant() {
    for text in [
        "10.0.0.1:443",
        "10.0.0.0/8:*",
        "[::1]:443",
        "fe80::1:443",
        "[fd00::a]:1/tcp",
    ] {
        assert!(!HostRule::is_meant(text), "{text}");
    }
}

#[test]
fn a_rule_holds_for_its_name_its_service_and_its_kind_of_address() {
    let exact = rule("api.example.com:443/tcp");
    let names = ["api.example.com", "other.example"];
    assert!(exact.matches(&endpoint("9.9.9.9:443/tcp"), names));
    assert!(exact.matches(&endpoint("[2a00::1]:443/tcp"), names));
    assert!(!exact.matches(&endpoint("9.9.9.9:443/udp"), names));
    assert!(!exact.matches(&endpoint("9.9.9.9:80/tcp"), names));
    assert!(!exact.matches(&endpoint("9.9.9.9:443/tcp"), ["other.example"]));
    // Rebinding: the name points into one's own network, or to this host.
    assert!(!exact.matches(&endpoint("10.0.0.1:443/tcp"), names));
    assert!(!exact.matches(&endpoint("169.254.169.254:443/tcp"), names));

    let own = rule("db.corp.example@private:5432");
    assert!(own.matches(&endpoint("10.0.0.1:5432/tcp"), ["db.corp.example"]));
    assert!(own.matches(&endpoint("[fd00::1]:5432/udp"), ["db.corp.example"]));
    assert!(!own.matches(&endpoint("9.9.9.9:5432/tcp"), ["db.corp.example"]));
    assert!(!own.matches(&endpoint("127.0.0.1:5432/tcp"), ["db.corp.example"]));
}

#[test]
fn below_is_one_label_and_not_the_name_itself() {
    let below = rule("*.example.com:443");
    assert!(below.is_below() && below.is_about("a.example.com"));
    assert_eq!(
        rule("{any}.example.com:443"),
        below,
        "as open sets are written"
    );
    for name in [
        "example.com",
        "a.b.example.com",
        ".example.com",
        "aexample.com",
        "a.example.org",
    ] {
        assert!(!below.is_about(name), "{name}");
    }
}

#[test]
fn a_form_is_about_names_of_that_form() {
    let form = rule("cdn-{n}.example.com:443/tcp");
    assert_eq!(form.to_string(), "cdn-{n}.example.com:443/tcp");
    assert!(form.is_about("cdn-7.example.com") && form.is_about("cdn-123.example.com"));
    for name in [
        "cdn-x.example.com",
        "evil.example.com",
        "cdn-7.x.example.com",
        "example.com",
    ] {
        assert!(!form.is_about(name), "{name}");
    }
    let number = |text: &str| rule(text).entries(7, KEY)[0].rule;
    let wide = number("*.example.com:443/tcp");
    assert_eq!(
        number("cdn-{n}.example.com:443/tcp"),
        wide,
        "what the kernel makes of it"
    );
    for text in ["db{n}.corp.example:1", "a.b{n}.example.com:1", "{n:1"] {
        refused(text, "");
    }
    refused("user{n}.github.io:443", "one owner");
}

#[test]
fn entries_say_what_the_rule_says() {
    let number = |text: &str| rule(text).entries(7, KEY)[0].rule;
    let entries = rule("api.example.com:443").entries(7, KEY);
    let scopes: Vec<(u8, u8, u16)> = entries
        .iter()
        .map(|e| (e.scope, e.protocol, e.port))
        .collect();
    assert_eq!(scopes, [(0, 6, 443), (0, 17, 443), (ANY_USE, 0, 0)]);
    assert!(
        entries
            .iter()
            .all(|e| e.policy == 7 && e.rule == entries[0].rule)
    );
    let any = rule("api.example.com:*").entries(7, KEY);
    assert_eq!((any[0].scope, any[1].scope), (Scope::Any as u8, ANY_USE));
    assert_ne!(number("example.com:1"), number("*.example.com:1"));
    assert_ne!(number("example.com:1"), number("example.com@private:1"));
}

proptest! {
    #[test]
    fn any_text_is_a_rule_or_an_error(text in "\\PC{0,40}|[a-z*.@{}n]{0,20}:[0-9]{1,3}|[a-z{}n.]{0,9}\\.example\\.com:[0-9*/a-z]{0,8}") {
        if let Ok(rule) = HostRule::parse(&text) {
            let written = rule.to_string();
            prop_assert_eq!(HostRule::parse(&written), Ok(rule));
            prop_assert!(written.is_ascii());
        }
    }
}
