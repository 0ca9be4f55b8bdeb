//! Tests of the lineages of workloads: what begins one, what waits, what goes stale, what is kept.

use monitor_common::path::permission::READ;
use proptest::prelude::*;

use super::*;
use crate::testing::{open, scope, seen};

const DAY: u64 = 86_400_000_000_000;
const START: u64 = 1_700_000_000_000_000_000;
const READS: Family = Family::Read;

fn who() -> (Scope, ProcessKey) {
    let process = ProcessKey {
        pid: 7,
        start_time: 9,
    };
    (scope(), process)
}

fn identity(model: &str, flags: &str) -> Identity {
    let one = |text: &str| BTreeSet::from([text.to_owned()]);
    Identity {
        models: one(model),
        programs: one("p"),
        flags: one(flags),
    }
}

fn identify(lineages: &mut Lineages, model: &str, flags: &str, time: u64) -> Option<Change> {
    let (scope, process) = who();
    lineages.identify((&scope, process), &identity(model, flags), false, time)
}

fn used(path: &str, verdict: Verdict, time: u64) -> Observation {
    Observation {
        time,
        ..seen(open(path, READ), verdict)
    }
}

/// Tried so many times on so many days in so many replicas.
fn tried(lineages: &mut Lineages, path: &str, (times, days, replicas): (u64, u64, u64)) {
    for day in 0..days {
        for replica in 0..replicas {
            for _ in 0..times {
                let seen = used(path, Verdict::Blocked, START + day * DAY);
                lineages.see(&seen, (READS, path), replica, false);
            }
        }
    }
}

fn followed(subjects: &[&str]) -> Lineages {
    let mut lineages = Lineages::default();
    assert_eq!(identify(&mut lineages, "a", "-m a", START), None);
    let allowed = subjects.iter().copied().collect();
    lineages.follow(&scope(), READS, &allowed, START);
    lineages
}

#[test]
fn other_flags_begin_a_lineage_that_is_told_and_relaxes_nothing() {
    let mut lineages = followed(&["/srv/a"]);
    assert_eq!(identify(&mut lineages, "a", "-m a", START + 1), None);
    let change = identify(&mut lineages, "a", "-m a --tools all", START + DAY).unwrap();
    assert_eq!(
        (change.lineage, &change.differs[..]),
        (2, &["other flags"][..])
    );
    assert_eq!(change.news, ["-m a --tools all"]);
    assert_eq!(lineages.take_findings(), [Finding::Began(change)]);
    let began = lineages.began("assistant");
    assert_eq!((began.len(), began[1].id), (2, 2));
    assert!(lineages.follows(&scope(), READS));
    assert_eq!(
        identify(&mut lineages, "a", "-m a", START + DAY),
        None,
        "as before"
    );
}

#[test]
fn another_model_begins_a_lineage_and_has_its_own_alert() {
    let mut lineages = followed(&[]);
    let change = identify(&mut lineages, "b", "-m a", START + DAY).unwrap();
    assert_eq!(change.differs, ["another model"]);
    assert_eq!(lineages.take_findings(), []);
}

#[test]
fn what_was_tried_waits_and_says_for_what() {
    let mut lineages = followed(&["/srv/a"]);
    let known = used("/srv/a", Verdict::Known, START);
    lineages.see(&known, (READS, "/srv/a"), 0, false);
    tried(&mut lineages, "/srv/new", (10, 1, 1));
    let waiting = lineages.waiting("assistant", None);
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (waiting[0].subject.as_str(), waiting[0].seen),
        ("/srv/new", (10, 1))
    );
    let waits: Vec<String> = waiting[0].waits.iter().map(Wait::to_string).collect();
    assert_eq!(
        waits,
        [
            "seen on 1 of at least 3 days",
            "seen in 10 of at least 20 episodes",
            "waits for an operator's approval"
        ]
    );
    assert_eq!(lineages.tend("assistant", None, START + 9 * DAY), []);
    lineages.settle(&scope(), READS, "/srv/new", START);
    assert_eq!(lineages.waiting("assistant", None), []);
    lineages.unfollow(&scope(), READS);
    tried(&mut lineages, "/srv/other", (1, 1, 1));
    assert_eq!(lineages.waiting("assistant", None), [], "it is learned");
}

