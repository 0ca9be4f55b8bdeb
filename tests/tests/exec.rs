//! Programs that a guarded workload starts. The proof is the mark that a shell
//! leaves, or does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use scene::probe::{Fate, Order};
use scene::trial::{Setup, Trial};

#[test]
fn without_a_guard_a_shell_runs() -> Result<()> {
    let trial = Trial::unguarded()?;
    let (mark, shell) = trial.shell_mark();
    assert!(trial.member()?.ask(&shell)?.worked());
    assert_eq!(fs::read_to_string(mark)?, "ran\n");
    Ok(())
}

#[test]
fn a_program_outside_the_policy_does_not_run() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    let known = Order::exec("/bin/true", &[]);
    trial.learn_and_enforce(std::slice::from_ref(&known))?;
    let (mark, shell) = trial.shell_mark();
    let mut probe = trial.member()?;
    assert_eq!(probe.ask(&shell)?, trial.undeniable(Fate::CHILD_SHOT)?);
    assert!(!mark.exists());
    assert!(probe.ask(&known)?.worked());

    let shell = fs::canonicalize("/bin/sh")?.display().to_string();
    let alert = trial.alert("exec", &shell)?;
    assert_eq!(alert["prevented"], true);
    let (verdict, hook) = match trial.daemon()?.tier()?.as_str() {
        "lsm" => ("blocked", "lsm_exec"),
        _ => ("killed", "process_exec"),
    };
    assert_eq!(
        (alert["verdict"].as_str(), alert["hook"].as_str()),
        (Some(verdict), Some(hook))
    );
    Ok(())
}

#[test]
fn becoming_another_program_is_starting_it() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let fate = trial.member()?.ask(&Order::Become("/bin/sh".into()))?;
    assert_eq!(fate, trial.undeniable(Fate::SHOT)?);
    Ok(())
}

#[test]
fn a_script_outside_the_policy_does_not_run() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    trial.learn_and_enforce(&[])?;
    let mark = trial.path("mark");
    let script = trial.file(
        "script",
        &format!("#!/bin/sh\necho ran > {}\n", mark.display()),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let fate = trial.member()?.ask(&Order::Exec(script, Vec::new()))?;
    assert!(!fate.worked(), "{fate:?}");
    assert!(!mark.exists());
    Ok(())
}

#[test]
fn an_operator_s_rule_allows_what_was_never_seen() -> Result<()> {
    let rules = "[workload.allow]\nexec = [\"/usr/bin/true\", \"/bin/true\"]";
    let trial = Trial::guarded(Setup::tool().with(rules))?;
    // Another program makes the files known that both need.
    trial.learn_and_enforce(&[Order::exec("/bin/echo", &[])])?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::exec("/bin/true", &[]))?.worked());
    assert!(!probe.ask(&Order::exec("/bin/false", &[]))?.worked());
    let exec = trial.daemon()?.alerts()?;
    let exec = exec
        .iter()
        .filter(|alert| alert["kind"] == "exec" && alert["subject"] == "/usr/bin/true");
    assert_eq!(exec.count(), 0);
    Ok(())
}

#[test]
fn monitor_mode_lets_a_program_run_and_tells() -> Result<()> {
    let trial = Trial::guarded(Setup::tool().mode("monitor"))?;
    let (mark, shell) = trial.shell_mark();
    assert!(trial.member()?.ask(&shell)?.worked());
    assert!(mark.exists());
    let shell = fs::canonicalize("/bin/sh")?.display().to_string();
    assert_eq!(trial.alert("exec", &shell)?["verdict"], "would_block");
    Ok(())
}
