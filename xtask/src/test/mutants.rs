//! `cargo xtask test --mutants`: with any one hook disabled, the test named for it must fail.
//!
//! The daemon lists its hooks and the test that guards each. A hook that can be taken away
//! unnoticed is a hook nobody tests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::plan::{self, Entry, Outcome};
use super::report::Report;
use super::{in_guest, libtest};
use crate::{paths, sh, ui};

/// A hook, and the test that must notice its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mutant {
    hook: String,
    tier: Tier,
    file: String,
    test: String,
}

/// Where the test must run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    /// On this machine.
    Cgroup,
    /// In a guest whose kernel has BPF LSM.
    Lsm,
}

/// The kernel for hooks of the LSM tier.
const LSM_KERNEL: &str = "6.12";

/// Runs each guarding test as it is, and with its hook disabled.
pub fn run(report: &mut Report, programs: &[Entry], env: &BTreeMap<String, String>) -> Result<()> {
    let mut list = sh::command(paths::release_bin("slmguard"));
    list.args(["hooks", "--json"]);
    let mutants = parse(&sh::output(list)?)?;
    for (tier, kernel) in [(Tier::Cgroup, "native"), (Tier::Lsm, LSM_KERNEL)] {
        let mine: Vec<&Mutant> = mutants
            .iter()
            .filter(|mutant| mutant.tier == tier)
            .collect();
        if mine.is_empty() {
            continue;
        }
        let entries = entries(&mine, programs, env, kernel)?;
        let outcomes = match tier {
            Tier::Cgroup => plan::execute(&entries)?,
            Tier::Lsm => in_guest(kernel, &entries)?,
        };
        judge(report, kernel, &mine, &entries, &outcomes);
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Mutant>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let value: Value = serde_json::from_str(line)
                .with_context(|| format!("`slmguard hooks --json` printed {line:?}"))?;
            let field = |name: &str| {
                value[name]
                    .as_str()
                    .with_context(|| format!("no `{name}` in hook {line}"))
            };
            let (hook, test) = (field("hook")?, field("test")?);
            let (file, test) = test
                .split_once("::")
                .with_context(|| format!("hook {hook}: `{test}` is not file::test"))?;
            let tier = if field("tier")? == "lsm" {
                Tier::Lsm
            } else {
                Tier::Cgroup
            };
            Ok(Mutant {
                hook: hook.into(),
                tier,
                file: file.into(),
                test: test.into(),
            })
        })
        .collect()
}

/// First every distinct test as it is, then one run per hook with that hook disabled.
fn entries(
    mutants: &[&Mutant],
    programs: &[Entry],
    env: &BTreeMap<String, String>,
    kernel: &str,
) -> Result<Vec<Entry>> {
    let entry = |mutant: &Mutant, disabled: Option<&str>| -> Result<Entry> {
        let Some(program) = programs.iter().find(|program| program.label == mutant.file) else {
            bail!(
                "hook {}: there is no test file tests/tests/{}.rs",
                mutant.hook,
                mutant.file
            );
        };
        let mut entry = program.clone();
        entry.label = match disabled {
            Some(hook) => format!("{} without {hook}", mutant.test),
            None => mutant.test.clone(),
        };
        entry.args = ["--test-threads=1", "--show-output", "--exact", &mutant.test]
            .map(str::to_owned)
            .into();
        entry.env = env.clone();
        entry
            .env
            .insert("SLMGUARD_KERNEL".to_owned(), kernel.to_owned());
        if mutant.tier == Tier::Cgroup {
            // Where this machine's kernel has BPF LSM, its hooks would hide the loss.
            entry
                .env
                .insert("SLMGUARD_TEST_TIER".to_owned(), "cgroup".to_owned());
        }
        if let Some(hook) = disabled {
            entry
                .env
                .insert("SLMGUARD_TEST_DISABLE_HOOK".to_owned(), hook.to_owned());
        }
        Ok(entry)
    };
    let mut distinct = BTreeSet::new();
    let whole = mutants
        .iter()
        .filter(|mutant| distinct.insert((&mutant.file, &mutant.test)));
    whole
        .map(|mutant| entry(mutant, None))
        .chain(
            mutants
                .iter()
                .map(|mutant| entry(mutant, Some(&mutant.hook))),
        )
        .collect()
}

