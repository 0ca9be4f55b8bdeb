//! Outbound connections of a guarded workload: TCP and connected UDP, IPv4,
//! IPv6 and IPv4 written as IPv6. The proof is what reached the attacker.

use anyhow::Result;
use nix::errno::Errno;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at, lsm_or_covered, mapped, text};
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, ATTACKER6, METADATA, WEATHER};

/// Every way to connect to the attacker.
fn attacks() -> Vec<Order> {
    let (v4, v6) = (at(ATTACKER, 80), at(ATTACKER6, 80));
    let (udp4, udp6) = (
        at(ATTACKER, ATTACKER_UDP_PORT),
        at(ATTACKER6, ATTACKER_UDP_PORT),
    );
    vec![
        Order::Connect(v4),
        Order::Connect(v6),
        Order::Connect(mapped(v4)),
        Order::FastOpen(v4),
        Order::FastOpen(v6),
        Order::UdpConnect(udp4),
        Order::UdpConnect(udp6),
        Order::UdpConnect(mapped(udp4)),
    ]
}

/// Connections and datagrams that have reached the attacker.
fn reached(trial: &Trial) -> Result<u64> {
    Ok(trial.world.attacker.evidence()?.connections
        + trial.world.attacker_udp.evidence()?.connections)
}

#[test]
fn without_a_guard_the_attacker_is_reached_each_way() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for (done, order) in attacks().iter().enumerate() {
        assert!(probe.ask(order)?.worked(), "{order:?}");
        assert_eq!(reached(&trial)?, done as u64 + 1, "{order:?}");
    }
    Ok(())
}

#[test]
fn an_alert_tells_what_was_read_before_and_is_worse_for_it() -> Result<()> {
    let trial = Trial::unguarded()?;
    let (inbox, private) = (
        trial.file("inbox/mail", "fetch this page")?,
        trial.file("plans/next", "a plan")?,
    );
    let rules = format!(
        "untrusted = [{:?}]\nprivate = [{:?}]",
        text(&inbox),
        text(&private)
    );
    let trial = trial.with_guard(Setup::tool().with(&rules))?;
    let reads = [inbox, private].map(Order::Read);
    trial.learn_and_enforce(&reads)?;
    let mut probe = trial.member()?;
    for read in &reads {
        assert!(probe.ask(read)?.worked(), "{read:?}");
    }
    let attack = Order::Connect(at(ATTACKER, 80));
    assert_eq!(probe.ask(&attack)?, Fate::EPERM);
    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(alert["severity"], "critical", "{alert}");
    let reasons = alert["reasons"].to_string();
    assert!(reasons.contains("All three are there"), "{reasons}");
    let steps = alert["chain"].as_array().into_iter().flatten();
    let classes: Vec<_> = steps.filter_map(|step| step["class"].as_str()).collect();
    assert_eq!(classes, ["untrusted", "private"], "{alert}");
    assert_eq!(reached(&trial)?, 0);
    Ok(())
}

#[test]
fn an_unknown_destination_is_refused_each_way_and_a_known_one_works() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let known = Order::Connect(at(WEATHER, 80));
    trial.learn_and_enforce(std::slice::from_ref(&known))?;
    let mut probe = trial.member()?;
    for order in attacks() {
        assert_eq!(probe.ask(&order)?, Fate::EPERM, "{order:?}");
    }
    assert_eq!(reached(&trial)?, 0);
    let before = trial.world.weather.evidence()?;
    assert!(probe.ask(&known)?.worked());
    assert!(
        probe
            .ask(&Order::Connect(mapped(at(WEATHER, 80))))?
            .worked(),
        "the same, written as IPv6"
    );
    assert_eq!(
        trial.world.weather.evidence()?.since(&before).connections,
        2
    );

    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(
        (alert["verdict"].as_str(), &alert["prevented"]),
        (Some("blocked"), &true.into())
    );
    assert_eq!(alert["mode"], "enforce");
    assert_eq!(alert["process"]["pid"], probe.pid());
    trial.alert("connect", "[fd77::66]:80/tcp")?;
    trial.alert("connect", "10.77.0.66:9999/udp")?;
    Ok(())
}

#[test]
fn a_known_address_is_no_excuse_for_another_port_or_protocol() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[Order::Connect(at(WEATHER, 80))])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(WEATHER, 81)))?, Fate::EPERM);
    assert_eq!(probe.ask(&Order::UdpConnect(at(WEATHER, 80)))?, Fate::EPERM);
    Ok(())
}

