//! Agents: local processes that call a workload. They are offered; an operator enrols them or says
//! that they are none.

use std::collections::BTreeSet;

use monitor_common::class::{NONE, Role};
use serde::{Deserialize, Serialize};
use slmguard_core::{
    detect::{self, base_name, grouping::template, is_interpreter, program},
    text::escape,
};

use super::{AgentState, Call, Discovery, Program, found};
use crate::{
    daemon::engine::Engine,
    enrich::{
        adopt::Assignment,
        detect::{
            Scanner,
            callers::{Callers, Listener},
        },
    },
};

/// Agents of one workload that are offered at once.
const MOST: usize = 64;
/// Sentences about one agent.
const SENTENCES: usize = 6;

/// What the store keeps of an agent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stored {
    pub program: Program,
    pub uid: u32,
    pub evidence: Vec<String>,
}

impl Engine {
    /// Looks who calls: what the kernel told of since the last time, and who is connected now.
    pub(super) fn look_for_callers(&self, scanner: &mut Scanner, callers: &mut Callers) {
        let calls: Vec<Call> = self.discovery().calls.drain(..).collect();
        for call in calls {
            let is_it = self.proc.is(call.process.pid, call.process.start_time);
            if is_it {
                let how = format!("called {} (told by the kernel)", call.server);
                self.offer(scanner, &call.workload, call.process.pid, &how);
            }
        }
        let listeners: Vec<Listener> = {
            let state = self.state();
            let servers = state
                .processes
                .living()
                .filter(|p| p.scope.role == Role::Server || p.scope.role == Role::Loader);
            servers
                .map(|p| Listener {
                    workload: p.scope.workload.clone(),
                    pid: p.info.pid,
                })
                .collect()
        };
        for calling in callers.find(scanner, &listeners) {
            let how = format!("is connected to {}", calling.caller.server);
            self.offer(scanner, &calling.workload, calling.pid, &how);
        }
        let known: BTreeSet<u32> = {
            let discovery = self.discovery();
            discovery
                .agents
                .values()
                .flat_map(|a| a.pids.clone())
                .collect()
        };
        let gone: BTreeSet<u32> = known
            .into_iter()
            .filter(|pid| self.proc.stat(*pid).is_none())
            .collect();
        for agent in self.discovery().agents.values_mut() {
            agent.pids.retain(|pid| !gone.contains(pid));
        }
    }

    /// Enters a process that called a workload; one that was enrolled earlier becomes a member.
    fn offer(&self, scanner: &mut Scanner, workload: &str, pid: u32, how: &str) {
        let member = self.guard().member(pid) != NONE;
        let known = self.discovery().agents.iter().any(|((w, _), agent)| {
            w == workload && agent.pids.contains(&pid) && agent.evidence.iter().any(|e| e == how)
        });
        if member || known {
            return;
        }
        let Some(sighting) = scanner.look_at(pid).cloned() else {
            return;
        };
        let program = found::program(&sighting, Role::Agent);
        let mut discovery = self.discovery();
        let id = match discovery.agent_like(workload, &program) {
            Some(id) => id,
            None => {
                let count = discovery
                    .agents
                    .keys()
                    .filter(|(w, _)| w == workload)
                    .count();
                if count >= MOST {
                    return;
                }
                discovery.new_agent_name(workload, &sighting.facts, &program)
            }
        };
        let key = (workload.to_owned(), id.clone());
        let new = !discovery.agents.contains_key(&key);
        let agent = discovery.agents.entry(key).or_default();
        agent.uid = sighting.facts.uid;
        agent.calls += 1;
        agent.pids.insert(pid);
        for sentence in sentences(&sighting.facts, how) {
            if agent.evidence.len() < SENTENCES && !agent.evidence.contains(&sentence) {
                agent.evidence.push(sentence);
            }
        }
        if new {
            agent.program = program;
            tracing::info!(
                "{id} (process {pid}) calls {workload}: `slmguard workloads enrol-agent {workload} \
                 {id}` guards it"
            );
        }
        let enrolled = agent.state == AgentState::Enrolled;
        drop(discovery);
        if enrolled {
            self.adopt_agent(workload, pid, sighting.start_ticks);
        }
    }

