//! Sockets of kinds that few workloads need. The proof is whether the probe
//! got one.

use anyhow::Result;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial};

/// An internet socket that takes whole packets.
const RAW: Order = Order::Socket(2, 3, 1);
/// The same by IPv6.
const RAW6: Order = Order::Socket(10, 3, 58);
/// A socket that takes whole frames.
const PACKET: Order = Order::Socket(17, 3, 0);
/// What the C library asks for local addresses.
const ROUTE: Order = Order::Socket(16, 3, 0);
/// What tells of devices.
const DEVICES: Order = Order::Socket(16, 3, 15);

#[test]
fn without_a_guard_every_socket_is_had() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for order in [RAW, RAW6, PACKET, ROUTE, DEVICES] {
        assert!(probe.ask(&order)?.worked(), "{order:?}");
    }
    Ok(())
}

#[test]
fn a_raw_socket_is_refused() -> Result<()> {
    let rules = "[workload.allow]\nfacilities = [\"socket:raw\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    assert!(trial.member()?.ask(&RAW)?.worked(), "while learning");
    assert_eq!(trial.alert("facility", "socket:raw")?["verdict"], "audited");
    trial.enforce()?;
    for order in [RAW, RAW6] {
        let fate = trial.member()?.ask(&order)?;
        assert_eq!(fate, Fate::EPERM, "learned and allowed, {order:?}");
    }
    let alert = trial
        .daemon()?
        .alert("a raw socket that was refused", |alert| {
            alert["subject"] == "socket:raw" && alert["verdict"] == "blocked"
        })?;
    assert_eq!(
        (&alert["prevented"], alert["severity"].as_str()),
        (&true.into(), Some("critical"))
    );
    Ok(())
}

#[test]
fn a_packet_socket_is_not_had() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    assert_eq!(trial.member()?.ask(&PACKET)?, trial.undeniable(Fate::SHOT)?);
    let alert = trial.alert("facility", "socket:packet")?;
    let lsm = trial.daemon()?.tier()? == "lsm";
    let hook = if lsm { "lsm_socket" } else { "socket_exit" };
    assert_eq!(alert["hook"], hook);
    if lsm {
        assert_eq!(alert["prevented"], true);
    }
    Ok(())
}

#[test]
fn netlink_is_learned_by_purpose() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[ROUTE])?;
    assert!(trial.member()?.ask(&ROUTE)?.worked());
    let refused = trial.undeniable(Fate::SHOT)?;
    assert_eq!(trial.member()?.ask(&DEVICES)?, refused);
    trial.alert("facility", "socket:netlink")?;
    Ok(())
}

#[test]
fn an_operator_s_rule_allows_a_kind_of_socket() -> Result<()> {
    let rules = "[workload.allow]\nfacilities = [\"socket:netlink\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    trial.learn_and_enforce(&[])?;
    assert!(trial.member()?.ask(&DEVICES)?.worked());
    let refused = trial.undeniable(Fate::SHOT)?;
    assert_eq!(trial.member()?.ask(&ROUTE)?, refused);
    Ok(())
}
