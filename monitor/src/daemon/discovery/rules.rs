//! From programs that were found to enrolment rules, as many as the kernel has room for.

use std::collections::BTreeMap;

use monitor_common::{
    enrol::{ExecutableKey, SLOTS},
    limits::{MAX_ARGUMENTS, MAX_EXECUTABLES},
};
use slmguard_core::workload::role_from;

use super::{AgentState, Discovery, Program};
use crate::{
    daemon::engine::Engine,
    enrich::{
        cgroup::Cgroups,
        enrolment::{Rule, RuleCgroup},
        identity,
    },
};

impl Engine {
    /// Rules of everything that was found, beside those of the configuration.
    pub(in crate::daemon) fn found_rules(
        &self,
        configured: &[Rule],
        cgroups: &Cgroups,
    ) -> Vec<Rule> {
        let programs = programs(&self.discovery());
        let (rules, left_out) = rules(programs, configured, cgroups);
        self.discovery().without_rule = left_out;
        rules
    }
}

/// Every program that was found or enrolled, with its workload.
fn programs(discovery: &Discovery) -> Vec<(String, Program)> {
    let servers = discovery.found.iter().flat_map(|(name, found)| {
        let programs = found.body.programs.iter();
        programs.map(move |p| (name.clone(), p.clone()))
    });
    let agents = discovery
        .agents
        .iter()
        .filter(|(_, agent)| agent.state == AgentState::Enrolled)
        .map(|((workload, _), agent)| (workload.clone(), agent.program.clone()));
    servers.chain(agents).collect()
}

/// Rules of these programs, those that ask for more first. `configured` come before all of them and
/// take their room first. Also returns how many found none.
fn rules(
    programs: Vec<(String, Program)>,
    configured: &[Rule],
    cgroups: &Cgroups,
) -> (Vec<Rule>, usize) {
    let programs: Vec<(&String, &Program, ExecutableKey)> = programs
        .iter()
        .map(|(name, program)| (name, program, executable(program)))
        .collect();
    let mut rules = vec![];
    for (name, program, key) in &programs {
        let ambiguous = programs.iter().any(|(other, p, k)| {
            k == key
                && p.arguments == program.arguments
                && (other, &p.role) != (name, &program.role)
        });
        rules.extend(of_program(name, program, *key, ambiguous, cgroups));
    }
    rules.sort_by_key(|r| std::cmp::Reverse((r.cgroup.is_some(), r.arguments.len())));
    fit(rules, configured)
}

fn executable(program: &Program) -> ExecutableKey {
    let stored = ExecutableKey {
        device: program.device,
        inode: program.inode,
    };
    if !program.own_files {
        return stored;
    }
    // An upgrade put another file there.
    identity::of_path(std::path::Path::new(&program.exe)).unwrap_or(stored)
}

/// By program and arguments where they tell; by the unit where two workloads share them, or where
/// nothing else tells.
fn of_program(
    workload: &str,
    program: &Program,
    key: ExecutableKey,
    ambiguous: bool,
    cgroups: &Cgroups,
) -> Vec<Rule> {
    let Some(role) = role_from(&program.role) else {
        return vec![];
    };
    let rule = |cgroup: Option<RuleCgroup>| Rule {
        workload: workload.to_owned(),
        role,
        executable: Some(key),
        arguments: program.arguments.clone().unwrap_or_default(),
        cgroup,
        user: None,
    };
    if program.arguments.is_some() && !ambiguous {
        return vec![rule(None)];
    }
    let in_unit: Vec<Rule> = program
        .unit
        .iter()
        .flat_map(|unit| cgroups.units(unit))
        .filter_map(|path| {
            let id = cgroups.id(&path).ok()?;
            Some(rule(Some(RuleCgroup { id, path })))
        })
        .collect();
    match (in_unit.is_empty(), &program.arguments) {
        (true, Some(_)) => vec![rule(None)],
        _ => in_unit,
    }
}

