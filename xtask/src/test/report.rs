//! Collects what passed and failed over all stages, and tells it at the end.
//!
//! Pure but for printing: no process is started here.

use super::libtest::{self, NotRunnable};
use super::plan::Outcome;
use crate::ui;

/// One thing that passed or failed.
struct Check {
    stage: String,
    name: String,
    passed: bool,
}

/// Something to read again at the end.
struct Failure {
    title: String,
    detail: String,
}

/// A claim that another test covers what could not run here.
struct Claim {
    stage: String,
    /// `file::test` that made it.
    name: String,
    claim: NotRunnable,
}

/// Everything seen so far.
#[derive(Default)]
pub struct Report {
    checks: Vec<Check>,
    failures: Vec<Failure>,
    claims: Vec<Claim>,
    /// How many tests of test programs ended, one way or the other.
    tests: usize,
}

impl Report {
    /// Records what a stage's test programs said; a stage without a single test is a failure,
    /// unless the person asked for some tests only.
    pub fn outcomes(
        &mut self,
        stage: &str,
        outcomes: anyhow::Result<Vec<Outcome>>,
        narrowed: bool,
    ) {
        match outcomes {
            Ok(outcomes) => {
                let before = self.tests;
                for outcome in &outcomes {
                    self.outcome(stage, outcome);
                }
                if self.tests == before && !narrowed {
                    self.check(stage, "any test", false, "not one test ran in this stage");
                }
            }
            Err(error) => self.check(stage, "run", false, &format!("{error:#}")),
        }
    }

    /// How many tests of test programs ran.
    pub fn tests(&self) -> usize {
        self.tests
    }

    /// Records one check.
    pub fn check(&mut self, stage: &str, name: &str, passed: bool, detail: &str) {
        self.checks.push(Check {
            stage: stage.to_owned(),
            name: name.to_owned(),
            passed,
        });
        if !passed {
            self.failures.push(Failure {
                title: format!("{stage}: {name}"),
                detail: detail.trim_end().to_owned(),
            });
        }
    }

    /// Records a step: whether it worked, and the error if not.
    pub fn step<T>(&mut self, stage: &str, name: &str, result: anyhow::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.check(stage, name, true, "");
                Some(value)
            }
            Err(error) => {
                self.check(stage, name, false, &format!("{error:#}"));
                None
            }
        }
    }

    fn outcome(&mut self, stage: &str, outcome: &Outcome) {
        let report = libtest::parse(&outcome.stdout);
        self.tests += report.passed.len() + report.failed.len();
        let full = |test: &str| format!("{}::{test}", outcome.label);
        for test in &report.passed {
            self.check(stage, &full(test), true, "");
        }
        let all = format!(
            "{}\n{}",
            outcome.stdout.trim_end(),
            outcome.stderr.trim_end()
        );
        for (index, test) in report.failed.iter().enumerate() {
            // One copy of a program's output is enough for all its failures.
            let detail = if index == 0 {
                all.as_str()
            } else {
                "see above"
            };
            self.check(stage, &full(test), false, detail);
        }
        if !report.complete || (report.failed.is_empty() && !outcome.success) {
            let during = report.unfinished.as_deref().unwrap_or("(outside any test)");
            let detail = format!("{}\n{all}", outcome.status);
            self.check(stage, &full(during), false, &detail);
        }
        for claim in report.not_runnable {
            self.claims.push(Claim {
                stage: stage.to_owned(),
                name: full(&claim.test),
                claim,
            });
        }
    }

    /// Lists what could not run, and whether its cover passed; a missing cover is a failure when
    /// `complete` says that every stage ran.
    pub fn settle_claims(&mut self, complete: bool) {
        let claims = std::mem::take(&mut self.claims);
        if claims.is_empty() {
            return;
        }
        ui::section("not runnable here, covered elsewhere");
        for Claim { stage, name, claim } in &claims {
            let covered = self.passed_for_real(&claim.covered_by, &claims);
            let mark = if covered { "covered" } else { "NOT COVERED" };
            ui::line(&format!(
                "  {stage}: {}, covered by {}: {mark}",
                claim.what, claim.covered_by
            ));
            if !covered && complete {
                let detail = format!(
                    "{} cannot run on this kernel, and {}, which is to cover it, did not pass",
                    claim.what, claim.covered_by
                );
                self.check(stage, &format!("{name} (cover)"), false, &detail);
            }
        }
    }

    /// Whether `wanted` (`file::test` or `stage:file::test`) passed somewhere where it could run.
    fn passed_for_real(&self, wanted: &str, claims: &[Claim]) -> bool {
        let (stage, name) = split_stage(wanted);
        self.checks.iter().any(|check| {
            check.passed
                && check.name == name
                && stage.is_none_or(|stage| stage == check.stage)
                && !claims
                    .iter()
                    .any(|claim| claim.stage == check.stage && claim.name == name)
        })
    }

    /// Prints all failures again and the closing line; true if all is well.
    pub fn close(&self) -> bool {
        if !self.failures.is_empty() {
            ui::section("failures");
            for failure in &self.failures {
                ui::line(&format!("\n✗ {}", failure.title));
                for line in failure.detail.lines() {
                    ui::line(&format!("    {line}"));
                }
            }
            ui::line("");
            for failure in &self.failures {
                ui::line(&format!("✗ {}", failure.title));
            }
        }
        let failed = self.checks.iter().filter(|check| !check.passed).count();
        let passed = self.checks.len() - failed;
        if passed + failed == 0 {
            ui::line("no test ran");
        }
        ui::line(&format!("\n{passed} passed, {failed} failed"));
        failed == 0 && passed > 0
    }
}

