//! Tests of the policy compiler: what was learned is allowed, what is forbidden stays so.

use monitor_common::{
    event::Verdict,
    path::{POLICY_DENIES_DESTINATIONS, permission::*},
};
use proptest::prelude::*;

use super::*;
use crate::{
    baseline::Entry,
    decide::automaton::walk,
    testing::{connect, exec, open, scope, seen},
    text,
};

const KEY: HashKey = HashKey { k0: 3, k1: 4 };

fn rules(connect: &[&str], read: &[&str]) -> Rules {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Rules {
        connect: owned(connect),
        read: owned(read),
        ..Rules::default()
    }
}

fn try_image(
    baseline: &Baseline,
    allow: &Rules,
    deny: &Rules,
    limits: PolicyLimits,
) -> Result<PolicyImage, CompileError> {
    let scope = &scope();
    compile_policy(&PolicyInputs {
        policy: 7,
        key: KEY,
        first_state: 50,
        baseline,
        scope,
        allow,
        deny,
        limits,
    })
}

fn image(baseline: &Baseline, allow: &Rules, deny: &Rules) -> PolicyImage {
    try_image(baseline, allow, deny, PolicyLimits::default()).unwrap()
}

fn learned(facts: impl IntoIterator<Item = crate::observation::Fact>) -> Baseline {
    let mut baseline = Baseline::default();
    for fact in facts {
        baseline.absorb(&seen(fact, Verdict::New));
    }
    baseline
}

fn bits(automaton: &Automaton, path: &str) -> u8 {
    let parts: Vec<&[u8]> = text::components(path.as_bytes()).collect();
    walk(automaton, KEY, &parts, true)
}

#[test]
fn what_was_learned_is_allowed_and_nothing_else() {
    let baseline = learned([
        connect("10.0.0.1:443/tcp"),
        open("/srv/model.gguf", READ),
        open("/var/log/slm.log", WRITE),
        open("/proc/77/stat", READ),
        exec("/usr/bin/date"),
    ]);
    let none = Rules::default();
    let image = image(&baseline, &none, &none);
    assert_eq!(
        image.destinations,
        EndpointRule::parse("10.0.0.1:443/tcp").unwrap().entries(7)
    );
    assert_eq!(bits(&image.allow, "/srv/model.gguf"), READ);
    assert_eq!(bits(&image.allow, "/var/log/slm.log"), WRITE);
    assert_eq!(bits(&image.allow, "/usr/bin/date"), EXEC);
    assert_eq!(bits(&image.allow, "/proc/5/stat"), READ);
    assert_eq!(bits(&image.allow, "/proc/5/maps"), 0);
    assert_eq!(bits(&image.allow, "/etc/passwd"), 0);
}

#[test]
fn a_learned_file_called_star_allows_only_itself() {
    let none = Rules::default();
    let image = image(
        &learned([open("/tmp/*", READ), open("/srv/**", READ)]),
        &none,
        &none,
    );
    assert_eq!(bits(&image.allow, "/tmp/*"), READ);
    assert_eq!(bits(&image.allow, "/tmp/secret"), 0);
    assert_eq!(bits(&image.allow, "/srv/secret"), 0);
}

#[test]
fn invariants_hold_whatever_is_learned_or_allowed() {
    let allow = rules(&["169.254.169.254:80/tcp"], &["/**"]);
    let image = image(
        &learned([open("/home/x/.ssh/id_rsa", READ)]),
        &allow,
        &Rules::default(),
    );
    for path in [
        "/etc/shadow",
        "/home/x/.ssh/id_rsa",
        "/srv/.aws/credentials",
        "/proc/1/environ",
        "/proc/1/task/2/mem",
    ] {
        assert_eq!(bits(&image.deny, path), READ | WRITE | EXEC, "{path}");
    }
    assert_eq!(bits(&image.deny, "/proc/self/environ"), 0);
    assert_eq!(bits(&image.deny, "/etc/passwd"), 0);
}

#[test]
fn deny_rules_of_the_operator_stand_beside_the_invariants() {
    let (deny, none) = (
        rules(&["10.0.0.0/8:*"], &["/srv/secret/**"]),
        Rules::default(),
    );
    assert_eq!(image(&Baseline::default(), &none, &none).root().flags, 0);
    let image = image(&Baseline::default(), &Rules::default(), &deny);
    assert_eq!(bits(&image.deny, "/srv/secret/a"), READ);
    let [(_, key)] = image.denied[..] else {
        panic!("{:?}", image.denied)
    };
    assert_eq!(key.policy, 7 | DENIED);
    assert_eq!(image.root().flags, POLICY_DENIES_DESTINATIONS);
}

