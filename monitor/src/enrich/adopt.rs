//! Adoption: which of the processes that are already running belong to a workload. It decides as
//! the kernel does for a program that is being started, so that it makes no difference who was
//! there first.
//!
//! Pure: it is given facts and returns assignments; storing them is the caller's work.

use std::collections::HashMap;

use monitor_common::{class::Role, enrol::ExecutableKey, limits::EVENT_ARGV};

use super::{cgroup, enrolment::Rule, procfs::Proc};

/// What is known about one running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its start in ticks since boot.
    pub start_ticks: u64,
    /// Its program.
    pub executable: Option<ExecutableKey>,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Path of its cgroup.
    pub cgroup: Option<String>,
    /// Its user.
    pub user: Option<u32>,
}

/// A process and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The process.
    pub pid: u32,
    /// Its start in ticks, to tell it from a later one with the same id.
    pub start_ticks: u64,
    /// Workload.
    pub workload: String,
    /// Role.
    pub role: Role,
}

/// Everything that runs, except the kernel's own threads.
pub fn candidates(proc: &Proc) -> std::io::Result<Vec<Candidate>> {
    let mut all = vec![];
    for pid in proc.pids()? {
        let Some(stat) = proc.stat(pid).filter(|stat| !stat.kernel) else {
            continue;
        };
        all.push(Candidate {
            pid,
            parent: stat.parent,
            start_ticks: stat.start_ticks,
            executable: proc.identity(pid),
            arguments: proc.arguments(pid),
            cgroup: proc.cgroup(pid),
            user: proc.user(pid),
        });
    }
    Ok(all)
}

/// Who is to become a member, parents before children. `member` tells what a process belongs to
/// already; pid 1 and the daemon itself are never touched.
pub fn plan(
    candidates: &[Candidate],
    rules: &[Rule],
    own_pid: u32,
    member: &dyn Fn(u32) -> Option<(String, Role)>,
) -> Vec<Assignment> {
    let mut order: Vec<&Candidate> = candidates
        .iter()
        .filter(|c| c.pid != 1 && c.pid != own_pid)
        .collect();
    // A parent started no later than its children; ids break ties within a tick.
    order.sort_by_key(|c| (c.start_ticks, c.pid));
    let by_pid: HashMap<u32, &Candidate> = order.iter().map(|c| (c.pid, *c)).collect();
    let mut assigned: HashMap<u32, (String, Role)> = HashMap::new();
    let mut plan = vec![];
    // A second round for children that sort before their parents (ids wrapped within a tick).
    for _ in 0..2 {
        for candidate in &order {
            if assigned.contains_key(&candidate.pid) {
                continue;
            }
            if let Some(known) = member(candidate.pid) {
                assigned.insert(candidate.pid, known);
                continue;
            }
            let own = rule_for(candidate, rules).map(|r| (r.workload.clone(), r.role));
            let parent = || {
                let (workload, role) = assigned.get(&candidate.parent)?;
                let same_program = by_pid.get(&candidate.parent).is_some_and(|p| {
                    p.executable.is_some() && p.executable == candidate.executable
                });
                Some((
                    workload.clone(),
                    if same_program { *role } else { Role::Tool },
                ))
            };
            if let Some((workload, role)) = own.or_else(parent) {
                plan.push(Assignment {
                    pid: candidate.pid,
                    start_ticks: candidate.start_ticks,
                    workload: workload.clone(),
                    role,
                });
                assigned.insert(candidate.pid, (workload, role));
            }
        }
    }
    plan
}

/// The rule that the kernel would choose: rules for this very program first.
fn rule_for<'a>(candidate: &Candidate, rules: &'a [Rule]) -> Option<&'a Rule> {
    let fits = |rule: &&Rule| {
        rule.user.is_none_or(|user| candidate.user == Some(user))
            && rule.cgroup.as_ref().is_none_or(|wanted| {
                candidate
                    .cgroup
                    .as_deref()
                    .is_some_and(|path| cgroup::is_in(path, &wanted.path))
            })
            && rule
                .arguments
                .iter()
                .all(|a| has_argument(&candidate.arguments, a.as_bytes()))
    };
    let specific = |r: &&Rule| r.executable.is_some() && r.executable == candidate.executable;
    rules
        .iter()
        .filter(specific)
        .find(fits)
        .or_else(|| rules.iter().filter(|r| r.executable.is_none()).find(fits))
}

