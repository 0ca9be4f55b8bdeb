//! What connections and datagrams of a guarded workload carried. The proof is
//! what the peers have counted; nothing here is refused, so that the twin is
//! the peer's own count.

use std::io::Read;

use anyhow::{Context, Result};
use scene::daemon::{ALERT, Daemon};
use scene::probe::{Fate, Order, Probe};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::wait;
use scene::world::{ATTACKER, ATTACKER6, METRICS, METRICS_PORT, WEATHER};
use serde_json::Value;

/// A request with a body of `length` bytes.
fn request(length: usize) -> Vec<u8> {
    let mut bytes =
        format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    bytes
}

/// Bytes that came back.
fn talk(probe: &mut Probe, order: &Order) -> Result<u64> {
    match probe.ask(order)? {
        Fate::Done(text) => text.parse().with_context(|| format!("{order:?}: {text}")),
        other => anyhow::bail!("{order:?}: {other:?}"),
    }
}

/// Flows, bytes sent and bytes received with a peer, over all events, once
/// there are `flows`; and the latest event.
fn carried(daemon: &Daemon, peer: &str, flows: u64) -> Result<([u64; 3], Value)> {
    daemon.events("flow", |events| {
        let of_peer: Vec<_> = events
            .iter()
            .filter(|e| e["subject"].as_str().is_some_and(|s| s.starts_with(peer)))
            .collect();
        let sum = |what: fn(&Value) -> &Value| -> u64 {
            of_peer.iter().filter_map(|e| what(e).as_u64()).sum()
        };
        let all = [
            sum(|e| &e["count"]),
            sum(|e| &e["detail"]["sent"]),
            sum(|e| &e["detail"]["received"]),
        ];
        let latest = of_peer.first().map(|e| (*e).clone())?;
        (all[0] >= flows).then_some((all, latest))
    })
}

/// The value of a metric's line.
fn metric(daemon: &Daemon, line: &str) -> Result<u64> {
    let text = daemon.metrics()?;
    let value = text.lines().find_map(|l| l.strip_prefix(line));
    let value = value.with_context(|| format!("no {line} in the metrics"))?;
    value.trim().parse().context("a number")
}

#[test]
fn what_a_connection_carried_is_told_when_it_ends() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut probe = trial.member()?;
    let bytes = request(300_000);
    let sent = bytes.len() as u64;
    let before = trial.world.attacker.evidence()?;
    let received = talk(&mut probe, &Order::Talk(at(ATTACKER, 80), bytes))?;
    let evidence = trial.world.attacker.evidence()?.since(&before);
    assert_eq!((evidence.connections, evidence.bytes), (1, sent));
    assert!(received > 0);

    let daemon = trial.daemon()?;
    let (all, event) = carried(daemon, "10.77.0.66:80/tcp", 1)?;
    assert_eq!(all, [1, sent, received], "as both ends have counted");
    assert_eq!(event["detail"]["direction"], "out");
    assert_eq!(event["process"]["pid"], probe.pid());
    let out = format!(
        "slmguard_workload_traffic_bytes_total{{workload=\"{WORKLOAD}\",direction=\"out\"}}"
    );
    assert_eq!(metric(daemon, &out)?, sent);
    let open = format!("slmguard_workload_connections_open{{workload=\"{WORKLOAD}\"}}");
    assert_eq!(metric(daemon, &open)?, 0);
    Ok(())
}

#[test]
fn ipv6_is_counted_and_short_connections_are_added_up() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut probe = trial.member()?;
    let mut sums = [0, 0, 0];
    for n in 0..20 {
        let bytes = request(100 + n);
        sums[1] += bytes.len() as u64;
        sums[2] += talk(&mut probe, &Order::Talk(at(ATTACKER6, 80), bytes))?;
        sums[0] += 1;
    }
    assert_eq!(trial.world.attacker.evidence()?.bytes, sums[1]);
    let (all, _) = carried(trial.daemon()?, "[fd77::66]:80/tcp", 20)?;
    assert_eq!(all, sums);
    let events = trial.daemon()?.events("flow", |e| Some(e.len()))?;
    assert!(events < 10, "{events} events for 20 connections");
    Ok(())
}

#[test]
fn what_a_peer_opened_is_the_peer_s() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    let place = at(WEATHER, 8443);
    assert!(server.ask(&Order::Listen(place))?.worked());
    let mut client = trial.outsider()?;
    // Nobody accepts: the connection is the kernel's, and ends with the server.
    assert!(client.ask(&Order::Hold(place))?.worked());
    assert!(client.ask(&Order::More(vec![b'x'; 1234]))?.worked());
    drop(client);
    drop(server);
    let (all, event) = carried(trial.daemon()?, "10.77.0.10:", 1)?;
    assert_eq!(all, [1, 0, 1234]);
    assert_eq!(event["detail"]["direction"], "in");
    assert_eq!(event["detail"]["local_port"], 8443);
    Ok(())
}

#[test]
fn datagrams_are_added_up() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut probe = trial.member()?;
    for _ in 0..5 {
        assert!(
            probe
                .ask(&Order::SendTo(at(METRICS, METRICS_PORT)))?
                .worked()
        );
    }
    let evidence = trial.world.metrics.evidence()?;
    assert_eq!((evidence.connections, evidence.bytes), (5, 20));
    let (all, event) = carried(trial.daemon()?, "10.77.0.20:8125/udp", 5)?;
    assert_eq!(all, [5, 20, 0]);
    assert_eq!(event["process"]["pid"], probe.pid());
    Ok(())
}

