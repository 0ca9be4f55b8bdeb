//! `docs/tiers.md`: what becomes of each operation on each tier, made from what the tests saw, and
//! checked against what is committed.
//!
//! Pure but for reading and writing that one file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::plan::Outcome;
use crate::{paths, sh};

/// The test file whose output is read.
pub const FILE: &str = "outcomes";

/// What the tests of one run saw: operation, tier, and what happened on which kernels.
#[derive(Debug, Default)]
pub struct Seen {
    /// In the order in which the table names them.
    operations: Vec<String>,
    fates: BTreeMap<(String, String), BTreeMap<String, Vec<String>>>,
    kernels: Vec<String>,
}

impl Seen {
    /// Takes in what one stage's test programs printed.
    pub fn collect(&mut self, kernel: &str, outcomes: &[Outcome]) {
        for outcome in outcomes.iter().filter(|o| o.label == FILE) {
            self.lines(kernel, &outcome.stdout);
        }
    }

    fn lines(&mut self, kernel: &str, text: &str) {
        for line in text.lines().filter_map(|l| l.strip_prefix("outcome ")) {
            let Ok(value) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            let (operation, tier) = (word("operation"), word("tier"));
            if !self.operations.contains(&operation) {
                self.operations.push(operation.clone());
            }
            if !self.kernels.iter().any(|k| k == kernel) {
                self.kernels.push(kernel.to_owned());
            }
            let fates = self.fates.entry((operation, tier)).or_default();
            fates
                .entry(word("fate"))
                .or_default()
                .push(kernel.to_owned());
        }
    }

    /// Whether every kernel that the page speaks of was seen.
    pub fn is_whole(&self) -> bool {
        ["native", "6.1", "6.12"]
            .iter()
            .all(|k| self.kernels.iter().any(|seen| seen == k))
    }

    fn cell(&self, operation: &str, tier: &str) -> String {
        let key = (operation.to_owned(), tier.to_owned());
        match self.fates.get(&key) {
            None => "not seen".into(),
            Some(fates) if fates.len() == 1 => fates.keys().cloned().collect(),
            Some(fates) => {
                let parts = fates
                    .iter()
                    .map(|(fate, on)| format!("{fate} on {}", on.join(", ")));
                parts.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// The page. `hooks` is what `slmguard hooks --json` prints.
    pub fn page(&self, hooks: &str) -> Result<String> {
        let mut page = String::from(HEAD);
        page.push_str("\n| operation | `cgroup` tier | `lsm` tier |\n|---|---|---|\n");
        for operation in &self.operations {
            let (cgroup, lsm) = (self.cell(operation, "cgroup"), self.cell(operation, "lsm"));
            writeln!(page, "| {operation} | {cgroup} | {lsm} |")?;
        }
        page.push_str(HOOKS);
        for line in hooks.lines() {
            let hook: Value = serde_json::from_str(line).context("slmguard hooks --json")?;
            let word = |key: &str| hook[key].as_str().unwrap_or("—").to_owned();
            writeln!(
                page,
                "| `{}` | {} | {} | {} | `{}` |",
                word("hook"),
                word("guards"),
                word("cgroup"),
                word("lsm"),
                word("test")
            )?;
        }
        Ok(page)
    }
}

const HEAD: &str = "\
# What becomes of each operation, by tier

Made from test results by `cargo xtask tiers`; a whole test run fails if it differs from what the
tests saw. The expectation that the tests hold against the kernel is `tests/outcomes.md`.

Every operation is carried out by a member with role `tool`, in mode `enforce`, outside the policy.
`cgroup` tier: a kernel without BPF LSM, and Debian's 6.1 and 6.12 told to do without it. `lsm`
tier: Debian's 6.1 and 6.12.

- **refused**: it fails with EPERM before it takes effect, and the process lives: *prevented*.
- **killed**: the process is killed before it can use the result: *detected*, and prevented only
  where nobody else could use the result meanwhile ([limitations](limitations.md)).
- **child killed**: the program that was started is killed before its first instruction:
  *prevented*.

## Operations
";

const HOOKS: &str = "
## Kernel programs
What each does on a tier: *prevents* (the operation does not happen), *kills* (the process does not
live to use it), *tracks* (nothing is denied by it alone); — where it is not attached. The test is
the one that fails while the program is disabled.

| program | guards | `cgroup` tier | `lsm` tier | test |
|---|---|---|---|---|
";

fn file() -> PathBuf {
    paths::root().join("docs/tiers.md")
}

fn hooks() -> Result<String> {
    let mut command = sh::command(paths::release_bin("slmguard"));
    command.args(["hooks", "--json"]);
    sh::output(command)
}

/// Fails if the committed page is not what the tests saw.
pub fn check(seen: &Seen) -> Result<()> {
    let committed = fs::read_to_string(file()).unwrap_or_default();
    let page = seen.page(&hooks()?)?;
    if committed != page {
        let news = page
            .lines()
            .filter(|line| !committed.lines().any(|l| l == *line));
        let news: Vec<&str> = news.take(10).collect();
        bail!(
            "docs/tiers.md is not what the tests saw; `cargo xtask tiers` writes it. New lines:\n{}",
            news.join("\n")
        );
    }
    Ok(())
}

/// Writes the page.
pub fn write(seen: &Seen) -> Result<()> {
    let page = seen.page(&hooks()?)?;
    fs::write(file(), page).with_context(|| format!("writing {}", file().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_differ_are_named() {
        let mut seen = Seen::default();
        let line = |fate: &str| {
            format!(
                "noise\noutcome {{\"operation\":\"read\",\"tier\":\"lsm\",\"fate\":\"{fate}\"}}\n"
            )
        };
        seen.lines("6.1", &line("refused"));
        assert_eq!(seen.cell("read", "lsm"), "refused");
        seen.lines("6.12", &line("killed"));
        assert_eq!(seen.cell("read", "lsm"), "killed on 6.12; refused on 6.1");
        assert_eq!(seen.cell("read", "cgroup"), "not seen");
        assert!(!seen.is_whole());
    }

    #[test]
    fn hooks_have_a_row_each() {
        let hooks = r#"{"hook":"connect4","guards":"g","lsm":"prevents","test":"a::b"}"#;
        let page = Seen::default().page(hooks).unwrap();
        assert!(
            page.ends_with("| `connect4` | g | — | prevents | `a::b` |\n"),
            "{page}"
        );
    }
}
