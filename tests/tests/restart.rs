//! What a daemon knows after it was restarted.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use scene::daemon::ALERT;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, WORKLOAD, at, text};
use scene::wait;
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

/// A shell script that starts itself anew in the background and ends, so that every generation is
/// an orphan: no parent leads to it. From the moment that `attack` exists each tries to steal.
struct Family<'a> {
    trial: &'a Trial,
}

impl Family<'_> {
    /// More than any restart takes, and an end in any case.
    const GENERATIONS: &'static str = "4000";

    fn script(&self) -> Result<PathBuf> {
        let trial = self.trial;
        let (secret, known) = (
            trial.file("secret", "the secret")?,
            trial.file("known", "")?,
        );
        let lines = [
            format!("[ -e {} ] && exit", text(&trial.path("stop"))),
            format!("cat {} > {}", text(&known), text(&trial.path("copy"))),
            format!("echo $1 > {}", text(&trial.path("pulse"))),
            format!(
                "[ -e {} ] && cat {} > {}",
                text(&trial.path("attack")),
                text(&secret),
                text(&trial.path("loot"))
            ),
            "[ $1 -gt 0 ] || exit 0".to_owned(),
            "/bin/sh $0 $(($1 - 1)) > /dev/null 2>&1 &".to_owned(),
        ];
        trial.file("family.sh", &lines.join("\n"))
    }

    fn order(&self, generations: &str) -> Result<Order> {
        Ok(Order::exec(
            "/bin/sh",
            &[&text(&self.script()?), generations],
        ))
    }

    fn pulse(&self) -> String {
        fs::read_to_string(self.trial.path("pulse")).unwrap_or_default()
    }

    fn lives_on(&self) -> Result<()> {
        let before = self.pulse();
        wait::until("another generation", ALERT, || {
            let now = self.pulse();
            Ok((!now.trim().is_empty() && now != before).then_some(()))
        })
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        let _ = fs::write(self.trial.path("stop"), "");
    }
}

#[test]
fn a_family_that_never_stands_still_is_taken_over() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let family = Family { trial: &trial };
    assert!(trial.member()?.ask(&family.order("3")?)?.worked());
    wait::until("the lesson's end", ALERT, || {
        Ok((family.pulse().trim() == "0").then_some(()))
    })?;
    trial.learn_and_enforce(&[])?;
    assert!(
        trial
            .member()?
            .ask(&family.order(Family::GENERATIONS)?)?
            .worked()
    );
    family.lives_on()?;
    trial.daemon()?.kill()?;
    trial.daemon()?.launch()?;
    family.lives_on()?;
    fs::write(trial.path("attack"), "")?;
    trial.alert("open", &text(&trial.path("loot")))?;
    assert_eq!(
        fs::read_to_string(trial.path("loot")).unwrap_or_default(),
        ""
    );
    Ok(())
}

#[test]
fn without_a_guard_the_family_steals() -> Result<()> {
    let trial = Trial::unguarded()?;
    let family = Family { trial: &trial };
    assert!(
        trial
            .member()?
            .ask(&family.order(Family::GENERATIONS)?)?
            .worked()
    );
    family.lives_on()?;
    fs::write(trial.path("attack"), "")?;
    wait::until("the loot", ALERT, || {
        let loot = fs::read_to_string(trial.path("loot")).unwrap_or_default();
        Ok((loot == "the secret").then_some(()))
    })
}