fn judge(
    report: &mut Report,
    kernel: &str,
    mutants: &[&Mutant],
    entries: &[Entry],
    outcomes: &[Outcome],
) {
    let stage = format!("mutants-{kernel}");
    let whole = entries.len() - mutants.len();
    for (index, outcome) in outcomes.iter().enumerate() {
        let result = libtest::parse(&outcome.stdout);
        let ran = result.passed.len() + result.failed.len();
        let said = format!(
            "{}\n{}",
            outcome.stdout.trim_end(),
            outcome.stderr.trim_end()
        );
        if index < whole {
            let good = ran == 1 && outcome.success && result.not_runnable.is_empty();
            let name = format!("{} passes", outcome.label);
            report.check(&stage, &name, good, &format!("{ran} tests ran\n{said}"));
        } else {
            let hook = &mutants[index - whole].hook;
            let noticed = ran == 1 && result.failed.len() == 1;
            let name = format!("{hook} is missed by {}", mutants[index - whole].test);
            ui::note(
                "mutant",
                hook,
                if noticed { "noticed" } else { "NOT NOTICED" },
            );
            report.check(
                &stage,
                &name,
                noticed,
                &format!("{ran} tests ran, none failed\n{said}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOOKS: &str = "{\"hook\":\"connect4\",\"tier\":\"cgroup\",\"test\":\"connect::denies_v4\"}\n\
        {\"hook\":\"lsm_connect\",\"tier\":\"lsm\",\"test\":\"connect::denies_v4\"}\n";

    fn program() -> Entry {
        Entry {
            label: "connect".into(),
            program: "/t/connect".into(),
            args: vec![],
            env: BTreeMap::new(),
            dir: "/".into(),
            limit: Duration::from_secs(1),
        }
    }

    fn outcome(stdout: &str, success: bool) -> Outcome {
        Outcome {
            label: "x".into(),
            stdout: stdout.into(),
            stderr: String::new(),
            status: String::new(),
            success,
            time: Duration::ZERO,
        }
    }

    #[test]
    fn each_hook_gets_its_run_and_each_test_one_without_a_mutation() {
        let mutants = parse(HOOKS).unwrap();
        assert_eq!(mutants[1].tier, Tier::Lsm);
        let both: Vec<&Mutant> = mutants.iter().collect();
        let entries = entries(&both, &[program()], &BTreeMap::new(), "native").unwrap();
        assert_eq!(entries.len(), 3);
        assert!(!entries[0].env.contains_key("SLMGUARD_TEST_DISABLE_HOOK"));
        assert_eq!(entries[2].env["SLMGUARD_TEST_DISABLE_HOOK"], "lsm_connect");
    }

    #[test]
    fn a_hook_nobody_misses_fails() {
        let mutants = parse(HOOKS.lines().next().unwrap()).unwrap();
        let mine: Vec<&Mutant> = mutants.iter().collect();
        let runs = entries(&mine, &[program()], &BTreeMap::new(), "native").unwrap();
        let passes = "test denies_v4 ... ok\n\ntest result: ok. 1 passed; 0 failed\n";
        let fails = "test denies_v4 ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed\n";
        let mut report = Report::default();
        judge(
            &mut report,
            "native",
            &mine,
            &runs,
            &[outcome(passes, true), outcome(fails, false)],
        );
        assert!(report.close());
        let mut report = Report::default();
        judge(
            &mut report,
            "native",
            &mine,
            &runs,
            &[outcome(passes, true), outcome(passes, true)],
        );
        assert!(!report.close());
    }

    #[test]
    fn a_hook_without_a_test_file_is_an_error() {
        let mutants = parse(HOOKS).unwrap();
        let mine: Vec<&Mutant> = mutants.iter().collect();
        let error = entries(&mine, &[], &BTreeMap::new(), "native").unwrap_err();
        assert!(error.to_string().contains("tests/tests/connect.rs"));
    }
}
