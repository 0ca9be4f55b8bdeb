//! The compiler from path patterns to the deterministic automaton that the kernel walks.
//!
//! Subset construction with a budget: the kernel then needs at most one literal and one `*` look-up
//! per component, however many patterns there are. The construction depends on the patterns alone;
//! the key only chooses the hashes under which the edges are stored, so equal patterns give the same
//! automaton on every host.

use std::collections::{BTreeMap, HashMap, VecDeque};

use monitor_common::{
    hash::{HashKey, component},
    limits::MAX_DEPTH,
    path::{HAS_LITERAL, HAS_STAR, OTHER_PROCESS, STAR_HASH, State, TransitionKey, below, ends},
};

use super::{
    CompileError,
    pattern::{Component, PathPattern},
};
use crate::text;

/// An automaton, ready for the kernel's map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Automaton {
    /// Where it starts.
    pub root: State,
    /// Its edges, sorted by key.
    pub transitions: Vec<(TransitionKey, State)>,
    /// Number of states; they are numbered from the first state on.
    pub states: u32,
}

/// Work that the construction may do per edge of its budget, in pattern positions.
const WORK_PER_EDGE: usize = 64;
/// Patterns that an error names.
const OFFENDERS: usize = 3;

/// Compiles patterns. `first_state` and the states behind it must not be in use by another
/// automaton in the same map; 0 is the dead state and cannot be the first. `budget` limits the
/// number of edges.
///
/// Where a pattern for other processes and an ordinary one end in the same state with different
/// permissions, the state counts for both: only a file below a directory called like `/proc/<pid>`
/// that is not of the process itself can get there.
pub fn compile(
    patterns: &[PathPattern],
    key: HashKey,
    first_state: u32,
    budget: usize,
) -> Result<Automaton, CompileError> {
    Builder::new(patterns, first_state, budget)?.run(key)
}

/// Walks an automaton as the kernel does. `path` is what the kernel hashes: for a process's own
/// files in `/proc` the component with its number is `self`. Returns permission bits.
pub fn walk(automaton: &Automaton, key: HashKey, path: &[&[u8]], other_process: bool) -> u8 {
    if path.len() > MAX_DEPTH as usize {
        return 0;
    }
    let edge = |state: u32, component: u64| {
        let wanted = TransitionKey {
            state,
            zero: 0,
            component,
        };
        let at = automaton
            .transitions
            .binary_search_by_key(&wanted, |(key, _)| *key)
            .ok()?;
        Some(automaton.transitions[at].1)
    };
    let mut state = automaton.root;
    let mut allowed = 0;
    for name in path {
        allowed |= below(state.flags);
        let literal =
            (state.flags & HAS_LITERAL != 0).then(|| edge(state.state, component(key, name)));
        let star = || {
            (state.flags & HAS_STAR != 0)
                .then(|| edge(state.state, STAR_HASH))
                .flatten()
        };
        match literal.flatten().or_else(star) {
            Some(next) => state = next,
            None => return allowed,
        }
    }
    let counts = state.flags & OTHER_PROCESS == 0 || other_process;
    allowed | if counts { ends(state.flags) } else { 0 }
}

/// A set of pattern positions, sorted: what a state of the automaton stands for.
type Set = Vec<u32>;

/// Edges of one state before they have numbers.
#[derive(Default)]
struct Outgoing<'p> {
    literal: BTreeMap<&'p [u8], Set>,
    star: Set,
}

struct Builder<'p> {
    patterns: &'p [PathPattern],
    /// Pattern and component index behind each position; one more position than components each.
    positions: Vec<(u32, u32)>,
    first_state: u32,
    budget: usize,
    /// Number of each set that has been met, and the flags of each number.
    numbers: HashMap<Set, u32>,
    states: Vec<State>,
    waiting: VecDeque<(State, Set)>,
    /// Positions in all sets so far.
    work: usize,
    /// How many sets each pattern with inner wildcards is part of.
    blame: Vec<usize>,
}

impl<'p> Builder<'p> {
    fn new(
        patterns: &'p [PathPattern],
        first_state: u32,
        budget: usize,
    ) -> Result<Self, CompileError> {
        if let Some(p) = patterns
            .iter()
            .find(|p| p.other_process && p.components.contains(&Component::Rest))
        {
            return Err(CompileError::OtherProcessRest(p.to_string()));
        }
        let positions = (0u32..)
            .zip(patterns)
            .flat_map(|(i, p)| (0..=p.components.len() as u32).map(move |c| (i, c)))
            .collect();
        Ok(Self {
            patterns,
            positions,
            first_state: first_state.max(1),
            budget,
            numbers: HashMap::new(),
            states: vec![],
            waiting: VecDeque::new(),
            work: 0,
            blame: vec![0; patterns.len()],
        })
    }

    fn run(mut self, key: HashKey) -> Result<Automaton, CompileError> {
        let start = (0u32..)
            .zip(&self.positions)
            .filter(|(_, (_, c))| *c == 0)
            .map(|(at, _)| at);
        let root = self.state(start.collect())?;
        let mut transitions = vec![];
        while let Some((state, set)) = self.waiting.pop_front() {
            let Outgoing { literal, star } = self.outgoing(&set);
            let mut hashes: HashMap<u64, &[u8]> = HashMap::from([(STAR_HASH, &b"*"[..])]);
            for (name, target) in literal {
                let hash = component(key, name);
                if let Some(first) = hashes.insert(hash, name) {
                    return Err(CompileError::HashCollision {
                        first: text::escape_component(name),
                        second: text::escape(first),
                    });
                }
                transitions.push((edge(state, hash), self.state(target)?));
            }
            if !star.is_empty() {
                transitions.push((edge(state, STAR_HASH), self.state(star)?));
            }
            if transitions.len() > self.budget {
                return Err(self.over_budget());
            }
        }
        transitions.sort_unstable_by_key(|(key, _)| *key);
        Ok(Automaton {
            root,
            transitions,
            states: self.states.len() as u32,
        })
    }

