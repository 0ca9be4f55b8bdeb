//! Debian packages: what is installed, and installing what is missing.
//!
//! Knows apt and dpkg; must not know why a package is wanted beyond the sentence it is given.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, bail};

use crate::paths::find_program;
use crate::{sh, ui};

/// A package and the reason that is shown to the person whose machine it is.
#[derive(Clone, Debug)]
pub struct Package {
    /// Debian's name for it.
    pub name: String,
    /// One sentence: what slmguard does with it.
    pub why: &'static str,
    /// A program that makes the package unnecessary if it is there already.
    pub instead: Option<&'static str>,
}

impl Package {
    /// A package that must be installed as such.
    pub fn new(name: impl Into<String>, why: &'static str) -> Self {
        Self {
            name: name.into(),
            why,
            instead: None,
        }
    }

    /// A package wanted only for one program, wherever that comes from.
    pub fn for_program(name: &str, program: &'static str, why: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            why,
            instead: Some(program),
        }
    }
}

/// Installed versions of those of `names` that are installed.
pub fn installed(names: &[&str]) -> BTreeMap<String, String> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["-W", "-f", "${Package} ${db:Status-Abbrev} ${Version}\n"])
        .args(names);
    // dpkg-query fails when one name is unknown, and still prints the others.
    let Ok(out) = query.output() else {
        return BTreeMap::new();
    };
    parse_installed(&String::from_utf8_lossy(&out.stdout))
}

fn parse_installed(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, status, version) = (words.next()?, words.next()?, words.next()?);
            status
                .starts_with("ii")
                .then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// The files of an installed package.
pub fn files(package: &str) -> Result<Vec<PathBuf>> {
    let mut list = Command::new("dpkg");
    list.args(["-L", package]);
    Ok(sh::output(list)?.lines().map(PathBuf::from).collect())
}

/// Those of `packages` that are neither installed nor replaced by a program that is there.
pub fn missing(packages: &[Package]) -> Vec<Package> {
    let wanted: Vec<&Package> = packages
        .iter()
        .filter(|package| package.instead.and_then(find_program).is_none())
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = wanted.iter().map(|package| package.name.as_str()).collect();
    let present = installed(&names);
    wanted
        .into_iter()
        .filter(|package| !present.contains_key(&package.name))
        .cloned()
        .collect()
}

/// Installs what is missing of `packages`, saying what and why; nothing to say when all is there.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs `packages`, or the newest there is of those that are installed.
pub fn install(packages: &[Package]) -> Result<()> {
    for package in packages {
        ui::note(
            "setup",
            &format!("installing {}", package.name),
            package.why,
        );
    }
    let names: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    if find_program("apt-get").is_none() {
        bail!(
            "{} missing, and this system has no apt-get to install from.\n\
             Install what provides them with your system's package manager and run this again.",
            names.join(", ")
        );
    }
    if !is_root()? {
        bail!(
            "{} missing. Run this as root, or install by hand:\n  {by_hand}",
            names.join(", ")
        );
    }
    refresh_lists()?;
    let what = if names.len() == 1 {
        "one Debian package".to_owned()
    } else {
        format!("{} Debian packages", names.len())
    };
    ui::step("setup", &what, |progress| {
        let mut install = sh::command("apt-get");
        install
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(["-o", "DPkg::Lock::Timeout=600"])
            .args(&names)
            .env("DEBIAN_FRONTEND", "noninteractive");
        sh::run(install, progress).map(drop)
    })
    .with_context(|| format!("installing Debian packages; by hand: {by_hand}"))
}

/// Whether apt knows a version of `package` that could be installed.
pub fn available(package: &str) -> Result<bool> {
    refresh_lists()?;
    let mut policy = sh::command("apt-cache");
    policy.args(["policy", package]);
    let text = sh::output(policy)?;
    Ok(text.lines().any(|line| {
        line.trim()
            .strip_prefix("Candidate:")
            .is_some_and(|version| version.trim() != "(none)")
    }))
}

/// Fetches apt's package lists, once per run and only if something is to be installed: old lists
/// name packages that are gone, and lack newer ones.
pub fn refresh_lists() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        if !is_root().unwrap_or(false) {
            return;
        }
        result = ui::step("setup", "refreshing apt's package lists", |progress| {
            let mut update = sh::command("apt-get");
            update.args(["update", "-q", "-o", "DPkg::Lock::Timeout=600"]);
            sh::run(update, progress).map(drop)
        });
    });
    result
}

/// Whether this process may install packages, create namespaces and load programs.
pub fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1));
    Ok(effective == Some("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let text = "cpio ii  2.13+dfsg-7.1\nkmod rc  30\ngone un \n";
        let found = parse_installed(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found["cpio"], "2.13+dfsg-7.1");
    }
}
