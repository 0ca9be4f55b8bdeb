//! How a workload's processes are recognised besides by their executable:
//! arguments, user, cgroup, systemd unit. The proof is whom the guard holds to
//! the workload's policy.

use anyhow::Result;
use scene::cgroup::Cgroup;
use scene::probe::{Fate, Launch, Order, Probe};
use scene::trial::{Setup, Trial, at};
use scene::world::ATTACKER;

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

fn attack() -> Order {
    Order::Connect(at(ATTACKER, 80))
}

/// A guarded process and one that is not are told apart by what they may do.
fn told_apart(trial: &Trial, mut member: Probe, mut other: Probe) -> Result<()> {
    trial.enrolled(member.pid())?;
    trial.enforce()?;
    assert_eq!(member.ask(&attack())?, Fate::EPERM);
    assert!(other.ask(&attack())?.worked());
    assert_eq!(trial.process(other.pid())?, None);
    assert_eq!(trial.world.attacker.evidence()?.connections, 1);
    Ok(())
}

#[test]
fn arguments_tell_processes_of_one_program_apart() -> Result<()> {
    let trial = Trial::unguarded()?;
    let exe = trial.member_program().display().to_string();
    let trial = trial.with_guard(
        Setup::tool().recognised(format!("exe = \"{exe}\"\nargv = [\"serve.py\", \"--now\"]")),
    )?;
    let launch = |arguments: &[&str]| {
        let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
        trial.member_with(Launch {
            arguments,
            ..Launch::default()
        })
    };
    let member = launch(&["/srv/app/serve.py", "--now"])?;
    let other = launch(&["/srv/app/other.py", "--now"])?;
    told_apart(&trial, member, other)
}

#[test]
fn the_user_tells_processes_of_one_program_apart() -> Result<()> {
    let trial = Trial::unguarded()?;
    let exe = trial.member_program().display().to_string();
    let trial = trial
        .with_guard(Setup::tool().recognised(format!("exe = \"{exe}\"\nuser = \"{NOBODY}\"")))?;
    let launch = |user| {
        trial.member_with(Launch {
            user,
            ..Launch::default()
        })
    };
    told_apart(&trial, launch(Some(NOBODY))?, launch(None)?)
}

#[test]
fn whatever_starts_in_a_cgroup_or_below_belongs_to_it() -> Result<()> {
    let cgroup = Cgroup::create("")?;
    let below = cgroup.child("below")?;
    let trial =
        Trial::guarded(Setup::tool().recognised(format!("cgroup = \"{}\"", cgroup.path())))?;
    let mut member = trial.outsider()?;
    below.add(member.pid())?;
    member.become_copy(trial.member_program())?;
    told_apart(&trial, member, trial.outsider()?)
}

#[test]
fn a_unit_that_starts_after_the_daemon_is_recognised() -> Result<()> {
    let name = format!("slmguard-late-{}.service", std::process::id());
    let trial = Trial::guarded(Setup::tool().recognised(format!("unit = \"{name}\"")))?;
    let slice = Cgroup::create(".slice")?;
    let unit = slice.child(&name)?;
    let mut member = trial.outsider()?;
    unit.add(member.pid())?;
    member.become_copy(trial.member_program())?;
    told_apart(&trial, member, trial.outsider()?)
}