    /// The state for a set of positions, numbered at its first sight.
    fn state(&mut self, positions: Set) -> Result<State, CompileError> {
        let set = self.settle(positions);
        if set.is_empty() {
            return Ok(State::default());
        }
        if let Some(number) = self.numbers.get(&set) {
            return Ok(self.states[*number as usize]);
        }
        self.work += set.len();
        for position in &set {
            self.blame[self.positions[*position as usize].0 as usize] += 1;
        }
        if self.work / WORK_PER_EDGE > self.budget + self.positions.len()
            || self.states.len() > self.budget
        {
            return Err(self.over_budget());
        }
        let index = self.states.len() as u32;
        let number = self
            .first_state
            .checked_add(index)
            .ok_or(CompileError::StatesExhausted(self.first_state))?;
        let state = State {
            state: number,
            flags: self.flags(&set),
        };
        self.states.push(state);
        self.numbers.insert(set.clone(), index);
        self.waiting.push_back((state, set));
        Ok(state)
    }

    fn at(&self, position: u32) -> (&'p PathPattern, Option<&'p Component>, bool) {
        let (pattern, component) = self.positions[position as usize];
        let pattern = &self.patterns[pattern as usize];
        let component = component as usize;
        let is_last = component + 1 == pattern.components.len();
        (pattern, pattern.components.get(component), is_last)
    }

    /// Adds what an inner `**` may skip, and drops what the state already allows for everything
    /// below it.
    fn settle(&self, mut set: Set) -> Set {
        let mut i = 0;
        while let Some(&position) = set.get(i) {
            if let (_, Some(Component::Rest), false) = self.at(position) {
                set.push(position + 1);
            }
            i += 1;
        }
        set.sort_unstable();
        set.dedup();
        let below = self.below(&set);
        set.retain(|position| match self.at(*position) {
            (_, None, _) | (_, Some(Component::Rest), true) => true,
            (pattern, ..) => pattern.permissions & !below != 0,
        });
        set
    }

    /// Permissions of everything below a set.
    fn below(&self, set: &[u32]) -> u8 {
        set.iter()
            .fold(0, |bits, position| match self.at(*position) {
                (pattern, Some(Component::Rest), true) => bits | pattern.permissions,
                _ => bits,
            })
    }

    fn flags(&self, set: &[u32]) -> u32 {
        let (mut plain, mut other, mut edges) = (0, 0, 0);
        for position in set {
            match self.at(*position) {
                (pattern, None, _) if pattern.other_process => other |= pattern.permissions,
                (pattern, None, _) => plain |= pattern.permissions,
                (_, Some(Component::Literal(_)), _) => edges |= HAS_LITERAL,
                // Beside the star there is the edge that keeps `self` out.
                (pattern, Some(Component::Star), _) if pattern.other_process => {
                    edges |= HAS_STAR | HAS_LITERAL;
                }
                (_, Some(Component::Star | Component::Class(_)), _)
                | (_, Some(Component::Rest), false) => edges |= HAS_STAR,
                (_, Some(Component::Rest), true) => {}
            }
        }
        if other != 0 && plain == 0 {
            edges |= OTHER_PROCESS;
        }
        u32::from(plain | other) | u32::from(self.below(set)) << 8 | edges
    }

    /// Where each component leads from a set.
    fn outgoing(&self, set: &[u32]) -> Outgoing<'p> {
        let mut out = Outgoing::default();
        // What a star takes but `self` does not.
        let mut not_self = vec![];
        for position in set {
            match self.at(*position) {
                (_, Some(Component::Literal(name)), _) => {
                    out.literal.entry(name).or_default().push(position + 1);
                }
                (pattern, Some(Component::Star), _) if pattern.other_process => {
                    not_self.push(position + 1)
                }
                (_, Some(Component::Star | Component::Class(_)), _) => out.star.push(position + 1),
                (_, Some(Component::Rest), false) => out.star.push(*position),
                _ => {}
            }
        }
        if !not_self.is_empty() {
            out.literal.entry(b"self").or_default();
        }
        for (name, target) in &mut out.literal {
            target.extend(&out.star);
            if *name != b"self" {
                target.extend(&not_self);
            }
        }
        out.star.extend(not_self);
        out
    }

    /// The error that names the patterns whose wildcards are in most states.
    fn over_budget(&self) -> CompileError {
        let mut offenders: Vec<usize> = (0..self.patterns.len())
            .filter(|i| self.patterns[*i].has_inner_wildcard())
            .collect();
        offenders.sort_by_key(|i| std::cmp::Reverse(self.blame[*i]));
        offenders.truncate(OFFENDERS);
        let budget = self.budget;
        match offenders[..] {
            [] => CompileError::TooManyPaths {
                budget,
                patterns: self.patterns.len(),
            },
            _ => CompileError::Explosive {
                budget,
                offenders: offenders
                    .iter()
                    .map(|i| self.patterns[*i].to_string())
                    .collect(),
            },
        }
    }
}

fn edge(from: State, component: u64) -> TransitionKey {
    TransitionKey {
        state: from.state,
        zero: 0,
        component,
    }
}

#[cfg(test)]
#[path = "automaton_tests.rs"]
mod tests;
