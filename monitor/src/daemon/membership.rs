//! Who belongs to which workload: rules for the kernel, processes that were here first, and members
//! that an earlier daemon left.

use std::collections::HashSet;

use monitor_common::class::{ClassId, LAUNCHER, NONE, Phase, TICKET};
use slmguard_core::decode::ClassNames;

use super::{clock, engine::Engine};
use crate::{
    enrich::{
        adopt::{self, Assignment},
        cgroup::Cgroups,
        enrolment::{self, Rule},
    },
    kernel::EnrolRule,
};

impl Engine {
    /// Resolves the configuration against this machine as it is now. If that gives other rules than
    /// before, the kernel gets them, and processes that match are adopted.
    pub fn refresh_enrolment(&self, cgroups: &Cgroups) -> anyhow::Result<()> {
        let mut resolution = enrolment::resolve(&self.config.workloads, cgroups);
        let found = self.found_rules(&resolution.rules, cgroups);
        resolution.rules.extend(found);
        let mut state = self.state();
        if state.unresolved != resolution.unresolved {
            for what in &resolution.unresolved {
                tracing::info!("not enrolled for now: {what}");
            }
            state.unresolved = resolution.unresolved;
        }
        if state.rules == resolution.rules {
            return Ok(());
        }
        let mut rules: Vec<_> = resolution
            .rules
            .iter()
            .filter_map(|r| self.kernel_rule(r))
            .collect();
        rules.extend(self.launcher.map(|executable| EnrolRule {
            executable: Some(executable),
            arguments: vec![],
            cgroup: None,
            user: None,
            class: LAUNCHER,
        }));
        self.guard().set_enrolment(&rules)?;
        state.rules = resolution.rules;
        drop(state);
        self.adopt()
    }

    fn kernel_rule(&self, rule: &Rule) -> Option<EnrolRule> {
        Some(EnrolRule {
            executable: rule.executable,
            arguments: rule.arguments.clone(),
            cgroup: rule.cgroup.as_ref().map(|c| c.id),
            user: rule.user,
            class: self.classes.id(&rule.workload, rule.role, Phase::Start)?,
        })
    }

    /// Makes running processes members where they would be, had they been started now. Twice: the
    /// second look finds children that were started during the first.
    pub fn adopt(&self) -> anyhow::Result<()> {
        for _ in 0..2 {
            let rules = self.state().rules.clone();
            let mut candidates = adopt::candidates(&self.proc)?;
            candidates.retain(|c| self.launcher.is_none() || c.executable != self.launcher);
            let member = |pid| {
                let scope = self.classes.scope(self.guard().member(pid))?;
                Some((scope.workload, scope.role))
            };
            for assignment in adopt::plan(&candidates, &rules, std::process::id(), &member) {
                self.adopt_one(&assignment);
            }
        }
        Ok(())
    }

    pub(super) fn adopt_one(&self, assignment: &Assignment) {
        let Assignment {
            pid,
            start_ticks,
            workload,
            role,
        } = assignment;
        let class = |phase| self.classes.id(workload, *role, phase);
        let (Some(start), Some(serve)) = (class(Phase::Start), class(Phase::Serve)) else {
            return;
        };
        let mut given = if self.proc.listens(*pid) {
            serve
        } else {
            start
        };
        {
            let guard = self.guard();
            if guard.member(*pid) != NONE {
                // It was started anew or forked by a member meanwhile: the kernel knows better.
                return;
            }
            guard.set_member(*pid, given);
            // The kernel saw no listening of one that was not a member yet.
            if given == start && self.proc.listens(*pid) {
                given = serve;
                guard.set_member(*pid, given);
            }
            if self
                .proc
                .stat(*pid)
                .is_none_or(|stat| stat.start_ticks != *start_ticks)
            {
                guard.set_member(*pid, NONE);
                return;
            }
        }
        if let Some(scope) = self.classes.scope(given) {
            self.state().processes.adopt(*pid, scope.clone());
            self.look_into(*pid, given, scope);
        }
        tracing::info!("adopted process {pid} into {workload}");
    }

    /// Takes over members of an earlier daemon whose programs are still at work. Returns how many
    /// were not members yet.
    pub fn take_over(&self, members: &[(u32, ClassId)]) -> usize {
        let mut taken = 0;
        for (pid, class) in members {
            // A launcher's ticket stands for a class as well.
            let Some(scope) = self.classes.scope(class & !TICKET) else {
                continue;
            };
            if !self.classes.is_configured(class & !TICKET) || self.proc.stat(*pid).is_none() {
                continue;
            }
            {
                let guard = self.guard();
                if guard.member(*pid) != NONE {
                    continue;
                }
                guard.set_member(*pid, *class);
            }
            if class & TICKET == 0 {
                self.state().processes.adopt(*pid, scope);
                // The earlier daemon has told what there was; its marks are in maps of its own.
                self.own_sockets(*pid, *class);
            }
            taken += 1;
        }
        if taken > 0 {
            tracing::info!("took over {taken} processes from an earlier daemon");
        }
        taken
    }

    /// Brings the table of processes in line with what the kernel holds, which is the truth: exits
    /// and starts whose report was lost are made up for. Counts the living.
    pub fn tidy_processes(&self) {
        let members = self.guard().members();
        let mut state = self.state();
        let alive: HashSet<u32> = members.iter().map(|(pid, _)| *pid).collect();
        state
            .processes
            .tidy(clock::now(), |pid| alive.contains(&pid));
        for (pid, class) in members {
            if let Some(scope) = self.classes.scope(class) {
                state.processes.discover(pid, scope);
            }
        }
        for workload in state.workloads.keys() {
            let living = state
                .processes
                .living()
                .filter(|p| p.scope.workload == *workload)
                .count();
            self.metrics.set_processes(workload, living);
        }
    }
}
