//! Hosts that a policy allows by name: their addresses are allowed from the answer of an allowed name
//! server on, to that workload, for that port, and nothing else is. The proof is what the victims got.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use scene::dns::{self, Zone};
use scene::netlink::Netlink;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::victim::Victim;
use scene::wire::question;
use scene::world::{ATTACKER, ATTACKER6, METADATA, MIRROR, RESOLVER, WEATHER};

const A: u16 = 1;
const AAAA: u16 = 28;
/// Names whose addresses are used in the instant of the answer.
const RACES: u8 = 100;

fn asking(resolver: IpAddr, name: &str, kind: u16) -> Order {
    Order::Ask(at(resolver, 53), question(7, name, kind), false)
}

/// A workload that is enforced, and allowed this besides asking the scene's name server.
fn allowing(rules: &[&str]) -> Result<Trial> {
    let trial = Trial::prepared(Setup::tool().with(&section(rules)))?;
    trial.daemon()?.launch()?;
    trial.learn_and_enforce(&[])?;
    Ok(trial)
}

fn section(rules: &[&str]) -> String {
    let resolver = format!("{RESOLVER}:53/udp");
    let rules: Vec<String> = rules
        .iter()
        .chain([&resolver.as_str()])
        .map(|rule| format!("\"{rule}\""))
        .collect();
    format!("[workload.allow]\nconnect = [{}]", rules.join(", "))
}

#[test]
fn an_address_is_allowed_from_the_answer_on_and_for_its_port() -> Result<()> {
    let trial = allowing(&["weather.demo@private:80/tcp"])?;
    let mut probe = trial.member()?;
    let web = Order::Connect(at(WEATHER, 80));
    assert_eq!(probe.ask(&web)?, Fate::EPERM, "nobody has said whose it is");
    assert!(probe.ask(&asking(RESOLVER, "Weather.DEMO", A))?.worked());
    let before = trial.world.weather.evidence()?;
    assert!(probe.ask(&web)?.worked());
    assert_eq!(
        trial.world.weather.evidence()?.since(&before).connections,
        1
    );
    for other in [
        Order::Connect(at(WEATHER, 443)),
        Order::UdpConnect(at(WEATHER, 80)),
        Order::SendTo(at(WEATHER, 80)),
    ] {
        assert_eq!(probe.ask(&other)?, Fate::EPERM, "{other:?}");
    }
    // Another process of the workload may use it too, without having asked.
    assert!(trial.member()?.ask(&web)?.worked());
    // A name that is not allowed brings nothing.
    assert!(probe.ask(&asking(RESOLVER, "attacker.demo", A))?.worked());
    let attack = Order::Connect(at(ATTACKER, 80));
    assert_eq!(probe.ask(&attack)?, Fate::EPERM);
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(alert["name"], "attacker.demo");
    Ok(())
}

#[test]
fn without_a_guard_the_same_addresses_can_be_reached() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for target in [at(WEATHER, 80), at(ATTACKER, 80), at(METADATA, 80)] {
        assert!(probe.ask(&Order::Connect(target))?.worked(), "{target}");
    }
    Ok(())
}

