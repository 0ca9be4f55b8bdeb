//! Mounts and namespaces, by which a file would get another path. The proof is
//! what a process reads there. The cgroup tier kills after the fact.

use std::fs;

use anyhow::Result;
use nix::errno::Errno;
use scene::probe::{Fate, Launch, Order};
use scene::trial::{Setup, Trial, text};

const SECRET: &str = "the secret of this file";
const HARMLESS: &str = "nothing to see";

/// A credential file, and a file that the workload may read.
fn guarded() -> Result<Trial> {
    let rules = "[workload.allow]\nread = [\"/**/inbox/*\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    lay_out(&trial)?;
    trial.learn_and_enforce(&[])?;
    Ok(trial)
}

fn lay_out(trial: &Trial) -> Result<()> {
    trial.file("home/.aws/credentials", SECRET)?;
    trial.file("inbox/letter", HARMLESS)?;
    fs::create_dir_all(trial.path("root/old"))?;
    Ok(())
}

fn bind(trial: &Trial) -> Order {
    Order::Bind(
        trial.path("home/.aws/credentials"),
        trial.path("inbox/letter"),
    )
}

fn clone_mount(trial: &Trial) -> Order {
    Order::CloneMount(trial.path("home/.aws"), trial.path("inbox"))
}

fn read(trial: &Trial, name: &str) -> Order {
    Order::Read(trial.path(name))
}

#[test]
fn without_a_guard_credentials_are_mounted_into_reach() -> Result<()> {
    let trial = Trial::unguarded()?;
    lay_out(&trial)?;
    let mut probe = trial.member()?;
    let letter = read(&trial, "inbox/letter");
    assert!(probe.ask(&bind(&trial))?.worked());
    assert_eq!(probe.ask(&letter)?, Fate::Done(SECRET.into()));
    assert!(
        probe
            .ask(&Order::Unmount(trial.path("inbox/letter")))?
            .worked()
    );
    assert_eq!(probe.ask(&letter)?, Fate::Done(HARMLESS.into()));
    assert!(probe.ask(&clone_mount(&trial))?.worked());
    assert_eq!(
        probe.ask(&read(&trial, "inbox/credentials"))?,
        Fate::Done(SECRET.into())
    );
    assert!(probe.ask(&Order::UserNamespace)?.worked());
    Ok(())
}

#[test]
fn a_bind_mount_brings_nothing_into_reach() -> Result<()> {
    let trial = guarded()?;
    let mut outsider = trial.outsider()?;
    let fate = trial.member()?.ask(&bind(&trial))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    let letter = outsider.ask(&read(&trial, "inbox/letter"))?;
    let alert = trial.alert("facility", "mount")?;
    if trial.daemon()?.tier()? == "lsm" {
        assert_eq!(letter, Fate::Done(HARMLESS.into()));
        assert_eq!(
            (alert["verdict"].as_str(), &alert["prevented"]),
            (Some("blocked"), &true.into())
        );
    } else {
        assert_eq!(
            letter,
            Fate::Done(SECRET.into()),
            "the mount outlives who made it"
        );
        assert_eq!(
            (alert["verdict"].as_str(), &alert["prevented"]),
            (Some("killed"), &false.into())
        );
    }
    Ok(())
}

#[test]
fn a_detached_mount_is_not_attached() -> Result<()> {
    let trial = guarded()?;
    let fate = trial.member()?.ask(&clone_mount(&trial))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    // Here the cgroup tier is in time as well: two calls are needed, and the first one kills.
    let inside = trial.outsider()?.ask(&read(&trial, "inbox/credentials"))?;
    assert_eq!(inside, Fate::Refused(Errno::ENOENT as i32));
    trial.alert("facility", "mount").map(drop)
}

#[test]
fn a_mount_is_not_taken_away() -> Result<()> {
    let trial = guarded()?;
    let covered = trial.file("inbox/covered", SECRET)?;
    let mut outsider = trial.outsider()?;
    let cover = Order::Bind(trial.path("inbox/letter"), covered.clone());
    assert!(outsider.ask(&cover)?.worked());
    let fate = trial.member()?.ask(&Order::Unmount(covered.clone()))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    let shows = match trial.daemon()?.tier()?.as_str() {
        "lsm" => HARMLESS,
        _ => SECRET,
    };
    assert_eq!(
        outsider.ask(&Order::Read(covered))?,
        Fate::Done(shows.into())
    );
    Ok(())
}

/// An outsider makes a mount that could become the root.
fn another_root(trial: &Trial) -> Result<Order> {
    let root = trial.path("root");
    trial.file("root/mark", "the new root")?;
    let fate = trial
        .outsider()?
        .ask(&Order::Bind(root.clone(), root.clone()))?;
    assert!(fate.worked(), "{fate:?}");
    Ok(Order::Pivot(root, "/mark".into()))
}

#[test]
fn the_root_is_not_exchanged() -> Result<()> {
    let trial = guarded()?;
    let pivot = another_root(&trial)?;
    assert_eq!(trial.member()?.ask(&pivot)?, trial.undeniable(Fate::SHOT)?);
    trial.alert("facility", "mount").map(drop)
}

#[test]
fn without_a_guard_the_root_is_exchanged() -> Result<()> {
    let trial = Trial::unguarded()?;
    lay_out(&trial)?;
    let pivot = another_root(&trial)?;
    assert_eq!(
        trial.member()?.ask(&pivot)?,
        Fate::Done("the new root".into())
    );
    Ok(())
}

#[test]
fn a_user_namespace_is_not_made() -> Result<()> {
    let trial = guarded()?;
    let fate = trial.member()?.ask(&Order::UserNamespace)?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    let alert = trial.alert("facility", "user-namespace")?;
    assert_eq!(alert["prevented"], true);
    Ok(())
}

#[test]
fn a_child_in_a_user_namespace_of_its_own_does_nothing_there() -> Result<()> {
    let trial = guarded()?;
    for by_clone3 in [false, true] {
        let order = Order::UserNamespaceChild(by_clone3);
        assert!(
            trial.outsider()?.ask(&order)?.worked(),
            "clone3: {by_clone3}"
        );
        let fate = trial.member()?.ask(&order)?;
        let expected = trial.undeniable(Fate::CHILD_SHOT)?;
        assert_eq!(fate, expected, "clone3: {by_clone3}");
    }
    Ok(())
}

#[test]
fn who_mounted_while_learning_may_mount() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    lay_out(&trial)?;
    let letter = trial.path("inbox/letter");
    let life = [
        Order::Bind(trial.path("home"), trial.path("inbox")),
        Order::Unmount(trial.path("inbox")),
    ];
    trial.learn_and_enforce(&life)?;
    let mut probe = trial.member()?;
    for order in &life {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    assert!(text(&letter).ends_with("letter") && letter.exists());
    Ok(())
}

#[test]
fn a_member_in_a_mount_namespace_of_its_own_may_start_threads_and_children() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let file = trial.file("known", HARMLESS)?;
    let apart = || Launch {
        apart: true,
        ..Launch::default()
    };
    let read = Order::Read(file);
    let life = [
        read.clone().in_thread(),
        read.clone().forked(),
        Order::exec("/bin/true", &[]),
    ];
    let mut probe = trial.member_with(apart())?;
    for order in &life {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    drop(probe);
    trial.enforce()?;
    let mut probe = trial.member_with(apart())?;
    for order in &life {
        assert!(probe.ask(order)?.worked(), "{order:?}");
    }
    let alerts = trial.daemon()?.alerts()?;
    assert_eq!(alerts, [] as [serde_json::Value; 0]);
    Ok(())
}