/// `vm-6.12:open::deny` is stage and test; in `open::deny` the colons belong to the test.
fn split_stage(wanted: &str) -> (Option<&str>, &str) {
    match wanted.split_once(':') {
        Some((stage, rest)) if !rest.starts_with(':') => (Some(stage), rest),
        _ => (None, wanted),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome(label: &str, stdout: &str, success: bool) -> Outcome {
        Outcome {
            label: label.into(),
            stdout: stdout.into(),
            stderr: String::new(),
            status: "exit status 0".into(),
            success,
            time: Duration::ZERO,
        }
    }

    const SAYS_NOT_RUNNABLE: &str = "test deny ... ok\n\nsuccesses:\n\n---- deny stdout ----\n\
        not runnable: EPERM, covered by open::deny\n\ntest result: ok. 1 passed; 0 failed\n";
    const RUNS: &str = "test deny ... ok\n\ntest result: ok. 1 passed; 0 failed\n";

    #[test]
    fn a_stage_prefix_is_told_from_a_module_path() {
        assert_eq!(
            split_stage("vm-6.12:open::deny"),
            (Some("vm-6.12"), "open::deny")
        );
        assert_eq!(split_stage("open::deny"), (None, "open::deny"));
    }

    #[test]
    fn a_test_does_not_cover_for_itself() {
        let mut report = Report::default();
        report.outcome("native", &outcome("open", SAYS_NOT_RUNNABLE, true));
        report.settle_claims(true);
        assert_eq!(report.failures.len(), 1);
    }

    #[test]
    fn a_pass_on_another_kernel_covers() {
        let mut report = Report::default();
        report.outcome("native", &outcome("open", SAYS_NOT_RUNNABLE, true));
        report.outcome("vm-6.12", &outcome("open", RUNS, true));
        report.settle_claims(true);
        assert!(report.close());
    }

    #[test]
    fn a_missing_cover_fails_only_a_complete_run() {
        let mut report = Report::default();
        report.outcome("native", &outcome("open", SAYS_NOT_RUNNABLE, true));
        report.settle_claims(false);
        assert!(report.close());
    }

    #[test]
    fn a_program_that_dies_is_a_failure_and_no_test_at_all_is_one_too() {
        let mut report = Report::default();
        report.outcome(
            "native",
            &outcome("open", "test a ... ok\ntest b ... ", false),
        );
        assert_eq!(report.failures.len(), 1);
        assert_eq!(report.failures[0].title, "native: open::b");
        assert!(!Report::default().close());
    }
}
