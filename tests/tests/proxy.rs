//! Hosts behind an HTTP proxy: what a guarded workload asks a declared one for is
//! its destination. The proof is what reached the hosts behind the proxy, which
//! lets everything through.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use scene::namespace::Namespace;
use scene::probe::{Order, Probe};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::wire::hello;
use scene::world::{ATTACKER, ATTACKER6, METRICS, WEATHER};
use serde_json::Value;

const PORT: u16 = 3128;

fn proxy() -> SocketAddr {
    at(METRICS, PORT)
}

/// A proxy that lets everybody through, by CONNECT or with a target in full.
fn serve(namespace: &Arc<Namespace>) -> Result<()> {
    namespace.run(|| -> Result<()> {
        let listener = TcpListener::bind(proxy()).context("listen for requests to the proxy")?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever was not served is missed by the test.
                thread::spawn(move || forward(stream));
            }
        });
        Ok(())
    })?
}

fn forward(mut client: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        let mut buffer = [0; 512];
        let length = client.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let text = String::from_utf8_lossy(&request).into_owned();
    let mut words = text.split_ascii_whitespace();
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let authority = target.strip_prefix("http://").unwrap_or(target);
    let authority = authority.split('/').next().unwrap_or_default();
    let hosts: BTreeMap<&str, IpAddr> = [
        ("weather.demo", WEATHER),
        ("attacker.demo", ATTACKER),
        ("[fd77::66]", ATTACKER6),
    ]
    .into();
    let host = authority.trim_end_matches(":80");
    let host = host.to_ascii_lowercase();
    let address = hosts.get(host.as_str()).ok_or(io::ErrorKind::NotFound)?;
    let mut server = TcpStream::connect(at(*address, 80))?;
    let tunnel = method == Some("CONNECT");
    if tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    }
    server.write_all(&request[if tunnel { end } else { 0 }..])?;
    server.shutdown(Shutdown::Write)?;
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

const PAGE: &str = "GET / HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n\r\n";

/// Through a tunnel to a host, for its page.
fn through(host: &str) -> Order {
    let text = format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n{PAGE}");
    Order::Talk(proxy(), text.into_bytes())
}

/// The same with the target in full.
fn in_full(url: &str) -> Order {
    let text = format!("GET {url} HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n\r\n");
    Order::Talk(proxy(), text.into_bytes())
}

fn works(probe: &mut Probe, order: &Order) -> Result<()> {
    let fate = probe.ask(order)?;
    ensure!(fate.worked(), "{order:?}: {fate:?}");
    Ok(())
}

fn guarded(declared: bool) -> Result<Trial> {
    let setup = Setup::tool();
    let trial = Trial::prepared(match declared {
        true => setup.with(&format!("proxies = [\"{}\"]", proxy())),
        false => setup,
    })?;
    serve(&trial.namespace)?;
    trial.daemon()?.launch()?;
    Ok(trial)
}

/// What odd calls were told of: the oddity and the host.
fn odd(trial: &Trial) -> Result<Vec<(Value, Value)>> {
    let events = trial
        .daemon()?
        .events("odd", |events| Some(events.to_vec()))?;
    let told = |event: &Value| {
        (
            event["detail"]["what"].clone(),
            event["detail"]["host"].clone(),
        )
    };
    Ok(events.iter().map(told).collect())
}

/// The event that says what the proxy was asked for.
fn asked(trial: &Trial, host: &Value) -> Result<Value> {
    let daemon = trial.daemon()?;
    daemon.events("request", |events| {
        events
            .iter()
            .find(|e| e["detail"]["host"] == *host)
            .cloned()
    })
}

/// The alert about an odd call of the proxy whose reasons contain this.
fn alert(trial: &Trial, reason: &str) -> Result<Value> {
    trial.daemon()?.alert(reason, |alert| {
        alert["kind"] == "odd" && alert["reasons"].to_string().contains(reason)
    })
}

