//! HTTP proxies that a workload declares: `address:port`, one proxy each.

use crate::{
    decide::endpoint_rule::EndpointRule,
    observation::{Endpoint, Host, Target},
    text::escape,
};

use super::Workload;

/// Proxies that one workload can declare.
pub const MAX_OF_WORKLOAD: usize = 16;
/// IP protocol number of TCP.
const TCP: u8 = 6;

/// The proxies of a workload; otherwise which entry is none, and why.
pub fn proxies(workload: &Workload) -> Result<Vec<Endpoint>, (usize, String)> {
    let all = workload.proxies.iter().enumerate();
    all.map(|(i, text)| proxy(text).map_err(|why| (i, why)))
        .collect()
}

/// Reads one proxy; otherwise what is wrong and what to write instead.
pub fn proxy(text: &str) -> Result<Endpoint, String> {
    if text.contains("://") {
        return Err(format!(
            "`{}` is a URL; write address and port of the proxy alone, as in \"10.0.0.5:3128\"",
            escape(text.as_bytes())
        ));
    }
    if let Some(Target {
        host: Host::Name(name),
        ..
    }) = Target::parse(text.as_bytes(), Some(0))
    {
        return Err(format!(
            "`{}` is a name; a proxy is recognised by its address: write each address that the name \
             has, as in \"10.0.0.5:3128\"",
            escape(&name)
        ));
    }
    let rule = EndpointRule::parse(text).map_err(|e| e.to_string())?;
    match rule.service() {
        _ if !rule.is_host() => {
            Err("is a network; write the address of each proxy, as in \"10.0.0.5:3128\"".into())
        }
        (Some(1..), Some(protocol)) if protocol != TCP => {
            Err("HTTP proxies are called by TCP: write `address:port`".into())
        }
        (Some(port @ 1..), _) => Ok(Endpoint {
            address: rule.address().to_canonical(),
            port,
            protocol: TCP,
        }),
        _ => Err("needs the port of the proxy, from 1 to 65535, as in \"10.0.0.5:3128\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_address_with_a_port() {
        for (text, is) in [
            ("10.0.0.5:3128", "10.0.0.5:3128/tcp"),
            ("10.0.0.5:3128/tcp", "10.0.0.5:3128/tcp"),
            ("127.0.0.1:8080", "127.0.0.1:8080/tcp"),
            ("[fd00::5]:3128", "[fd00::5]:3128/tcp"),
        ] {
            assert_eq!(proxy(text).map(|e| e.to_string()).as_deref(), Ok(is));
        }
    }

    #[test]
    fn everything_else_is_told_what_to_write() {
        for (text, why) in [
            ("http://10.0.0.5:3128/", "is a URL"),
            ("proxy.corp.example:3128", "`proxy.corp.example` is a name"),
            ("proxy", "`proxy` is a name"),
            ("10.0.0.0/8:3128", "is a network"),
            ("10.0.0.5", "has no port"),
            ("10.0.0.5:*", "needs the port"),
            ("10.0.0.5:0", "needs the port"),
            ("10.0.0.5:3128/udp", "called by TCP"),
            ("0.0.0.0:3128", "127.0.0.1"),
            ("", "has no port"),
            ("a\nb://x", "is a URL"),
        ] {
            let found = proxy(text).unwrap_err();
            assert!(
                found.contains(why) && !found.contains('\n'),
                "{text}: {found}"
            );
        }
    }
}
