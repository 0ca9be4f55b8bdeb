//! The committed table of what becomes of each operation on each tier
//! (`outcomes.md`), held against what happens.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, bail};
use scene::probe::{Fate, Order, Probe};
use scene::trial::{Setup, Trial, at, lsm_or_covered, mapped, program_of, text};
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, ATTACKER6, METADATA, METRICS, METRICS_PORT};
use serde_json::json;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const TABLE: &str = include_str!("../outcomes.md");

/// The rows of the table: operation, outcome on the cgroup tier, on the LSM tier.
fn table() -> Result<Vec<[&'static str; 3]>> {
    let rows = TABLE
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| operation"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        <[&str; 3]>::try_from(cells)
            .ok()
            .with_context(|| format!("three cells in {row}"))
    })
    .collect()
}

fn fate(word: &str) -> Result<Fate> {
    Ok(match word {
        "refused" => Fate::EPERM,
        "killed" => Fate::SHOT,
        "child killed" => Fate::CHILD_SHOT,
        other => bail!("the table has no outcome \"{other}\""),
    })
}

/// The word of the table for what happened.
fn word(fate: &Fate) -> String {
    match fate {
        fate if *fate == Fate::EPERM => "refused".into(),
        fate if *fate == Fate::SHOT => "killed".into(),
        fate if *fate == Fate::CHILD_SHOT => "child killed".into(),
        other => format!("{other:?}"),
    }
}

/// Every operation that the table may name.
fn operations(trial: &Trial, outsider: &Probe) -> Result<BTreeMap<&'static str, Order>> {
    let (tcp4, tcp6) = (at(ATTACKER, 80), at(ATTACKER6, 80));
    let (udp4, udp6) = (
        at(ATTACKER, ATTACKER_UDP_PORT),
        at(ATTACKER6, ATTACKER_UDP_PORT),
    );
    let file = trial.file("file", "content")?;
    let credentials = trial.file("home/.aws/credentials", "secret")?;
    let link = trial.path("link");
    let folder = trial.path("folder");
    fs::create_dir(&folder).context("make a folder")?;
    symlink(&credentials, &link).context("link to the credentials")?;
    let other = |name: &str| Order::Read(format!("/proc/{}/{name}", outsider.pid()).into());
    Ok(BTreeMap::from([
        ("connect by TCP, IPv4", Order::Connect(tcp4)),
        ("connect by TCP, IPv6", Order::Connect(tcp6)),
        (
            "connect by TCP, IPv4 written as IPv6",
            Order::Connect(mapped(tcp4)),
        ),
        ("connect by TCP fast open", Order::FastOpen(tcp4)),
        ("connect by UDP, IPv4", Order::UdpConnect(udp4)),
        ("connect by UDP, IPv6", Order::UdpConnect(udp6)),
        ("send without connecting, IPv4", Order::SendTo(udp4)),
        ("send without connecting, IPv6", Order::SendTo(udp6)),
        (
            "send without connecting, IPv4 written as IPv6",
            Order::SendTo(mapped(udp4)),
        ),
        (
            "send past a connection",
            Order::SendPast(at(METRICS, METRICS_PORT), udp4),
        ),
        ("connect by a forked child", Order::Connect(tcp4).forked()),
        (
            "connect by a second thread",
            Order::Connect(tcp4).in_thread(),
        ),
        (
            "connect to the metadata service",
            Order::Connect(at(METADATA, 80)),
        ),
        ("read a file", Order::Read(file.clone())),
        ("write a file", Order::Append(file)),
        ("read a credential file", Order::Read(credentials)),
        ("read a credential file through a link", Order::Read(link)),
        ("read the environment of another process", other("environ")),
        ("read the memory of another process", other("mem")),
        ("start a program", Order::exec("/bin/echo", &[])),
        ("become another program", Order::Become("/bin/true".into())),
        ("create a file", Order::Create(trial.path("created"))),
        ("remove a file", Order::Remove(trial.file("a", "")?)),
        ("remove a directory", Order::RemoveDirectory(folder)),
        ("cut a file by its name", Order::Cut(trial.file("b", "b")?)),
        (
            "rename a file",
            Order::Rename(trial.file("c", "")?, trial.path("renamed")),
        ),
        (
            "give a file another name",
            Order::Link(trial.file("d", "")?, trial.path("linked")),
        ),
        ("make a directory", Order::MakeDirectory(trial.path("made"))),
        (
            "make a symbolic link",
            Order::Symlink("/etc/hostname".into(), trial.path("symbolic")),
        ),
        (
            "bind mount",
            Order::Bind(trial.file("e", "")?, trial.file("f", "")?),
        ),
        (
            "mount by the newer interface",
            Order::CloneMount(trial.file("g", "")?, trial.file("h", "")?),
        ),
        ("make a user namespace", Order::UserNamespace),
        ("trace another process", Order::Trace(outsider.pid())),
        (
            "read another process's memory by system call",
            Order::ReadMemory(outsider.pid(), program_of(outsider.pid())?),
        ),
        ("set up an io_uring", Order::Ring),
        (
            "connect through an io_uring",
            Order::RingConnect(tcp4, false),
        ),
        (
            "read a file through an io_uring",
            Order::RingRead(trial.file("i", "")?),
        ),
        ("listen on a port", Order::Listen(at(LOCAL, 8081))),
        ("take a UDP port", Order::UdpBind(at(LOCAL, 5000))),
        ("make a raw socket", Order::Socket(2, 3, 1)),
        ("make a packet socket", Order::Socket(17, 3, 0)),
        ("make a netlink socket", Order::Socket(16, 3, 0)),
        ("reach a unix socket", unix(trial, "some.sock")?),
        (
            "reach a container runtime's socket",
            unix(trial, "docker.sock")?,
        ),
    ]))
}

