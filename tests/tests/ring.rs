//! io_uring: the way into the kernel beside the system calls. The proof is what
//! left a file, or reached the attacker.

use anyhow::Result;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at, text};
use scene::world::{ATTACKER, METADATA};

const SECRET: &str = "the secret of this file";
const ALLOWED: &str = "[workload.allow]\nfacilities = [\"io_uring\"]";

fn connect(polled: bool) -> Order {
    Order::RingConnect(at(ATTACKER, 80), polled)
}

fn reached(trial: &Trial) -> Result<u64> {
    Ok(trial.world.attacker.evidence()?.connections)
}

#[test]
fn without_a_guard_rings_reach_everything() -> Result<()> {
    let trial = Trial::unguarded()?;
    let file = trial.file("unknown", SECRET)?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Ring)?.worked());
    assert!(probe.ask(&connect(false))?.worked());
    assert!(probe.ask(&connect(true))?.worked());
    assert_eq!(reached(&trial)?, 2);
    let read = Order::RingRead(file.clone());
    assert_eq!(probe.ask(&read)?, Fate::Done(SECRET.into()));
    assert!(probe.ask(&Order::RingRemove(file.clone()))?.worked());
    assert!(!file.exists());
    Ok(())
}

#[test]
fn a_ring_outside_the_policy_is_not_set_up() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let file = trial.file("unknown", SECRET)?;
    trial.learn_and_enforce(&[])?;
    for order in [
        Order::Ring,
        connect(false),
        connect(true),
        Order::RingRead(file),
    ] {
        let fate = trial.member()?.ask(&order)?;
        assert_eq!(fate, trial.undeniable(Fate::SHOT)?, "{order:?}");
    }
    assert_eq!(reached(&trial)?, 0);
    assert_eq!(trial.alert("facility", "io_uring")?["prevented"], true);
    Ok(())
}

#[test]
fn a_ring_that_was_learned_is_let_through() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[Order::Ring])?;
    assert!(trial.member()?.ask(&Order::Ring)?.worked());
    Ok(())
}

#[test]
fn the_attacker_is_not_reached_through_a_ring_that_is_allowed() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().with(ALLOWED))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    for polled in [false, true] {
        assert_eq!(
            probe.ask(&connect(polled))?,
            Fate::EPERM,
            "polled: {polled}"
        );
        let metadata = Order::RingConnect(at(METADATA, 80), polled);
        assert_eq!(probe.ask(&metadata)?, Fate::EPERM, "polled: {polled}");
    }
    assert_eq!(reached(&trial)?, 0);
    assert_eq!(trial.world.metadata.evidence()?.connections, 0);
    assert_eq!(
        trial.alert("connect", "10.77.0.66:80/tcp")?["prevented"],
        true
    );
    Ok(())
}

#[test]
fn a_file_is_not_read_through_a_ring_that_is_allowed() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().with(ALLOWED))?;
    let credentials = trial.file("home/.aws/credentials", SECRET)?;
    trial.learn_and_enforce(&[])?;
    let fate = trial.member()?.ask(&Order::RingRead(credentials.clone()))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    if trial.daemon()?.tier()? == "lsm" {
        assert_eq!(trial.alert("open", &text(&credentials))?["prevented"], true);
    } else {
        let alert = trial.alert("facility", "io_uring:files")?;
        assert_eq!(alert["hook"], "ring_submit");
    }
    Ok(())
}

#[test]
fn a_file_is_not_removed_through_a_ring_that_is_allowed() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().with(ALLOWED))?;
    let file = trial.file("unknown", SECRET)?;
    trial.learn_and_enforce(&[])?;
    let fate = trial.member()?.ask(&Order::RingRemove(file.clone()))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    if trial.daemon()?.tier()? == "lsm" {
        assert!(file.exists());
    }
    Ok(())
}

#[test]
fn files_through_rings_are_allowed_by_an_operator_only() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().tier("cgroup"))?;
    let file = trial.file("known", SECRET)?;
    let read = Order::RingRead(file);
    trial.learn_and_enforce(std::slice::from_ref(&read))?;
    let fate = trial.member()?.ask(&read)?;
    assert_eq!(fate, Fate::SHOT, "having been seen is not enough");

    let rules = "[workload.allow]\nfacilities = [\"io_uring\", \"io_uring:files\"]";
    let trial = Trial::guarded(Setup::tool().tier("cgroup").with(rules))?;
    let file = trial.file("unknown", SECRET)?;
    trial.learn_and_enforce(&[])?;
    let read = Order::RingRead(file);
    assert_eq!(trial.member()?.ask(&read)?, Fate::Done(SECRET.into()));
    Ok(())
}
