//! The alert budget: what is told, what waits, and that nothing is lost.

use std::collections::BTreeSet;

use monitor_common::event::Verdict;
use proptest::prelude::*;

use super::*;
use crate::testing::{connect, scope, seen};

fn key(subject: u32) -> Key {
    Key {
        scope: scope(),
        kind: "odd",
        what: "",
        verdict: "audited",
        subject: subject.to_string(),
    }
}

fn place(budgets: &mut Budgets<u64>, subject: u32, budgeted: bool, now: u64) -> Place {
    budgets.place(key(subject), budgeted, 1, now, || now)
}

#[test]
fn what_is_worth_knowing_is_told_once_an_hour_and_then_with_its_number() {
    let mut budgets = Budgets::new(1);
    assert_eq!(place(&mut budgets, 1, true, 0), Place::Tell);
    for n in 1..4 {
        assert_eq!(place(&mut budgets, 1, true, n), Place::Repeat);
    }
    assert_eq!(budgets.due(HOUR - 1), []);
    let again = Due::Again(Repeats {
        last: 3,
        count: 3,
        between: (1, 3),
    });
    assert_eq!(budgets.due(HOUR), [again]);
    assert_eq!(budgets.due(HOUR), []);
    // Told with its number just now: what follows waits for twice as long, and so on up to a day.
    let mut told = vec![];
    for hour in 1..4 * 24 {
        assert_eq!(place(&mut budgets, 1, true, hour * HOUR + 1), Place::Repeat);
        told.extend(budgets.due(hour * HOUR + 2).iter().map(|_| hour));
    }
    assert_eq!(told, [3, 7, 15, 31, 55, 79]);
    assert_eq!(budgets.drain().len(), 1);
    // Two quiet days later it is told at once, and it is nothing new: no budget is spent.
    let later = 6 * DAY;
    assert_eq!(place(&mut budgets, 1, true, later), Place::Tell);
    assert_eq!(place(&mut budgets, 1, true, later + 1), Place::Repeat);
    assert_eq!(budgets.due(later + HOUR).len(), 1, "as at first");
    assert_eq!(place(&mut budgets, 2, true, later), Place::Tell);
    assert_eq!(place(&mut budgets, 3, true, later), Place::Over);
}

#[test]
fn what_left_the_policy_is_told_whatever_the_budget() {
    let mut budgets = Budgets::new(0);
    for subject in 0..1_000 {
        assert_eq!(place(&mut budgets, subject, false, 0), Place::Tell);
    }
    for n in 1..SINGLY {
        assert_eq!(place(&mut budgets, 999, false, 0), Place::Tell, "{n}");
    }
    assert_eq!(place(&mut budgets, 999, false, 7), Place::Repeat);
    assert_eq!(budgets.due(HOUR).len(), 1);
}

#[test]
fn what_is_over_the_budget_is_summed_up_with_examples() {
    let mut budgets = Budgets::new(1);
    assert_eq!(place(&mut budgets, 0, true, 5), Place::Tell);
    for subject in 1..=7 {
        assert_eq!(
            place(&mut budgets, subject, true, 5 + u64::from(subject)),
            Place::Over
        );
        assert_eq!(
            place(&mut budgets, subject, true, 5 + u64::from(subject)),
            Place::Over
        );
    }
    assert_eq!(budgets.due(HOUR), []);
    let due = budgets.due(HOUR + 6);
    let [Due::Summary(held, _)] = due.as_slice() else {
        panic!("{due:?}");
    };
    assert_eq!((held.alerts, held.first, held.last), (14, 6, 12));
    assert_eq!(held.kinds, [("odd", 14)].into());
    assert_eq!(held.examples, ["1", "2", "3", "4", "5"]);
    assert_eq!(
        place(&mut budgets, 9, true, DAY),
        Place::Tell,
        "another day"
    );
}

#[test]
fn a_workload_spends_its_own_budget_and_keeps_what_it_holds_when_forgotten() {
    let mut budgets = Budgets::new(1);
    let mut other = key(1);
    other.scope.workload = "other".into();
    assert_eq!(place(&mut budgets, 1, true, 0), Place::Tell);
    assert_eq!(budgets.place(other.clone(), true, 1, 0, || 0), Place::Tell);
    assert_eq!(
        budgets.place(other.clone(), true, 1, 1, || 1),
        Place::Repeat
    );
    budgets.forget("other");
    assert_eq!(budgets.due(1).len(), 1, "told at once");
    assert_eq!(budgets.place(other, true, 1, 1, || 1), Place::Tell, "anew");
}

#[test]
fn beginning_anew_tells_what_is_held_and_everything_once_more() {
    let mut budgets = Budgets::new(1);
    for subject in [1, 1, 2] {
        place(&mut budgets, subject, true, 5);
    }
    budgets.begin_anew();
    assert_eq!(place(&mut budgets, 1, true, 6), Place::Tell);
    assert_eq!(budgets.due(6).len(), 2);
}

#[test]
fn a_clock_that_is_set_back_silences_nothing() {
    let mut budgets = Budgets::new(5);
    let late = 10 * DAY;
    assert_eq!(place(&mut budgets, 1, true, late), Place::Tell);
    assert_eq!(place(&mut budgets, 1, true, late + 1), Place::Repeat);
    assert_eq!(budgets.due(late - DAY).len(), 1);
    assert_eq!(place(&mut budgets, 2, true, late - DAY), Place::Tell);
}

#[test]
fn another_verdict_is_another_thing() {
    let decision = |verdict| Decision {
        budgeted: false,
        ..Decision::told(seen(connect("10.0.0.1:80/tcp"), verdict), vec![])
    };
    let keys: BTreeSet<Key> = [Verdict::WouldBlock, Verdict::Blocked, Verdict::Blocked]
        .map(|verdict| Key::of(&decision(verdict)))
        .into();
    assert_eq!(keys.len(), 2);
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_budget_holds(
        per_day in 0..5u32,
        alerts in prop::collection::vec((0..600u32, any::<bool>(), 0..3u64, 0..DAY), 0..1_500),
        looks in prop::collection::vec(0..3 * DAY, 0..20),
    ) {
        let mut times: Vec<(u64, Option<(u32, bool)>)> = alerts
            .iter()
            .map(|(subject, budgeted, day, time)| (day * DAY + time, Some((*subject, *budgeted))))
            .chain(looks.into_iter().map(|time| (time, None)))
            .collect();
        times.sort_unstable();
        let mut budgets = Budgets::new(per_day);
        let (mut told, mut later) = (0u64, 0u64);
        let mut new = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        let number = |due: Vec<Due<u64>>| -> u64 {
            due.iter()
                .map(|due| match due {
                    Due::Again(again) => again.count,
                    Due::Summary(held, _) => held.alerts,
                })
                .sum()
        };
        for (time, alert) in times {
            let Some((subject, budgeted)) = alert else {
                later += number(budgets.due(time));
                continue;
            };
            // A thing is either budgeted or not.
            let subject = subject * 2 + u32::from(budgeted);
            if place(&mut budgets, subject, budgeted, time) == Place::Tell {
                told += 1;
                if budgeted {
                    new[(time / DAY) as usize].insert(subject);
                }
            }
            let workload = &budgets.workloads["assistant"];
            prop_assert!(workload.known.len() <= KEPT);
            prop_assert!(workload.spent <= per_day);
        }
        later += number(budgets.drain());
        prop_assert_eq!(told + later, alerts.len() as u64);
        prop_assert_eq!(number(budgets.drain()), 0);
        prop_assert!(new[0].len() <= per_day as usize);
    }
}
