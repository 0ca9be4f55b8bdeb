//! Counters from the kernel: known behaviour is reported once and counted there; here the counts
//! come back into the baseline. And the hooks' own counters, for metrics and for the health.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use monitor_common::{
    class::{ClassId, Family, Mode},
    endpoint::V4_PREFIX,
    event::{Kind, Verdict, change::Action},
    facility::Facility,
    hash,
    hook::Hook,
    seen::{Seen, SeenKey},
};
use slmguard_core::{
    baseline::Baseline,
    decide::endpoint_rule::EndpointRule,
    decode::ClassNames,
    observation::{Endpoint, Fact, FileAccess, Lookup, Observation, ProcessKey, Scope, UnixPeer},
    text,
};

use super::{clock, engine::Engine};

/// How long lost events and failures count as a problem.
const RECENTLY: Duration = Duration::from_secs(600);

/// DNS types whose counts are brought back: A, PTR, TXT, AAAA, SRV, HTTPS.
const COMMON_TYPES: [u16; 6] = [1, 12, 16, 28, 33, 65];

/// What was brought back already.
#[derive(Debug, Default)]
pub struct Counts {
    merged: HashMap<SeenKey, u64>,
    lost: Lately,
    failed: Lately,
}

/// A counter that should stand still, and when it last did not.
#[derive(Debug, Default)]
struct Lately {
    count: u64,
    moved: Option<Instant>,
}

impl Lately {
    /// Takes the counter in; true while it has moved lately.
    fn update(&mut self, count: u64) -> bool {
        if count > self.count {
            self.moved = Some(Instant::now());
        }
        self.count = count;
        self.moved.is_some_and(|at| at.elapsed() < RECENTLY)
    }
}

impl Counts {
    /// What the kernel has counted since its last report and we have not taken yet.
    fn news(&mut self, key: SeenKey, seen: &Seen) -> u64 {
        let outstanding = seen.count.saturating_sub(seen.reported);
        let merged = self.merged.entry(key).or_default();
        // Less than before: the entry went and came again.
        let news = outstanding.checked_sub(*merged).unwrap_or(outstanding);
        *merged = outstanding;
        news
    }
}

impl Engine {
    /// Brings the kernel's counts of known behaviour into the baseline.
    pub fn merge_counts(&self, counts: &mut Counts) {
        let all: HashMap<SeenKey, Seen> = self.guard().seen().into_iter().collect();
        counts.merged.retain(|key, _| all.contains_key(key));
        let mut by_class: HashMap<ClassId, Vec<(SeenKey, u64)>> = HashMap::new();
        for (key, seen) in &all {
            let let_through = matches!(
                Verdict::from_u8(key.verdict & 0xf),
                Some(Verdict::Known | Verdict::New)
            );
            if let_through && key.tgid == 0 {
                let news = counts.news(*key, seen);
                if news > 0 {
                    by_class.entry(key.class).or_default().push((*key, news));
                }
            }
        }
        for (class, news) in by_class {
            let Some(scope) = self.classes.scope(class) else {
                continue;
            };
            let mut state = self.state();
            let names = Names::of(&state.baseline, &scope, self.key);
            let attribution = state.evidence.polled(&scope, clock::now());
            for (key, count) in news {
                if let Some(fact) = names.fact(&key) {
                    state.count_known(&known(&scope, fact, count), &attribution);
                }
            }
        }
    }

    /// Brings the hooks' counters into metrics, and says if events were lost lately.
    pub fn read_counters(&self, counts: &mut Counts) {
        let all = match self.guard().counters() {
            Ok(all) => all,
            Err(e) => return self.problem("counters", Some(format!("{e}"))),
        };
        self.problem("counters", None);
        let (mut lost, mut failed) = (0, 0);
        for (hook, counters) in &all {
            self.metrics.set_hook(*hook, counters);
            lost += counters.dropped;
            failed += counters.errors;
        }
        let news = lost.saturating_sub(counts.lost.count);
        if news > 0 {
            self.record_lost(news);
            self.state().evidence.lost(clock::now());
        }
        let recent = counts.lost.update(lost);
        self.problem(
            "rings",
            recent.then(|| {
                format!("{lost} events found no room in the rings; what they said was not learned")
            }),
        );
        let recent = counts.failed.update(failed);
        self.problem(
            "hooks",
            recent.then(|| {
                let places: Vec<_> = all
                    .iter()
                    .filter(|(_, counters)| counters.errors > 0)
                    .map(|(hook, c)| format!("{} at line {}", hook.name(), c.last_error))
                    .collect();
                format!(
                    "{failed} times a hook could not do its work and took what it saw for unknown: \
                     {}; slmguard_hook_errors_total counts them",
                    places.join(", ")
                )
            }),
        );
        for status in self.guard().hooks().iter().filter(|s| s.expected) {
            self.metrics
                .set_attached(status.hook, status.tier, status.attached);
        }
        self.metrics.set_degraded(!self.degraded().is_empty());
    }