#[test]
fn the_two_automata_share_no_state() {
    let allow = rules(&[], &["/a/*/b", "/c"]);
    let image = image(&Baseline::default(), &allow, &Rules::default());
    let numbers = |a: &Automaton| {
        let mut all: Vec<u32> = a
            .transitions
            .iter()
            .map(|(_, to)| to.state)
            .chain([a.root.state])
            .collect();
        all.retain(|state| *state != 0);
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    };
    assert_eq!(numbers(&image.allow), (50, 50 + image.allow.states - 1));
    assert_eq!(
        numbers(&image.deny),
        (50 + image.allow.states, 50 + image.states() - 1)
    );
}

#[test]
fn a_policy_without_rules_still_has_the_invariants_and_is_small() {
    let none = Rules::default();
    let image = image(&Baseline::default(), &none, &none);
    assert_eq!(image.allow, Automaton::default());
    assert!(image.destinations.is_empty());
    assert!(
        image.deny.transitions.len() < 6000,
        "{}",
        image.deny.transitions.len()
    );
}

#[test]
fn the_version_follows_the_content() {
    let none = Rules::default();
    let one = image(&learned([open("/a", READ), exec("/b")]), &none, &none);
    let same = image(&learned([exec("/b"), open("/a", READ)]), &none, &none);
    assert_eq!(one, same);
    assert!(one.version < 1 << 53);
    for other in [
        learned([open("/a", WRITE), exec("/b")]),
        learned([open("/a", READ)]),
    ] {
        assert_ne!(image(&other, &none, &none).version, one.version);
    }
    let allowed = image(&Baseline::default(), &rules(&[], &["/a"]), &none);
    let denied = image(&Baseline::default(), &none, &rules(&[], &["/a"]));
    assert_ne!(allowed.version, denied.version);
}

#[test]
fn a_rule_that_cannot_be_read_is_named() {
    let none = Rules::default();
    let limits = PolicyLimits::default();
    let error = try_image(
        &Baseline::default(),
        &rules(&["fe80::x:1"], &[]),
        &none,
        limits,
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("destination `fe80::x:1`: `fe80::x` is not an IP address"),
        "{error}"
    );
    let error = try_image(&Baseline::default(), &none, &rules(&[], &["a"]), limits).unwrap_err();
    assert_eq!(error.to_string(), "path `a`: must start with `/`");
    let host = rules(&["api.example.com:1"], &[]);
    let error = try_image(&Baseline::default(), &none, &host, limits).unwrap_err();
    assert!(error.to_string().contains("allowed, not forbidden"));
    let problems = check_rules(&rules(&["10.0.0.1:1", "x..y:1"], &["/a", "b"]), false);
    let places: Vec<_> = problems.iter().map(|(list, at, _)| (*list, *at)).collect();
    assert_eq!(places, [("connect", 1), ("read", 1)]);
}

#[test]
fn hosts_are_rules_like_others() {
    let none = Rules::default();
    let empty = image(&Baseline::default(), &none, &none);
    assert_eq!(empty.root().flags, 0);
    let allow = rules(
        &[
            "api.example.com:443/tcp",
            "API.example.com.:443/tcp",
            "10.0.0.1:53/udp",
        ],
        &[],
    );
    let mut baseline = Baseline::default();
    let listed = "*.example.com:443";
    baseline.insert(&scope(), Family::Destination, listed, Entry::default());
    let both = image(&baseline, &allow, &none);
    assert_eq!(both.root().flags, POLICY_HOSTS | POLICY_HOSTS_BELOW);
    assert_eq!(both.destinations.len(), 1);
    // Two and their use, three and theirs.
    assert_eq!(both.hosts.len(), 5);
    let exact = image(&Baseline::default(), &allow, &none);
    assert_eq!(exact.root().flags, POLICY_HOSTS);
    assert_ne!(exact.version, empty.version);
    assert_ne!(exact.version, both.version);
    let limits = PolicyLimits {
        hosts: 4,
        ..PolicyLimits::default()
    };
    let error = try_image(&baseline, &allow, &none, limits).unwrap_err();
    assert_eq!(error, CompileError::TooManyHosts { limit: 4, have: 5 });
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let none = Rules::default();
    let limits = PolicyLimits {
        destinations: 2,
        transitions: 1000,
        names: 10,
        hosts: 10,
    };
    let many = rules(&["10.0.0.1:1/tcp", "10.0.0.2:1/tcp", "10.0.0.3:1/tcp"], &[]);
    let error = try_image(&Baseline::default(), &many, &none, limits).unwrap_err();
    assert_eq!(
        error,
        CompileError::TooManyDestinations {
            limit: 2,
            offender: "10.0.0.3:1/tcp".into()
        }
    );
    let two = rules(&["10.0.0.1:1"], &[]);
    let error = try_image(
        &Baseline::default(),
        &two,
        &rules(&["10.0.0.9:1/tcp"], &[]),
        limits,
    )
    .unwrap_err();
    assert_eq!(
        error,
        CompileError::TooManyDestinations {
            limit: 2,
            offender: "10.0.0.9:1/tcp".into()
        }
    );
}