#[test]
fn a_new_host_behind_a_declared_proxy_is_told_and_a_learned_one_is_not() -> Result<()> {
    let trial = guarded(true)?;
    trial.learn_and_enforce(&[through("weather.demo")])?;
    let mut probe = trial.member()?;
    let before = trial.world.attacker.evidence()?;
    works(&mut probe, &through("Weather.Demo"))?;
    works(&mut probe, &through("attacker.demo"))?;
    works(&mut probe, &in_full("http://attacker.demo/in-full"))?;
    works(&mut probe, &through("[fd77::66]"))?;
    let evidence = trial.world.attacker.evidence()?.since(&before);
    assert_eq!(evidence.connections, 3, "told, not refused");
    assert!(evidence.contains("/in-full"));

    let told = alert(
        &trial,
        "asked the proxy 10.77.0.20:3128/tcp for attacker.demo:80",
    )?;
    assert_eq!(told["subject"], "10.77.0.20:3128/tcp");
    assert_eq!(told["nearest"][0], "weather.demo:80");
    assert_eq!(told["verdict"], "audited");
    assert_eq!(told["process"]["pid"], probe.pid());
    alert(&trial, "for [fd77::66]:80")?;
    let event = asked(&trial, &"weather.demo:80".into())?;
    assert_eq!(event["detail"]["tunnel"], true);
    assert_eq!(event["subject"], "10.77.0.20:3128/tcp");
    let hosts: Vec<Value> = odd(&trial)?.into_iter().map(|(_, host)| host).collect();
    assert_eq!(hosts, ["[fd77::66]:80", "attacker.demo:80"]);
    Ok(())
}

#[test]
fn a_call_of_a_declared_proxy_that_shows_no_host_is_blind() -> Result<()> {
    let trial = guarded(true)?;
    trial.learn_and_enforce(&[through("weather.demo")])?;
    let mut probe = trial.member()?;
    let before = trial.world.attacker.evidence()?;
    works(&mut probe, &Order::Hold(proxy()))?;
    works(&mut probe, &Order::More(b"CONN".to_vec()))?;
    let rest = format!("ECT attacker.demo:80 HTTP/1.1\r\n\r\n{PAGE}");
    works(&mut probe, &Order::More(rest.into_bytes()))?;
    let told = alert(
        &trial,
        "called the proxy 10.77.0.20:3128/tcp, and the host behind it",
    )?;
    assert_eq!(told["prevented"], false);
    // TLS to the proxy shows the proxy's own name only.
    works(
        &mut probe,
        &Order::Talk(proxy(), hello("proxy.demo", false)),
    )?;
    works(&mut probe, &through("attacker.demo"))?;
    alert(&trial, "for attacker.demo:80")?;
    let evidence = trial.world.attacker.evidence()?.since(&before);
    assert_eq!(evidence.connections, 2, "the blind one led there too");
    let blind = ("blind".into(), Value::Null);
    assert_eq!(
        odd(&trial)?.iter().filter(|one| **one == blind).count(),
        1,
        "once"
    );
    let page = trial.daemon()?.cli(&["baseline", "show", WORKLOAD])?;
    let page = String::from_utf8_lossy(&page.stdout);
    let sentence = "call of the proxy 10.77.0.20:3128/tcp did not show its host";
    assert!(page.contains(sentence), "{page}");
    Ok(())
}

#[test]
fn every_request_at_the_beginning_of_a_segment_is_seen() -> Result<()> {
    let trial = guarded(true)?;
    trial.learn_and_enforce(&[in_full("http://weather.demo/")])?;
    let mut probe = trial.member()?;
    works(&mut probe, &Order::Hold(proxy()))?;
    let first = "GET http://weather.demo/ HTTP/1.1\r\n\r\n";
    works(&mut probe, &Order::More(first.into()))?;
    asked(&trial, &"weather.demo:80".into())?;
    let second = "POST https://user:secret@attacker.demo/ HTTP/1.1\r\n\r\n";
    works(&mut probe, &Order::More(second.into()))?;
    // Who could mean two hosts shows none; and nobody's password is told.
    alert(&trial, "the host behind it could not be seen")?;
    let events = trial.daemon()?.events("request", |e| Some(e.to_vec()))?;
    assert!(!format!("{events:?}").contains("secret"));
    Ok(())
}

#[test]
fn without_a_declared_proxy_nothing_is_odd_about_requests() -> Result<()> {
    let trial = guarded(false)?;
    trial.learn_and_enforce(&[through("weather.demo")])?;
    let mut probe = trial.member()?;
    works(&mut probe, &Order::Talk(proxy(), b"\r\n\r\n".to_vec()))?;
    works(&mut probe, &through("attacker.demo"))?;
    let event = asked(&trial, &"attacker.demo:80".into())?;
    assert_eq!(event["process"]["pid"], probe.pid());
    assert_eq!(odd(&trial)?, []);
    let events = trial.daemon()?.events("request", |e| Some(e.to_vec()))?;
    assert!(events.iter().all(|e| e["detail"]["host"] != Value::Null));
    Ok(())
}
