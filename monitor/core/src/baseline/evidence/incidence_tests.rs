//! Tests of the counting: it agrees with counting the slow way, and merging is exact.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::baseline::evidence::episode::Kind;

fn at(host: u16, number: u64) -> Attribution {
    Attribution::exact(EpisodeId::new(host, number), Kind::Request)
}

fn of_k(oldest: u64, newest: u64) -> Attribution {
    Attribution {
        episode: EpisodeId::new(0, oldest),
        newest: EpisodeId::new(0, newest),
        kind: Kind::Request,
        of: 2,
    }
}

/// Episodes of a host, each with the subjects seen in it.
type Stream = Vec<BTreeSet<u8>>;

fn fed(host: u16, stream: &Stream) -> Incidence {
    let mut incidence = Incidence::default();
    for (i, subjects) in stream.iter().enumerate() {
        for subject in subjects {
            incidence.note(&subject.to_string(), &at(host, i as u64 + 1));
            incidence.note(&subject.to_string(), &at(host, i as u64 + 1));
        }
        incidence.ended(1);
    }
    incidence
}

#[test]
fn nothing_new_in_a_hundred_episodes_is_three_in_a_hundred_at_most() {
    let mut incidence = Incidence::default();
    for i in 1..=100 {
        incidence.note("a", &at(0, i));
        incidence.ended(1);
    }
    let estimate = incidence.estimate();
    assert_eq!(
        (estimate.once, estimate.unseen, estimate.upper),
        (0, 0.0, 0.03)
    );
    assert_eq!(estimate.owning, 0.0);
}

#[test]
fn a_thousand_events_of_one_episode_are_one_occurrence() {
    let mut incidence = Incidence::default();
    for _ in 0..1000 {
        incidence.note("a", &at(0, 1));
    }
    assert_eq!(incidence.seen("a"), Some(1));
    assert_eq!(incidence.estimate().once, 1);
}

#[test]
fn before_the_first_episode_nothing_is_bounded() {
    let mut incidence = Incidence::default();
    incidence.note("a", &at(0, 1));
    assert_eq!(incidence.estimate().upper, f64::INFINITY);
    assert_eq!(incidence.estimate().more, 0.0);
}

#[test]
fn the_share_of_owners_and_the_rest_to_come_are_those_of_the_formulas() {
    // Four episodes; a in all, b, c in the first only, d in the second only, e in two.
    let stream = vec![
        BTreeSet::from([0, 1, 2]),
        BTreeSet::from([0, 3, 4]),
        BTreeSet::from([0, 4]),
        BTreeSet::from([0]),
    ];
    let estimate = fed(0, &stream).estimate();
    assert_eq!(
        (estimate.once, estimate.twice, estimate.subjects),
        (3, 1, 5)
    );
    assert_eq!(estimate.owning, 0.5);
    assert!((estimate.more - 0.75 * 3.0 * 2.0 / 4.0).abs() < 1e-12);
    assert!((fed(0, &stream).new_within(1.0) - (3.0 - 1.0 - 1.0)).abs() < 1e-12);
}

#[test]
fn two_requests_that_may_be_one_count_once() {
    let mut incidence = Incidence::default();
    incidence.note("a", &of_k(1, 4));
    incidence.note("a", &of_k(3, 6));
    assert_eq!(incidence.seen("a"), Some(1));
    incidence.note("a", &of_k(5, 6));
    assert_eq!(incidence.seen("a"), Some(2));
}

#[test]
fn what_was_known_before_events_were_lost_is_no_evidence_afterwards() {
    let mut incidence = fed(0, &vec![BTreeSet::from([1, 2]), BTreeSet::from([2])]);
    incidence.restart();
    assert_eq!(incidence.estimate().once, 0);
    assert_eq!(incidence.estimate().upper, f64::INFINITY);
    incidence.note("1", &at(0, 9));
    incidence.note("new", &at(0, 9));
    incidence.ended(1);
    let estimate = incidence.estimate();
    assert_eq!(
        (estimate.subjects, estimate.once, estimate.episodes),
        (3, 1, 1)
    );
}

