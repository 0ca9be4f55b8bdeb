//! Policies in the kernel: installed whole under a fresh number, then switched to with one store
//! per class, then the old one is taken away. There is no moment without a policy.

use std::collections::BTreeMap;

use aya::maps::{
    Array, HashMap, Map, MapData,
    lpm_trie::{Key, LpmTrie},
};
use monitor_common::{
    class::ClassId,
    endpoint::{DENIED, DestinationKey, INVARIANT_POLICY, LISTEN},
    limits::{MAX_DESTINATIONS, MAX_HOSTS, MAX_NAMES, MAX_POLICIES, MAX_TRANSITIONS},
    name::{HostKey, NameKey},
    path::{PolicyRoot, State, TransitionKey},
};
use slmguard_core::decide::{automaton::Automaton, policy::PolicyImage};

use super::{Kernel, KernelError, plain::Plain};

/// What is installed under one number.
#[derive(Default)]
struct Installed {
    destinations: Vec<(u32, DestinationKey)>,
    names: Vec<NameKey>,
    hosts: Vec<HostKey>,
    transitions: Vec<TransitionKey>,
    /// Root of its deny automaton in [`Policies::shared`].
    deny: u32,
    classes: Vec<ClassId>,
}

/// A deny automaton: the invariants make it large and equal for most policies, so it is installed
/// once.
struct Shared {
    /// With states counted from its root, so that equal automata compare equal.
    relative: Vec<(TransitionKey, State)>,
    root: State,
    transitions: Vec<TransitionKey>,
    users: usize,
}

/// The maps of policies, and what is in them.
pub struct Policies {
    roots: Array<MapData, Plain<PolicyRoot>>,
    destinations: LpmTrie<MapData, Plain<DestinationKey>, u32>,
    transitions: HashMap<MapData, Plain<TransitionKey>, Plain<State>>,
    names: HashMap<MapData, Plain<NameKey>, u32>,
    hosts: HashMap<MapData, Plain<HostKey>, u32>,
    installed: BTreeMap<u32, Installed>,
    /// By the number of the root state.
    shared: BTreeMap<u32, Shared>,
    invariants: Vec<(u32, DestinationKey)>,
    next_state: u32,
    last_number: u32,
}

