//! Unix sockets that a guarded workload reaches. The proof is what arrived at
//! the other end.

use std::io::{ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use anyhow::{Context, Result, bail};
use scene::probe::{Fate, LOOT, Order};
use scene::trial::{Setup, Trial, lsm_or_covered, text};

const NAME: &str = "slmguard-scene-name";
const OTHER: &str = "slmguard-scene-other";

/// Listens on a path.
fn by_path(trial: &Trial, name: &str) -> Result<(UnixListener, Order)> {
    let path = trial.path(name);
    let listener = UnixListener::bind(&path).context("listen on a path")?;
    Ok((listener, Order::UnixConnect(text(&path))))
}

/// Listens on an abstract name, which is the network namespace's.
fn by_name(trial: &Trial, name: &'static str) -> Result<(UnixListener, Order)> {
    let listener = trial.namespace.run(move || {
        let address = SocketAddr::from_abstract_name(name)?;
        UnixListener::bind_addr(&address)
    })??;
    Ok((listener, Order::UnixConnect(format!("@{name}"))))
}

/// Everything that has arrived.
fn arrived(listener: &UnixListener) -> Result<String> {
    listener.set_nonblocking(true)?;
    let mut all = String::new();
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.read_to_string(&mut all)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(all),
            Err(error) => bail!("accept: {error}"),
        }
    }
}

#[test]
fn without_a_guard_every_socket_is_reached() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    for (listener, order) in [
        by_path(&trial, "a.sock")?,
        by_path(&trial, "docker.sock")?,
        by_name(&trial, NAME)?,
    ] {
        assert!(probe.ask(&order)?.worked(), "{order:?}");
        assert_eq!(arrived(&listener)?, LOOT, "{order:?}");
    }
    let receiver = UnixDatagram::bind(trial.path("datagram"))?;
    let send = Order::UnixSend(text(&trial.path("datagram")));
    assert!(probe.ask(&send)?.worked());
    let mut bytes = [0; 16];
    assert_eq!(receiver.recv(&mut bytes)?, LOOT.len());
    Ok(())
}

#[test]
fn a_socket_outside_the_policy_is_not_reached() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let (known, to_known) = by_path(&trial, "known.sock")?;
    let (named, to_named) = by_name(&trial, NAME)?;
    trial.learn_and_enforce(&[to_known.clone(), to_named.clone()])?;
    let mut probe = trial.member()?;
    let fate = probe.ask(&to_known)?;
    assert!(fate.worked(), "{fate:?}");
    let fate = probe.ask(&to_named)?;
    assert!(fate.worked(), "{fate:?}");
    assert_eq!(arrived(&known)?, LOOT.repeat(2));
    assert_eq!(arrived(&named)?, LOOT.repeat(2));

    let refused = trial.undeniable(Fate::SHOT)?;
    for (listener, order) in [by_path(&trial, "other.sock")?, by_name(&trial, OTHER)?] {
        assert_eq!(trial.member()?.ask(&order)?, refused, "{order:?}");
        assert_eq!(arrived(&listener)?, "", "{order:?}");
    }
    let lsm = trial.daemon()?.tier()? == "lsm";
    let alert = trial.alert("unix", &text(&trial.path("other.sock")))?;
    let hook = if lsm { "lsm_unix_connect" } else { "unix_exit" };
    assert_eq!(alert["hook"], hook);
    assert_eq!(alert["prevented"], lsm);
    trial.alert("unix", &format!("@{OTHER}"))?;
    Ok(())
}

#[test]
fn a_container_runtime_s_socket_is_never_reached() -> Result<()> {
    let rules = "[workload.allow]\nunix = [\"/tmp/*/docker.sock\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    let (listener, order) = by_path(&trial, "docker.sock")?;
    let path = text(&trial.path("docker.sock"));
    assert!(trial.member()?.ask(&order)?.worked(), "while learning");
    assert_eq!(trial.alert("unix", &path)?["verdict"], "audited");
    assert_eq!(arrived(&listener)?, LOOT);
    trial.enforce()?;
    let refused = trial.undeniable(Fate::SHOT)?;
    assert_eq!(trial.member()?.ask(&order)?, refused, "what was learned");
    assert_eq!(arrived(&listener)?, "");
    let alert = trial.daemon()?.alert("Docker's socket", |alert| {
        alert["subject"] == path.as_str() && alert["mode"] == "enforce"
    })?;
    assert_eq!(alert["severity"], "critical");
    Ok(())
}

#[test]
fn an_operator_s_rule_allows_sockets() -> Result<()> {
    let rules = format!("[workload.allow]\nunix = [\"/tmp/*/allowed.sock\", \"@{NAME}\"]");
    let trial = Trial::guarded(Setup::tool().with(&rules))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    for (listener, order) in [by_path(&trial, "allowed.sock")?, by_name(&trial, NAME)?] {
        let fate = probe.ask(&order)?;
        assert!(fate.worked(), "{order:?}: {fate:?}");
        assert_eq!(arrived(&listener)?, LOOT, "{order:?}");
    }
    Ok(())
}

#[test]
fn a_datagram_outside_the_policy_is_not_sent() -> Result<()> {
    if !lsm_or_covered("unix::a_datagram_outside_the_policy_is_not_sent") {
        return Ok(());
    }
    let trial = Trial::guarded(Setup::tool())?;
    let receivers = ["known", "other"].map(|name| UnixDatagram::bind(trial.path(name)));
    let [known, other] = receivers;
    let (known, other) = (known?, other?);
    let to = |name| Order::UnixSend(text(&trial.path(name)));
    trial.learn_and_enforce(&[to("known")])?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&to("known"))?.worked());
    let mut bytes = [0; 16];
    for _ in 0..2 {
        assert_eq!(known.recv(&mut bytes)?, LOOT.len());
    }
    assert_eq!(probe.ask(&to("other"))?, Fate::EPERM);
    other.set_nonblocking(true)?;
    assert!(other.recv(&mut bytes).is_err(), "nothing arrived");
    let alert = trial.alert("unix", &text(&trial.path("other")))?;
    assert_eq!(alert["hook"], "lsm_unix_send");
    Ok(())
}
