//! `slmguard config …`

use clap::Subcommand;

use slmguard_core::decide::enforceable::gaps;

use super::{Global, out};
use crate::{
    config::shown,
    enrich::{cgroup::Cgroups, enrolment},
    exit::{Exit, Failure},
};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the configuration as the daemon would, and say what is wrong with it.
    Check,
}

pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let Command::Check = command;
    let loaded = global.load()?;
    for file in &loaded.files {
        out::line(&format!("read     {}", shown(file)))?;
    }
    let workloads = &loaded.config.workloads;
    let names: Vec<_> = workloads.iter().map(|w| w.name.as_str()).collect();
    let count = out::count(names.len() as u64, "workload", "workloads");
    out::line(format!("found    {count} {}", names.join(", ")).trim_end())?;
    // Not mistakes of the configuration: a unit may be stopped, a program not yet installed.
    for note in notes(&loaded.config) {
        out::line(&format!("note     {note}"))?;
    }
    if loaded.config.kernel.tier != "lsm" {
        for gap in gaps(workloads, "cgroup") {
            let word = if gap.breaks_a_rule { "warning" } else { "note" };
            out::line(&format!("{word:<8} {}", gap.text))?;
        }
    }
    out::line("the configuration is good")?;
    Ok(Exit::Ok)
}

fn notes(config: &slmguard_core::config::Config) -> Vec<String> {
    let mut notes = enrolment::resolve(&config.workloads, &Cgroups::discover()).unresolved;
    for workload in &config.workloads {
        for process in &workload.processes {
            let Some(exe) = &process.exe else { continue };
            if enrolment::is_script(exe) {
                notes.push(format!(
                    "workload {}, role {}: {} is a script, and what runs is its interpreter: give \
                     the interpreter as exe and the script's name in argv",
                    workload.name,
                    process.role,
                    exe.display()
                ));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_as_exe_is_pointed_out() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("serve");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let toml = format!(
            "[[workload]]\nname = \"a\"\n[[workload.process]]\nrole = \"server\"\nexe = {script:?}\n"
        );
        let notes = notes(&toml::from_str(&toml).unwrap());
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("interpreter"), "{}", notes[0]);
    }
}
