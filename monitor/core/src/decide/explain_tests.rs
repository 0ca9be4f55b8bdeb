//! Tests of decisions: what follows from each verdict, and what a person reads.

use monitor_common::path::permission::{READ, WRITE};
use proptest::prelude::*;

use super::*;
use crate::testing::{connect, exec, open, seen};

fn known() -> Baseline {
    let mut baseline = Baseline::default();
    for fact in [
        connect("10.0.0.1:443/tcp"),
        connect("10.0.0.2:443/tcp"),
        open("/srv/notes.txt", READ),
        exec("/usr/bin/date"),
    ] {
        baseline.absorb(&seen(fact, Verdict::New));
    }
    baseline
}

#[test]
fn what_is_new_in_learn_mode_is_learned() {
    let decision = decide(seen(connect("10.0.0.3:443/tcp"), Verdict::New), &known());
    assert_eq!(decision.outcome, Outcome::Learn);
    assert_eq!(
        decision.reasons,
        [
            "The agent of workload assistant (phase serve) connected to 10.0.0.3:443/tcp. It is new, and the mode is learn."
        ]
    );
}

#[test]
fn what_is_known_and_what_processes_do_is_counted() {
    let fact = Fact::Exit { status: 0 };
    for observation in [
        seen(connect("10.0.0.1:443/tcp"), Verdict::Known),
        seen(fact, Verdict::Known),
    ] {
        let decision = decide(observation, &known());
        assert_eq!(
            (decision.outcome, decision.reasons.len()),
            (Outcome::Count, 0)
        );
    }
}

#[test]
fn what_cannot_be_learned_is_counted_and_says_why() {
    let mut fact = open("/a", READ);
    if let Fact::Open(file) = &mut fact {
        file.incomplete = true;
    }
    let decision = decide(seen(fact, Verdict::New), &known());
    assert_eq!(decision.outcome, Outcome::Count);
    assert!(decision.reasons[1].contains("cannot be learned"));
}

#[test]
fn a_refused_destination_says_what_is_known_and_how_to_allow_it() {
    let decision = decide(
        seen(connect("10.77.0.66:80/tcp"), Verdict::Blocked),
        &known(),
    );
    assert_eq!(decision.outcome, Outcome::Alert);
    assert_eq!(
        decision.reasons,
        [
            "The agent of workload assistant (phase serve) tried to connect to 10.77.0.66:80/tcp.",
            "It is not among the 2 known destinations.",
            "The kernel refused it before it took effect.",
            "To allow it, approve it with `slmguard baseline approve assistant`, or add connect = [\"10.77.0.66:80/tcp\"] to [workload.allow] of workload assistant in the configuration.",
        ]
    );
    assert_eq!(decision.nearest, ["10.0.0.1:443/tcp", "10.0.0.2:443/tcp"]);
}

#[test]
fn only_the_unknown_half_of_an_open_is_explained() {
    let decision = decide(
        seen(open("/srv/notes.txt", READ | WRITE), Verdict::WouldBlock),
        &known(),
    );
    assert_eq!(
        decision.reasons,
        [
            "The agent of workload assistant (phase serve) opened /srv/notes.txt for reading and writing.",
            "No file that it writes is known.",
            "It was let through because the mode is monitor; in enforce it would not be.",
            "To allow it, approve it with `slmguard baseline approve assistant`, or add write = [\"/srv/notes.txt\"] to [workload.allow] of workload assistant in the configuration.",
        ]
    );
}

#[test]
fn a_killed_program_says_that_the_tier_could_not_refuse_it() {
    let decision = decide(seen(exec("/bin/sh"), Verdict::Killed), &known());
    assert!(decision.reasons[0].ends_with("tried to start /bin/sh."));
    assert_eq!(
        decision.reasons[1],
        "It is not the one known program that it starts."
    );
    assert!(decision.reasons[2].contains("killed the process"));
}

#[test]
fn an_invariant_says_what_is_there_and_offers_no_way_around() {
    for (fact, there) in [
        (
            connect("169.254.169.254:80/tcp"),
            "the cloud's metadata service",
        ),
        (open("/home/x/.ssh/id_rsa", READ), "holds SSH keys"),
        (
            open("/proc/1/environ", READ),
            "the environment of another process",
        ),
    ] {
        let mut observation = seen(fact, Verdict::Audited);
        observation.invariant = true;
        observation.mode = Mode::Learn;
        let decision = decide(observation, &known());
        assert_eq!(decision.outcome, Outcome::Alert);
        assert_eq!(decision.reasons.len(), 3);
        assert!(
            decision.reasons[1].contains(there),
            "{:?}",
            decision.reasons
        );
        assert!(decision.reasons[2].contains("was not learned"));
    }
}

#[test]
fn a_deny_rule_is_named_as_the_operators_own() {
    let mut observation = seen(connect("10.0.0.1:443/tcp"), Verdict::Blocked);
    observation.invariant = true;
    let decision = decide(observation, &known());
    assert!(decision.reasons[1].starts_with("A deny rule of the operator"));
    assert!(decision.reasons[3].contains("[workload.deny]"));
}