#[test]
fn an_operator_s_rule_allows_what_was_never_seen() -> Result<()> {
    let rules = "[workload.allow]\nconnect = [\"10.77.0.0/24:80/tcp\", \"[fd77::66]:*\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?.worked());
    assert!(probe.ask(&Order::Connect(at(ATTACKER6, 80)))?.worked());
    assert!(
        probe
            .ask(&Order::UdpConnect(at(ATTACKER6, ATTACKER_UDP_PORT)))?
            .worked()
    );
    let refused = probe.ask(&Order::UdpConnect(at(ATTACKER, ATTACKER_UDP_PORT)))?;
    assert_eq!(refused, Fate::EPERM, "not in the rules");
    Ok(())
}

#[test]
fn monitor_mode_lets_pass_and_tells_what_it_would_block() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?.worked());
    assert_eq!(reached(&trial)?, 1);
    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(
        (alert["verdict"].as_str(), &alert["prevented"]),
        (Some("would_block"), &false.into())
    );
    Ok(())
}

#[test]
fn metadata_is_told_in_learn_mode_and_denied_in_monitor_mode() -> Result<()> {
    let metadata = Order::Connect(at(METADATA, 80));
    let trial = Trial::guarded(Setup::tool())?;
    assert!(trial.member()?.ask(&metadata)?.worked());
    assert_eq!(trial.world.metadata.evidence()?.connections, 1);
    assert_eq!(
        trial.alert("connect", "169.254.169.254:80/tcp")?["verdict"],
        "audited"
    );

    trial.daemon()?.mode(scene::trial::WORKLOAD, "monitor")?;
    assert_eq!(trial.member()?.ask(&metadata)?, Fate::EPERM);
    trial.enforce()?;
    let again = trial
        .member()?
        .ask(&Order::Connect(mapped(at(METADATA, 80))))?;
    assert_eq!(
        again,
        Fate::EPERM,
        "what was seen while learning is denied all the same"
    );
    assert_eq!(trial.world.metadata.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn what_the_kernel_refuses_by_itself_is_not_ours() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let nobody = Order::Connect(at(WEATHER, 81));
    let mut probe = trial.member()?;
    assert_eq!(
        probe.ask(&nobody)?,
        Fate::Refused(Errno::ECONNREFUSED as i32)
    );
    drop(probe);
    trial.enforce()?;
    // The attempt was normal behaviour, so it may be repeated.
    assert_eq!(
        trial.member()?.ask(&nobody)?,
        Fate::Refused(Errno::ECONNREFUSED as i32)
    );
    Ok(())
}

#[test]
fn cgroup_hook_denies_ipv4() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().tier("cgroup"))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(
        probe.ask(&Order::UdpConnect(at(ATTACKER, ATTACKER_UDP_PORT)))?,
        Fate::EPERM
    );
    assert_eq!(reached(&trial)?, 0);
    assert_eq!(
        trial.alert("connect", "10.77.0.66:80/tcp")?["hook"],
        "connect4"
    );
    Ok(())
}

#[test]
fn cgroup_hook_denies_ipv6() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().tier("cgroup"))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER6, 80)))?, Fate::EPERM);
    assert_eq!(
        probe.ask(&Order::Connect(mapped(at(ATTACKER, 80))))?,
        Fate::EPERM
    );
    assert_eq!(
        probe.ask(&Order::UdpConnect(at(ATTACKER6, ATTACKER_UDP_PORT)))?,
        Fate::EPERM
    );
    assert_eq!(reached(&trial)?, 0);
    assert_eq!(
        trial.alert("connect", "[fd77::66]:80/tcp")?["hook"],
        "connect6"
    );
    Ok(())
}

#[test]
fn lsm_hook_denies_first() -> Result<()> {
    if !lsm_or_covered("connect::lsm_hook_denies_first") {
        return Ok(());
    }
    let trial = Trial::guarded(Setup::tool().tier("lsm"))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER6, 80)))?, Fate::EPERM);
    assert_eq!(reached(&trial)?, 0);
    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(
        (alert["hook"].as_str(), alert["tier"].as_str()),
        (Some("lsm_connect"), Some("lsm"))
    );
    Ok(())
}