#[test]
fn there_is_no_moment_in_which_an_address_is_known_and_refused() -> Result<()> {
    let trial = allowing(&["*.race.demo@private:9/udp"])?;
    fn target(n: u8) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 77, 0, 100 + n), 9))
    }
    let names: Vec<&'static str> = (0..RACES)
        .map(|n| &*format!("n{n}.race.demo").leak())
        .collect();
    let zone: Zone = (0..)
        .zip(&names)
        .map(|(n, name)| (*name, vec![target(n).ip()]))
        .collect();
    trial.namespace.run(move || -> Result<()> {
        let netlink = Netlink::open()?;
        (0..RACES).try_for_each(|n| netlink.add_to_loopback(target(n).ip()))
    })??;
    let own = at(MIRROR, 53);
    let _server = Victim::datagrams(&trial.namespace, &[own], move |q| dns::answer(q, &zone))?;
    let mut probe = trial.member()?;
    // The server is not one that the policy allows: what it says does not count.
    let asked = |n: u8, name: &str| Order::AskAndUse(own, question(n.into(), name, A), target(n));
    assert_eq!(probe.ask(&asked(0, names[0]))?, Fate::EPERM);
    drop(probe);
    let config = std::fs::read_to_string(trial.daemon()?.config())?;
    let allowed = config.replace("connect = [", "connect = [\"10.77.0.67:53/udp\", ");
    std::fs::write(trial.daemon()?.config(), allowed)?;
    trial.daemon()?.end()?;
    trial.daemon()?.launch()?;
    let mut probe = trial.member()?;
    for (n, name) in (0..).zip(&names) {
        let direct = probe.ask(&Order::UdpConnect(target(n)))?;
        assert_eq!(direct, Fate::EPERM, "{name} before it was asked for");
        let fate = probe.ask(&asked(n, name))?;
        assert!(fate.worked(), "{name}: {fate:?}");
    }
    Ok(())
}

#[test]
fn a_learned_name_may_have_other_addresses_later() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let moved = Arc::new(AtomicBool::new(false));
    let is_moved = moved.clone();
    let _server = Victim::datagrams(&trial.namespace, &[at(MIRROR, 53)], move |query| {
        let at = match is_moved.load(Ordering::Relaxed) {
            false => WEATHER,
            true => ATTACKER,
        };
        dns::answer(query, &Zone::from([("service.demo", vec![at])]))
    })?;
    let asking = asking(MIRROR, "service.demo", A);
    let call = |to| Order::Connect(at(to, 80));
    let mut probe = trial.member()?;
    for order in [&asking, &call(WEATHER)] {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    let rule = "service.demo@private:80/tcp";
    trial
        .daemon()?
        .learned(WORKLOAD, "destination", rule, |subject| subject == rule)?;
    trial.enforce()?;
    let mut probe = trial.member()?;
    assert!(
        probe.ask(&call(WEATHER))?.worked(),
        "learned by address too"
    );
    moved.store(true, Ordering::Relaxed);
    assert_eq!(probe.ask(&call(ATTACKER))?, Fate::EPERM);
    assert!(probe.ask(&asking)?.worked());
    assert!(probe.ask(&call(ATTACKER))?.worked());
    assert_eq!(probe.ask(&call(MIRROR))?, Fate::EPERM);
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn names_that_point_into_ones_own_network_are_not_believed_without_saying_so() -> Result<()> {
    let trial = allowing(&[
        "public.demo:80",
        "inside.demo@private:80",
        "10.77.0.67:53/udp",
    ])?;
    let mapped: IpAddr = "64:ff9b::a4d:42".parse()?;
    let zone = Zone::from([
        ("public.demo", vec![WEATHER, METADATA, ATTACKER6, mapped]),
        (
            "inside.demo",
            vec![METADATA, IpAddr::V4(Ipv4Addr::LOCALHOST), ATTACKER],
        ),
    ]);
    let _server = Victim::datagrams(&trial.namespace, &[at(MIRROR, 53)], move |q| {
        dns::answer(q, &zone)
    })?;
    let mut probe = trial.member()?;
    for (name, kind) in [
        ("public.demo", A),
        ("public.demo", AAAA),
        ("inside.demo", A),
    ] {
        assert!(probe.ask(&asking(MIRROR, name, kind))?.worked(), "{name}");
    }
    for target in [
        WEATHER,
        METADATA,
        ATTACKER6,
        IpAddr::V4(Ipv4Addr::LOCALHOST),
    ] {
        let fate = probe.ask(&Order::Connect(at(target, 80)))?;
        assert_eq!(fate, Fate::EPERM, "{target}");
    }
    // The control: the same answer also had an address that counts.
    assert!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?.worked());
    Ok(())
}

