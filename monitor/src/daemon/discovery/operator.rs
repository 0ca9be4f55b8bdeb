//! What operators decide: that a workload is one, that it is none, that a caller belongs to it.

use std::collections::BTreeMap;

use monitor_common::class::{NONE, Role};
use slmguard_core::{decode::ClassNames, detect::model::Format, text::escape};

use super::{Agent, AgentState, Body, Discovery, Found, Seen, agents::Stored};
use crate::{
    api::{Peer, Refusal, view},
    daemon::{classes::scopes, clock, engine::Engine, publish::no_such},
    enrich::{
        cgroup::Cgroups,
        detect::digest::{Digests, Known},
    },
    store::{AgentRow, AuditEntry, Store, StoreError},
};

/// Rounds in which members that fork are let go.
const ROUNDS: usize = 1000;

impl Discovery {
    /// What earlier daemons found and operators decided. A workload that is configured by now is
    /// no longer a found one.
    pub(in crate::daemon) fn load(
        store: &Store,
        configured: &dyn Fn(&str) -> bool,
        digests: &Digests,
    ) -> Result<Self, StoreError> {
        let mut discovery = Self::default();
        for row in store.detected()? {
            if configured(&row.name) {
                store.take_detected(&row.name)?;
                continue;
            }
            // What a later version wrote and this one cannot read is found again.
            let body: Body = serde_json::from_str(&row.body).unwrap_or_default();
            remember(&body, digests);
            let formats: BTreeMap<&str, Format> = body
                .detection
                .models
                .iter()
                .filter_map(|m| Some((m.path.as_str(), super::show::format(&m.format)?)))
                .collect();
            let files = body
                .files
                .iter()
                .filter_map(|(path, id)| Some((path.clone(), *id, *formats.get(path.as_str())?)))
                .collect();
            let mut detection = body.detection.clone();
            detection.servers.clear();
            detection.models.clear();
            discovery
                .seen
                .insert(row.name.clone(), Seen { detection, files });
            discovery.found.insert(
                row.name,
                Found {
                    key: row.key,
                    confirmed: row.confirmed,
                    since: row.since,
                    body,
                },
            );
        }
        for row in store.agents()? {
            let stored: Stored = serde_json::from_str(&row.body).unwrap_or_default();
            let agent = Agent {
                state: if row.enrolled {
                    AgentState::Enrolled
                } else {
                    AgentState::Dismissed
                },
                program: stored.program,
                uid: stored.uid,
                evidence: stored.evidence,
                ..Agent::default()
            };
            discovery.agents.insert((row.workload, row.id), agent);
        }
        discovery.dismissed = store.dismissed()?.into_iter().collect();
        Ok(discovery)
    }
}

/// Digests that were worked out earlier count while the file is the same.
fn remember(body: &Body, digests: &Digests) {
    for (path, id) in &body.files {
        if let Some(model) = body.detection.models.iter().find(|m| m.path == *path)
            && model.sha256.is_some()
        {
            let known = Known {
                description: super::show::description(model),
                digest: model.sha256.clone(),
                failed: None,
            };
            digests.remember(*id, known);
        }
    }
}

impl Engine {
    /// Refuses if a workload was found and nobody confirmed it.
    pub(in crate::daemon) fn confirmed(&self, workload: &str) -> Result<(), Refusal> {
        match self.discovery().found.get(workload) {
            Some(found) if !found.confirmed => Err(Refusal::Conflict(format!(
                "{workload} was found by slmguard itself and nobody has confirmed that it is what \
                 it looks like: read `slmguard workloads --explain {workload}`, then `slmguard \
                 workloads confirm {workload}`; until then it learns"
            ))),
            _ => Ok(()),
        }
    }

