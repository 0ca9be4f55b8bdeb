//! Who calls a guarded server. The guard only watches here; the proof that
//! nobody notices is that every call succeeds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use scene::daemon::ALERT;
use scene::probe::{Launch, Order, Probe};
use scene::trial::{Setup, Trial, at};
use scene::wait;
use scene::world::{METRICS, WEATHER};
use serde_json::Value;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Calls that were reported so far.
fn calls(trial: &Trial) -> Result<Vec<Value>> {
    let mut events = trial.daemon()?.json(&["events"])?;
    events.retain(|event| event["kind"] == "caller");
    Ok(events)
}

/// Waits for the report that somebody called `subject`.
fn call(trial: &Trial, subject: &str) -> Result<Value> {
    wait::until(&format!("a call of {subject}"), ALERT, || {
        let mut calls = calls(trial)?;
        calls.retain(|event| event["subject"] == subject);
        Ok(calls.pop())
    })
}

#[test]
fn a_caller_on_this_host_is_named() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(LOCAL, 8080)))?.worked());
    let mut client = trial.outsider()?;
    assert!(client.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    let seen = call(&trial, "127.0.0.1:8080/tcp")?;
    assert_eq!(seen["process"]["pid"], client.pid());
    assert!(
        seen["process"]["exe"]
            .as_str()
            .is_some_and(|exe| exe.ends_with("/outsider")),
        "{seen}"
    );
    assert_eq!(
        (seen["role"].as_str(), seen["phase"].as_str()),
        (Some("server"), Some("serve")),
        "who was called"
    );
    assert_eq!(trial.process(client.pid())?, None, "not a member for that");
    Ok(())
}

#[test]
fn a_caller_that_is_gone_at_once_is_named_all_the_same() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(LOCAL6, 8080)))?.worked());
    let mut client = trial.outsider()?;
    let short = Order::Connect(at(LOCAL6, 8080)).forked();
    assert!(client.ask(&short)?.worked());
    let seen = call(&trial, "[::1]:8080/tcp")?;
    assert_ne!(seen["process"]["pid"], client.pid(), "the child");
    assert_eq!(seen["process"]["uid"], 0);
    Ok(())
}

#[test]
fn a_caller_of_the_host_s_own_address_is_named_once() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(ALL, 8080)))?.worked());
    let mut client = trial.outsider()?;
    for _ in 0..5 {
        assert!(client.ask(&Order::Connect(at(METRICS, 8080)))?.worked());
    }
    // Reports come in order.
    assert!(client.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    call(&trial, "127.0.0.1:8080/tcp")?;
    let mut calls = calls(&trial)?;
    calls.retain(|event| event["subject"] == "10.77.0.20:8080/tcp");
    assert_eq!(calls.len(), 1, "{calls:?}");
    Ok(())
}

#[test]
fn a_member_is_no_caller_and_another_port_is_not_called() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(LOCAL, 8080)))?.worked());
    assert!(
        trial
            .member()?
            .ask(&Order::Connect(at(LOCAL, 8080)))?
            .worked()
    );
    let mut client = trial.outsider()?;
    assert!(client.ask(&Order::Connect(at(WEATHER, 80)))?.worked());
    assert!(client.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    let seen = call(&trial, "127.0.0.1:8080/tcp")?;
    assert_eq!(seen["process"]["pid"], client.pid());
    assert_eq!(calls(&trial)?.len(), 1);
    Ok(())
}

#[test]
fn a_port_that_was_closed_has_no_callers() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(LOCAL, 8080)))?.worked());
    let mut client = trial.outsider()?;
    assert!(client.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    call(&trial, "127.0.0.1:8080/tcp")?;
    drop(server);
    // The port is somebody else's now.
    let mut other = trial.outsider()?;
    assert!(other.ask(&Order::Listen(at(LOCAL, 8080)))?.worked());
    let mut second = trial.outsider()?;
    assert!(second.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    // Reports come in order.
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(LOCAL, 8081)))?.worked());
    assert!(second.ask(&Order::Connect(at(LOCAL, 8081)))?.worked());
    let seen = call(&trial, "127.0.0.1:8081/tcp")?;
    assert_eq!(seen["process"]["pid"], second.pid());
    assert_eq!(calls(&trial)?.len(), 2);
    Ok(())
}

/// Reports of connections that came in.
fn peers(trial: &Trial) -> Result<Vec<Value>> {
    let mut events = trial.daemon()?.json(&["events"])?;
    events.retain(|event| event["kind"] == "accept");
    Ok(events)
}

#[test]
fn a_peer_is_told_with_its_user() -> Result<()> {
    const USER: u32 = 4711;
    let trial = Trial::guarded(Setup::role("server"))?;
    let mut server = trial.member()?;
    assert!(server.ask(&Order::Listen(at(LOCAL, 8080)))?.worked());
    let launch = Launch {
        user: Some(USER),
        ..Launch::default()
    };
    let mut client = Probe::start(&trial.namespace, &trial.path("outsider"), launch)?;
    for _ in 0..3 {
        assert!(client.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    }
    let mut root = trial.outsider()?;
    assert!(root.ask(&Order::Connect(at(LOCAL, 8080)))?.worked());
    let by = |user: u32| {
        wait::until(&format!("a connection by user {user}"), ALERT, || {
            let mut seen = peers(&trial)?;
            seen.retain(|event| event["peer_uid"] == user);
            Ok((!seen.is_empty()).then_some(seen))
        })
    };
    by(0)?;
    let seen = by(USER)?;
    assert_eq!(seen.len(), 1, "once per peer: {seen:?}");
    assert_eq!(seen[0]["process"]["pid"], server.pid(), "who was called");
    assert!(
        seen[0]["subject"]
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1:")),
        "{seen:?}"
    );
    Ok(())
}
