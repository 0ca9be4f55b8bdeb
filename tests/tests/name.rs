//! Names of a guarded workload: what it asks for, what it is told, and what it
//! calls a TLS server. The proof is what the name server and the attacker got,
//! and the name in the alert about a refused address.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};

use anyhow::{Context, Result};
use scene::dns::{self, Zone};
use scene::probe::{Fate, Order, Probe};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::victim::Victim;
use scene::wire::{hello, question};
use scene::world::{ATTACKER, ATTACKER6, MIRROR, RESOLVER};
use serde_json::Value;

const A: u16 = 1;
const AAAA: u16 = 28;

fn ask(probe: &mut Probe, resolver: IpAddr, message: Vec<u8>, tcp: bool) -> Result<()> {
    let order = Order::Ask(at(resolver, 53), message, tcp);
    let fate = probe.ask(&order)?;
    anyhow::ensure!(fate.worked(), "{order:?}: {fate:?}");
    Ok(())
}

/// Events of a kind about a subject, once there is one.
fn told(trial: &Trial, kind: &str, subject: &str) -> Result<Value> {
    trial.daemon()?.events(kind, |events| {
        events.iter().find(|e| e["subject"] == subject).cloned()
    })
}

/// How many events of a kind there are.
fn count(trial: &Trial, kind: &str) -> Result<usize> {
    trial.daemon()?.events(kind, |events| Some(events.len()))
}

/// DNS answers that were not believed.
fn disbelieved(trial: &Trial) -> Result<u64> {
    let line = format!("slmguard_dns_answers_disbelieved_total{{workload=\"{WORKLOAD}\"}}");
    let text = trial.daemon()?.metrics()?;
    let value = text.lines().find_map(|l| l.strip_prefix(line.as_str()));
    value
        .context("no such metric")?
        .trim()
        .parse()
        .context("a number")
}

#[test]
fn a_call_that_was_never_usual_is_told_although_it_is_allowed() -> Result<()> {
    let target = at(ATTACKER, 853);
    let rule = format!("[workload.allow]\nconnect = [\"{target}/tcp\"]");
    let trial = Trial::prepared(Setup::tool().with(&rule))?;
    trial.daemon()?.launch()?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    // Nobody listens there: that is not the guard's doing.
    let fate = probe.ask(&Order::Connect(target))?;
    assert_ne!(fate, Fate::EPERM);
    let subject = format!("{target}/tcp");
    let alert = trial.alert("odd", &subject)?;
    assert_eq!(alert["verdict"], "audited");
    assert_eq!(alert["prevented"], false);
    let event = told(&trial, "odd", &subject)?;
    assert_eq!(event["detail"]["what"], "encrypted-resolver");
    Ok(())
}

#[test]
fn a_question_is_told_with_the_process_that_asked() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let before = trial.world.resolver.evidence()?;
    let mut probe = trial.member()?;
    for id in 0..4 {
        ask(&mut probe, RESOLVER, question(id, "Weather.DEMO", A), false)?;
    }
    ask(
        &mut probe,
        RESOLVER,
        question(9, "weather.demo", AAAA),
        false,
    )?;
    assert_eq!(
        trial.world.resolver.evidence()?.since(&before).connections,
        5
    );

    let event = told(&trial, "query", "weather.demo")?;
    assert_eq!(event["process"]["pid"], probe.pid());
    assert_eq!(event["detail"]["resolver"], "10.77.0.53:53/udp");
    trial
        .daemon()?
        .events("query", |e| (e.len() == 2).then_some(()))?;
    trial
        .daemon()?
        .learned(WORKLOAD, "name", "weather.demo", |s| s == "weather.demo")?;
    // Somebody else's question is nobody's business.
    let mut outsider = trial.outsider()?;
    ask(
        &mut outsider,
        RESOLVER,
        question(1, "mirror.demo", A),
        false,
    )?;
    ask(&mut probe, RESOLVER, question(2, "metrics.demo", A), false)?;
    told(&trial, "query", "metrics.demo")?;
    assert_eq!(count(&trial, "query")?, 3);
    Ok(())
}

#[test]
fn an_answer_gives_a_refused_address_its_name() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let asking = Order::Ask(at(RESOLVER, 53), question(7, "attacker.demo", A), false);
    trial.learn_and_enforce(std::slice::from_ref(&asking))?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&asking)?.worked());
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    assert_eq!(probe.ask(&Order::Connect(at(MIRROR, 80)))?, Fate::EPERM);
    assert_eq!(trial.world.attacker.evidence()?.bytes, 0);

    let alert = trial.alert("connect", "10.77.0.66:80/tcp")?;
    assert_eq!(alert["name"], "attacker.demo");
    assert_eq!(
        alert["reasons"][1],
        "10.77.0.66 was the answer for attacker.demo."
    );
    let other = trial.alert("connect", "10.77.0.67:80/tcp")?;
    assert_eq!(other["name"], Value::Null, "nobody asked for this one");
    let answer = told(&trial, "answer", "attacker.demo")?;
    assert_eq!(answer["detail"]["addresses"][0], "10.77.0.66");
    assert_eq!(
        (&answer["detail"]["code"], &answer["detail"]["ttl"]),
        (&0.into(), &30.into())
    );
    assert_eq!(disbelieved(&trial)?, 0);
    Ok(())
}

