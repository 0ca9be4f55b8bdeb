//! A workload in a container: pid, mount, network, user and cgroup namespaces
//! of its own, root inside, recognised by its cgroup. Policy and alerts name
//! paths as the container sees them; the victims are outside.

use std::fs;

use anyhow::{Context, Result};
use scene::container::Container;
use scene::probe::{Fate, Order, Probe};
use scene::scene::beside;
use scene::trial::{Setup, Trial, at};
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, METADATA, WEATHER};

const SECRET: &str = "the secret of this container";

/// A trial whose members live in containers.
struct Contained {
    container: Container,
    trial: Trial,
}

impl Contained {
    fn unguarded() -> Result<Self> {
        let trial = Trial::unguarded()?;
        let container = Container::prepare(&trial.namespace, &trial.path("container"))?;
        let probe = fs::read(beside("scene-probe")?).context("read the probe")?;
        container.file("/srv/member", &probe, 0o755)?;
        for (path, content) in [
            ("/srv/known", "known"),
            ("/srv/unknown", SECRET),
            ("/srv/models/a.gguf", "GGUF"),
            ("/root/.aws/credentials", SECRET),
        ] {
            container.file(path, content.as_bytes(), 0o644)?;
        }
        Ok(Self { container, trial })
    }

    fn guarded(setup: Setup) -> Result<Self> {
        let Self { container, trial } = Self::unguarded()?;
        let rule = format!("cgroup = \"{}\"", container.cgroup());
        let trial = trial.with_guard(setup.recognised(rule))?;
        Ok(Self { container, trial })
    }

    fn member(&self) -> Result<Probe> {
        let command = self.container.command(&["/srv/member"])?;
        Probe::start_by(&self.trial.namespace, command)
    }

    /// One life in which it does what is normal; then held to it.
    fn learn_and_enforce(&self) -> Result<()> {
        let mut probe = self.member()?;
        for order in normal() {
            let fate = probe.ask(&order)?;
            assert!(fate.worked(), "{order:?}: {fate:?}");
        }
        drop(probe);
        self.trial.enforce()
    }
}

fn normal() -> [Order; 3] {
    [
        Order::Connect(at(WEATHER, 80)),
        Order::Read("/srv/known".into()),
        Order::exec("/bin/true", &[]),
    ]
}

/// What ends with EPERM on every tier.
fn sends() -> [Order; 3] {
    [
        Order::Connect(at(ATTACKER, 80)),
        Order::SendTo(at(ATTACKER, ATTACKER_UDP_PORT)),
        Order::Connect(at(METADATA, 80)),
    ]
}

fn shell() -> Order {
    Order::exec("/bin/sh", &["-c", "echo ran > /srv/mark"])
}