#[test]
fn what_has_nothing_to_do_with_a_workload_is_not_counted() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let mut outsider = trial.outsider()?;
    talk(&mut outsider, &Order::Talk(at(ATTACKER, 80), request(10)))?;
    let mut probe = trial.member()?;
    talk(&mut probe, &Order::Talk(at(WEATHER, 80), request(10)))?;
    let (all, _) = carried(trial.daemon()?, "10.77.0.10:80/tcp", 1)?;
    assert_eq!(all[0], 1);
    let others = trial.daemon()?.events("flow", |events| {
        Some(
            events
                .iter()
                .filter(|e| e["subject"] == "10.77.0.66:80/tcp")
                .count(),
        )
    })?;
    assert_eq!(others, 0);
    Ok(())
}

#[test]
fn connections_and_files_that_were_there_before_are_found_and_learned() -> Result<()> {
    let trial = Trial::prepared(Setup::tool())?;
    let mut probe = trial.member()?;
    // A peer that waits for as long as it takes the daemon to start, and counts.
    let (told, counted) = std::sync::mpsc::channel();
    trial.namespace.run(move || -> Result<()> {
        let listener = std::net::TcpListener::bind(at(WEATHER, 9443))?;
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = listener
                .accept()
                .and_then(|(mut stream, _)| stream.read_to_end(&mut bytes));
            // Nobody waits any more where the test has failed already.
            let _ = told.send(read);
        });
        Ok(())
    })??;
    let notes = trial.file("notes.txt", "notes")?;
    assert!(probe.ask(&Order::Hold(at(WEATHER, 9443)))?.worked());
    assert!(probe.ask(&Order::Keep(notes.clone(), false))?.worked());
    let daemon = trial.daemon()?;
    daemon.launch()?;
    let process = trial.enrolled(probe.pid())?;
    let found: Vec<_> = process["found"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let path = scene::trial::text(&notes);
    assert!(
        found.contains(&"10.77.0.10:9443/tcp") && found.contains(&path.as_str()),
        "{found:?}"
    );
    daemon.learned(WORKLOAD, "destination", "the connection", |s| {
        s == "10.77.0.10:9443/tcp"
    })?;
    let form = scene::trial::read_form(&notes);
    daemon.learned(WORKLOAD, "read", "the file", |s| s == form)?;

    // What it sends from now on is counted, though no hook saw the socket being made.
    assert!(probe.ask(&Order::More(vec![b'x'; 777]))?.worked());
    let (all, event) = carried(daemon, "10.77.0.10:9443/tcp", 1)?;
    assert_eq!((all[0], all[1]), (1, 777));
    assert_eq!(event["process"]["pid"], probe.pid());
    drop(probe);
    assert_eq!(counted.recv()??, 777);
    Ok(())
}

#[test]
fn a_connection_outside_the_policy_that_was_there_before_is_told() -> Result<()> {
    let trial = Trial::prepared(Setup::tool())?;
    let daemon = trial.daemon()?;
    daemon.launch()?;
    trial.enforce()?;
    daemon.stop()?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Hold(at(ATTACKER, 80)))?.worked());
    daemon.launch()?;
    let alert = trial.alert("found", "10.77.0.66:80/tcp")?;
    assert_eq!(
        (alert["verdict"].as_str(), &alert["prevented"]),
        (Some("audited"), &false.into())
    );
    assert_eq!(alert["process"]["pid"], probe.pid());
    assert_eq!(
        alert["reasons"][0],
        "The tool of workload trial (phase start) was already connected to 10.77.0.66:80/tcp."
    );
    Ok(())
}

/// The alert about too many bytes, and what is known of the connector, are the
/// daemon's; the proof that they were sent is the peer's.
#[test]
fn more_than_a_connector_ever_carried_is_told_and_not_stopped() -> Result<()> {
    const PEER: &str = "10.77.0.66:80/tcp";
    const BURST: usize = 300_000;
    let trial = Trial::guarded(Setup::tool().with("[volume]\nslot = \"1s\"\nleast = 5\n"))?;
    let daemon = trial.daemon()?;
    let mut probe = trial.member()?;
    let order = |length| Order::Talk(at(ATTACKER, 80), request(length));
    talk(&mut probe, &order(10))?;
    trial.enforce()?;
    // It goes on learning how much is usual until it can judge.
    let judged = || -> Result<bool> {
        let known = daemon.json(&["baseline", "explain", WORKLOAD, "--family", "volume"])?;
        let of_peer = known.iter().find(|v| v["connector"] == PEER);
        Ok(of_peer.is_some_and(|v| v["bursts"] == true))
    };
    wait::until("bursts are judged", ALERT, || {
        talk(&mut probe, &order(10))?;
        Ok(judged()?.then_some(()))
    })?;
    assert_eq!(daemon.alerts()?.len(), 0, "nothing out of the ordinary yet");

    let before = trial.world.attacker.evidence()?;
    talk(&mut probe, &order(BURST))?;
    let alert = trial.alert("volume", PEER)?;
    let arrived = trial.world.attacker.evidence()?.since(&before);
    assert_eq!(arrived.bytes, request(BURST).len() as u64);
    assert_eq!(alert["verdict"], "audited", "{alert}");
    assert_eq!(alert["prevented"], false, "it arrived: {alert}");
    assert_eq!(alert["process"]["pid"], probe.pid());
    assert_eq!(alert["mode"], "enforce");
    let first = alert["reasons"][0].as_str().unwrap_or_default();
    assert!(
        first.contains("kB to 10.77.0.66:80/tcp within 1 s"),
        "{first}"
    );
    Ok(())
}
