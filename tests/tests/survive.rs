//! What holds while the daemon is frozen, dead or gone, and that it ends when
//! an operator says so.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use scene::probe::{Fate, Order, Probe};
use scene::trial::{Setup, Trial, at, text};
use scene::wait;
use scene::world::{ATTACKER, ATTACKER_UDP_PORT, METADATA, WEATHER};

/// Each attack of the demo, by a member that runs already and by one that
/// starts now, must fail as it does with the daemon awake.
fn everything_holds(trial: &Trial, tier: &str, running: &mut Probe) -> Result<()> {
    let killed = |fate: Fate| if tier == "lsm" { Fate::EPERM } else { fate };
    let credentials = trial.file(".aws/credentials", "secret")?;
    let (mark, shell) = trial.shell_mark();
    let before = trial.world.weather.evidence()?;
    for probe in [running, &mut trial.member()?] {
        assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
        assert_eq!(
            probe.ask(&Order::SendTo(at(ATTACKER, ATTACKER_UDP_PORT)))?,
            Fate::EPERM
        );
        assert_eq!(probe.ask(&Order::Connect(at(METADATA, 80)))?, Fate::EPERM);
        assert_eq!(probe.ask(&shell)?, killed(Fate::CHILD_SHOT));
        assert!(
            probe.ask(&Order::Connect(at(WEATHER, 80)))?.worked(),
            "what is known goes on working"
        );
    }
    assert_eq!(
        trial.member()?.ask(&Order::Read(credentials))?,
        killed(Fate::SHOT)
    );
    assert!(!mark.exists());
    let world = &trial.world;
    assert_eq!(world.attacker.evidence()?.connections, 0);
    assert_eq!(world.attacker_udp.evidence()?.connections, 0);
    assert_eq!(world.metadata.evidence()?.connections, 0);
    assert_eq!(world.weather.evidence()?.since(&before).connections, 2);
    Ok(())
}

/// Waits until the attacker can be reached again. The kernel lets go of a hook
/// a moment after the last one who held it.
fn released(probe: &mut Probe) -> Result<()> {
    wait::until("enforcement ends", Duration::from_secs(5), || {
        let fate = probe.ask(&Order::Connect(at(ATTACKER, 80)))?;
        Ok(fate.worked().then_some(()))
    })
}

fn known() -> Order {
    Order::Connect(at(WEATHER, 80))
}

#[test]
fn a_frozen_daemon_changes_nothing_and_tells_everything_afterwards() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[known(), Order::exec("/bin/true", &[])])?;
    let tier = trial.daemon()?.tier()?;
    let mut probe = trial.member()?;

    trial.daemon()?.signal(Signal::SIGSTOP)?;
    let held = everything_holds(&trial, &tier, &mut probe);
    trial.daemon()?.signal(Signal::SIGCONT)?;
    held?;

    trial.alert("connect", "10.77.0.66:80/tcp")?;
    trial.alert("connect", "169.254.169.254:80/tcp")?;
    trial.alert("send", "10.77.0.66:9999/udp")?;
    trial.alert("open", &text(&trial.path(".aws/credentials")))?;
    trial
        .daemon()?
        .alert("a shell", |alert| alert["kind"] == "exec")?;
    Ok(())
}

#[test]
fn a_killed_daemon_leaves_the_kernel_enforcing_until_it_is_detached() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[known(), Order::exec("/bin/true", &[])])?;
    let tier = trial.daemon()?.tier()?;
    let mut probe = trial.member()?;

    trial.daemon()?.kill()?;
    everything_holds(&trial, &tier, &mut probe)?;

    assert!(trial.daemon()?.cli(&["detach"])?.status.success());
    assert!(!trial.daemon()?.pins().exists());
    released(&mut probe)?;
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn a_stopped_daemon_leaves_the_kernel_enforcing() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().pinned())?;
    trial.learn_and_enforce(&[known(), Order::exec("/bin/true", &[])])?;
    let tier = trial.daemon()?.tier()?;
    let mut probe = trial.member()?;
    trial.daemon()?.end()?;
    everything_holds(&trial, &tier, &mut probe)
}

#[test]
fn detach_on_exit_ends_enforcement_with_the_daemon() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&Order::Connect(at(ATTACKER, 80)))?, Fate::EPERM);
    trial.daemon()?.end()?;
    released(&mut probe)?;
    assert!(!trial.daemon()?.pins().exists());
    Ok(())
}
