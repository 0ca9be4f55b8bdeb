//! From the configuration's words to what the kernel can match: executables become device and
//! inode, units and cgroup paths become cgroup ids, user names become numbers.
//!
//! What cannot be resolved yet (a program that is not installed, a unit that is not running) is
//! left out and named; the daemon asks again every few seconds.

use std::{fs::File, io::Read, path::Path};

use monitor_common::{class::Role, enrol::ExecutableKey};
use nix::unistd::User;
use slmguard_core::{
    config::{Process, Workload},
    workload::{role_from, role_name},
};

use super::{cgroup::Cgroups, identity};

/// A rule that makes processes members; everything that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Workload of a match.
    pub workload: String,
    /// Role of a match.
    pub role: Role,
    /// The program; `None` for any.
    pub executable: Option<ExecutableKey>,
    /// Each must equal an argument, or the last path component of one.
    pub arguments: Vec<String>,
    /// The process must be in this cgroup or below.
    pub cgroup: Option<RuleCgroup>,
    /// The process must run as this user.
    pub user: Option<u32>,
}

/// The cgroup of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCgroup {
    /// Its id, as the kernel compares it.
    pub id: u64,
    /// Its path below the mount.
    pub path: String,
}

/// What the configuration comes to on this machine, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Rules, in the order of the configuration.
    pub rules: Vec<Rule>,
    /// What could not be resolved, in sentences.
    pub unresolved: Vec<String>,
}

/// Resolves every process of every workload.
pub fn resolve(workloads: &[Workload], cgroups: &Cgroups) -> Resolution {
    let mut resolution = Resolution::default();
    for workload in workloads {
        for process in &workload.processes {
            match resolve_process(workload, process, cgroups) {
                Ok(rules) => resolution.rules.extend(rules),
                Err(why) => resolution.unresolved.push(format!(
                    "workload {}, role {}: {why}",
                    workload.name, process.role
                )),
            }
        }
    }
    resolution
}

/// One process of the configuration: one rule, or several where a unit has several cgroups.
fn resolve_process(
    workload: &Workload,
    process: &Process,
    cgroups: &Cgroups,
) -> Result<Vec<Rule>, String> {
    let role = role_from(&process.role).ok_or_else(|| format!("{} is no role", process.role))?;
    let executable = process.exe.as_deref().map(executable).transpose()?;
    let user = process.user.as_deref().map(user).transpose()?;
    let rule = |cgroup| Rule {
        workload: workload.name.clone(),
        role,
        executable,
        arguments: process.argv.clone(),
        cgroup,
        user,
    };
    let wanted = process
        .cgroup
        .as_deref()
        .map(|path| resolve_cgroup(path, cgroups))
        .transpose()?;
    let Some(unit) = process.unit.as_deref() else {
        return Ok(vec![rule(wanted)]);
    };
    let mut found = vec![];
    for path in cgroups.units(unit) {
        let inside = wanted
            .as_ref()
            .is_none_or(|w| super::cgroup::is_in(&path, &w.path));
        if let Some(cgroup) = resolve_cgroup(&path, cgroups).ok().filter(|_| inside) {
            found.push(rule(Some(cgroup)));
        }
    }
    if found.is_empty() {
        return Err(format!("unit {unit} has no cgroup; is it running?"));
    }
    Ok(found)
}

fn executable(path: &Path) -> Result<ExecutableKey, String> {
    identity::of_path(path).map_err(|e| format!("cannot find the program {}: {e}", path.display()))
}

/// Whether a file is a script: what the kernel runs is its interpreter.
pub fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

fn resolve_cgroup(path: &str, cgroups: &Cgroups) -> Result<RuleCgroup, String> {
    let path = format!("/{}", path.trim_matches('/'));
    match cgroups.id(&path) {
        Ok(id) => Ok(RuleCgroup { id, path }),
        Err(e) => Err(format!(
            "cannot find the cgroup {path} below the cgroup2 mount: {e}"
        )),
    }
}

fn user(name: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(format!("there is no user {name}")),
        Err(e) => Err(format!("cannot look up the user {name}: {e}")),
    }
}

impl std::fmt::Display for Rule {
    /// `assistant/server`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.workload, role_name(self.role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(process: Process) -> Vec<Workload> {
        let toml = "name = \"a\"\n";
        let mut workload: Workload = toml::from_str(toml).unwrap();
        workload.processes = vec![process];
        vec![workload]
    }

    fn tree() -> (tempfile::TempDir, Cgroups) {
        let dir = tempfile::tempdir().unwrap();
        for path in ["system.slice/llama.service", "user.slice/llama.service"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let tree = Cgroups::at(dir.path());
        (dir, tree)
    }

    #[test]
    fn words_become_numbers() {
        let (_dir, tree) = tree();
        let resolution = resolve(
            &workload(Process {
                role: "server".into(),
                exe: Some("/bin/sh".into()),
                argv: vec!["x".into()],
                cgroup: Some("system.slice".into()),
                user: Some("root".into()),
                ..Process::default()
            }),
            &tree,
        );
        assert_eq!(resolution.unresolved, Vec::<String>::new());
        let rule = &resolution.rules[0];
        assert_eq!(
            rule.executable,
            Some(identity::of_path(Path::new("/bin/sh")).unwrap())
        );
        assert_eq!(rule.user, Some(0));
        let cgroup = rule.cgroup.as_ref().unwrap();
        assert_eq!(
            (cgroup.path.as_str(), cgroup.id),
            ("/system.slice", tree.id("/system.slice").unwrap())
        );
        assert_eq!(rule.to_string(), "a/server");
    }

    #[test]
    fn a_unit_is_found_wherever_it_runs_unless_a_cgroup_narrows_it() {
        let (_dir, tree) = tree();
        let unit = Process {
            role: "server".into(),
            unit: Some("llama.service".into()),
            ..Process::default()
        };
        assert_eq!(resolve(&workload(unit.clone()), &tree).rules.len(), 2);
        let narrowed = Process {
            cgroup: Some("/user.slice".into()),
            ..unit
        };
        let rules = resolve(&workload(narrowed), &tree).rules;
        assert_eq!(rules.len(), 1);
        assert_eq!(
            rules[0].cgroup.as_ref().unwrap().path,
            "/user.slice/llama.service"
        );
    }

    #[test]
    fn what_is_not_there_is_named_and_left_out() {
        let (_dir, tree) = tree();
        for (process, word) in [
            (
                Process {
                    exe: Some("/no/such".into()),
                    ..Process::default()
                },
                "/no/such",
            ),
            (
                Process {
                    cgroup: Some("gone".into()),
                    ..Process::default()
                },
                "/gone",
            ),
            (
                Process {
                    unit: Some("x.service".into()),
                    ..Process::default()
                },
                "running?",
            ),
            (
                Process {
                    user: Some("nobody-at-all".into()),
                    ..Process::default()
                },
                "no user",
            ),
        ] {
            let process = Process {
                role: "tool".into(),
                ..process
            };
            let resolution = resolve(&workload(process), &tree);
            assert!(resolution.rules.is_empty());
            let message = &resolution.unresolved[0];
            assert!(message.starts_with("workload a, role tool: "), "{message}");
            assert!(message.contains(word), "{message}");
        }
    }
}