    /// Sizes of the baselines, for metrics.
    pub fn measure_baseline(&self) {
        let state = self.state();
        let refused = state.baseline.refused();
        self.problem(
            "baseline size",
            (refused > 0).then(|| {
                format!(
                    "{refused} subjects were not learned because their list was full; allow them by \
                     a pattern in [workload.allow]"
                )
            }),
        );
        for workload in state.workloads.keys() {
            let tally = state.baseline.tally(workload);
            for (family, entries) in [
                (Family::Destination, tally.destinations),
                (Family::Read, tally.reads),
                (Family::Write, tally.writes),
                (Family::Exec, tally.execs),
                (Family::Unix, tally.unix),
                (Family::Listen, tally.listens),
                (Family::Name, tally.names),
                (Family::Facility, tally.facilities),
            ] {
                self.metrics.set_baseline(workload, family, entries);
            }
        }
    }
}

/// Subjects of a scope by the hash under which the kernel counts them.
struct Names {
    endpoints: HashMap<u64, Endpoint>,
    paths: HashMap<u64, Vec<u8>>,
    sockets: HashMap<u64, Vec<u8>>,
    lookups: HashMap<u64, Lookup>,
}

impl Names {
    fn of(baseline: &Baseline, scope: &Scope, key: hash::HashKey) -> Self {
        let mut names = Self {
            endpoints: HashMap::new(),
            paths: HashMap::new(),
            sockets: HashMap::new(),
            lookups: HashMap::new(),
        };
        for (family, subject, _) in baseline.entries(scope) {
            if matches!(family, Family::Facility) {
                continue;
            }
            if matches!(family, Family::Name) {
                names.look_up(subject, key);
                continue;
            }
            if matches!(family, Family::Destination | Family::Listen) {
                if let Some(endpoint) = endpoint(subject) {
                    names
                        .endpoints
                        .insert(endpoint_hash(key, &endpoint), endpoint);
                }
            } else if let Some(name) = subject.strip_prefix('@') {
                let name = text::unescape(name);
                names.sockets.insert(hash::component(key, &name), name);
            } else if !subject.split('/').any(|c| c == "*") {
                let path = text::unescape(subject);
                let hash = hash::path(key, text::components(&path));
                names.paths.insert(hash, path);
            }
        }
        names
    }

    /// The kernel counts a name once per type that is asked for.
    fn look_up(&mut self, subject: &str, key: hash::HashKey) {
        let name = text::unescape(subject);
        let hash = hash::component(key, &name);
        for qtype in COMMON_TYPES {
            let lookup = Lookup {
                name: name.clone(),
                qtype,
                // Whom it was asked does not count.
                resolver: Endpoint {
                    address: std::net::Ipv4Addr::UNSPECIFIED.into(),
                    port: 53,
                    protocol: 17,
                },
                cookie: 0,
            };
            self.lookups
                .insert(hash::chain(hash, u64::from(qtype)), lookup);
        }
    }

    fn fact(&self, key: &SeenKey) -> Option<Fact> {
        let access = key.verdict >> 4;
        let file = || {
            let path = self.paths.get(&key.hash)?.clone();
            Some(FileAccess {
                name: path.clone(),
                path,
                inode: (0, 0),
                access,
                cut: false,
                incomplete: false,
            })
        };
        match Kind::from_u8(key.kind)? {
            Kind::Connect => Some(Fact::Connect(*self.endpoints.get(&key.hash)?)),
            Kind::Send => Some(Fact::Send(*self.endpoints.get(&key.hash)?)),
            Kind::Open => Some(Fact::Open(file()?)),
            Kind::Exec => Some(Fact::Exec {
                program: file()?,
                argv: vec![],
                after: None,
            }),
            Kind::Listen => Some(Fact::Listen(*self.endpoints.get(&key.hash)?)),
            Kind::Unix => Some(Fact::Unix(match self.sockets.get(&key.hash) {
                Some(name) => UnixPeer::Abstract(name.clone()),
                None => UnixPeer::Path(file()?),
            })),
            // The action stands where an open has its access.
            Kind::Change => Some(Fact::Change {
                action: Action::from_u8(access)?,
                file: file()?,
            }),
            Kind::Query => Some(Fact::Query(self.lookups.get(&key.hash)?.clone())),
            // The kernel counts facilities under their number.
            Kind::Facility => Some(Fact::Facility {
                facility: Facility::from_u32(u32::try_from(key.hash).ok()?)?,
                detail: [0; 3],
            }),
            Kind::Fork
            | Kind::Exit
            | Kind::Phase
            | Kind::Accept
            | Kind::Caller
            | Kind::Flow
            | Kind::Answer
            | Kind::Hello
            | Kind::Request
            | Kind::Map => None,
        }
    }
}

