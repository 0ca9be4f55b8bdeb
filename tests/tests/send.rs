//! Datagrams of a guarded workload that are sent without connecting first.
//! The proof is what reached the attacker.

use anyhow::Result;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at, lsm_or_covered, mapped};
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, ATTACKER6, METRICS, METRICS_PORT};

/// Every way to send the attacker a datagram.
fn attacks() -> Vec<Order> {
    let (v4, v6) = (
        at(ATTACKER, ATTACKER_UDP_PORT),
        at(ATTACKER6, ATTACKER_UDP_PORT),
    );
    vec![
        Order::SendTo(v4),
        Order::SendTo(v6),
        Order::SendTo(mapped(v4)),
        Order::SendPast(at(METRICS, METRICS_PORT), v4),
    ]
}

/// Normal behaviour: a report.
fn report() -> Order {
    Order::SendTo(at(METRICS, METRICS_PORT))
}

#[test]
fn without_a_guard_datagrams_reach_the_attacker_each_way() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for (done, order) in attacks().iter().enumerate() {
        assert!(probe.ask(order)?.worked(), "{order:?}");
        assert_eq!(
            trial.world.attacker_udp.evidence()?.connections,
            done as u64 + 1,
            "{order:?}"
        );
    }
    Ok(())
}

#[test]
fn a_datagram_to_an_unknown_destination_is_refused_and_a_report_is_sent() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let connected = Order::UdpConnect(at(METRICS, METRICS_PORT));
    trial.learn_and_enforce(&[report(), connected])?;
    let before = trial.world.metrics.evidence()?;
    let mut probe = trial.member()?;
    for order in attacks() {
        assert_eq!(probe.ask(&order)?, Fate::EPERM, "{order:?}");
    }
    assert_eq!(trial.world.attacker_udp.evidence()?.bytes, 0);
    assert!(probe.ask(&report())?.worked());
    assert_eq!(
        trial.world.metrics.evidence()?.since(&before).connections,
        1
    );
    let alert = trial.alert("send", "10.77.0.66:9999/udp")?;
    assert_eq!(
        (alert["verdict"].as_str(), &alert["prevented"]),
        (Some("blocked"), &true.into())
    );
    trial.alert("send", "[fd77::66]:9999/udp")?;
    Ok(())
}

#[test]
fn cgroup_hook_denies_ipv4() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().tier("cgroup"))?;
    trial.learn_and_enforce(&[])?;
    assert_eq!(
        trial
            .member()?
            .ask(&Order::SendTo(at(ATTACKER, ATTACKER_UDP_PORT)))?,
        Fate::EPERM
    );
    assert_eq!(trial.world.attacker_udp.evidence()?.bytes, 0);
    assert_eq!(
        trial.alert("send", "10.77.0.66:9999/udp")?["hook"],
        "sendmsg4"
    );
    Ok(())
}

#[test]
fn cgroup_hook_denies_ipv6() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().tier("cgroup"))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(
        probe.ask(&Order::SendTo(at(ATTACKER6, ATTACKER_UDP_PORT)))?,
        Fate::EPERM
    );
    assert_eq!(
        probe.ask(&Order::SendTo(mapped(at(ATTACKER, ATTACKER_UDP_PORT))))?,
        Fate::EPERM
    );
    assert_eq!(trial.world.attacker_udp.evidence()?.bytes, 0);
    assert_eq!(
        trial.alert("send", "[fd77::66]:9999/udp")?["hook"],
        "sendmsg6"
    );
    Ok(())
}

#[test]
fn lsm_hook_denies_first() -> Result<()> {
    if !lsm_or_covered("send::lsm_hook_denies_first") {
        return Ok(());
    }
    let trial = Trial::guarded(Setup::tool().tier("lsm"))?;
    trial.learn_and_enforce(&[])?;
    assert_eq!(
        trial
            .member()?
            .ask(&Order::SendTo(at(ATTACKER, ATTACKER_UDP_PORT)))?,
        Fate::EPERM
    );
    assert_eq!(trial.world.attacker_udp.evidence()?.bytes, 0);
    let alert = trial.alert("send", "10.77.0.66:9999/udp")?;
    assert_eq!(
        (alert["hook"].as_str(), alert["tier"].as_str()),
        (Some("lsm_sendmsg"), Some("lsm"))
    );
    Ok(())
}