#[test]
fn the_rule_that_would_allow_it_is_valid_configuration() {
    let mut fact = open("/tmp/placeholder", READ);
    let Fact::Open(file) = &mut fact else {
        unreachable!()
    };
    for name in [
        &b"/tmp/*"[..],
        b"/tmp/a'b\\c\"d\n",
        b"/tmp/\xff\"",
        b"/tmp/plain",
        b"/tmp/quote\"",
    ] {
        file.path = name.to_vec();
        file.name = name.to_vec();
        let decision = decide(
            seen(Fact::Open(file.clone()), Verdict::Blocked),
            &Baseline::default(),
        );
        let hint = &decision.reasons[3];
        let toml = hint
            .strip_prefix(
                "To allow it, approve it with `slmguard baseline approve assistant`, or add ",
            )
            .unwrap()
            .split(" to [workload")
            .next()
            .unwrap();
        let rules: crate::config::Rules = toml::from_str(toml).unwrap();
        assert_eq!(rules.read, [decision.observation.subject()]);
    }
}

proptest! {
    #[test]
    fn any_path_is_explained_in_single_lines(path in proptest::collection::vec(any::<u8>(), 0..60), verdict in 0u8..6, invariant in any::<bool>(), access in 0u8..8) {
        let file = crate::observation::FileAccess { name: path.clone(), path, inode: (0, 0), access, cut: false, incomplete: false };
        let mut observation = seen(Fact::Open(file), Verdict::from_u8(verdict).unwrap());
        observation.invariant = invariant;
        let decision = decide(observation, &known());
        for reason in decision.reasons.iter().chain(&decision.nearest) {
            prop_assert!(!reason.chars().any(char::is_control), "{}", reason);
        }
        prop_assert_eq!(decision.outcome == Outcome::Alert, verdict >= 2 && access & 3 != 0);
    }
}

#[test]
fn an_address_is_told_with_the_name_it_was_the_answer_for() {
    let blocked = seen(connect("10.77.0.66:80/tcp"), Verdict::Blocked);
    let mut decision = decide(blocked.clone(), &Baseline::default());
    name_it(&mut decision, &["evil.example"]);
    assert_eq!(decision.name.as_deref(), Some("evil.example"));
    assert_eq!(
        decision.reasons[1],
        "10.77.0.66 was the answer for evil.example."
    );
    let how = decision.reasons.last().unwrap();
    for text in [
        "connect = [\"10.77.0.66:80/tcp\"]",
        " By name, ",
        " --subject evil.example@private:80/tcp`",
    ] {
        assert!(how.contains(text), "{how}");
    }
    let mut decision = decide(blocked.clone(), &Baseline::default());
    name_it(&mut decision, &["a.example", "b.example", "c.example"]);
    assert_eq!(
        decision.reasons[1],
        "10.77.0.66 was the answer for a.example and 2 other names."
    );
    let mut decision = decide(blocked, &Baseline::default());
    let before = decision.clone();
    name_it(&mut decision, &[]);
    assert_eq!(decision, before);
}

#[test]
fn a_server_name_that_was_not_the_address_s_is_a_reason() {
    let hello = |name: &str| {
        let fact = Fact::Hello {
            endpoint: crate::testing::endpoint("10.77.0.66:443/tcp"),
            name: Some(name.as_bytes().to_vec()),
            encrypted: false,
            cut: false,
            cookie: 1,
        };
        let mut decision = decide(seen(fact, Verdict::Known), &Baseline::default());
        name_it(&mut decision, &["api.example"]);
        decision.reasons
    };
    assert!(hello("api.example").is_empty());
    assert_eq!(
        hello("front.example"),
        [
            "The server name front.example was called at 10.77.0.66, which the workload was given for api.example."
        ]
    );
}

#[test]
fn what_was_found_is_told_as_that() {
    let fact = Fact::Found(Box::new(connect("10.77.0.66:80/tcp")));
    let mut observation = seen(fact, Verdict::Audited);
    observation.mode = Mode::Enforce;
    let decision = decide(observation, &Baseline::default());
    assert_eq!(decision.outcome, Outcome::Alert);
    assert_eq!(
        decision.reasons[0],
        "The agent of workload assistant (phase serve) was already connected to 10.77.0.66:80/tcp."
    );
    assert_eq!(
        decision.reasons[2],
        "It was there before the process became a member, and lives on."
    );
}

#[test]
fn a_file_of_a_kind_is_told_with_the_form_that_allows_all_of_them() {
    let path = "/srv/q/req-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.json";
    let decision = decide(seen(open(path, READ), Verdict::Blocked), &known());
    let [.., kind, allow] = &decision.reasons[..] else {
        panic!("{decision:?}");
    };
    assert!(kind.contains("/srv/q/req-{uuid}.json"), "{kind}");
    assert!(allow.contains(path), "{allow}");
}