fn endpoint(subject: &str) -> Option<Endpoint> {
    let rule = EndpointRule::parse_local(subject).ok()?;
    let (port, protocol) = rule.service();
    Some(Endpoint {
        address: rule.address(),
        port: port?,
        protocol: protocol?,
    })
}

/// As the kernel computes it: the address in four words of network byte order.
fn endpoint_hash(key: hash::HashKey, endpoint: &Endpoint) -> u64 {
    let mut address = [0; 16];
    match endpoint.address {
        std::net::IpAddr::V4(v4) => {
            address[..12].copy_from_slice(&V4_PREFIX);
            address[12..].copy_from_slice(&v4.octets());
        }
        std::net::IpAddr::V6(v6) => address = v6.octets(),
    }
    let word = |at: usize| {
        let bytes = [
            address[at],
            address[at + 1],
            address[at + 2],
            address[at + 3],
        ];
        u64::from(u32::from_ne_bytes(bytes))
    };
    let (high, low) = (word(0) << 32 | word(4), word(8) << 32 | word(12));
    hash::endpoint(key, high, low, endpoint.protocol, endpoint.port)
}

/// An observation that only counts.
fn known(scope: &Scope, fact: Fact, count: u64) -> Observation {
    Observation {
        time: clock::now(),
        process: ProcessKey {
            pid: 0,
            start_time: 0,
        },
        thread: 0,
        single_thread: true,
        uid: 0,
        cgroup: 0,
        comm: String::new(),
        scope: scope.clone(),
        // Stands for all of them; nobody is shown this observation.
        hook: Hook::ProcessExec,
        verdict: Verdict::Known,
        mode: Mode::Learn,
        policy: 0,
        invariant: false,
        count,
        fact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_common::{hash::HashKey, path::permission};

    const KEY: HashKey = HashKey { k0: 1, k1: 2 };

    fn seen_key(hash: u64) -> SeenKey {
        SeenKey {
            hash,
            tgid: 0,
            class: 3,
            kind: Kind::Open as u8,
            verdict: permission::READ << 4,
        }
    }

    #[test]
    fn what_was_counted_once_is_not_counted_twice() {
        let mut counts = Counts::default();
        let seen = |count, reported| Seen {
            count,
            reported,
            reported_at: 0,
        };
        let key = seen_key(1);
        assert_eq!(
            counts.news(key, &seen(1, 1)),
            0,
            "the report itself carries one"
        );
        assert_eq!(counts.news(key, &seen(5, 1)), 4);
        assert_eq!(counts.news(key, &seen(5, 1)), 0);
        assert_eq!(counts.news(key, &seen(6, 1)), 1);
        assert_eq!(
            counts.news(key, &seen(3, 1)),
            2,
            "the kernel forgot it in between"
        );
    }

    #[test]
    fn subjects_are_found_by_the_kernels_hashes() {
        let scope = Scope {
            workload: "a".into(),
            role: monitor_common::class::Role::Server,
            phase: monitor_common::class::Phase::Serve,
        };
        let mut baseline = Baseline::default();
        let learn = |fact| Observation {
            verdict: Verdict::New,
            ..known(&scope, fact, 1)
        };
        let file = |path: &str| FileAccess {
            path: path.into(),
            name: path.into(),
            inode: (0, 0),
            access: permission::READ,
            cut: false,
            incomplete: false,
        };
        let odd = "/a/with\\and\nodd";
        assert!(baseline.absorb(&learn(Fact::Open(file(odd)))));
        let endpoint = Endpoint {
            address: [10, 0, 0, 1].into(),
            port: 80,
            protocol: 6,
        };
        assert!(baseline.absorb(&learn(Fact::Connect(endpoint))));

        let names = Names::of(&baseline, &scope, KEY);
        let hash = hash::path(KEY, text::components(odd.as_bytes()));
        let fact = names.fact(&seen_key(hash)).unwrap();
        assert!(!baseline.absorb(&known(&scope, fact, 41)), "it only counts");
        let subject = text::escape(odd.as_bytes());
        assert_eq!(
            baseline.get(&scope, Family::Read, &subject).unwrap().count,
            42
        );

        let key = SeenKey {
            kind: Kind::Connect as u8,
            verdict: 0,
            ..seen_key(endpoint_hash(KEY, &endpoint))
        };
        assert_eq!(names.fact(&key), Some(Fact::Connect(endpoint)));
        assert_eq!(names.fact(&seen_key(99)), None);
    }
}