    /// Carries out what an operator decided.
    pub(in crate::daemon) fn carry_out(
        &self,
        workload: &str,
        action: &str,
        decide: &view::Decide,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        if peer.uid != 0 && peer.uid != nix::unistd::geteuid().as_raw() {
            return Err(Refusal::Forbidden(
                "only root may decide about workloads; run this as root".into(),
            ));
        }
        let agent = || {
            decide
                .agent
                .as_deref()
                .ok_or_else(|| Refusal::Bad("which agent? `slmguard workloads` lists them".into()))
        };
        let done = match action {
            "confirm" => self.confirm(workload)?,
            "dismiss" => self.dismiss(workload)?,
            "restore" => self.restore(workload)?,
            "enrol-agent" => self.enrol_agent(workload, agent()?)?,
            "dismiss-agent" => self.dismiss_agent(workload, agent()?)?,
            _ => return Err(Refusal::NotFound("there is no such page".into())),
        };
        let entry = AuditEntry {
            time: clock::now(),
            uid: peer.uid,
            pid: peer.pid,
            action: format!("workload {workload}: {action}: {done}"),
            reason: escape(decide.reason.as_bytes()),
        };
        tracing::info!("{done}, by user {} (pid {})", peer.uid, peer.pid);
        self.audit(entry);
        Ok(view::Decided { done })
    }

    fn confirm(&self, workload: &str) -> Result<String, Refusal> {
        let mut discovery = self.discovery();
        let Some(found) = discovery.found.get_mut(workload) else {
            drop(discovery);
            return match self.state().workloads.contains_key(workload) {
                true => Err(Refusal::Conflict(format!(
                    "{workload} is in the configuration: that is confirmation enough"
                ))),
                false => Err(no_such(workload)),
            };
        };
        let body = serde_json::to_string(&found.body).map_err(failed)?;
        self.store
            .update_detected(workload, true, &body)
            .map_err(failed)?;
        found.confirmed = true;
        Ok(format!(
            "confirmed {workload}; it can be switched to monitor and enforce now"
        ))
    }

    fn dismiss(&self, workload: &str) -> Result<String, Refusal> {
        let (key, found) = {
            let mut discovery = self.discovery();
            match discovery.found.remove(workload) {
                Some(found) => (found.key.clone(), found),
                None => {
                    drop(discovery);
                    return match self.state().workloads.contains_key(workload) {
                        true => Err(Refusal::Conflict(format!(
                            "{workload} is in the configuration: take it out there, and restart \
                             the daemon"
                        ))),
                        false => Err(no_such(workload)),
                    };
                }
            }
        };
        if let Err(e) = self.store.forget_detected(workload, true) {
            self.discovery().found.insert(workload.to_owned(), found);
            return Err(failed(e));
        }
        {
            let mut discovery = self.discovery();
            discovery.dismissed.insert(key, workload.to_owned());
            discovery.agents.retain(|(w, _), _| w != workload);
            discovery.seen.remove(workload);
        }
        // First nobody can become a member any more, then those who are go.
        self.refresh_enrolment(&Cgroups::discover())
            .map_err(|e| Refusal::Failed(format!("{e:#}")))?;
        let let_go = self.let_go(workload);
        self.classes.remove(workload);
        let mut state = self.state();
        state.workloads.remove(workload);
        state.forget(workload);
        drop(state);
        self.tidy_processes();
        Ok(format!(
            "dismissed {workload}: {let_go} processes are not guarded any more, what was learned is \
             forgotten, and it is not found again before `slmguard workloads restore {workload}`"
        ))
    }

    /// Takes every member of a workload out. Returns how many there were.
    fn let_go(&self, workload: &str) -> usize {
        let mut count = 0;
        for _ in 0..ROUNDS {
            let guard = self.guard();
            let members: Vec<u32> = guard
                .members()
                .into_iter()
                .filter(|(_, class)| {
                    self.classes
                        .scope(*class)
                        .is_some_and(|scope| scope.workload == workload)
                })
                .map(|(pid, _)| pid)
                .collect();
            if members.is_empty() {
                break;
            }
            // What forks meanwhile is found in the next round.
            members.iter().for_each(|pid| guard.set_member(*pid, NONE));
            count += members.len();
        }
        count
    }

