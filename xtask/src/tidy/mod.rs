//! `cargo xtask tidy`: the house's rules as checks that fail, with file and line.
//!
//! Reads the files that git tracks or would track; the rules themselves are pure and stand in
//! `rust` and `other`.

mod other;
mod rust;
mod source;

use std::env;
use std::fmt;
use std::fs;

use anyhow::{Result, bail};
use clap::Args;

use crate::{paths, sh, ui};

/// Checks the house's rules.
///
/// Lengths, opening comments, where aya and unsafe may stand, hook
/// comments, reasons for silenced lints, no unfinished work, no traces of one machine.
#[derive(Args)]
pub struct Tidy {}

/// Something to put right.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    /// A finding at a line, counted from 1.
    pub fn new(path: &str, line: usize, message: String) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Runs the command.
pub fn run(_: &Tidy) -> Result<()> {
    ui::step("lint", "tidy", |_| check())
}

/// Checks all files; the error lists every finding.
pub fn check() -> Result<()> {
    let mut git = sh::command("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listing = sh::output(git)?;
    let root = paths::root().canonicalize()?;
    let mut places = vec![root.to_string_lossy().into_owned()];
    places.extend(
        root.parent()
            .map(|parent| parent.to_string_lossy().into_owned()),
    );
    places.extend(env::var("HOME").ok());
    let mut found = Vec::new();
    let mut files = 0;
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // Listed but deleted, or no text: nothing to read.
        let Ok(text) = fs::read_to_string(root.join(path)) else {
            continue;
        };
        files += 1;
        found.extend(check_file(path, &text, &places));
    }
    if files == 0 {
        bail!(
            "git lists no files below {}: nothing was checked",
            root.display()
        );
    }
    if !found.is_empty() {
        let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
        bail!(
            "{} in {files} files\n{}",
            plural(found.len()),
            lines.join("\n")
        );
    }
    Ok(())
}

fn plural(count: usize) -> String {
    if count == 1 {
        "1 finding".to_owned()
    } else {
        format!("{count} findings")
    }
}

fn check_file(path: &str, text: &str, places: &[String]) -> Vec<Finding> {
    let mut found = other::registries(path, text);
    found.extend(other::machine_paths(path, text, places));
    found.extend(other::npm_lock(path, text));
    found.extend(other::dependencies(path, text));
    if path.ends_with(".rs") {
        found.extend(rust::check(path, text));
    }
    found
}