impl Policies {
    /// Takes the maps.
    pub fn new(
        roots: Map,
        destinations: Map,
        transitions: Map,
        names: Map,
        hosts: Map,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            roots: Array::try_from(roots).map_err(KernelError::map("POLICIES"))?,
            destinations: LpmTrie::try_from(destinations)
                .map_err(KernelError::map("DESTINATIONS"))?,
            transitions: HashMap::try_from(transitions).map_err(KernelError::map("TRANSITIONS"))?,
            names: HashMap::try_from(names).map_err(KernelError::map("NAMES"))?,
            hosts: HashMap::try_from(hosts).map_err(KernelError::map("HOSTS"))?,
            installed: BTreeMap::new(),
            shared: BTreeMap::new(),
            invariants: vec![],
            next_state: 1,
            last_number: 0,
        })
    }

    /// Number for the first state of the next automaton.
    pub fn next_state(&self) -> u32 {
        self.next_state
    }

    /// The next free number, going round: one that was in use lately is the last to come again.
    fn free_number(&mut self) -> Result<u32, KernelError> {
        // Policy 0 is what a class without a policy points to: always empty.
        let usable = MAX_POLICIES - 1;
        let number = (0..usable)
            .map(|i| 1 + (self.last_number + i) % usable)
            .find(|n| !self.installed.contains_key(n))
            .ok_or(KernelError::Full {
                what: "policies",
                have: self.installed.len() + 1,
                limit: usable as usize,
                advice: "guard fewer workloads with one daemon",
            })?;
        self.last_number = number;
        Ok(number)
    }

    fn check_room(
        &self,
        destinations: usize,
        transitions: usize,
        names: usize,
        hosts: usize,
    ) -> Result<(), KernelError> {
        let shared: usize = self.shared.values().map(|s| s.transitions.len()).sum();
        let used: (usize, usize) = self
            .installed
            .values()
            .fold((self.invariants.len(), shared), |(d, t), p| {
                (d + p.destinations.len(), t + p.transitions.len())
            });
        let full = |what, have, limit: u32| KernelError::Full {
            what,
            have,
            limit: limit as usize,
            advice: "generalise paths or destinations with patterns in the workload's allow rules",
        };
        if used.0 + destinations > MAX_DESTINATIONS as usize {
            return Err(full(
                "destinations",
                used.0 + destinations,
                MAX_DESTINATIONS,
            ));
        }
        if used.1 + transitions > MAX_TRANSITIONS as usize {
            return Err(full(
                "path transitions",
                used.1 + transitions,
                MAX_TRANSITIONS,
            ));
        }
        let named: usize = self.installed.values().map(|p| p.names.len()).sum();
        if named + names > MAX_NAMES as usize {
            return Err(full("names of unix sockets", named + names, MAX_NAMES));
        }
        let reached: usize = self.installed.values().map(|p| p.hosts.len()).sum();
        if reached + hosts > MAX_HOSTS as usize {
            return Err(full("hosts", reached + hosts, MAX_HOSTS));
        }
        Ok(())
    }

    fn insert_destination(
        &mut self,
        (bits, key): (u32, DestinationKey),
    ) -> Result<(), KernelError> {
        self.destinations
            .insert(&Key::new(bits, Plain(key)), 1, 0)
            .map_err(KernelError::map("DESTINATIONS"))
    }

    fn insert_automaton(&mut self, a: &Automaton) -> Result<(), KernelError> {
        for (key, state) in &a.transitions {
            self.transitions
                .insert(Plain(*key), Plain(*state), 0)
                .map_err(KernelError::map("TRANSITIONS"))?;
            self.next_state = self.next_state.max(state.state + 1).max(key.state + 1);
        }
        self.next_state = self.next_state.max(a.root.state + 1);
        Ok(())
    }

    /// Installs a deny automaton, or finds an equal one. Returns its root.
    fn share(&mut self, deny: &Automaton) -> Result<State, KernelError> {
        let relative = relative(deny);
        if let Some(known) = self
            .shared
            .values_mut()
            .find(|s| s.root.flags == deny.root.flags && s.relative == relative)
        {
            known.users += 1;
            return Ok(known.root);
        }
        self.insert_automaton(deny)?;
        let transitions = deny.transitions.iter().map(|(k, _)| *k).collect();
        self.shared.insert(
            deny.root.state,
            Shared {
                relative,
                root: deny.root,
                transitions,
                users: 1,
            },
        );
        Ok(deny.root)
    }

    fn unshare(&mut self, root: u32) {
        let Some(shared) = self.shared.get_mut(&root) else {
            return;
        };
        shared.users -= 1;
        if shared.users == 0
            && let Some(gone) = self.shared.remove(&root)
        {
            for key in gone.transitions {
                let _ = self.transitions.remove(&Plain(key));
            }
        }
    }

    /// Installs a policy under a fresh number; nothing of it stays if it cannot be done.
    fn install(&mut self, image: &PolicyImage) -> Result<u32, KernelError> {
        let transitions = image.allow.transitions.len() + image.deny.transitions.len();
        self.check_room(
            image.destinations.len() + image.denied.len(),
            transitions,
            image.names.len(),
            image.hosts.len(),
        )?;
        let number = self.free_number()?;
        // Known from the start, so that what was inserted is found when it has to go.
        let allowed = image.destinations.iter().map(|(bits, key)| {
            let policy = number | key.policy & LISTEN;
            (*bits, DestinationKey { policy, ..*key })
        });
        let denied = image.denied.iter().map(|(bits, key)| {
            let policy = number | DENIED | key.policy & LISTEN;
            (*bits, DestinationKey { policy, ..*key })
        });
        let names = image.names.iter().map(|key| {
            let policy = number | key.policy & DENIED;
            NameKey { policy, ..*key }
        });
        let hosts = image.hosts.iter().map(|key| HostKey {
            policy: number,
            ..*key
        });
        let installed = Installed {
            hosts: hosts.collect(),
            destinations: allowed.chain(denied).collect(),
            names: names.collect(),
            transitions: image.allow.transitions.iter().map(|(k, _)| *k).collect(),
            ..Installed::default()
        };
        self.installed.insert(number, installed);
        match self.fill(number, image) {
            Ok(()) => Ok(number),
            Err(e) => {
                self.remove(number);
                Err(e)
            }
        }
    }

    fn fill(&mut self, number: u32, image: &PolicyImage) -> Result<(), KernelError> {
        let installed = self.installed.get(&number);
        let (destinations, names, hosts) = installed
            .map(|i| (i.destinations.clone(), i.names.clone(), i.hosts.clone()))
            .unwrap_or_default();
        for entry in destinations {
            self.insert_destination(entry)?;
        }
        for key in names {
            self.names
                .insert(Plain(key), 1, 0)
                .map_err(KernelError::map("NAMES"))?;
        }
        for key in hosts {
            self.hosts
                .insert(Plain(key), 1, 0)
                .map_err(KernelError::map("HOSTS"))?;
        }
        self.insert_automaton(&image.allow)?;
        let deny = self.share(&image.deny)?;
        if let Some(installed) = self.installed.get_mut(&number) {
            installed.deny = deny.state;
        }
        let root = PolicyRoot {
            allow: image.allow.root,
            deny,
            ..image.root()
        };
        self.roots
            .set(number, Plain(root), 0)
            .map_err(KernelError::map("POLICIES"))
    }

    fn remove(&mut self, number: u32) {
        let Some(old) = self.installed.remove(&number) else {
            return;
        };
        let _ = self.roots.set(number, Plain(PolicyRoot::default()), 0);
        for (bits, key) in old.destinations {
            let _ = self.destinations.remove(&Key::new(bits, Plain(key)));
        }
        for key in old.names {
            let _ = self.names.remove(&Plain(key));
        }
        for key in old.hosts {
            let _ = self.hosts.remove(&Plain(key));
        }
        for key in old.transitions {
            let _ = self.transitions.remove(&Plain(key));
        }
        self.unshare(old.deny);
    }
}

