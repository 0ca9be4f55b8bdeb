//! Tests of the adapting list: what it takes to get on it, and what it takes to go.

use proptest::prelude::*;

use super::*;

fn list_of(n: usize) -> LiveSet {
    let subjects: Vec<String> = (0..n).map(|i| format!("/srv/{i}")).collect();
    LiveSet::new(Family::Read, subjects.iter().map(String::as_str), 0)
}

/// Sees a subject 20 times on each of so many hosts and days.
fn seen_on(list: &mut LiveSet, subject: &str, hosts: u64, days: u64) {
    for day in 0..days {
        for host in 0..hosts {
            for _ in 0..20 {
                list.see(subject, host, false, day * DAY);
            }
        }
    }
}

fn running(replicas: u64) -> BTreeSet<u64> {
    (0..replicas).collect()
}

fn waits(list: &LiveSet, subject: &str, replicas: u64) -> Vec<String> {
    list.waits_for(subject, &running(replicas))
        .iter()
        .map(Wait::to_string)
        .collect()
}

#[test]
fn a_quorum_of_replicas_and_two_days_admit() {
    let mut list = list_of(100);
    seen_on(&mut list, "/new", 2, 1);
    assert_eq!(
        waits(&list, "/new", 10),
        [
            "seen in 2 of at least 3 replicas",
            "seen on 1 of at least 2 days"
        ]
    );
    seen_on(&mut list, "/new", 3, 2);
    assert_eq!(waits(&list, "/new", 10), [""; 0]);
    assert_eq!(list.admit(&running(10), DAY), ["/new".into()]);
    assert!(list.contains("/new"));
    assert!(!list.anchor().any(|s| s == "/new"), "the anchor is frozen");
    list.freeze();
    assert!(list.anchor().any(|s| s == "/new"));
}

#[test]
fn one_replica_alone_needs_three_days_and_a_person() {
    let mut list = list_of(100);
    seen_on(&mut list, "/new", 1, 2);
    assert_eq!(
        waits(&list, "/new", 1),
        [
            "seen on 2 of at least 3 days",
            "waits for an operator's approval"
        ]
    );
    seen_on(&mut list, "/new", 1, 3);
    assert!(list.admit(&running(1), 3 * DAY).is_empty());
    assert!(list.approve("/new") && !list.approve("/other"));
    assert_eq!(list.admit(&running(1), 3 * DAY), ["/new".into()]);
}

#[test]
fn one_of_many_replicas_cannot_push_anything_in() {
    let mut list = list_of(100);
    seen_on(&mut list, "/evil", 1, 365);
    assert!(list.admit(&running(5), 365 * DAY).is_empty());
    assert_eq!(
        waits(&list, "/evil", 5),
        ["seen in 1 of at least 2 replicas"]
    );
}

#[test]
fn what_followed_untrusted_input_is_for_a_person() {
    let mut list = list_of(100);
    list.see("/new", 0, true, 0);
    seen_on(&mut list, "/new", 5, 5);
    assert_eq!(
        waits(&list, "/new", 5),
        ["waits for an operator's approval"]
    );
}

#[test]
fn what_an_invariant_guards_never_gets_in() {
    let mut list = LiveSet::new(Family::Read, ["/etc/shadow", "/srv/a"], 0);
    assert_eq!(list.live().collect::<Vec<_>>(), ["/srv/a"]);
    assert_eq!(
        list.see("/etc/shadow", 0, false, 0),
        Sight::Never("the system's password hashes")
    );
    assert!(!list.approve("/etc/shadow"));
}

#[test]
fn a_day_adds_five_in_a_hundred() {
    let mut list = list_of(100);
    for i in 0..20 {
        seen_on(&mut list, &format!("/new/{i}"), 3, 2);
    }
    assert_eq!(list.admit(&running(5), 2 * DAY).len(), 5);
    assert!(list.admit(&running(5), 2 * DAY).is_empty());
    assert!(
        list.admit(&running(5), DAY).is_empty(),
        "the clock was set back"
    );
    assert_eq!(list.admit(&running(5), 3 * DAY).len(), 5);
    let mut short = list_of(3);
    seen_on(&mut short, "/new", 3, 2);
    assert_eq!(short.admit(&running(5), 2 * DAY).len(), 1, "one always may");
}

