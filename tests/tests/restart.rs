//! What a daemon knows after it was restarted.

use anyhow::Result;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, WORKLOAD, at};
use scene::world::{ATTACKER, WEATHER};

fn known() -> Order {
    Order::Connect(at(WEATHER, 80))
}

fn attack() -> Order {
    Order::Connect(at(ATTACKER, 80))
}

#[test]
fn mode_and_baseline_survive_a_restart() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[known()])?;
    let daemon = trial.daemon()?;
    let subjects = || -> Result<Vec<String>> {
        let baseline = daemon.json(&["baseline", "show", WORKLOAD])?;
        Ok(baseline
            .iter()
            .map(|e| {
                format!(
                    "{} {} {} {}",
                    e["role"], e["phase"], e["family"], e["subject"]
                )
            })
            .collect())
    };
    let before = subjects()?;
    assert!(
        before
            .iter()
            .any(|entry| entry.contains("10.77.0.10:80/tcp")),
        "{before:?}"
    );
    daemon.end()?;
    daemon.launch()?;
    assert_eq!(subjects()?, before);
    let workloads = daemon.json(&["workloads"])?;
    assert_eq!(
        (
            workloads[0]["mode"].as_str(),
            workloads[0]["basis"].as_str()
        ),
        (Some("enforce"), Some("declared"))
    );
    let mut probe = trial.member()?;
    assert!(probe.ask(&known())?.worked());
    assert_eq!(probe.ask(&attack())?, Fate::EPERM);
    Ok(())
}

#[test]
fn a_daemon_that_was_killed_takes_over_where_it_was() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[known()])?;
    let mut probe = trial.member()?;
    trial.daemon()?.kill()?;
    assert_eq!(probe.ask(&attack())?, Fate::EPERM);
    trial.daemon()?.launch()?;
    assert_eq!(
        probe.ask(&attack())?,
        Fate::EPERM,
        "the process that ran all the time"
    );
    assert!(probe.ask(&known())?.worked());
    assert_eq!(
        trial.member()?.ask(&attack())?,
        Fate::EPERM,
        "a new process"
    );
    assert_eq!(trial.world.attacker.evidence()?.connections, 0);
    trial.alert("connect", "10.77.0.66:80/tcp")?;
    Ok(())
}

#[test]
fn alerts_are_never_overwritten_by_a_restart() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    assert_eq!(trial.member()?.ask(&attack())?, Fate::EPERM);
    let first = trial.alert("connect", "10.77.0.66:80/tcp")?;
    let daemon = trial.daemon()?;
    daemon.end()?;
    daemon.launch()?;
    assert_eq!(
        trial.member()?.ask(&Order::Connect(at(ATTACKER, 81)))?,
        Fate::EPERM
    );
    trial.alert("connect", "10.77.0.66:81/tcp")?;
    assert!(daemon.alerts()?.contains(&first));
    Ok(())
}