/// Whether an argument, or its last path component, is this word. Looks at as many bytes of the
/// arguments as the kernel does.
fn has_argument(arguments: &[Vec<u8>], word: &[u8]) -> bool {
    let mut used = 0;
    arguments
        .iter()
        .take_while(|argument| {
            used += argument.len() + 1;
            used <= EVENT_ARGV
        })
        .any(|argument| argument == word || argument.rsplit(|b| *b == b'/').next() == Some(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::enrolment::RuleCgroup;

    const NODE: Option<ExecutableKey> = Some(ExecutableKey {
        device: 1,
        inode: 10,
    });
    const SHELL: Option<ExecutableKey> = Some(ExecutableKey {
        device: 1,
        inode: 20,
    });

    fn rule(role: Role, executable: Option<ExecutableKey>, arguments: &[&str]) -> Rule {
        Rule {
            workload: "a".into(),
            role,
            executable,
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            cgroup: None,
            user: None,
        }
    }

    fn candidate(
        pid: u32,
        parent: u32,
        executable: Option<ExecutableKey>,
        argv: &[&str],
    ) -> Candidate {
        Candidate {
            pid,
            parent,
            start_ticks: u64::from(pid),
            executable,
            arguments: argv.iter().map(|a| a.as_bytes().to_vec()).collect(),
            cgroup: Some("/system.slice/x.service".into()),
            user: Some(1000),
        }
    }

    fn roles(candidates: &[Candidate], rules: &[Rule]) -> Vec<(u32, Role)> {
        plan(candidates, rules, 99, &|_| None)
            .into_iter()
            .map(|a| (a.pid, a.role))
            .collect()
    }

    #[test]
    fn programs_are_told_apart_by_their_arguments() {
        let rules = [
            rule(Role::Server, NODE, &["server.mjs"]),
            rule(Role::Agent, NODE, &["agent.mjs", "--go"]),
        ];
        let running = [
            candidate(10, 1, NODE, &["node", "/srv/app/server.mjs"]),
            candidate(11, 1, NODE, &["node", "agent.mjs", "--go"]),
            candidate(12, 1, NODE, &["node", "agent.mjs"]),
            candidate(13, 1, NODE, &["node", "myserver.mjs"]),
            candidate(14, 1, SHELL, &["sh", "server.mjs"]),
        ];
        assert_eq!(
            roles(&running, &rules),
            [(10, Role::Server), (11, Role::Agent)]
        );
    }

    #[test]
    fn descendants_follow_as_the_kernel_would_have_it() {
        let rules = [rule(Role::Server, NODE, &["server.mjs"])];
        let running = [
            candidate(10, 1, NODE, &["node", "server.mjs"]),
            candidate(11, 10, NODE, &["node", "worker"]),
            candidate(12, 11, SHELL, &["sh"]),
            candidate(13, 12, SHELL, &["sh"]),
            candidate(14, 1, SHELL, &["sh"]),
        ];
        assert_eq!(
            roles(&running, &rules),
            [
                (10, Role::Server),
                (11, Role::Server),
                (12, Role::Tool),
                (13, Role::Tool)
            ]
        );
    }

    #[test]
    fn a_child_with_a_lower_id_in_the_same_tick_is_found() {
        let rules = [rule(Role::Server, NODE, &["server.mjs"])];
        let parent = Candidate {
            start_ticks: 5,
            ..candidate(300, 1, NODE, &["server.mjs"])
        };
        let child = Candidate {
            start_ticks: 5,
            ..candidate(2, 300, SHELL, &["sh"])
        };
        assert_eq!(
            roles(&[child, parent], &rules),
            [(300, Role::Server), (2, Role::Tool)]
        );
    }

    #[test]
    fn cgroup_and_user_have_to_hold_too() {
        let within = |path: &str| {
            Some(RuleCgroup {
                id: 1,
                path: path.into(),
            })
        };
        let base = rule(Role::Server, None, &[]);
        let running = [candidate(10, 1, NODE, &["x"])];
        for (rule, expected) in [
            (
                Rule {
                    cgroup: within("/system.slice"),
                    ..base.clone()
                },
                1,
            ),
            (
                Rule {
                    cgroup: within("/user.slice"),
                    ..base.clone()
                },
                0,
            ),
            (
                Rule {
                    user: Some(1000),
                    cgroup: within("/"),
                    ..base.clone()
                },
                1,
            ),
            (
                Rule {
                    user: Some(0),
                    ..base
                },
                0,
            ),
        ] {
            assert_eq!(
                roles(&running, std::slice::from_ref(&rule)).len(),
                expected,
                "{rule:?}"
            );
        }
    }

    #[test]
    fn a_rule_for_the_program_comes_before_one_for_any() {
        let rules = [
            rule(Role::Sidecar, None, &[]),
            rule(Role::Server, NODE, &[]),
        ];
        let running = [
            candidate(10, 1, NODE, &["x"]),
            candidate(11, 1, SHELL, &["x"]),
        ];
        assert_eq!(
            roles(&running, &rules),
            [(10, Role::Server), (11, Role::Sidecar)]
        );
    }

    #[test]
    fn the_service_manager_and_the_daemon_itself_are_never_adopted() {
        let rules = [rule(Role::Server, None, &[])];
        let running = [
            candidate(1, 0, NODE, &["init"]),
            candidate(99, 1, NODE, &["slmguard"]),
        ];
        assert!(roles(&running, &rules).is_empty());
    }

    #[test]
    fn members_keep_what_they_are_and_pass_it_on() {
        let running = [
            candidate(10, 1, NODE, &["x"]),
            candidate(11, 10, SHELL, &["sh"]),
        ];
        let member = |pid| (pid == 10).then(|| ("b".to_owned(), Role::Agent));
        let plan = plan(&running, &[rule(Role::Server, NODE, &[])], 99, &member);
        assert_eq!(plan.len(), 1);
        assert_eq!(
            (plan[0].pid, plan[0].workload.as_str(), plan[0].role),
            (11, "b", Role::Tool)
        );
    }

    #[test]
    fn only_the_arguments_that_the_kernel_reads_count() {
        let long = "x".repeat(EVENT_ARGV);
        assert!(has_argument(
            &[b"a".to_vec(), b"--model".to_vec()],
            b"--model"
        ));
        assert!(!has_argument(
            &[long.into_bytes(), b"--model".to_vec()],
            b"--model"
        ));
    }

    #[test]
    fn the_running_system_can_be_read() {
        let all = candidates(&Proc::default()).unwrap();
        let me = all.iter().find(|c| c.pid == std::process::id()).unwrap();
        assert!(me.executable.is_some() && !me.arguments.is_empty());
    }
}
