//! Reads what a Rust test program printed: which tests passed, failed, or could not run here.
//!
//! Pure: text in, outcome out.

/// What one run of a test program said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names of tests that passed.
    pub passed: Vec<String>,
    /// Names of tests that failed.
    pub failed: Vec<String>,
    /// Whether the program came to its own summary; if not, it was ended before.
    pub complete: bool,
    /// The test that had begun and not ended when the program stopped.
    pub unfinished: Option<String>,
    /// What could not run, and what covers it.
    pub not_runnable: Vec<NotRunnable>,
}

/// One `not runnable: WHAT, covered by WHOM` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRunnable {
    /// The test that said so.
    pub test: String,
    /// What this kernel cannot run.
    pub what: String,
    /// The test that must have passed instead: `file::test`, or `stage:file::test`.
    pub covered_by: String,
}

/// Parses the stdout of a test program run with `--show-output` (or without).
pub fn parse(stdout: &str) -> Report {
    let mut report = Report::default();
    let mut pending: Option<String> = None;
    // Tests whose verdict was lost among output of their own children; the summary settles them.
    let mut unclear: Vec<String> = Vec::new();
    let mut listed_failures: Vec<String> = Vec::new();
    let mut in_failures = false;
    let mut speaker = String::new();
    for line in stdout.lines() {
        if let Some(rest) = line.strip_prefix("test result: ") {
            report.complete = rest.starts_with("ok") || rest.starts_with("FAILED");
        } else if let Some((name, verdict)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            unclear.extend(pending.take());
            pending = settle(&mut report, name.to_owned(), verdict);
        } else if let Some(name) = pending.take() {
            pending = settle(&mut report, name, line);
        } else if line == "failures:" {
            in_failures = true;
        } else if in_failures && line.starts_with("    ") {
            listed_failures.push(line.trim().to_owned());
        }
        if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            speaker = name.to_owned();
        }
        if let Some((what, covered_by)) = line
            .trim()
            .strip_prefix("not runnable: ")
            .and_then(|rest| rest.rsplit_once(", covered by "))
        {
            report.not_runnable.push(NotRunnable {
                test: speaker.clone(),
                what: what.to_owned(),
                covered_by: covered_by.trim().to_owned(),
            });
        }
    }
    if report.complete {
        unclear.extend(pending.take());
        for name in unclear {
            if listed_failures.contains(&name) {
                report.failed.push(name);
            } else {
                report.passed.push(name);
            }
        }
    } else {
        report.unfinished = pending.or(unclear.pop());
    }
    report
}

/// Files a verdict; gives the name back if the line holds none.
fn settle(report: &mut Report, name: String, line: &str) -> Option<String> {
    // `name - should panic` is how some tests are announced.
    let plain = name.split(" - ").next().unwrap_or(&name).to_owned();
    let line = line.trim();
    if line == "ok" || line.starts_with("ok <") {
        report.passed.push(plain);
    } else if line == "FAILED" || line.starts_with("FAILED <") {
        report.failed.push(plain);
    } else if !line.starts_with("ignored") {
        return Some(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_and_failures_are_told_apart() {
        let report = parse(
            "\nrunning 2 tests\ntest a::one ... ok\ntest two - should panic ... FAILED\n\n\
             failures:\n\n---- two stdout ----\nbad\n\nfailures:\n    two\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n",
        );
        assert_eq!(report.passed, ["a::one"]);
        assert_eq!(report.failed, ["two"]);
        assert!(report.complete);
    }

    #[test]
    fn output_of_children_between_name_and_verdict_does_no_harm() {
        let report = parse(
            "test a ... server started\nlistening\nok\ntest b ... noise without an end\n\
             test c ... ok\n\nfailures:\n    a_is_not_b\n\n\
             test result: ok. 3 passed; 0 failed; 0 ignored\n",
        );
        assert_eq!(report.passed, ["a", "c", "b"]);
        assert!(report.failed.is_empty());
    }

    #[test]
    fn a_program_that_dies_names_the_test_it_died_in() {
        let report = parse("running 3 tests\ntest a ... ok\ntest b ... ");
        assert!(!report.complete);
        assert_eq!(report.unfinished.as_deref(), Some("b"));
    }

    #[test]
    fn what_cannot_run_is_collected_with_its_cover() {
        let report = parse(
            "test deny_lsm ... ok\n\nsuccesses:\n\n---- deny_lsm stdout ----\n\
             not runnable: EPERM for opens, covered by vm-6.12:open::deny_lsm\n\n\
             test result: ok. 1 passed; 0 failed\n",
        );
        assert_eq!(
            report.not_runnable,
            [NotRunnable {
                test: "deny_lsm".into(),
                what: "EPERM for opens".into(),
                covered_by: "vm-6.12:open::deny_lsm".into(),
            }],
        );
    }
}