#[test]
fn replicas_that_run_add_what_enough_of_them_saw_until_the_next_shape() {
    let mut lineages = followed(&["/srv/a"]);
    let running: BTreeSet<u64> = (0..4).collect();
    tried(&mut lineages, "/srv/new", (20, 2, 2));
    tried(&mut lineages, "/srv/evil", (200, 9, 1));
    let later = START + 9 * DAY;
    let added = lineages.tend("assistant", Some(&running), later);
    let expected = (Role::Agent, Phase::Serve, READS, "/srv/new".into());
    assert_eq!(added, std::slice::from_ref(&expected));
    assert_eq!(lineages.word(&scope(), READS, "/srv/new"), Some("added"));
    let change = identify(&mut lineages, "a", "-v", later + DAY).unwrap();
    assert_eq!(change.dropped, [expected], "it has to be seen anew");
    assert_eq!(lineages.word(&scope(), READS, "/srv/new"), None);
    assert_eq!(
        lineages.waiting("assistant", None),
        [],
        "nothing waits over a change"
    );
}

#[test]
fn what_is_pinned_outlasts_a_month_a_shape_and_a_reset() {
    let mut lineages = followed(&["/srv/yearly", "/srv/old"]);
    assert!(lineages.pin(&scope(), READS, "/srv/yearly", START));
    identify(&mut lineages, "a", "-v", START + DAY).unwrap();
    lineages.take_findings();
    let later = START + 40 * DAY;
    lineages.tend("assistant", None, later);
    assert_eq!(
        lineages.word(&scope(), READS, "/srv/yearly"),
        Some("pinned")
    );
    assert_eq!(lineages.word(&scope(), READS, "/srv/old"), Some("stale"));
    let known = |path| used(path, Verdict::Known, later);
    lineages.see(&known("/srv/yearly"), (READS, "/srv/yearly"), 0, false);
    assert_eq!(lineages.take_findings(), []);
    lineages.see(&known("/srv/old"), (READS, "/srv/old"), 0, false);
    let findings = lineages.take_findings();
    assert!(
        matches!(&findings[..], [Finding::Stale { since, .. }] if *since == later),
        "{findings:?}"
    );
    lineages.forget("assistant");
    let pins: Vec<_> = lineages.pins("assistant").collect();
    assert_eq!(pins, [(scope(), READS, "/srv/yearly")]);
    assert!(lineages.unpin(&scope(), READS, "/srv/yearly"));
    assert!(!lineages.unpin(&scope(), READS, "/srv/yearly"));
    assert_eq!(
        identify(&mut lineages, "a", "-v", later),
        None,
        "it is still what it was"
    );
}

#[test]
fn a_pattern_does_not_go_stale_because_its_uses_count_elsewhere() {
    let mut lineages = followed(&["/srv/{uuid}.json", "/srv/*"]);
    identify(&mut lineages, "a", "-v", START + DAY).unwrap();
    lineages.tend("assistant", None, START + 40 * DAY);
    assert_eq!(lineages.word(&scope(), READS, "/srv/*"), None);
    assert_eq!(lineages.word(&scope(), READS, "/srv/{uuid}.json"), None);
}

#[test]
fn what_is_stored_is_what_is_known() {
    let mut lineages = followed(&["/srv/a", "/srv/b"]);
    lineages.pin(&scope(), READS, "/srv/b", START);
    tried(&mut lineages, "/srv/new", (5, 2, 2));
    identify(&mut lineages, "a", "-v", START + DAY);
    tried(&mut lineages, "/srv/newer", (5, 2, 2));
    lineages.tend("assistant", None, START + 40 * DAY);
    let rows = lineages.rows();
    let text = serde_json::to_string(&rows).unwrap();
    let mut again = Lineages::default();
    assert_eq!(again.restore(serde_json::from_str(&text).unwrap()), [""; 0]);
    assert_eq!(again.rows(), rows);
    assert_eq!(again.workloads, lineages.workloads);
    assert_eq!(again.bytes("assistant"), lineages.bytes("assistant"));
    let strange = text.replace("\"agent\"", "\"wizard\"");
    let strange = again.restore(serde_json::from_str(&strange).unwrap());
    assert_eq!(strange, ["assistant"]);
}

proptest! {
    #[test]
    fn an_attacker_in_one_replica_adds_nothing_however_long_he_tries(
        tries in prop::collection::vec((0u8..6, 0u64..3), 0..300),
        replicas in 2u64..9,
    ) {
        let mut lineages = followed(&["/srv/a"]);
        let running: BTreeSet<u64> = (0..replicas).collect();
        let mut time = START;
        for (path, later) in tries {
            time += later * DAY / 2;
            let path = format!("/srv/evil/{path}");
            for _ in 0..30 {
                lineages.see(&used(&path, Verdict::Blocked, time), (READS, &path), 0, false);
            }
            prop_assert_eq!(lineages.tend("assistant", Some(&running), time), []);
        }
    }
}
