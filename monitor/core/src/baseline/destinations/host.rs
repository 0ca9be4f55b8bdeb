//! Destinations by name: under which rule about a host a call is learned, beside its address.
//!
//! The address is learned too: a process that keeps it longer than its answer counts must not be
//! refused for that. What the name adds is every other address that name servers give for it.

use super::suffix;
use crate::{
    decide::host_rule::{HostRule, is_name},
    observation::Endpoint,
};

/// The rule under which a call of an endpoint is learned whose address went by `name` (lower case,
/// escaped): the form of the name where all names of the form belong to one owner, otherwise the
/// name itself. `None` where no answer leads to such an address, or no rule can name it.
pub fn learned_as(name: &str, endpoint: &Endpoint) -> Option<String> {
    // What was looked up must not be read as more than itself.
    if !is_name(name) {
        return None;
    }
    let rule_about = |host: &str| {
        ["", "@private"]
            .map(|kind| {
                format!(
                    "{host}{kind}:{}/{}",
                    endpoint.port,
                    endpoint.protocol_name()
                )
            })
            .into_iter()
            .find(|text| HostRule::parse(text).is_ok_and(|rule| rule.matches(endpoint, [name])))
    };
    let (form, is_general) = suffix::form(name.as_bytes());
    if is_general && let Some(rule) = rule_about(&form) {
        return Some(rule);
    }
    rule_about(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint;

    #[track_caller]
    fn is(name: &str, to: &str, learned: Option<&str>) {
        assert_eq!(
            learned_as(name, &endpoint(to)).as_deref(),
            learned,
            "{name} {to}"
        );
    }

    #[test]
    fn a_call_is_learned_by_the_name_that_its_address_went_by() {
        is(
            "api.example.com",
            "9.9.9.9:443/tcp",
            Some("api.example.com:443/tcp"),
        );
        is(
            "db.corp.internal",
            "10.0.0.7:5432/tcp",
            Some("db.corp.internal@private:5432/tcp"),
        );
        is(
            "cdn-7.example.com",
            "[2a00::1]:443/udp",
            Some("cdn-{n}.example.com:443/udp"),
        );
        is(
            "user7.github.io",
            "9.9.9.9:443/tcp",
            Some("user7.github.io:443/tcp"),
        );
        is(
            "a.cdn-7.example.com",
            "9.9.9.9:443/tcp",
            Some("a.cdn-7.example.com:443/tcp"),
        );
    }

    #[test]
    fn what_no_rule_can_name_is_not() {
        is("api.example.com", "127.0.0.1:443/tcp", None);
        is("api.example.com", "169.254.169.254:80/tcp", None);
        is("x\\u{a}.example.com", "9.9.9.9:443/tcp", None);
        is("*.example.com", "9.9.9.9:443/tcp", None);
        is("9.9.9.9", "9.9.9.9:443/tcp", None);
        is("", "9.9.9.9:443/tcp", None);
    }
}