#[test]
fn without_a_guard_root_in_a_container_does_it_all() -> Result<()> {
    let contained = Contained::unguarded()?;
    let mut probe = contained.member()?;
    for order in normal().into_iter().chain(sends()).chain([shell()]) {
        let fate = probe.ask(&order)?;
        assert!(fate.worked(), "{order:?}: {fate:?}");
    }
    let read = probe.ask(&Order::Read("/srv/unknown".into()))?;
    assert_eq!(read, Fate::Done(SECRET.into()));
    let read = probe.ask(&Order::Read("/root/.aws/credentials".into()))?;
    assert_eq!(read, Fate::Done(SECRET.into()));
    assert_eq!(
        contained.container.content("/srv/mark")?,
        Some("ran\n".into())
    );
    let world = &contained.trial.world;
    assert_eq!(world.attacker.evidence()?.connections, 1);
    assert_eq!(world.attacker_udp.evidence()?.connections, 1);
    assert_eq!(world.metadata.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn the_container_is_one_with_root_inside() -> Result<()> {
    let contained = Contained::unguarded()?;
    let mut probe = contained.member()?;
    let mut read = |path: &str| match probe.ask(&Order::Read(path.into()))? {
        Fate::Done(text) => Ok(text),
        other => anyhow::bail!("{path}: {other:?}"),
    };
    let status = read("/proc/self/status")?;
    assert!(
        status.contains("\nPid:\t1\n"),
        "first of its pid namespace: {status}"
    );
    assert!(
        status.contains("\nUid:\t0\t0\t0\t0\n"),
        "root inside: {status}"
    );
    assert!(
        read("/proc/self/uid_map")?.contains("100000"),
        "and not outside"
    );
    let unified = read("/proc/self/cgroup")?;
    assert!(
        unified.lines().any(|line| line == "0::/"),
        "top of its cgroup namespace: {unified}"
    );
    assert!(read("/proc/self/mountinfo")?.contains(" / / rw,relatime - overlay "));
    Ok(())
}

#[test]
fn what_was_not_learned_in_the_container_is_refused() -> Result<()> {
    let contained = Contained::guarded(Setup::tool())?;
    contained.learn_and_enforce()?;
    let trial = &contained.trial;
    let mut probe = contained.member()?;
    for order in normal() {
        assert!(probe.ask(&order)?.worked(), "{order:?} was learned");
    }
    for order in sends() {
        assert_eq!(probe.ask(&order)?, Fate::EPERM, "{order:?}");
        assert_eq!(
            probe.ask(&order.clone().forked())?,
            Fate::EPERM,
            "forked, {order:?}"
        );
    }
    assert_eq!(probe.ask(&shell())?, trial.undeniable(Fate::CHILD_SHOT)?);
    assert_eq!(contained.container.content("/srv/mark")?, None);
    for path in ["/srv/unknown", "/root/.aws/credentials"] {
        let fate = contained.member()?.ask(&Order::Read(path.into()))?;
        assert_eq!(fate, trial.undeniable(Fate::SHOT)?, "{path}");
        trial.alert("open", path)?;
    }
    trial.alert("connect", "10.77.0.66:80/tcp")?;
    trial.alert("send", "10.77.0.66:9999/udp")?;
    let world = &trial.world;
    assert_eq!(world.attacker.evidence()?.connections, 0);
    assert_eq!(world.attacker_udp.evidence()?.connections, 0);
    assert_eq!(world.metadata.evidence()?.connections, 0);
    Ok(())
}

#[test]
fn rules_name_paths_as_the_container_sees_them() -> Result<()> {
    let contained =
        Contained::guarded(Setup::tool().with("[workload.allow]\nread = [\"/srv/models/*\"]"))?;
    contained.learn_and_enforce()?;
    let fate = contained
        .member()?
        .ask(&Order::Read("/srv/models/a.gguf".into()))?;
    assert_eq!(fate, Fate::Done("GGUF".into()));
    Ok(())
}

#[test]
fn a_cgroup_that_root_inside_makes_is_no_way_out() -> Result<()> {
    let contained = Contained::guarded(Setup::tool())?;
    contained.learn_and_enforce()?;
    contained
        .trial
        .daemon()?
        .mode(scene::trial::WORKLOAD, "learn")?;
    let mut probe = contained.member()?;
    let made = probe.ask(&Order::exec("/bin/mkdir", &["/sys/fs/cgroup/out"]))?;
    assert!(made.worked(), "{made:?}");
    let move_parent = "echo $PPID > /sys/fs/cgroup/out/cgroup.procs";
    let moved = probe.ask(&Order::exec("/bin/sh", &["-c", move_parent]))?;
    assert!(moved.worked(), "{moved:?}");
    let now = probe.ask(&Order::Read("/proc/self/cgroup".into()))?;
    assert!(
        matches!(&now, Fate::Done(text) if text.contains("0::/out")),
        "{now:?}"
    );
    contained.trial.enforce()?;
    for order in sends() {
        assert_eq!(probe.ask(&order)?, Fate::EPERM, "{order:?}");
    }
    assert_eq!(contained.trial.world.attacker.evidence()?.connections, 0);
    Ok(())
}
