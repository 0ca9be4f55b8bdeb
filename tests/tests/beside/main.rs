//! Other programs on the same hooks, attached before ours and after: theirs go
//! on working, and so do our denials. What they refuse is refused although our
//! policy knows it; what we refuse is refused although they let it pass.
//!
//! Some are scripts that load one program each; [`real`] has systemd and
//! bpftrace themselves.

mod real;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use scene::cgroup::Cgroup;
use scene::other::Other;
use scene::probe::{Fate, LOOT, Order};
use scene::trial::{Setup, Trial, at, lsm_or_covered};
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, METRICS, METRICS_PORT, WEATHER};

/// Who attaches first.
#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    Ours,
    Theirs,
}

/// A guarded trial that has learned `normal`, and another tool, in either order.
fn together<T>(
    first: First,
    normal: &[Order],
    other: impl Fn(&Trial) -> Result<T>,
) -> Result<(Trial, T)> {
    let trial = Trial::prepared(Setup::tool())?;
    let early = (first == First::Theirs)
        .then(|| other(&trial))
        .transpose()?;
    trial.daemon()?.launch()?;
    trial.learn_and_enforce(normal)?;
    let other = match early {
        Some(early) => early,
        None => other(&trial)?,
    };
    Ok((trial, other))
}

fn tree() -> Result<PathBuf> {
    Ok(Cgroup::create("-beside")?.tree().to_owned())
}

fn connects(first: First) -> Result<()> {
    let known = Order::Connect(at(WEATHER, 80));
    let attack = Order::Connect(at(ATTACKER, 80));
    let tree = tree()?;
    let (trial, mut other) = together(first, std::slice::from_ref(&known), |_| {
        Other::connects(&tree)
    })?;
    let (mut probe, mut outsider) = (trial.member()?, trial.outsider()?);
    let before = other.count()?;
    assert!(probe.ask(&known)?.worked());
    assert_eq!(probe.ask(&attack)?, Fate::EPERM, "ours refuses");
    assert!(
        outsider.ask(&attack)?.worked(),
        "an outsider's is no business of ours"
    );
    assert!(other.count()? > before, "theirs goes on counting");
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);

    let arrived = trial.world.weather.evidence()?;
    other.deny_address(WEATHER)?;
    assert_eq!(
        probe.ask(&known)?,
        Fate::EPERM,
        "theirs refuses what ours knows"
    );
    other.deny_nothing()?;
    assert_eq!(
        trial.world.weather.evidence()?.since(&arrived).connections,
        0
    );
    drop(other);
    assert_eq!(
        probe.ask(&attack)?,
        Fate::EPERM,
        "ours stays when theirs goes"
    );
    Ok(())
}

#[test]
fn connects_with_another_program_there_before() -> Result<()> {
    connects(First::Theirs)
}

#[test]
fn connects_with_another_program_coming_later() -> Result<()> {
    connects(First::Ours)
}

/// The same kind of program, with the same flags, as systemd attaches to a
/// unit's cgroup for `IPAddressDeny=`.
fn addresses(first: First) -> Result<()> {
    let known = Order::SendTo(at(METRICS, METRICS_PORT));
    let attack = Order::SendTo(at(ATTACKER, ATTACKER_UDP_PORT));
    let unit = Cgroup::create(".service")?;
    let folder = unit.tree().join(unit.path().trim_start_matches('/'));
    let (trial, mut other) = together(first, std::slice::from_ref(&known), |_| {
        Other::addresses(&folder)
    })?;
    let mut probe = trial.member()?;
    unit.add(probe.pid())?;
    let before = other.count()?;
    assert!(probe.ask(&known)?.worked());
    assert!(other.count()? > before, "theirs goes on counting");
    assert_eq!(probe.ask(&attack)?, Fate::EPERM, "ours refuses");

    other.deny_address(METRICS)?;
    let arrived = trial.world.metrics.evidence()?;
    assert_eq!(
        probe.ask(&known)?,
        Fate::EPERM,
        "theirs refuses what ours knows"
    );
    assert_eq!(
        trial.world.metrics.evidence()?.since(&arrived).connections,
        0
    );
    assert_eq!(trial.world.attacker_udp.evidence()?.connections, 0);
    drop(probe);
    Ok(())
}

#[test]
fn a_unit_s_address_filter_there_before() -> Result<()> {
    addresses(First::Theirs)
}

#[test]
fn a_unit_s_address_filter_coming_later() -> Result<()> {
    addresses(First::Ours)
}

fn security_modules(first: First) -> Result<()> {
    let probed = Trial::unguarded()?;
    let (known, unknown) = (probed.file("known", LOOT)?, probed.file("unknown", LOOT)?);
    let known = Order::Read(known);
    let (trial, mut other) = together(first, std::slice::from_ref(&known), |_| {
        Other::security_module()
    })?;
    let before = other.count()?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&known)?.worked());
    assert_eq!(
        probe.ask(&Order::Read(unknown))?,
        Fate::EPERM,
        "ours refuses"
    );
    assert!(other.count()? > before, "theirs goes on counting");

    let mut refused = trial.member()?;
    other.deny_process(refused.pid())?;
    assert_eq!(
        refused.ask(&known)?,
        Fate::EPERM,
        "theirs refuses what ours knows"
    );
    assert!(probe.ask(&known)?.worked());
    Ok(())
}

#[test]
fn files_with_another_security_module_there_before() -> Result<()> {
    if !lsm_or_covered("beside::files_with_another_security_module_there_before") {
        return Ok(());
    }
    security_modules(First::Theirs)
}

#[test]
fn files_with_another_security_module_coming_later() -> Result<()> {
    if !lsm_or_covered("beside::files_with_another_security_module_coming_later") {
        return Ok(());
    }
    security_modules(First::Ours)
}

/// Files and programs, on whatever tier, with `other` beside.
fn files_and_programs(first: First, other: impl Fn(&Trial) -> Result<Other>) -> Result<()> {
    let trial = Trial::unguarded()?;
    let (known, unknown) = (trial.file("known", LOOT)?, trial.file("unknown", LOOT)?);
    let normal = [Order::Read(known), Order::exec("/bin/true", &[])];
    let (guarded, mut other) = together(first, &normal, |_| other(&trial))?;
    let before = other.count()?;
    let mut probe = guarded.member()?;
    for order in &normal {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    let (mark, shell) = guarded.shell_mark();
    assert_eq!(probe.ask(&shell)?, guarded.undeniable(Fate::CHILD_SHOT)?);
    assert!(!mark.exists());
    assert_eq!(
        probe.ask(&Order::Read(unknown.clone()))?,
        guarded.undeniable(Fate::SHOT)?
    );
    guarded.alert("open", &scene::trial::text(&unknown))?;
    ensure!(other.count()? > before, "theirs goes on counting");
    Ok(())
}

#[test]
fn a_tracer_of_the_same_tracepoints_there_before() -> Result<()> {
    files_and_programs(First::Theirs, |_| Other::tracer())
}

#[test]
fn a_tracer_of_the_same_tracepoints_coming_later() -> Result<()> {
    files_and_programs(First::Ours, |_| Other::tracer())
}

#[test]
fn a_tool_that_permits_every_open() -> Result<()> {
    for first in [First::Theirs, First::Ours] {
        files_and_programs(first, |trial| {
            let known = trial.path("known");
            Other::permitter(known.parent().context("a file in a folder")?)
        })?;
    }
    Ok(())
}