/// Leaves out what the kernel has no room for.
fn fit(rules: Vec<Rule>, configured: &[Rule]) -> (Vec<Rule>, usize) {
    let mut slots: BTreeMap<Option<ExecutableKey>, usize> = BTreeMap::new();
    let mut arguments = 0;
    for rule in configured {
        *slots.entry(rule.executable).or_default() += 1;
        arguments += rule.arguments.len();
    }
    let (mut kept, mut left_out): (Vec<Rule>, usize) = (vec![], 0);
    for rule in rules {
        if kept.contains(&rule) {
            continue;
        }
        let used = slots.get(&rule.executable).copied().unwrap_or(0);
        let new = used == 0 && slots.len() >= MAX_EXECUTABLES as usize;
        if used >= SLOTS || new || arguments + rule.arguments.len() > MAX_ARGUMENTS as usize {
            left_out += 1;
            continue;
        }
        *slots.entry(rule.executable).or_default() += 1;
        arguments += rule.arguments.len();
        kept.push(rule);
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(exe: &str, arguments: Option<&[&str]>, unit: Option<&str>) -> Program {
        Program {
            exe: exe.into(),
            device: 1,
            inode: 2,
            own_files: true,
            arguments: arguments.map(|a| a.iter().map(|a| (*a).to_owned()).collect()),
            unit: unit.map(str::to_owned),
            role: "server".into(),
        }
    }

    fn found(programs: &[(&str, Program)]) -> Vec<(String, Program)> {
        let owned = |(name, program): &(&str, Program)| ((*name).to_owned(), program.clone());
        programs.iter().map(owned).collect()
    }

    fn tree() -> (tempfile::TempDir, Cgroups) {
        let dir = tempfile::tempdir().unwrap();
        for unit in ["a.service", "b.service"] {
            std::fs::create_dir_all(dir.path().join("system.slice").join(unit)).unwrap();
        }
        let tree = Cgroups::at(dir.path());
        (dir, tree)
    }

    #[test]
    fn what_tells_more_comes_first() {
        let (_dir, tree) = tree();
        let found = found(&[
            ("a", program("/bin/sh", Some(&[]), None)),
            ("b", program("/bin/sh", Some(&["x.gguf"]), None)),
        ]);
        let (rules, left_out) = rules(found, &[], &tree);
        let order: Vec<_> = rules
            .iter()
            .map(|r| (r.workload.as_str(), r.arguments.len()))
            .collect();
        assert_eq!((order, left_out), (vec![("b", 1), ("a", 0)], 0));
        let sh = identity::of_path(std::path::Path::new("/bin/sh")).unwrap();
        assert_eq!(rules[0].executable, Some(sh), "as it is now");
    }

    #[test]
    fn units_tell_where_programs_and_arguments_do_not() {
        let (_dir, tree) = tree();
        let same = |unit| program("/bin/sh", Some(&["m"]), unit);
        let two = found(&[
            ("a", same(Some("a.service"))),
            ("b", same(Some("b.service"))),
        ]);
        let (both, _) = rules(two, &[], &tree);
        assert!(
            both.iter().all(|r| r.cgroup.is_some()) && both.len() == 2,
            "{both:?}"
        );
        let bare = |unit| found(&[("a", program("/bin/sh", None, unit))]);
        assert!(
            rules(bare(None), &[], &tree).0.is_empty(),
            "it would fit every script"
        );
        assert_eq!(rules(bare(Some("a.service")), &[], &tree).0.len(), 1);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_else_suffers() {
        let (_dir, tree) = tree();
        let many: Vec<(String, Program)> = (0..12)
            .map(|i| {
                (
                    format!("w{i}"),
                    program("/bin/sh", Some(&[&format!("m{i}")]), None),
                )
            })
            .collect();
        let many: Vec<_> = many.iter().map(|(n, p)| (n.as_str(), p.clone())).collect();
        let (kept, left_out) = rules(found(&many), &[], &tree);
        assert_eq!((kept.len(), left_out), (SLOTS, 12 - SLOTS));
        let (others, none) = rules(found(&many[..2]), &kept, &tree);
        assert_eq!(
            (others.len(), none),
            (0, 2),
            "the configuration's rules come first"
        );
    }
}
