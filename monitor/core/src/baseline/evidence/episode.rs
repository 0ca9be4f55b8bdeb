//! Episodes: which request, tool-process life or minute of background work something belongs to.
//!
//! A state machine over observations. What it can and cannot say:
//!
//! - A **tool-process life** is exact: a process that became a tool, with all its descendants, until
//!   the last of them ends.
//! - A **request** is a connection that came in, from its accept to its end. With one request open,
//!   what the workload's processes of that role do belongs to it; with k open, to one of k, and the
//!   attribution says so. The kernel tells the first connection of a peer by itself and only counts
//!   later ones: those are told when they end ([`Closed::count`]), and while they are open nobody
//!   here knows of them. So k is a lower limit.
//! - Everything else falls into **slots** of 60 s per scope. A slot counts only if something was
//!   seen in it: time alone is no evidence. Because a counted request may reach over the end of a
//!   slot, a slot and the one right before it are not held to be different.
//!
//! Where in doubt, an attribution names a whole span of episodes, and
//! [`super::incidence::Incidence`] takes two spans that overlap for the same episode: what is known
//! too little is never taken for more than it is.
//!
//! Knows no baseline and no clock. Times may jump: a clock that is set back neither opens nor loses
//! an episode, because ages are counted in steady time.

use std::collections::BTreeMap;

use monitor_common::class::Role;

pub use super::attribution::{Attribution, Closed, EpisodeId, Kind};
use super::steady::Steady;
use crate::observation::{Endpoint, Fact, Observation, ProcessKey, Scope};

/// Length of a slot of background work, nanoseconds.
pub const SLOT: u64 = 60_000_000_000;
/// A connection that is kept open for longer is no request any more, and a tool that lives for
/// longer is a service: what they do from then on is background work. Nanoseconds.
pub const LONGEST: u64 = 15 * 60_000_000_000;
/// Requests of a workload and role that can be open at once; beyond that the oldest counts as ended.
const MAX_OPEN: usize = 1024;
/// Tool processes that can be followed at once.
const MAX_PROCESSES: usize = 16_384;

#[derive(Clone, Debug)]
struct Open {
    began: u64,
    scopes: Vec<Scope>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Request {
        process: ProcessKey,
        peer: Endpoint,
        local_port: u16,
    },
    ToolLife {
        processes: u32,
    },
    Slot,
}

impl Open {
    fn kind(&self) -> Kind {
        match self.what {
            What::Request { .. } => Kind::Request,
            What::ToolLife { .. } => Kind::ToolLife,
            What::Slot => Kind::Slot,
        }
    }

    fn touch(&mut self, scope: &Scope) {
        if !self.scopes.contains(scope) {
            self.scopes.push(scope.clone());
        }
    }
}

