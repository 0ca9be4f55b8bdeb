//! Tests of the baseline: what is learned, and what never is.

use monitor_common::path::permission::{READ, WRITE};
use proptest::prelude::*;

use super::*;
use crate::{
    observation::{Fact, UnixPeer},
    testing::{connect, exec, open, scope, seen},
};

const ADVERSE: [Verdict; 4] = [
    Verdict::WouldBlock,
    Verdict::Blocked,
    Verdict::Killed,
    Verdict::Audited,
];

fn subjects(baseline: &Baseline) -> Vec<(Family, String, u64)> {
    let scope = scope();
    baseline
        .entries(&scope)
        .map(|(family, subject, e)| (family, subject.into(), e.count))
        .collect()
}

#[test]
fn what_is_new_is_learned_and_what_is_known_is_counted() {
    let mut baseline = Baseline::default();
    let mut first = seen(connect("10.0.0.1:443/tcp"), Verdict::New);
    assert!(baseline.absorb(&first));
    first.time += 5;
    first.count = 7;
    assert!(!baseline.absorb(&first));
    let mut known = seen(connect("10.0.0.1:443/tcp"), Verdict::Known);
    known.time += 9;
    assert!(!baseline.absorb(&known));
    let entry = *baseline
        .get(&scope(), Family::Destination, "10.0.0.1:443/tcp")
        .unwrap();
    let start = 1_700_000_000_000_000_000;
    assert_eq!(
        entry,
        Entry {
            count: 9,
            first_seen: start,
            last_seen: start + 9
        }
    );
}

#[test]
fn what_only_a_rule_of_the_operator_allows_is_not_learned() {
    let mut baseline = Baseline::default();
    assert!(!baseline.absorb(&seen(connect("10.0.0.1:443/tcp"), Verdict::Known)));
    assert!(baseline.is_empty());
}

#[test]
fn reading_and_writing_one_file_are_two_families() {
    let mut baseline = Baseline::default();
    assert!(baseline.absorb(&seen(open("/srv/a", READ), Verdict::New)));
    assert!(baseline.absorb(&seen(open("/srv/a", READ | WRITE), Verdict::New)));
    assert_eq!(
        subjects(&baseline),
        [
            (Family::Read, "/srv/a".into(), 2),
            (Family::Write, "/srv/a".into(), 1)
        ]
    );
    let tally = Tally {
        reads: 1,
        writes: 1,
        ..Tally::default()
    };
    assert_eq!(baseline.tally("assistant"), tally);
    assert_eq!(baseline.tally("another"), Tally::default());
}

#[test]
fn what_broke_a_rule_is_never_learned() {
    let mut baseline = Baseline::default();
    for verdict in ADVERSE {
        for fact in [
            connect("10.0.0.1:443/tcp"),
            open("/srv/a", READ),
            exec("/bin/sh"),
        ] {
            assert!(!baseline.absorb(&seen(fact, verdict)));
        }
    }
    let mut invariant = seen(open("/etc/shadow", READ), Verdict::New);
    invariant.invariant = true;
    assert!(!baseline.absorb(&invariant));
    assert!(baseline.is_empty());
}

#[test]
fn a_path_that_is_not_known_from_the_root_is_never_learned() {
    let mut baseline = Baseline::default();
    for (path, cut, incomplete) in [
        ("/a", true, false),
        ("/a", false, true),
        ("memfd:x", false, false),
    ] {
        let mut fact = open(path, READ);
        let Fact::Open(file) = &mut fact else {
            unreachable!()
        };
        (file.cut, file.incomplete) = (cut, incomplete);
        assert!(!baseline.absorb(&seen(fact, Verdict::New)), "{path}");
    }
    assert!(!baseline.absorb(&seen(open(&"/x".repeat(129), READ), Verdict::New)));
    assert!(baseline.is_empty());
}

#[test]
fn what_no_rule_can_name_is_never_learned() {
    let mut baseline = Baseline::default();
    let long = format!("/srv/{}", "x".repeat(256));
    for path in [long.as_str(), "/srv/a\0b", "/srv//a", "/srv/../a"] {
        assert!(
            !baseline.absorb(&seen(open(path, READ), Verdict::New)),
            "{path}"
        );
    }
    let unnamed = Fact::Unix(UnixPeer::Unnamed);
    assert!(!baseline.absorb(&seen(unnamed, Verdict::New)));
    assert!(baseline.is_empty());
}

#[test]
fn process_events_are_never_learned() {
    let mut baseline = Baseline::default();
    assert!(!baseline.absorb(&seen(Fact::Exit { status: 0 }, Verdict::New)));
    assert!(baseline.is_empty());
}

#[test]
fn a_flood_of_subjects_is_refused_and_counted() {
    let mut baseline = Baseline::default();
    for i in 0..MAX_SUBJECTS + 3 {
        baseline.absorb(&seen(open(&format!("/etc/conf/{i}"), READ), Verdict::New));
    }
    assert_eq!(
        (baseline.len(&scope(), Family::Read), baseline.refused()),
        (MAX_SUBJECTS, 3)
    );
}

#[test]
fn a_row_with_an_unknown_word_is_refused_by_name() {
    let mut baseline = Baseline::default();
    baseline.absorb(&seen(connect("10.0.0.1:443/tcp"), Verdict::New));
    let mut row = baseline.rows().next().unwrap();
    row.phase = "sleep".into();
    let error = Baseline::from_rows([row]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("baseline row for `10.0.0.1:443/tcp`: `sleep` is not a phase")
    );
}

#[test]
fn a_subject_can_be_taken_out() {
    let mut baseline = Baseline::default();
    baseline.absorb(&seen(exec("/bin/date"), Verdict::New));
    assert!(baseline.remove(&scope(), Family::Exec, "/bin/date"));
    assert!(!baseline.remove(&scope(), Family::Exec, "/bin/date"));
    assert_eq!(baseline.len(&scope(), Family::Exec), 0);
}

proptest! {
    #[test]
    fn rows_bring_a_baseline_back(paths in proptest::collection::vec("(/[a-c*]{1,3}){1,3}", 0..20), hosts in proptest::collection::vec(any::<[u8; 4]>(), 0..8), times in any::<u32>()) {
        let mut baseline = Baseline::default();
        for (i, path) in paths.iter().enumerate() {
            let mut observation = seen(open(path, (i % 3 + 1) as u8), Verdict::New);
            observation.time = u64::from(times) * i as u64;
            baseline.absorb(&observation);
        }
        for [a, b, c, d] in hosts {
            baseline.absorb(&seen(connect(&format!("{a}.{b}.{c}.{d}:1/udp")), Verdict::New));
        }
        let rows: Vec<Row> = baseline.rows().collect();
        let json = serde_json::to_string(&rows).unwrap();
        let back: Vec<Row> = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &rows);
        prop_assert_eq!(Baseline::from_rows(back).unwrap(), baseline);
    }
}
