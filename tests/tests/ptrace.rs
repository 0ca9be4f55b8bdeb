//! Other processes, traced or read. The proof is what was read of them.

use anyhow::Result;
use scene::probe::{Fate, Launch, Order, TRACE_ME};
use scene::trial::{Setup, Trial, program_of, text};

/// With what a program begins in memory.
const MAGIC: &str = "\u{7f}ELF";

#[test]
fn without_a_guard_processes_are_traced_and_read() -> Result<()> {
    let trial = Trial::unguarded()?;
    let outsider = trial.outsider()?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Trace(outsider.pid()))?.worked());
    let read = Order::ReadMemory(outsider.pid(), program_of(outsider.pid())?);
    assert_eq!(probe.ask(&read)?, Fate::Done(MAGIC.into()));
    let offered = Order::Exec(trial.tool_program().into(), vec![TRACE_ME.into()]);
    assert!(probe.ask(&offered)?.worked());
    Ok(())
}

#[test]
fn another_process_is_not_traced() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let outsider = trial.outsider()?;
    let fate = trial.member()?.ask(&Order::Trace(outsider.pid()))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    let alert = trial.alert("facility", "ptrace")?;
    assert_eq!(alert["severity"], "critical");
    Ok(())
}

#[test]
fn another_process_is_not_read() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let outsider = trial.outsider()?;
    let read = Order::ReadMemory(outsider.pid(), program_of(outsider.pid())?);
    assert_eq!(trial.member()?.ask(&read)?, trial.undeniable(Fate::SHOT)?);
    Ok(())
}

#[test]
fn tracing_is_never_learned_nor_allowed() -> Result<()> {
    let rules = "[workload.allow]\nfacilities = [\"ptrace\", \"process-memory\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    let outsider = trial.outsider()?;
    let trace = Order::Trace(outsider.pid());
    assert!(
        trial.member()?.ask(&trace)?.worked(),
        "mode learn lets it through"
    );
    assert_eq!(trial.alert("facility", "ptrace")?["verdict"], "audited");
    trial.enforce()?;
    assert_eq!(trial.member()?.ask(&trace)?, trial.undeniable(Fate::SHOT)?);
    Ok(())
}

#[test]
fn processes_of_one_class_may_trace_each_other() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let other = trial.member()?;
    trial.enrolled(other.pid())?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Trace(other.pid()))?.worked());
    let own = Order::ReadMemory(probe.pid(), program_of(probe.pid())?);
    assert_eq!(probe.ask(&own)?, Fate::Done(MAGIC.into()));
    Ok(())
}

#[test]
fn a_tool_is_not_traced_by_its_agent() -> Result<()> {
    let trial = Trial::guarded(Setup::role("agent").mode("monitor"))?;
    let offered = Order::Exec(trial.tool_program().into(), vec![TRACE_ME.into()]);
    let fate = trial.member()?.ask(&offered)?;
    if trial.daemon()?.tier()? == "lsm" {
        assert!(matches!(fate, Fate::ChildFailed(_)), "{fate:?}");
    } else {
        assert_eq!(fate, Fate::CHILD_SHOT);
    }
    let alert = trial.alert("facility", "ptrace")?;
    assert_eq!(alert["role"], "tool");
    Ok(())
}

#[test]
fn a_process_that_is_traced_gains_nothing_by_an_exec() -> Result<()> {
    let server = "[[workload.process]]\nrole = \"server\"\nargv = [\"serve\"]\n";
    let trial = Trial::unguarded()?;
    let exe = format!("exe = {:?}\n", text(trial.tool_program()));
    let trial = trial.with_guard(Setup::role("agent").with(&format!("{server}{exe}")))?;
    // A server that nobody traces is one.
    let fresh = trial.outsider_with(Launch {
        arguments: vec!["serve".into()],
        ..Launch::default()
    })?;
    assert_eq!(trial.enrolled(fresh.pid())?["role"], "server");
    // One that its agent traces stays what its agent is.
    let mut agent = trial.member()?;
    let traced = Order::TracedExec(trial.tool_program().into(), vec!["serve".into()]);
    let fate = agent.ask(&traced)?;
    let Fate::Done(pid) = fate else {
        panic!("{fate:?}")
    };
    let process = trial.enrolled(pid.parse()?)?;
    assert_eq!(process["role"], "agent");
    Ok(())
}