/// A unix socket that listens until the test's process ends.
fn unix(trial: &Trial, name: &str) -> Result<Order> {
    let path = trial.path(name);
    std::mem::forget(UnixListener::bind(&path).context("listen on a path")?);
    Ok(Order::UnixConnect(text(&path)))
}

#[test]
fn every_operation_ends_as_the_table_says() -> Result<()> {
    as_the_table_says(Setup::tool())
}

/// Kernels that have BPF LSM can be told to do without: what the lesser tier promises holds on them
/// as well.
#[test]
fn every_operation_ends_as_the_table_says_on_the_lesser_tier() -> Result<()> {
    if lsm_or_covered("outcomes::every_operation_ends_as_the_table_says_on_the_lesser_tier") {
        as_the_table_says(Setup::tool().tier("cgroup"))?;
    }
    Ok(())
}

fn as_the_table_says(setup: Setup) -> Result<()> {
    let trial = Trial::guarded(setup)?;
    let outsider = trial.outsider()?;
    let operations = operations(&trial, &outsider)?;
    // Normal behaviour: what the operations need besides their object.
    let report = Order::UdpConnect(at(METRICS, METRICS_PORT));
    let program = Order::exec("/bin/date", &[]);
    trial.learn_and_enforce(&[report.clone(), report.in_thread(), program])?;
    let tier = trial.daemon()?.tier()?;
    let lsm = tier == "lsm";
    let mut named = 0;
    for [operation, cgroup_tier, lsm_tier] in table()? {
        let order = operations
            .get(operation)
            .with_context(|| format!("no such operation: {operation}"))?;
        let expected = fate(if lsm { lsm_tier } else { cgroup_tier })?;
        let fate = trial.member()?.ask(order)?;
        // `cargo xtask test` makes docs/tiers.md of these lines.
        println!(
            "outcome {}",
            json!({ "operation": operation, "tier": tier, "fate": word(&fate) })
        );
        assert_eq!(fate, expected, "{operation}");
        named += 1;
    }
    assert_eq!(named, operations.len(), "the table names every operation");
    Ok(())
}

#[test]
fn without_a_guard_every_operation_works() -> Result<()> {
    let trial = Trial::unguarded()?;
    let outsider = trial.outsider()?;
    for (operation, order) in operations(&trial, &outsider)? {
        let mut probe = trial.member()?;
        match (probe.ask(&order), &order) {
            (Ok(Fate::Done(_)), _) => {}
            // Address 0 of a process is never mapped; being allowed to ask is what counts.
            (Ok(Fate::Refused(errno)), Order::Read(path)) if path.ends_with("mem") => {
                assert_eq!(errno, nix::errno::Errno::EIO as i32);
            }
            // The program ends instead of answering.
            (Err(_), Order::Become(_)) => {}
            (other, _) => bail!("{operation}: {other:?}"),
        }
    }
    Ok(())
}