    /// Makes a running process a member as agent, its children with it.
    pub(super) fn adopt_agent(&self, workload: &str, pid: u32, start_ticks: u64) {
        self.adopt_one(&Assignment {
            pid,
            start_ticks,
            workload: workload.to_owned(),
            role: Role::Agent,
        });
        if let Err(e) = self.adopt() {
            self.problem("enrolment", Some(format!("cannot enrol an agent: {e:#}")));
        }
    }

    /// The start of a process in ticks, if it is there.
    pub(super) fn start_of(&self, pid: u32) -> Option<u64> {
        self.proc.stat(pid).map(|s| s.start_ticks)
    }
}

impl Discovery {
    /// The agent of a workload that this program is.
    fn agent_like(&self, workload: &str, program: &Program) -> Option<String> {
        let unit = |p: &Program| p.unit.as_deref().map(template);
        self.agents
            .iter()
            .find(|((w, _), agent)| {
                w == workload
                    && agent.program.exe == program.exe
                    && agent.program.arguments == program.arguments
                    && unit(&agent.program) == unit(program)
            })
            .map(|((_, id), _)| id.clone())
    }

    /// A short name that no other agent of the workload has.
    fn new_agent_name(
        &self,
        workload: &str,
        facts: &detect::ProcessFacts,
        agent: &Program,
    ) -> String {
        let script = program(facts).script.map(|(_, script)| base_name(script));
        let wanted = match (&agent.unit, script) {
            (Some(unit), _) => template(unit)
                .trim_end_matches(".service")
                .trim_end_matches('@')
                .to_owned(),
            (None, Some(script)) => script.to_owned(),
            (None, None) => base_name(&facts.exe).to_owned(),
        };
        let place = detect::grouping::Grouping::default();
        let taken = |name: &str| {
            self.agents
                .contains_key(&(workload.to_owned(), name.to_owned()))
        };
        detect::naming::name(detect::Detector::Generic, &wanted, None, &place, &taken)
    }

    /// The agents that somebody means by a name or the number of a process.
    pub(super) fn agents_called(&self, workload: &str, who: &str) -> Vec<String> {
        let pid: Option<u32> = who.parse().ok();
        self.agents
            .iter()
            .filter(|((w, id), agent)| {
                w == workload && (id == who || pid.is_some_and(|pid| agent.pids.contains(&pid)))
            })
            .map(|((_, id), _)| id.clone())
            .collect()
    }

    /// How many agents there are: offered, enrolled, dismissed.
    pub(super) fn count_agents(&self) -> [usize; 3] {
        [
            AgentState::Offered,
            AgentState::Enrolled,
            AgentState::Dismissed,
        ]
        .map(|state| self.agents.values().filter(|a| a.state == state).count())
    }
}

/// What speaks for a caller being an agent.
fn sentences(facts: &detect::ProcessFacts, how: &str) -> Vec<String> {
    let mut all = vec![how.to_owned()];
    if let Some((_, script)) = program(facts).script {
        all.push(format!("runs {}", escape(script.as_bytes())));
    } else if is_interpreter(&facts.exe) {
        all.push("is an interpreter without a script: nothing tells it from others".into());
    }
    if let Some(port) = facts.ports.first() {
        all.push(format!("listens on TCP port {port} itself"));
    }
    if detect::serves_everybody(&facts.exe) {
        all.push("is a tool that anybody uses: only this process can be enrolled".into());
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for name in &facts.env {
        if ["OPENAI_", "LLM_", "MCP_", "LANGCHAIN_", "OLLAMA_"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            names.insert(name);
        }
    }
    if let Some(name) = names.first() {
        all.push(format!("environment has {}", escape(name.as_bytes())));
    }
    all
}
