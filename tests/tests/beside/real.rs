//! The real ones: systemd with `IPAddressDeny=` on a unit of its own, and
//! bpftrace on tracepoints that the guard uses as well.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use scene::bpftrace::Bpftrace;
use scene::manager::Manager;
use scene::probe::{Fate, Order, Probe};
use scene::trial::{Setup, Trial, at};
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, METRICS, METRICS_PORT, WEATHER};

use super::{First, together};

/// A name that no unit of the machine has.
fn unit() -> String {
    format!("slmguard-beside-{}.service", std::process::id())
}

fn known() -> Order {
    Order::SendTo(at(METRICS, METRICS_PORT))
}

fn datagram() -> Order {
    Order::SendTo(at(ATTACKER, ATTACKER_UDP_PORT))
}

/// Everything is refused but what goes to these.
fn only(allowed: &[IpAddr]) -> String {
    let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    format!("IPAddressDeny=any\nIPAddressAllow={}", allowed.join(" "))
}

#[test]
fn without_a_guard_systemd_refuses_what_its_unit_denies_and_nothing_else() -> Result<()> {
    let trial = Trial::unguarded()?;
    let manager = Manager::start(&trial.namespace, &trial.path("manager"))?;
    let settings = only(&[ATTACKER, WEATHER]);
    let mut probe = manager.probe(&unit(), trial.member_program(), &settings)?;
    assert_eq!(probe.ask(&known())?, Fate::EPERM, "systemd refuses");
    assert!(probe.ask(&datagram())?.worked(), "nobody refuses");
    assert!(probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    assert_eq!(trial.world.metrics.evidence()?.connections, 0);
    assert_eq!(trial.world.attacker_udp.evidence()?.connections, 1);
    Ok(())
}

/// A unit of systemd's that runs the workload.
struct Unit {
    name: String,
    manager: Manager,
    probe: Probe,
}

impl Unit {
    /// systemd lets it send to the attacker and to the weather service, and
    /// refuses everything else.
    fn start(trial: &Trial) -> Result<Self> {
        let name = unit();
        let manager = Manager::start(&trial.namespace, &trial.path("manager"))?;
        let settings = only(&[ATTACKER, WEATHER]);
        let probe = manager.probe(&name, trial.member_program(), &settings)?;
        Ok(Self {
            name,
            manager,
            probe,
        })
    }
}

fn address_deny(first: First) -> Result<()> {
    let weather = Order::Connect(at(WEATHER, 80));
    let (trial, mut unit) = together(first, &[known(), weather.clone()], Unit::start)?;
    let pid = unit.manager.processes(&unit.name)?;
    let pid = *pid.first().context("the unit has a process")?;
    trial.enrolled(pid)?;
    let learned = trial.world.metrics.evidence()?;
    let sent = unit.manager.sent(&unit.name)?;

    let probe = &mut unit.probe;
    assert!(probe.ask(&weather)?.worked(), "both let it pass");
    assert_eq!(
        probe.ask(&known())?,
        Fate::EPERM,
        "systemd refuses what ours knows"
    );
    assert_eq!(
        probe.ask(&datagram())?,
        Fate::EPERM,
        "ours refuses what systemd allows"
    );
    trial.alert("send", &format!("{ATTACKER}:{ATTACKER_UDP_PORT}/udp"))?;
    assert!(
        unit.manager.sent(&unit.name)? > sent,
        "systemd goes on counting"
    );
    let since = trial.world.metrics.evidence()?.since(&learned);
    assert_eq!(since.connections, 0, "nothing arrived");

    // What systemd denies may change while the unit runs.
    let [open, shut] = ["IPAddressDeny=", "IPAddressDeny=any"];
    let set = |property| {
        let words = ["set-property", "--runtime", unit.name.as_str(), property];
        unit.manager.systemctl(&words)
    };
    set(open)?;
    assert!(probe.ask(&known())?.worked(), "nobody refuses any more");
    assert_eq!(probe.ask(&datagram())?, Fate::EPERM, "but ours does");
    set(shut)?;
    assert_eq!(probe.ask(&known())?, Fate::EPERM, "systemd refuses again");
    let since = trial.world.metrics.evidence()?.since(&learned);
    assert_eq!(since.connections, 1, "only what both let pass");

    // systemd takes its programs away with the unit, and nobody else's.
    unit.manager.systemctl(&["stop", &unit.name])?;
    ensure!(
        !unit.manager.cgroup_of(&unit.name).exists(),
        "the unit is still there"
    );
    let mut probe = trial.member()?;
    assert!(probe.ask(&known())?.worked());
    assert_eq!(
        probe.ask(&datagram())?,
        Fate::EPERM,
        "ours stays when systemd's goes"
    );
    assert_eq!(trial.world.attacker_udp.evidence()?.connections, 0);
    Ok(())
}

#[test]
fn systemd_s_address_filter_there_before() -> Result<()> {
    address_deny(First::Theirs)
}

#[test]
fn systemd_s_address_filter_coming_later() -> Result<()> {
    address_deny(First::Ours)
}

/// The workload is whatever runs in a unit of that name, and no other process
/// with the same program.
#[test]
fn a_unit_of_systemd_s_is_the_workload() -> Result<()> {
    let name = unit();
    let trial = Trial::guarded(Setup::tool().recognised(format!("unit = \"{name}\"")))?;
    let manager = Manager::start(&trial.namespace, &trial.path("manager"))?;
    let mut probe = manager.probe(&name, trial.member_program(), "")?;
    let pid = manager.processes(&name)?;
    trial.enrolled(*pid.first().context("the unit has a process")?)?;
    assert!(probe.ask(&known())?.worked());
    trial.enforce()?;
    assert_eq!(probe.ask(&datagram())?, Fate::EPERM);
    assert!(probe.ask(&known())?.worked());
    let mut outsider = trial.member()?;
    assert!(outsider.ask(&datagram())?.worked(), "not in the unit");
    assert_eq!(trial.world.attacker_udp.evidence()?.connections, 1);
    Ok(())
}

fn bpftrace(first: First) -> Result<()> {
    let known = [
        Order::Connect(at(WEATHER, 80)),
        Order::SendTo(at(METRICS, METRICS_PORT)),
        Order::exec("/bin/true", &[]),
    ];
    let attack = Order::Connect(at(ATTACKER, 80));
    let (trial, bpftrace) = together(first, &known, |_| Bpftrace::start())?;
    bpftrace.forget();
    let (mut probe, mut outsider) = (trial.member()?, trial.outsider()?);
    let (refused, loot) = (-1, 4);

    for order in &known {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    bpftrace.saw_call("sendto", probe.pid(), loot)?;
    bpftrace.saw_program("/bin/true")?;
    assert_eq!(probe.ask(&attack)?, Fate::EPERM, "ours refuses");
    bpftrace.saw_call("connect", probe.pid(), refused)?;
    assert!(outsider.ask(&attack)?.worked(), "an outsider's is its own");
    assert_eq!(
        probe.ask(&datagram())?,
        Fate::EPERM,
        "ours refuses without a connection"
    );
    bpftrace.saw_call("sendto", probe.pid(), refused)?;

    // A program that is refused: bpftrace sees the kill where there is one.
    let (mark, shell) = trial.shell_mark();
    assert_eq!(probe.ask(&shell)?, trial.undeniable(Fate::CHILD_SHOT)?);
    assert!(!mark.exists());
    let secret = trial.file("secret", "content")?;
    let fate = trial.undeniable(Fate::SHOT)?;
    assert_eq!(probe.ask(&Order::Read(secret))?, fate);
    if fate == Fate::SHOT {
        bpftrace.saw_kill(probe.pid())?;
    }

    drop(bpftrace);
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&attack)?, Fate::EPERM, "ours stays when it goes");
    assert!(probe.ask(&known[0])?.worked());
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn bpftrace_there_before() -> Result<()> {
    bpftrace(First::Theirs)
}

#[test]
fn bpftrace_coming_later() -> Result<()> {
    bpftrace(First::Ours)
}