#[test]
fn what_is_not_used_goes_only_after_a_deploy_and_is_remembered() {
    let mut list = list_of(10);
    list.see("/srv/1", 0, false, 20 * DAY);
    assert!(
        list.forget(0, 40 * DAY, |_| false).is_empty(),
        "nothing was deployed"
    );
    assert_eq!(list.forget(10 * DAY, 40 * DAY, |_| false).len(), 9);
    assert!(list.contains("/srv/1"));
    assert_eq!(list.see("/srv/2", 0, false, 60 * DAY), Sight::Stale);
    list.forget(10 * DAY, 500 * DAY, |_| false);
    assert_eq!(list.see("/srv/2", 0, false, 500 * DAY), Sight::Stale);
}

#[test]
fn what_a_replica_saw_that_has_gone_does_not_count() {
    let mut list = list_of(100);
    seen_on(&mut list, "/new", 3, 2);
    let later: BTreeSet<u64> = (2..9).collect();
    assert!(list.admit(&later, 3 * DAY).is_empty());
    assert_eq!(
        list.waits_for("/new", &later),
        [Wait::Replicas(1, 3)],
        "a restart makes no second witness"
    );
}

#[test]
fn what_is_pinned_stays() {
    let mut list = list_of(2);
    let gone = list.forget(10 * DAY, 40 * DAY, |subject| subject == "/srv/0");
    assert_eq!(gone, ["/srv/1".into()]);
    assert!(list.contains("/srv/0"));
    list.settle("/srv/1", 41 * DAY);
    assert_eq!(list.see("/srv/1", 0, false, 42 * DAY), Sight::Known);
}

#[test]
fn the_list_follows_the_operators() {
    let mut list = list_of(3);
    assert_eq!(list.forget(DAY, 40 * DAY, |s| s != "/srv/2").len(), 1);
    list.follow(
        &BTreeSet::from(["/srv/0", "/srv/2", "/etc/shadow", "/srv/9"]),
        41 * DAY,
    );
    assert_eq!(list.live().collect::<Vec<_>>(), ["/srv/0", "/srv/9"]);
    assert_eq!(list.cold_since("/srv/2"), Some(40 * DAY));
    list.follow(&BTreeSet::new(), 41 * DAY);
    assert_eq!((list.live().count(), list.bytes()), (0, 0));
}

#[test]
fn counts_lose_half_their_weight_in_a_fortnight() {
    let mut list = list_of(1);
    for _ in 0..8 {
        list.see("/srv/0", 0, false, 0);
    }
    assert!((list.weight("/srv/0", 14 * DAY) - 4.0).abs() < 1e-9);
    list.see("/srv/0", 0, false, 14 * DAY);
    assert!((list.weight("/srv/0", 28 * DAY) - 2.5).abs() < 1e-9);
}

#[test]
fn a_flood_of_candidates_is_bounded() {
    let mut list = list_of(1);
    for i in 0..MAX_CANDIDATES + 5 {
        list.see(&format!("/tmp/{i}"), 0, false, 0);
    }
    assert_eq!(list.see("/tmp/x", 0, false, 0), Sight::Unknown);
    assert!(list.bytes() < 1 << 20);
    list.forget(0, 30 * DAY, |_| false);
    assert_eq!(list.see("/tmp/x", 0, false, 30 * DAY), Sight::Waiting);
}

proptest! {
    #[test]
    fn the_list_grows_by_its_share_at_most(rounds in proptest::collection::vec((0u64..6, 0u8..30, 0u64..3), 0..200), hosts in 1u64..8) {
        let mut list = list_of(40);
        let (mut day, mut morning) = (0, 40);
        for (host, subject, later) in rounds {
            if later > 0 {
                day += later;
                morning = list.live().count();
            }
            for _ in 0..20 {
                list.see(&format!("/new/{subject}"), host, false, day * DAY);
            }
            list.admit(&running(hosts), day * DAY);
            let most = ((morning as f64 * NEW_PER_DAY) as usize).max(1);
            prop_assert!(list.live().count() <= morning + most);
        }
        prop_assert_eq!(list.anchor().count(), 40);
    }

    #[test]
    fn bytes_are_those_of_what_is_kept(seen in proptest::collection::vec((0u8..30, 0u64..60), 0..60)) {
        let mut list = list_of(10);
        let mut time = 0;
        for (subject, later) in seen {
            time += later * DAY / 4;
            list.see(&format!("/srv/{subject}"), 0, false, time);
            list.approve(&format!("/srv/{subject}"));
            list.admit(&running(1), time);
            list.forget(time.saturating_sub(DAY), time, |_| false);
        }
        let all = list.anchor.iter().chain(list.live.keys()).chain(list.candidates.keys()).chain(list.cold.keys());
        prop_assert_eq!(list.bytes(), all.map(|s| cost(s)).sum::<usize>());
    }
}