#[test]
fn ipv6_addresses_are_allowed_by_name() -> Result<()> {
    let trial = allowing(&["six.demo@private:80/tcp", "10.77.0.67:53/udp"])?;
    let zone = Zone::from([("six.demo", vec![ATTACKER6])]);
    let _server = Victim::datagrams(&trial.namespace, &[at(MIRROR, 53)], move |q| {
        dns::answer(q, &zone)
    })?;
    let mut probe = trial.member()?;
    let call = Order::Connect(at(ATTACKER6, 80));
    assert_eq!(probe.ask(&call)?, Fate::EPERM);
    assert!(probe.ask(&asking(MIRROR, "six.demo", AAAA))?.worked());
    assert!(probe.ask(&call)?.worked());
    Ok(())
}

#[test]
fn answers_that_fit_no_question_admit_nothing() -> Result<()> {
    let trial = allowing(&["weather.demo@private:80/tcp", "10.77.0.67:53/udp"])?;
    let zone = Zone::from([
        ("weather.demo", vec![ATTACKER]),
        ("mirror.demo", vec![ATTACKER]),
    ]);
    // Each liar changes one thing; the last one names more records than there are.
    let liars: [fn(&mut Vec<u8>); 4] = [
        |a| a[0] ^= 1,
        |a| a[13] ^= 1,
        |a| {
            let end = 12 + "weather.demo".len() + 2;
            a[end + 1] = AAAA as u8;
        },
        |a| a[7] = 9,
    ];
    let count = liars.len();
    let _liar = Victim::datagrams(&trial.namespace, &[at(MIRROR, 53)], move |query| {
        let mut answer = dns::answer(query, &zone)?;
        if let Some(lie) = liars.get(usize::from(*query.get(1)?)) {
            lie(&mut answer);
        }
        Some(answer)
    })?;
    let mut probe = trial.member()?;
    let call = Order::Connect(at(ATTACKER, 80));
    let ask = |id: u16, name: &str| Order::Ask(at(MIRROR, 53), question(id, name, A), false);
    for n in 0..count {
        assert!(probe.ask(&ask(n as u16, "weather.demo"))?.worked());
        assert_eq!(probe.ask(&call)?, Fate::EPERM, "liar {n}");
    }
    // An honest answer for another name.
    assert!(probe.ask(&ask(8, "mirror.demo"))?.worked());
    assert_eq!(probe.ask(&call)?, Fate::EPERM);
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    // The control.
    assert!(probe.ask(&ask(9, "weather.demo"))?.worked());
    assert!(probe.ask(&call)?.worked());
    Ok(())
}

#[test]
fn a_host_is_approved_by_name_and_rejected_again() -> Result<()> {
    let trial = allowing(&[])?;
    let mut probe = trial.member()?;
    let web = Order::Connect(at(WEATHER, 80));
    let about = [
        WORKLOAD,
        "--subject",
        "weather.demo@private:80/tcp",
        "--role",
        "tool",
        "--phase",
        "start",
        "--family",
        "destination",
        "--reason",
        "the forecast",
    ];
    let say = |what: &str| -> Result<()> {
        let arguments: Vec<&str> = ["baseline", what].into_iter().chain(about).collect();
        let output = trial.daemon()?.cli(&arguments)?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    assert!(probe.ask(&asking(RESOLVER, "weather.demo", A))?.worked());
    assert_eq!(probe.ask(&web)?, Fate::EPERM);
    say("approve")?;
    // The address counts from the next answer on.
    assert!(probe.ask(&asking(RESOLVER, "weather.demo", A))?.worked());
    assert!(probe.ask(&web)?.worked());
    say("reject")?;
    assert_eq!(
        probe.ask(&web)?,
        Fate::EPERM,
        "its rule is gone, and with it the address"
    );
    Ok(())
}
