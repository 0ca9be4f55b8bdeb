//! Launching: a process asks over the API to have what it executes next guarded.
//!
//! It gets a ticket, which its next exec turns into membership in the kernel, before the first
//! instruction. A process that is a member already gets none: a member never gains by an exec, and
//! would otherwise find its way into another class here. Nor does a workload that was found and
//! that nobody confirmed start anything: what it is, is a guess until then.

use monitor_common::class::{ClassId, NONE, Phase, Role, TICKET};
use slmguard_core::{
    decide::sandbox::reachable,
    decode::ClassNames,
    text::escape,
    workload::{family_name, mode_name, role_from, role_name},
};

use super::{engine::Engine, publish::no_such};
use crate::api::{Peer, Refusal, view};

impl Engine {
    /// What a launcher has to know to make a sandbox.
    pub(super) fn launch_inputs(
        &self,
        workload: &str,
        role: &str,
    ) -> Result<view::LaunchPlan, Refusal> {
        let (role, _) = self.launch_class(workload, role)?;
        let roles = reachable(role, &self.classes.roles(workload));
        self.barrier.wait(super::backend::PATIENCE);
        let state = self.state();
        let mode = state.mode(workload).ok_or_else(|| no_such(workload))?;
        let rules = self
            .workload(&state, workload)
            .map_err(|_| no_such(workload))?;
        // What the kernel's policies of these scopes are made of: an approved list where one is in
        // force, and nothing that an operator rejected.
        let mut learned = vec![];
        let mut deny = rules.deny.clone();
        for (_, scope) in self.classes.configured() {
            if scope.workload != workload || !roles.contains(&scope.role) {
                continue;
            }
            let allowed = state.allowed(&scope, mode);
            let entries = allowed.entries(&scope);
            learned.extend(
                entries.map(|(family, subject, _)| (family_name(family).into(), subject.into())),
            );
            deny.extend(state.forbidden(&scope));
        }
        Ok(view::LaunchPlan {
            workload: workload.into(),
            role: role_name(role).into(),
            mode: mode_name(mode).into(),
            tier: self.tier().into(),
            learned,
            allow: rules.allow.clone(),
            deny,
        })
    }

    /// Gives the peer a ticket for the first class of a role.
    pub(super) fn give_ticket(
        &self,
        workload: &str,
        role: &str,
        peer: Peer,
    ) -> Result<view::Launched, Refusal> {
        let (role, class) = self.launch_class(workload, role)?;
        let started = |pid| self.proc.stat(pid).map(|stat| stat.start_ticks);
        let gone = || {
            Refusal::Failed(format!(
                "process {} cannot be seen from here: is it in a pid namespace beside the \
                 daemon's?",
                peer.pid
            ))
        };
        let before = started(peer.pid).ok_or_else(gone)?;
        let ticket = class | TICKET;
        let guard = self.guard();
        let was = guard
            .replace_member(peer.pid, NONE, ticket)
            .ok_or_else(gone)?;
        if was != NONE && was != ticket {
            drop(guard);
            return self.launch_of_member(workload, role, was, peer);
        }
        if started(peer.pid) != Some(before) {
            // The id was given to another process meanwhile, which asked for nothing.
            guard.replace_member(peer.pid, ticket, NONE);
            return Err(gone());
        }
        drop(guard);
        tracing::info!(
            "process {} (user {}) starts a program as {workload}/{}",
            peer.pid,
            peer.uid,
            role_name(role)
        );
        Ok(view::Launched {
            pid: peer.pid,
            member: false,
        })
    }

    /// A member may start what it is already, and nothing else.
    fn launch_of_member(
        &self,
        workload: &str,
        role: Role,
        class: ClassId,
        peer: Peer,
    ) -> Result<view::Launched, Refusal> {
        match self.classes.scope(class) {
            Some(scope) if scope.workload == workload && scope.role == role => Ok(view::Launched {
                pid: peer.pid,
                member: true,
            }),
            scope => {
                let what = scope.map_or("a guarded process".into(), |scope| {
                    format!("{} of workload {}", role_name(scope.role), scope.workload)
                });
                tracing::warn!(
                    "process {} ({what}) may not start a program as {workload}/{}",
                    peer.pid,
                    role_name(role)
                );
                Err(Refusal::Forbidden(format!(
                    "process {} is {what} already, and a member cannot become anything else by \
                     starting a program",
                    peer.pid
                )))
            }
        }
    }

    /// The role by its word, and its first class.
    fn launch_class(&self, workload: &str, role: &str) -> Result<(Role, ClassId), Refusal> {
        if self.state().mode(workload).is_none() {
            return Err(no_such(workload));
        }
        let role = role_from(role).ok_or_else(|| {
            Refusal::Bad(format!(
                "{} is no role; use server, agent, tool, shell, sidecar or loader",
                escape(role.as_bytes())
            ))
        })?;
        self.confirmed(workload)?;
        if let Some(class) = self.classes.id(workload, role, Phase::Start)
            && self.classes.is_configured(class)
        {
            return Ok((role, class));
        }
        let configured = self.config.workloads.iter().any(|w| w.name == workload);
        let remedy = match (configured, role) {
            (true, _) => "add a [[workload.process]] for it".to_owned(),
            (false, Role::Agent) => format!(
                "enrol the agent that calls it (`slmguard workloads enrol-agent {workload} AGENT`)"
            ),
            (false, _) => format!(
                "configure a [[workload]] named {workload}: one that was found has none but \
                 server, tool and agent"
            ),
        };
        Err(Refusal::NotFound(format!(
            "workload {workload} has no process in role {}; name another with --role, or {remedy}",
            role_name(role)
        )))
    }
}