#[test]
fn wildcards_that_multiply_are_refused_long_before_the_maps_are_full() {
    let lines: Vec<String> = (0..16)
        .map(|i| {
            (0..16)
                .map(|j| if i == j { "/x" } else { "/*" })
                .collect::<String>()
                + "/end"
        })
        .collect();
    let allow = Rules {
        read: lines,
        ..Rules::default()
    };
    let error = try_image(
        &Baseline::default(),
        &allow,
        &Rules::default(),
        PolicyLimits::default(),
    )
    .unwrap_err();
    assert!(matches!(error, CompileError::Explosive { .. }), "{error}");
}

#[test]
fn reserved_policy_numbers_are_refused() {
    let (baseline, none, scope) = (Baseline::default(), Rules::default(), scope());
    for policy in [u32::MAX, u32::MAX >> 1, DENIED] {
        let inputs = PolicyInputs {
            policy,
            key: KEY,
            first_state: 1,
            baseline: &baseline,
            scope: &scope,
            allow: &none,
            deny: &none,
            limits: PolicyLimits::default(),
        };
        assert_eq!(
            compile_policy(&inputs),
            Err(CompileError::ReservedPolicy(policy))
        );
    }
}

proptest! {
    #[test]
    fn any_learned_path_is_allowed_by_the_policy_it_makes(paths in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>().prop_filter("no name", |b| !matches!(b, 0 | b'/')), 1..6), 1..4), 1..6)) {
        let mut baseline = Baseline::default();
        let real = |parts: &[Vec<u8>]| parts.iter().flat_map(|p| [&b"/"[..], p].concat()).collect::<Vec<u8>>();
        let odd = |parts: &[Vec<u8>]| parts.iter().any(|p| p == b"." || p == b"..");
        for parts in paths.iter().filter(|parts| !odd(parts)) {
            let path = real(parts);
            let file = crate::observation::FileAccess { name: path.clone(), path, inode: (0, 0), access: READ, cut: false, incomplete: false };
            prop_assert!(!baseline.absorb(&seen(crate::observation::Fact::Open(file.clone()), Verdict::Known)));
            baseline.absorb(&seen(crate::observation::Fact::Open(file), Verdict::New));
        }
        let none = Rules::default();
        let image = image(&baseline, &none, &none);
        for parts in &paths {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(walk(&image.allow, KEY, &slices, false) == READ, !odd(parts));
            let changed: Vec<&[u8]> = slices.iter().map(|_| &b"never learned"[..]).collect();
            prop_assert_eq!(walk(&image.allow, KEY, &changed, false), 0);
        }
    }

    #[test]
    fn no_rule_makes_the_compiler_panic(connect in ".{0,20}", read in "[/*a\\\\x{}]{0,20}") {
        let allow = rules(&[&connect], &[&read]);
        let _ = try_image(&Baseline::default(), &allow, &allow, PolicyLimits { destinations: 50, transitions: 500, names: 10, hosts: 10 });
    }
}

#[test]
fn sockets_listeners_and_facilities_reach_the_image() {
    let allow = Rules {
        unix: vec!["/run/app.sock".into(), "@bus\\x00x".into()],
        listen: vec!["0.0.0.0:8080/tcp".into()],
        facilities: vec!["socket:netlink-route".into()],
        ..Rules::default()
    };
    let deny = Rules {
        facilities: vec!["mount".into()],
        ..Rules::default()
    };
    let image = try_image(&Baseline::default(), &allow, &deny, PolicyLimits::default()).unwrap();
    assert_eq!(image.facilities, Facility::NetlinkRoute.bit());
    assert_eq!(image.denied_facilities, Facility::Mount.bit());
    assert_eq!(image.names.len(), 1);
    assert_eq!(image.names[0].hash, component(KEY, b"bus\0x"));
    assert_eq!(image.destinations.len(), 1);
    assert_ne!(image.destinations[0].1.policy & LISTEN, 0);
    let wrong = Rules {
        facilities: vec!["socket:warp".into()],
        unix: vec!["run/app.sock".into()],
        ..Rules::default()
    };
    let words: Vec<String> = check_rules(&wrong, false)
        .iter()
        .map(|(.., e)| e.to_string())
        .collect();
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(words[0].contains("absolute path"), "{words:?}");
    assert!(words[1].contains("io_uring"), "{words:?}");
}