/// The edges with states counted from the root; the dead state stays 0.
fn relative(a: &Automaton) -> Vec<(TransitionKey, State)> {
    let shift = |state: u32| {
        if state == 0 {
            0
        } else {
            state.wrapping_sub(a.root.state).wrapping_add(1)
        }
    };
    a.transitions
        .iter()
        .map(|(k, s)| {
            (
                TransitionKey {
                    state: shift(k.state),
                    ..*k
                },
                State {
                    state: shift(s.state),
                    ..*s
                },
            )
        })
        .collect()
}

impl Kernel {
    /// First state number for the next call of the policy compiler: state numbers are never used
    /// twice, so that an automaton in use is never touched.
    pub fn next_state(&self) -> u32 {
        self.policies.next_state()
    }

    /// Installs a policy and switches classes to it: each class changes with one store. `classes`
    /// holds, per class, the modes and flags of its control word. Policies that no class uses any
    /// more are removed. Returns the policy's number.
    ///
    /// # Errors
    /// It does not fit; the old policy stays in force.
    pub fn publish(
        &mut self,
        classes: &[(ClassId, u64)],
        image: &PolicyImage,
    ) -> Result<u32, KernelError> {
        let number = self.policies.install(image)?;
        for (class, bits) in classes {
            self.control
                .set(*class as usize, bits & !0xffff_ffff | number as u64);
        }
        let changed: Vec<ClassId> = classes.iter().map(|(c, _)| *c).collect();
        for (n, p) in &mut self.policies.installed {
            if *n != number {
                p.classes.retain(|c| !changed.contains(c));
            } else {
                p.classes.clone_from(&changed);
            }
        }
        let unused: Vec<u32> = self
            .policies
            .installed
            .iter()
            .filter(|(_, p)| p.classes.is_empty())
            .map(|(n, _)| *n)
            .collect();
        if !unused.is_empty() {
            // A program on another processor may still be walking the old policy.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        for n in unused {
            self.policies.remove(n);
        }
        Ok(number)
    }

    /// Sets the control word of a class that has no policy.
    pub(super) fn set_control(&self, class: ClassId, word: u64) {
        self.control.set(class as usize, word);
    }

    /// Sets the destinations that are denied to everybody, replacing the earlier ones.
    ///
    /// # Errors
    /// They do not fit.
    pub fn set_invariants(
        &mut self,
        endpoints: &[(u32, DestinationKey)],
    ) -> Result<(), KernelError> {
        let wanted: Vec<(u32, DestinationKey)> = endpoints
            .iter()
            .map(|(bits, key)| {
                (
                    *bits,
                    DestinationKey {
                        policy: INVARIANT_POLICY,
                        ..*key
                    },
                )
            })
            .collect();
        for entry in &wanted {
            self.policies.insert_destination(*entry)?;
        }
        let gone = std::mem::replace(&mut self.policies.invariants, wanted);
        for (bits, key) in gone {
            if !self.policies.invariants.contains(&(bits, key)) {
                let _ = self
                    .policies
                    .destinations
                    .remove(&Key::new(bits, Plain(key)));
            }
        }
        Ok(())
    }
}