#[test]
fn ipv6_addresses_and_names_that_do_not_exist_are_told() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let zone = Zone::from([("six.demo", vec![ATTACKER6])]);
    let _six = Victim::datagrams(&trial.namespace, &[at(ATTACKER6, 53)], move |query| {
        dns::answer(query, &zone)
    })?;
    let mut probe = trial.member()?;
    ask(&mut probe, ATTACKER6, question(1, "six.demo", AAAA), false)?;
    ask(&mut probe, ATTACKER6, question(2, "nobody.demo", A), false)?;
    let answer = told(&trial, "answer", "six.demo")?;
    assert_eq!(answer["detail"]["addresses"][0], "fd77::66");
    assert_eq!(answer["detail"]["resolver"], "[fd77::66]:53/udp");
    assert_eq!(told(&trial, "answer", "nobody.demo")?["detail"]["code"], 3);
    Ok(())
}

#[test]
fn questions_by_tcp_are_read() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.namespace.run(|| -> Result<()> {
        let listener = TcpListener::bind(at(RESOLVER, 53))?;
        std::thread::spawn(move || {
            let zone = Zone::from([("attacker.demo", vec![ATTACKER])]);
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let mut buffer = [0; 512];
            let Ok(length) = stream.read(&mut buffer) else {
                return;
            };
            let reply = buffer.get(2..length).and_then(|q| dns::answer(q, &zone));
            let mut framed = (reply.as_ref().map_or(0, Vec::len) as u16)
                .to_be_bytes()
                .to_vec();
            framed.extend(reply.unwrap_or_default());
            // The probe says if nothing came.
            let _ = stream.write_all(&framed);
        });
        Ok(())
    })??;
    let mut probe = trial.member()?;
    ask(&mut probe, RESOLVER, question(3, "attacker.demo", A), true)?;
    assert_eq!(
        told(&trial, "query", "attacker.demo")?["detail"]["resolver"],
        "10.77.0.53:53/tcp"
    );
    let answer = told(&trial, "answer", "attacker.demo")?;
    assert_eq!(answer["detail"]["addresses"][0], "10.77.0.66");
    Ok(())
}

#[test]
fn an_answer_that_does_not_fit_its_question_is_not_believed() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let zone = Zone::from([("attacker.demo", vec![ATTACKER])]);
    // Each liar changes one thing; the last one names more records than there are.
    let liars: [fn(&mut Vec<u8>); 4] = [
        |a| a[0] ^= 1,
        |a| a[13] ^= 1,
        |a| {
            let end = 12 + "attacker.demo".len() + 2;
            a[end + 1] = AAAA as u8;
        },
        |a| a[7] = 9,
    ];
    let mut probe = trial.member()?;
    let _liar = Victim::datagrams(&trial.namespace, &[at(MIRROR, 53)], move |query| {
        let mut answer = dns::answer(query, &zone)?;
        liars.get(usize::from(*query.get(1)?))?(&mut answer);
        Some(answer)
    })?;
    for n in 0..liars.len() {
        ask(
            &mut probe,
            MIRROR,
            question(n as u16, "attacker.demo", A),
            false,
        )?;
        assert_eq!(disbelieved(&trial)?, n as u64 + 1);
    }
    // The honest one comes last: by then all others have been read.
    ask(&mut probe, RESOLVER, question(8, "weather.demo", A), false)?;
    told(&trial, "answer", "weather.demo")?;
    assert_eq!(count(&trial, "answer")?, 1);
    Ok(())
}

#[test]
fn the_name_of_a_tls_server_is_told() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut probe = trial.member()?;
    ask(&mut probe, RESOLVER, question(1, "attacker.demo", A), false)?;
    told(&trial, "answer", "attacker.demo")?;
    let before = trial.world.attacker.evidence()?;
    for (name, encrypted) in [
        ("attacker.demo", false),
        ("Front.Demo", true),
        ("Front.Demo", true),
    ] {
        let order = Order::Talk(at(ATTACKER, 80), hello(name, encrypted));
        assert!(probe.ask(&order)?.worked(), "{order:?}");
    }
    let evidence = trial.world.attacker.evidence()?.since(&before);
    assert_eq!(evidence.connections, 3);
    assert!(evidence.contains("attacker.demo") && evidence.contains("Front.Demo"));

    let events = trial
        .daemon()?
        .events("hello", |e| (e.len() == 2).then(|| e.to_vec()))?;
    let (front, plain) = (&events[0], &events[1]);
    assert_eq!(plain["detail"]["server_name"], "attacker.demo");
    assert_eq!(plain["detail"]["encrypted"], false);
    assert_eq!(plain["note"], Value::Null, "the name it looked up");
    assert_eq!(plain["name"], "attacker.demo");
    assert_eq!(front["detail"]["server_name"], "front.demo");
    assert_eq!(front["detail"]["encrypted"], true);
    assert_eq!(
        front["note"],
        "The server name front.demo was called at 10.77.0.66, which the workload was given for attacker.demo."
    );
    assert_eq!(front["process"]["pid"], probe.pid());
    Ok(())
}
