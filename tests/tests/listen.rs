//! What a guarded workload listens on. The proof is whether somebody else can
//! connect there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use nix::errno::Errno;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whether somebody listens there.
fn answers(trial: &Trial, address: IpAddr, port: u16) -> Result<bool> {
    let fate = trial.outsider()?.ask(&Order::Connect(at(address, port)))?;
    assert!(
        fate.worked() || fate == Fate::Refused(Errno::ECONNREFUSED as i32),
        "{fate:?}"
    );
    Ok(fate.worked())
}

#[test]
fn without_a_guard_every_port_is_had() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for address in [LOCAL, LOCAL6] {
        assert!(!answers(&trial, address, 8081)?);
        assert!(probe.ask(&Order::Listen(at(address, 8081)))?.worked());
        assert!(answers(&trial, address, 8081)?);
    }
    assert!(probe.ask(&Order::ListenUnbound(false))?.worked());
    assert!(probe.ask(&Order::ListenUnbound(true))?.worked());
    assert!(probe.ask(&Order::UdpBind(at(LOCAL, 5000)))?.worked());
    Ok(())
}

/// Another port, and another address, than the one that was learned.
fn outside(known: IpAddr, hook: &str) -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let listen = Order::Listen(at(known, 8080));
    trial.learn_and_enforce(std::slice::from_ref(&listen))?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Listen(at(known, 8081)))?, Fate::EPERM);
    assert!(!answers(&trial, known, 8081)?);
    assert_eq!(probe.ask(&Order::Listen(at(ALL, 8080)))?, Fate::EPERM);
    assert_eq!(probe.ask(&Order::UdpBind(at(known, 8080)))?, Fate::EPERM);
    let any = Order::UdpBind(at(known, 0));
    assert!(probe.ask(&any)?.worked(), "a client's port");
    assert!(probe.ask(&listen)?.worked());
    assert!(answers(&trial, known, 8080)?);
    let alert = trial.alert("listen", &format!("{}/tcp", at(known, 8081)))?;
    assert_eq!(
        (
            alert["verdict"].as_str(),
            &alert["prevented"],
            alert["hook"].as_str()
        ),
        (Some("blocked"), &true.into(), Some(hook))
    );
    Ok(())
}

#[test]
fn a_port_outside_the_policy_is_not_taken() -> Result<()> {
    outside(LOCAL, "bind4")
}

#[test]
fn a_port_outside_the_policy_is_not_taken_by_ipv6() -> Result<()> {
    outside(LOCAL6, "bind6")
}

#[test]
fn a_port_that_the_kernel_chooses_is_learned_once_for_all() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let listen = Order::Listen(at(LOCAL, 0));
    trial.learn_and_enforce(std::slice::from_ref(&listen))?;
    for _ in 0..3 {
        assert!(trial.member()?.ask(&listen)?.worked());
    }
    let elsewhere = Order::Listen(at(ALL, 0));
    assert_eq!(trial.member()?.ask(&elsewhere)?, Fate::EPERM);
    Ok(())
}

#[test]
fn who_listens_without_binding_is_refused_or_told() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let lsm = trial.daemon()?.tier()? == "lsm";
    let (verdict, hook) = if lsm {
        ("blocked", "lsm_listen")
    } else {
        ("audited", "tcp_listen")
    };
    for (v6, subject) in [(false, "0.0.0.0:0/tcp"), (true, "[::]:0/tcp")] {
        let fate = trial.member()?.ask(&Order::ListenUnbound(v6))?;
        if lsm {
            assert_eq!(fate, Fate::EPERM, "{subject}");
        } else {
            assert!(fate.worked(), "{subject}: {fate:?}");
        }
        let alert = trial.alert("listen", subject)?;
        assert_eq!(
            (
                alert["verdict"].as_str(),
                &alert["prevented"],
                alert["hook"].as_str()
            ),
            (Some(verdict), &lsm.into(), Some(hook))
        );
    }
    Ok(())
}

#[test]
fn who_listened_without_binding_may_do_so_again() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let listen = Order::ListenUnbound(false);
    trial.learn_and_enforce(std::slice::from_ref(&listen))?;
    assert!(trial.member()?.ask(&listen)?.worked());
    Ok(())
}

#[test]
fn an_operator_s_rule_allows_and_forbids_ports() -> Result<()> {
    let rules = "[workload.allow]\nlisten = [\"127.0.0.0/8:8000/tcp\", \"127.0.0.1:8001\"]\n\
                 [workload.deny]\nlisten = [\"127.0.0.1:8001/tcp\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    let ask = |probe: &mut scene::probe::Probe, port| probe.ask(&Order::Listen(at(LOCAL, port)));
    assert!(ask(&mut probe, 8000)?.worked());
    assert_eq!(ask(&mut probe, 8001)?, Fate::EPERM, "forbidden by name");
    assert_eq!(ask(&mut probe, 8002)?, Fate::EPERM);
    Ok(())
}

#[test]
fn monitor_mode_lets_listen_and_tells() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Listen(at(LOCAL, 8081)))?.worked());
    assert!(answers(&trial, LOCAL, 8081)?);
    let alert = trial.alert("listen", "127.0.0.1:8081/tcp")?;
    assert_eq!(alert["verdict"], "would_block");
    Ok(())
}