/// Requests of one workload and role.
#[derive(Clone, Debug, Default)]
struct Door {
    open: Vec<EpisodeId>,
    /// Requests that were counted before their connection ended: so many of the ends that are still
    /// to come must not count again.
    owed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Background {
    current: Option<EpisodeId>,
    /// The slot before, and when it ended.
    previous: Option<(EpisodeId, u64)>,
    /// The oldest episode that was open when counters were last read.
    polled: Option<EpisodeId>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Episodes {
    host: u16,
    next: u64,
    time: Steady,
    open: BTreeMap<EpisodeId, Open>,
    doors: BTreeMap<(String, Role), Door>,
    processes: BTreeMap<ProcessKey, EpisodeId>,
    background: BTreeMap<Scope, Background>,
    closed: Vec<Closed>,
    /// Steady time at which something may have to be closed.
    due: u64,
}

impl Episodes {
    /// A machine for one host. `next` is the number of its first episode, at least 1, and must be
    /// above all that were used before ([`Self::next`]).
    pub fn new(host: u16, next: u64) -> Self {
        Self {
            host,
            next: next.max(1),
            time: Steady::default(),
            open: BTreeMap::new(),
            doors: BTreeMap::new(),
            processes: BTreeMap::new(),
            background: BTreeMap::new(),
            closed: vec![],
            due: 0,
        }
    }

    /// The number that the next episode gets; to be stored.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether an episode has begun and not ended.
    pub fn is_open(&self, id: EpisodeId) -> bool {
        self.open.contains_key(&id)
    }

    /// Episodes that ended since the last call.
    pub fn take_closed(&mut self) -> Vec<Closed> {
        std::mem::take(&mut self.closed)
    }

    /// Takes an observation in and says which episode it belongs to; `None` for what is nobody's:
    /// callers, and ends of connections that were only counted.
    pub fn observe(&mut self, seen: &Observation) -> Option<Attribution> {
        self.advance(seen.time);
        match &seen.fact {
            Fact::Caller { .. } => None,
            Fact::Accept { peer, local, .. } => {
                Some(self.accept(&seen.scope, seen.process, *peer, local.port))
            }
            Fact::Flow(flow) if flow.inbound => {
                self.hang_up(&seen.scope, flow.peer, flow.local_port, seen.count)
            }
            Fact::Fork { child } => {
                let attribution = self.attribute(&seen.scope, seen.process);
                self.fork(seen.process, *child);
                Some(attribution)
            }
            Fact::Exec {
                after: Some(after), ..
            } if after.role == Role::Tool && !self.processes.contains_key(&seen.process) => {
                Some(self.tool(&seen.scope, after, seen.process))
            }
            Fact::Exit { .. } => {
                let attribution = self.attribute(&seen.scope, seen.process);
                self.exit(&seen.scope, seen.process);
                Some(attribution)
            }
            _ => Some(self.attribute(&seen.scope, seen.process)),
        }
    }

    /// A further request on a connection that is kept open, for who can see it: the one before it
    /// on that connection has ended.
    pub fn request(
        &mut self,
        scope: &Scope,
        process: ProcessKey,
        peer: Endpoint,
        local_port: u16,
        time: u64,
    ) -> Attribution {
        self.advance(time);
        if let Some(id) = self.find(scope, peer, local_port) {
            self.close(id);
        }
        self.accept(scope, process, peer, local_port)
    }

    /// Known behaviour of a scope was counted by the kernel since this was last called: in some
    /// episode that was open in between.
    pub fn polled(&mut self, scope: &Scope, time: u64) -> Attribution {
        self.advance(time);
        let slot = self.slot(scope);
        let open = self.oldest(scope).min(slot.episode);
        let since = self.background.entry(scope.clone()).or_default();
        let from = since.polled.replace(open).unwrap_or(open).min(slot.episode);
        let door = self.doors.get(&(scope.workload.clone(), scope.role));
        let requests = door.map(|door| door.open.clone()).unwrap_or_default();
        for id in &requests {
            if let Some(open) = self.open.get_mut(id) {
                open.touch(scope);
            }
        }
        Attribution {
            episode: from,
            newest: EpisodeId::new(self.host, self.next - 1),
            kind: Kind::Slot,
            of: u16::try_from(requests.len() + 1).unwrap_or(u16::MAX),
        }
    }

    /// Time went by; closes what is over. Enough to call it whenever counters are read.
    pub fn advance(&mut self, time: u64) {
        self.time.advance(time, u64::MAX);
        let now = self.time.now();
        if now < self.due {
            return;
        }
        let limit = |open: &Open| {
            open.began
                + if open.kind() == Kind::Slot {
                    SLOT
                } else {
                    LONGEST
                }
        };
        let over: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| limit(open) <= now)
            .map(|(id, open)| (*id, matches!(open.what, What::Request { .. })))
            .collect();
        for (id, request) in over {
            if request {
                self.owe(id);
            }
            self.close(id);
        }
        self.due = self.open.values().map(limit).min().unwrap_or(now);
        self.background.retain(|_, b| {
            b.current.is_some()
                || b.previous.is_some_and(|(_, end)| now - end < SLOT)
                || b.polled.is_some()
        });
    }

    /// A workload is gone: what it had open is dropped and does not count.
    pub fn forget(&mut self, workload: &str) {
        self.open
            .retain(|_, open| open.scopes.iter().all(|scope| scope.workload != workload));
        self.doors.retain(|(name, _), _| name != workload);
        self.background
            .retain(|scope, _| scope.workload != workload);
        let open = &self.open;
        self.processes.retain(|_, id| open.contains_key(id));
        self.closed
            .retain(|closed| closed.scopes.iter().all(|scope| scope.workload != workload));
    }

    fn begin(&mut self, scopes: &[&Scope], what: What) -> EpisodeId {
        let id = EpisodeId::new(self.host, self.next);
        self.next += 1;
        let mut open = Open {
            began: self.time.now(),
            scopes: vec![],
            what,
        };
        for scope in scopes {
            open.touch(scope);
        }
        let length = if open.kind() == Kind::Slot {
            SLOT
        } else {
            LONGEST
        };
        let due = open.began + length;
        self.due = if self.open.is_empty() {
            due
        } else {
            self.due.min(due)
        };
        self.open.insert(id, open);
        id
    }

    fn accept(
        &mut self,
        scope: &Scope,
        process: ProcessKey,
        peer: Endpoint,
        local_port: u16,
    ) -> Attribution {
        // The same connection twice: its end was lost.
        if let Some(id) = self.find(scope, peer, local_port) {
            self.close(id);
        }
        let what = What::Request {
            process,
            peer,
            local_port,
        };
        let id = self.begin(&[scope], what);
        let door = self.doors.entry(door(scope)).or_default();
        door.open.push(id);
        if door.open.len() > MAX_OPEN {
            let oldest = door.open[0];
            self.owe(oldest);
            self.close(oldest);
        }
        Attribution::exact(id, Kind::Request)
    }

    fn hang_up(
        &mut self,
        scope: &Scope,
        peer: Endpoint,
        local_port: u16,
        count: u64,
    ) -> Option<Attribution> {
        let id = self.find(scope, peer, local_port);
        let counted = count.saturating_sub(u64::from(id.is_some()));
        let door = self.doors.entry(door(scope)).or_default();
        let owed = door.owed.min(counted);
        door.owed -= owed;
        if counted > owed {
            self.next += 1;
            self.closed.push(Closed {
                kind: Kind::Request,
                count: counted - owed,
                scopes: vec![scope.clone()],
            });
        }
        let id = id?;
        self.close(id);
        Some(Attribution::exact(id, Kind::Request))
    }

    fn tool(&mut self, before: &Scope, after: &Scope, process: ProcessKey) -> Attribution {
        let id = self.begin(&[before, after], What::ToolLife { processes: 1 });
        self.follow(process, id);
        Attribution::exact(id, Kind::ToolLife)
    }

    fn fork(&mut self, parent: ProcessKey, child: ProcessKey) {
        // A child that is there already: the end of a process before it was lost.
        self.leave(child);
        let Some(id) = self.processes.get(&parent).copied() else {
            return;
        };
        if let Some(Open {
            what: What::ToolLife { processes },
            ..
        }) = self.open.get_mut(&id)
        {
            *processes += 1;
            self.follow(child, id);
        }
    }

    fn follow(&mut self, process: ProcessKey, id: EpisodeId) {
        if self.processes.len() >= MAX_PROCESSES
            && let Some(oldest) = self.processes.values().min().copied()
        {
            self.close(oldest);
        }
        self.processes.insert(process, id);
    }

    fn exit(&mut self, scope: &Scope, process: ProcessKey) {
        self.leave(process);
        let door = self.doors.get(&door(scope));
        let accepted = |id: &EpisodeId| {
            let open = self.open.get(id).map(|open| &open.what);
            matches!(open, Some(What::Request { process: p, .. }) if *p == process)
        };
        let own: Vec<_> = door
            .map(|door| door.open.iter().copied().filter(accepted).collect())
            .unwrap_or_default();
        for id in own {
            // Its end may still be told.
            self.owe(id);
            self.close(id);
        }
    }

    fn leave(&mut self, process: ProcessKey) {
        let Some(id) = self.processes.remove(&process) else {
            return;
        };
        if let Some(Open {
            what: What::ToolLife { processes },
            ..
        }) = self.open.get_mut(&id)
        {
            *processes -= 1;
            if *processes == 0 {
                self.close(id);
            }
        }
    }

    fn attribute(&mut self, scope: &Scope, process: ProcessKey) -> Attribution {
        if let Some(id) = self.processes.get(&process)
            && let Some(open) = self.open.get_mut(id)
        {
            open.touch(scope);
            return Attribution::exact(*id, Kind::ToolLife);
        }
        let all: &[EpisodeId] = self
            .doors
            .get(&door(scope))
            .map_or(&[], |door| door.open.as_slice());
        let own: Vec<_> = all
            .iter()
            .copied()
            .filter(|id| {
                let open = self.open.get(id).map(|open| &open.what);
                matches!(open, Some(What::Request { process: p, .. }) if *p == process)
            })
            .collect();
        // Who accepted nothing itself works for any of those that did.
        let may_be = if own.is_empty() { all.to_vec() } else { own };
        for id in &may_be {
            if let Some(open) = self.open.get_mut(id) {
                open.touch(scope);
            }
        }
        match may_be.as_slice() {
            [] => self.slot(scope),
            [oldest, .., newest] => Attribution {
                episode: *oldest,
                newest: *newest,
                kind: Kind::Request,
                of: u16::try_from(may_be.len()).unwrap_or(u16::MAX),
            },
            [only] => Attribution::exact(*only, Kind::Request),
        }
    }

    fn slot(&mut self, scope: &Scope) -> Attribution {
        let known = self.background.get(scope).copied().unwrap_or_default();
        let current = match known.current {
            Some(id) => id,
            None => {
                let id = self.begin(&[scope], What::Slot);
                let background = self.background.entry(scope.clone()).or_default();
                background.current = Some(id);
                id
            }
        };
        let began = self.open.get(&current).map_or(0, |open| open.began);
        let before = known
            .previous
            .filter(|(_, end)| began.saturating_sub(*end) < SLOT)
            .map(|(id, _)| id);
        Attribution {
            episode: before.unwrap_or(current),
            newest: current,
            kind: Kind::Slot,
            of: 1 + u16::from(before.is_some()),
        }
    }

    /// The oldest episode that behaviour of a scope may belong to right now.
    fn oldest(&self, scope: &Scope) -> EpisodeId {
        let of_scope = |open: &&Open| match open.what {
            What::Request { .. } => open
                .scopes
                .first()
                .is_some_and(|s| s.workload == scope.workload && s.role == scope.role),
            _ => open.scopes.contains(scope),
        };
        self.open
            .iter()
            .find(|(_, open)| of_scope(open))
            .map_or(EpisodeId::new(self.host, self.next), |(id, _)| *id)
    }

    fn find(&self, scope: &Scope, peer: Endpoint, local_port: u16) -> Option<EpisodeId> {
        let door = self.doors.get(&door(scope))?;
        door.open.iter().copied().find(|id| {
            let open = self.open.get(id).map(|open| &open.what);
            matches!(open, Some(What::Request { peer: p, local_port: l, .. })
                if *p == peer && *l == local_port)
        })
    }

    /// The end of that request's connection is still to come and must not count again.
    fn owe(&mut self, id: EpisodeId) {
        if let Some(scope) = self.open.get(&id).and_then(|open| open.scopes.first()) {
            self.doors.entry(door(scope)).or_default().owed += 1;
        }
    }

    fn close(&mut self, id: EpisodeId) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        match &open.what {
            What::Request { .. } => {
                if let Some(scope) = open.scopes.first()
                    && let Some(door) = self.doors.get_mut(&door(scope))
                {
                    door.open.retain(|other| *other != id);
                }
            }
            What::ToolLife { .. } => self.processes.retain(|_, other| *other != id),
            What::Slot => {
                if let Some(scope) = open.scopes.first() {
                    let background = self.background.entry(scope.clone()).or_default();
                    background.current = None;
                    background.previous = Some((id, self.time.now().min(open.began + SLOT)));
                }
            }
        }
        self.closed.push(Closed {
            kind: open.kind(),
            count: 1,
            scopes: open.scopes,
        });
    }
}

fn door(scope: &Scope) -> (String, Role) {
    (scope.workload.clone(), scope.role)
}

#[cfg(test)]
#[path = "episode_tests.rs"]
mod tests;