#[test]
fn what_an_operator_adds_is_known_and_not_counted() {
    let mut incidence = Incidence::default();
    incidence.settle("a");
    incidence.ended(1);
    assert!(incidence.knows("a") && !incidence.note("a", &at(0, 1)));
    assert_eq!(incidence.estimate().once, 0);
    incidence.note("b", &at(0, 1));
    incidence.settle("b");
    assert_eq!(incidence.estimate().owning, 0.0);
}

#[test]
fn a_stored_form_with_nonsense_is_read_without_harm() {
    let text = r#"{"episodes":5,"subjects":[["a",0,false,[1,1],[1,1]],["a",1,false,[2,2],[2,2]]]}"#;
    let stored: Stored = serde_json::from_str(text).unwrap();
    let incidence = Incidence::from(stored);
    assert_eq!(incidence.estimate().once, 1);
    assert_eq!(incidence.bytes(), Incidence::cost("a"));
}

fn stream() -> impl Strategy<Value = Stream> {
    proptest::collection::vec(proptest::collection::btree_set(0u8..40, 0..6), 1..30)
}

proptest! {
    #[test]
    fn counting_as_it_comes_agrees_with_counting_afterwards(stream in stream()) {
        let mut slow: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (i, subjects) in stream.iter().enumerate() {
            for subject in subjects {
                slow.entry(*subject).or_default().push(i);
            }
        }
        let with = |n| slow.values().filter(|e| e.len() == n).count();
        let owners: BTreeSet<usize> = slow.values().filter(|e| e.len() == 1).map(|e| e[0]).collect();
        let estimate = fed(3, &stream).estimate();
        prop_assert_eq!(estimate.once, with(1));
        prop_assert_eq!(estimate.twice, with(2));
        prop_assert_eq!(estimate.subjects, slow.len());
        prop_assert!((estimate.owning - owners.len() as f64 / stream.len() as f64).abs() < 1e-12);
        prop_assert!(estimate.upper >= estimate.unseen);
        prop_assert!(estimate.owning <= estimate.unseen.max(1.0));
    }

    #[test]
    fn two_hosts_merged_are_one_host_that_saw_both(a in stream(), b in stream()) {
        let mut merged = fed(1, &a);
        merged.merge(&fed(2, &b));
        let both = fed(1, &a.into_iter().chain(b).collect());
        prop_assert_eq!(merged.estimate(), both.estimate());
        prop_assert!((merged.new_within(0.7) - both.new_within(0.7)).abs() < 1e-9);
        prop_assert_eq!(merged.bytes(), both.bytes());
    }

    #[test]
    fn merging_does_not_depend_on_the_order(a in stream(), b in stream()) {
        let (x, y) = (fed(1, &a), fed(2, &b));
        let (mut xy, mut yx) = (x.clone(), y.clone());
        xy.merge(&y);
        yx.merge(&x);
        prop_assert_eq!(xy.estimate(), yx.estimate());
    }

    #[test]
    fn the_stored_form_brings_it_back(stream in stream(), settled in 0u8..40, gone in 0u8..40) {
        let mut incidence = fed(7, &stream);
        incidence.settle(&settled.to_string());
        incidence.forget(&gone.to_string());
        let json = serde_json::to_string(&Stored::from(&incidence)).unwrap();
        let back = Incidence::from(serde_json::from_str::<Stored>(&json).unwrap());
        prop_assert_eq!(back, incidence);
    }

    #[test]
    fn forgetting_undoes_noting(stream in stream()) {
        let mut incidence = fed(7, &stream);
        let known: Vec<String> = incidence.subjects().map(str::to_owned).collect();
        for subject in &known {
            prop_assert!(incidence.forget(subject));
        }
        prop_assert_eq!(incidence.estimate().once + incidence.estimate().twice, 0);
        prop_assert_eq!(incidence.bytes(), 0);
        prop_assert_eq!(incidence.estimate().owning, 0.0);
    }
}