    fn restore(&self, workload: &str) -> Result<String, Refusal> {
        if !self.store.undismiss(workload).map_err(failed)? {
            return Err(Refusal::NotFound(format!(
                "no workload {} was dismissed; `slmguard workloads candidates` lists those that were",
                escape(workload.as_bytes())
            )));
        }
        self.discovery()
            .dismissed
            .retain(|_, name| name != workload);
        Ok(format!("{workload} is found again while it runs"))
    }

    fn one_agent(&self, workload: &str, who: &str) -> Result<(String, Agent), Refusal> {
        if !self.state().workloads.contains_key(workload) {
            return Err(no_such(workload));
        }
        let discovery = self.discovery();
        match discovery.agents_called(workload, who).as_slice() {
            [one] => Ok((
                one.clone(),
                discovery.agents[&(workload.to_owned(), one.clone())].clone(),
            )),
            [] => Err(Refusal::NotFound(format!(
                "{workload} has no agent {}; `slmguard workloads {workload}` lists those that were \
                 seen",
                escape(who.as_bytes())
            ))),
            several => Err(Refusal::Conflict(format!(
                "{} is meant by several: {}",
                escape(who.as_bytes()),
                several.join(", ")
            ))),
        }
    }

    fn enrol_agent(&self, workload: &str, who: &str) -> Result<String, Refusal> {
        let (id, agent) = self.one_agent(workload, who)?;
        let numbered = self
            .store
            .add_classes(&scopes(workload, &[Role::Agent]))
            .map_err(failed)?;
        self.classes.add(&numbered);
        self.bring_in(&numbered)
            .map_err(|e| Refusal::Failed(format!("{e:#}")))?;
        // Classes of the other roles lead to this one by exec and fork only: nothing to renew.
        self.set_agent(workload, &id, &agent, AgentState::Enrolled)?;
        self.refresh_enrolment(&Cgroups::discover())
            .map_err(|e| Refusal::Failed(format!("{e:#}")))?;
        let mut running = 0;
        for pid in &agent.pids {
            if let Some(start) = self.start_of(*pid) {
                self.adopt_agent(workload, *pid, start);
                running += 1;
            }
        }
        let next = if recognisable(&agent) {
            "the next one is a member from its first instruction"
        } else {
            "nothing tells the next one from others: it has to be enrolled again"
        };
        Ok(format!(
            "enrolled {id} as agent of {workload}: {running} running, with their children; {next}"
        ))
    }

    fn dismiss_agent(&self, workload: &str, who: &str) -> Result<String, Refusal> {
        let (id, agent) = self.one_agent(workload, who)?;
        self.set_agent(workload, &id, &agent, AgentState::Dismissed)?;
        self.refresh_enrolment(&Cgroups::discover())
            .map_err(|e| Refusal::Failed(format!("{e:#}")))?;
        let note = match agent.state {
            AgentState::Enrolled => "; processes that are members stay so until they end",
            _ => "",
        };
        Ok(format!(
            "{id} is not offered as agent of {workload} any more{note}"
        ))
    }

    fn set_agent(
        &self,
        workload: &str,
        id: &str,
        agent: &Agent,
        state: AgentState,
    ) -> Result<(), Refusal> {
        let stored = Stored {
            program: agent.program.clone(),
            uid: agent.uid,
            evidence: agent.evidence.clone(),
        };
        let row = AgentRow {
            workload: workload.to_owned(),
            id: id.to_owned(),
            enrolled: state == AgentState::Enrolled,
            body: serde_json::to_string(&stored).map_err(failed)?,
        };
        self.store.set_agent(&row).map_err(failed)?;
        let key = (workload.to_owned(), id.to_owned());
        if let Some(agent) = self.discovery().agents.get_mut(&key) {
            agent.state = state;
        }
        Ok(())
    }
}

/// Whether the next process of an agent is recognised when it starts.
pub(super) fn recognisable(agent: &Agent) -> bool {
    agent.program.arguments.is_some() || agent.program.unit.is_some()
}

fn failed(e: impl std::fmt::Display) -> Refusal {
    Refusal::Failed(e.to_string())
}
