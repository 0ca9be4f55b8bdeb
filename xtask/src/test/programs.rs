//! Builds all test programs once and sorts them: unit tests here, end-to-end tests everywhere.
//!
//! Knows cargo's messages; must not run a test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::plan::Entry;
use crate::{sh, ui};

/// The package whose `tests/*.rs` are the end-to-end tests.
const END_TO_END: &str = "slmguard-tests";

/// The test programs of the workspace.
#[derive(Default)]
pub struct Programs {
    /// Unit and property tests.
    pub unit: Vec<Entry>,
    /// End-to-end tests.
    pub end_to_end: Vec<Entry>,
}

/// Builds them.
pub fn build() -> Result<Programs> {
    let json = ui::step("build", "test programs", |progress| {
        let mut cargo = sh::cargo();
        cargo
            .args(["test", "--release", "--workspace", "--no-run"])
            .arg("--message-format=json-render-diagnostics");
        let watched = sh::watch(cargo, progress)?;
        if !watched.success {
            bail!(
                "building the tests failed ({})\n{}",
                watched.status,
                sh::words(&watched.all)
            );
        }
        Ok(watched.stdout)
    })?;
    Ok(sort(&json))
}

fn sort(json: &str) -> Programs {
    let mut programs = Programs::default();
    let messages = json
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for message in messages {
        if message["profile"]["test"] != true {
            continue;
        }
        let Some(program) = message["executable"].as_str() else {
            continue;
        };
        let manifest = PathBuf::from(message["manifest_path"].as_str().unwrap_or_default());
        let target = message["target"]["name"].as_str().unwrap_or_default();
        let is_integration_test = message["target"]["kind"][0] == "test";
        let package = package_name(message["package_id"].as_str().unwrap_or_default());
        let end_to_end = is_integration_test && package == END_TO_END;
        let label = if end_to_end || package == target {
            target.to_owned()
        } else {
            format!("{package}/{target}")
        };
        let entry = Entry {
            label,
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            dir: manifest.parent().map(PathBuf::from).unwrap_or_default(),
            limit: Duration::from_secs(600),
        };
        if end_to_end {
            programs.end_to_end.push(entry)
        } else {
            programs.unit.push(entry)
        }
    }
    programs.unit.sort_by(|a, b| a.label.cmp(&b.label));
    programs.end_to_end.sort_by(|a, b| a.label.cmp(&b.label));
    programs
}

/// `name` in `path+file:///dir#name@0.1.0`, or the folder's name in `path+file:///dir/name#0.1.0`.
fn package_name(id: &str) -> String {
    let (place, version) = id.rsplit_once('#').unwrap_or((id, ""));
    match version.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => place.rsplit('/').next().unwrap_or(place).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_sorted_by_what_they_test() {
        let json = "\
{\"package_id\":\"path+file:///r/tests#slmguard-tests@0.1.0\",\"manifest_path\":\"/r/tests/Cargo.toml\",\"target\":{\"kind\":[\"test\"],\"name\":\"connect\"},\"profile\":{\"test\":true},\"executable\":\"/t/connect-1\"}
{\"package_id\":\"path+file:///r/tests#slmguard-tests@0.1.0\",\"manifest_path\":\"/r/tests/Cargo.toml\",\"target\":{\"kind\":[\"lib\"],\"name\":\"scene\"},\"profile\":{\"test\":true},\"executable\":\"/t/scene-1\"}
{\"package_id\":\"path+file:///r/xtask#0.1.0\",\"manifest_path\":\"/r/xtask/Cargo.toml\",\"target\":{\"kind\":[\"bin\"],\"name\":\"xtask\"},\"profile\":{\"test\":true},\"executable\":\"/t/xtask-1\"}
{\"package_id\":\"path+file:///r/xtask#0.1.0\",\"target\":{\"kind\":[\"bin\"],\"name\":\"xtask\"},\"profile\":{\"test\":false},\"executable\":\"/t/xtask\"}
{\"reason\":\"build-finished\",\"success\":true}";
        let programs = sort(json);
        let labels = |entries: &[Entry]| -> Vec<String> {
            entries.iter().map(|entry| entry.label.clone()).collect()
        };
        assert_eq!(labels(&programs.end_to_end), ["connect"]);
        assert_eq!(labels(&programs.unit), ["slmguard-tests/scene", "xtask"]);
        assert_eq!(programs.end_to_end[0].dir, PathBuf::from("/r/tests"));
    }
}
