//! Who belongs to a workload: enrolment, inheritance, phases, and the end of
//! membership. The proof is whether the guard's policy holds for a process.

use anyhow::Result;
use scene::daemon::ALERT;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial, at};
use scene::wait;
use scene::world::{ATTACKER, WEATHER};
use std::net::{Ipv4Addr, Ipv6Addr};

fn attack() -> Order {
    Order::Connect(at(ATTACKER, 80))
}

fn reached(trial: &Trial) -> Result<u64> {
    Ok(trial.world.attacker.evidence()?.connections)
}

#[test]
fn a_workload_is_enrolled_when_it_starts() -> Result<()> {
    let trial = Trial::guarded(Setup::role("agent"))?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    assert_eq!(
        probe.ask(&attack())?,
        Fate::EPERM,
        "the first thing that it does"
    );
    assert_eq!(reached(&trial)?, 0);
    let process = trial.enrolled(probe.pid())?;
    assert_eq!(
        (process["role"].as_str(), &process["adopted"]),
        (Some("agent"), &false.into())
    );
    Ok(())
}

#[test]
fn a_child_is_guarded_from_its_first_instruction() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let mut probe = trial.member()?;
    for _ in 0..20 {
        assert_eq!(probe.ask(&attack().forked())?, Fate::EPERM);
    }
    assert_eq!(
        probe.ask(&attack().forked().forked())?,
        Fate::EPERM,
        "a grandchild"
    );
    assert_eq!(reached(&trial)?, 0);
    Ok(())
}

#[test]
fn without_a_guard_children_and_threads_reach_the_attacker() -> Result<()> {
    let trial = Trial::unguarded()?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&attack().forked())?.worked());
    assert!(probe.ask(&attack().forked().forked())?.worked());
    assert!(probe.ask(&attack().in_thread())?.worked());
    assert_eq!(reached(&trial)?, 3);
    Ok(())
}

#[test]
fn a_second_thread_is_guarded() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[attack_free_thread()])?;
    assert_eq!(trial.member()?.ask(&attack().in_thread())?, Fate::EPERM);
    assert_eq!(reached(&trial)?, 0);
    Ok(())
}

/// What starting a thread needs is normal behaviour.
fn attack_free_thread() -> Order {
    Order::Connect(at(WEATHER, 80)).in_thread()
}

#[test]
fn those_who_are_not_enrolled_are_not_touched() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let credentials = trial.file(".aws/credentials", "secret")?;
    let (mark, shell) = trial.shell_mark();
    let mut outsider = trial.outsider()?;
    assert!(outsider.ask(&attack())?.worked());
    assert!(outsider.ask(&Order::Read(credentials))?.worked());
    assert!(outsider.ask(&shell)?.worked());
    assert!(mark.exists());
    assert_eq!(trial.process(outsider.pid())?, None);
    assert_eq!(trial.daemon()?.alerts()?, [] as [serde_json::Value; 0]);
    Ok(())
}

#[test]
fn a_process_that_ran_before_the_daemon_is_adopted() -> Result<()> {
    let trial = Trial::prepared(Setup::tool().mode("monitor"))?;
    let mut probe = trial.member()?;
    trial.daemon()?.launch()?;
    let process = trial.enrolled(probe.pid())?;
    assert_eq!(
        (process["role"].as_str(), &process["adopted"]),
        (Some("tool"), &true.into())
    );
    trial.enforce()?;
    assert_eq!(probe.ask(&attack())?, Fate::EPERM);
    assert_eq!(reached(&trial)?, 0);
    Ok(())
}

#[test]
fn membership_ends_with_the_process() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let probe = trial.member()?;
    let pid = probe.pid();
    trial.enrolled(pid)?;
    drop(probe);
    wait::until("the process leaves the list", ALERT, || {
        Ok(trial.process(pid)?.is_none().then_some(()))
    })
}

#[test]
fn a_tool_stays_a_tool_whatever_it_starts() -> Result<()> {
    let server = "[[workload.process]]\nrole = \"server\"\nexe = \"/bin/cat\"\n";
    let trial = Trial::guarded(Setup::tool().with(server))?;
    let order = Order::exec("/bin/cat", &["/etc/hostname"]);
    assert!(trial.member()?.ask(&order)?.worked());
    let entry = trial
        .daemon()?
        .learned("trial", "read", "/etc/hostname", |subject| {
            subject == "/etc/hostname"
        })?;
    assert_eq!(entry["role"], "tool", "the server's policy is not for it");
    Ok(())
}

#[test]
fn a_program_that_a_member_starts_is_its_tool() -> Result<()> {
    let trial = Trial::guarded(Setup::role("agent"))?;
    let mut probe = trial.member()?;
    assert!(
        probe
            .ask(&Order::exec("/bin/cat", &["/etc/hostname"]))?
            .worked()
    );
    let entry = trial
        .daemon()?
        .learned("trial", "read", "/etc/hostname", |subject| {
            subject == "/etc/hostname"
        })?;
    assert_eq!(entry["role"], "tool");
    Ok(())
}

#[test]
fn a_server_that_listens_is_in_phase_serve() -> Result<()> {
    serves(Order::Listen(at(Ipv4Addr::LOCALHOST.into(), 8080)))
}

#[test]
fn a_server_that_listens_on_ipv6_is_in_phase_serve() -> Result<()> {
    serves(Order::Listen(at(Ipv6Addr::LOCALHOST.into(), 8080)))
}

/// A server may do while it starts what it may not do while it serves.
fn serves(listen: Order) -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let at_start = Order::Connect(at(WEATHER, 80));
    let while_serving = Order::Connect(at(WEATHER, 81));
    let mut probe = trial.member()?;
    assert_eq!(trial.enrolled(probe.pid())?["phase"], "start");
    assert!(probe.ask(&at_start)?.worked());
    assert!(probe.ask(&listen)?.worked());
    probe.ask(&while_serving)?;
    wait::until("the server serves", ALERT, || {
        Ok(trial
            .process(probe.pid())?
            .filter(|process| process["phase"] == "serve")
            .map(drop))
    })?;
    drop(probe);
    trial.enforce()?;

    let mut probe = trial.member()?;
    assert_eq!(
        probe.ask(&while_serving)?,
        Fate::EPERM,
        "not while it starts"
    );
    assert!(probe.ask(&at_start)?.worked());
    assert!(probe.ask(&listen)?.worked());
    assert_eq!(probe.ask(&at_start)?, Fate::EPERM, "not while it serves");
    Ok(())
}
