//! Tests of the forecast: the words, and that waiting for what was foretold is enough.

use monitor_common::class::{Family, Role};
use proptest::prelude::*;

use super::*;
use crate::baseline::evidence::{
    incidence::Estimate,
    lifecycle::{Lifecycle, Step},
    promotion::stand,
};

fn whole() -> Lifecycle {
    let mut list = Lifecycle::default();
    for step in Step::ALL {
        list.watched(step, 1);
    }
    list
}

fn facts(list: &Lifecycle, days: f64, once: usize) -> Facts<'_> {
    let episodes = (days * 1000.0).round();
    Facts {
        role: Role::Server,
        family: Family::Read,
        estimate: Estimate {
            episodes: episodes as u64,
            subjects: 412,
            once,
            twice: 1,
            unseen: once as f64 / episodes,
            upper: bound::upper(once as f64) / episodes,
            cluster: 1.0,
            owning: once as f64 / episodes,
            more: 0.0,
        },
        per_day: 1000.0,
        days,
        hosts: 1,
        lifecycle: list,
        lost: None,
        full: false,
        declared: false,
        held: Tier::Learn,
        second: false,
    }
}

#[test]
fn what_is_learned_and_missing_reads_in_plain_words() {
    let list = whole();
    let mut facts = facts(&list, 9.0, 2);
    facts.estimate.more = 3.2;
    let forecast = forecast(&facts, &stand(&facts), (3, 12), 7);
    assert_eq!(
        forecast.lines,
        [
            "412 files read known after 9,000 episodes in 9 days; 2 in one episode only",
            "about 0.2 new files read per day, at most 0.7 (95 %)",
            "at least 3 more to come",
            "stands at throttling, on evidence",
            "for blocking: up to 0.7 new files read per day must still be reckoned with; 0.1 is \
             the most",
            "for blocking: not at this rate; approve the list, or allow what keeps changing by a \
             pattern",
            "had it enforced during the last 7 days, 3 files read would have been blocked, 12 times",
        ]
    );
    assert_eq!(
        (forecast.next, forecast.when),
        (Some(Tier::Block), When::NotAtThisRate)
    );
}

#[test]
fn without_news_the_days_are_counted() {
    let list = whole();
    let facts = facts(&list, 9.0, 0);
    let forecast = forecast(&facts, &stand(&facts), (0, 0), 1);
    assert_eq!(
        forecast.lines,
        [
            "412 files read known after 9,000 episodes in 9 days; each in several episodes",
            "about 0 new files read per day, at most 0.3 (95 %)",
            "stands at throttling, on evidence",
            "for blocking: up to 0.3 new files read per day must still be reckoned with; 0.1 is \
             the most",
            "for blocking: 21 days more at this rate",
            "had it enforced during the last day, nothing would have been blocked",
        ]
    );
}

#[test]
fn ten_hosts_are_ten_times_as_fast() {
    let list = whole();
    let mut facts = facts(&list, 9.0, 0);
    facts.hosts = 10;
    let When::Days(days) = until(&facts, Tier::Block) else {
        unreachable!()
    };
    assert!((days - 2.1).abs() < 1e-6, "{days}");
}

#[test]
fn before_the_first_episode_nothing_is_promised() {
    let list = Lifecycle::default();
    let mut facts = facts(&list, 0.0, 0);
    facts.estimate.subjects = 1;
    facts.estimate.unseen = f64::INFINITY;
    facts.estimate.upper = f64::INFINITY;
    facts.per_day = f64::INFINITY;
    let forecast = forecast(&facts, &stand(&facts), (1, 1), 7);
    assert_eq!(
        forecast.lines,
        [
            "1 file read known; no episode has ended yet",
            "stands at learning",
            "for alerting: nothing can be said about new files read yet",
            "for alerting: 0 of at least 200 episodes were watched",
            "for alerting: not at this rate; approve the list, or allow what keeps changing by a \
             pattern",
            "had it enforced during the last 7 days, 1 file read would have been blocked, once",
        ]
    );
}

#[test]
fn what_only_a_step_holds_back_has_no_date() {
    let mut list = Lifecycle::default();
    for step in Step::ALL {
        if step != Step::Rotation {
            list.watched(step, 1);
        }
    }
    let facts = facts(&list, 90.0, 0);
    let forecast = forecast(&facts, &stand(&facts), (0, 0), 7);
    assert_eq!(
        (forecast.next, forecast.when),
        (Some(Tier::Throttle), When::NotOfTime)
    );
    assert!(
        forecast
            .lines
            .contains(&"for throttling: not watched yet: log rotation".into())
    );
}

#[test]
fn a_declared_list_says_so() {
    let list = whole();
    let mut facts = facts(&list, 0.5, 4);
    facts.declared = true;
    let forecast = forecast(&facts, &stand(&facts), (0, 0), 7);
    assert!(
        forecast
            .lines
            .contains(&"stands at blocking, because the operator approved the list".into())
    );
}

proptest! {
    #[test]
    fn waiting_for_what_was_foretold_is_enough(days in 0.2..40.0f64, once in 0usize..6, tier in 0usize..3) {
        let list = whole();
        let tier = Tier::ALL[tier];
        let now = facts(&list, days, once);
        if let When::Days(more) = until(&now, tier) {
            let later = days + more + 0.01;
            // At the present rate, with a little to spare for whole episodes.
            let mut then = facts(&list, later, 0);
            let seen = now.estimate.unseen * later * 1000.0;
            then.estimate.upper = bound::upper(if once == 0 { 0.0 } else { seen }) / (later * 1000.0);
            // Episodes are whole numbers there, and were not here.
            then.estimate.upper *= 0.999;
            prop_assert_eq!(then.unmet(tier), vec![]);
        }
    }

    #[test]
    fn what_may_come_is_never_less_than_what_is_expected(days in 0.2..40.0f64, once in 0usize..50) {
        let list = whole();
        let facts = facts(&list, days, once);
        prop_assert!(facts.upper_per_day() >= facts.new_per_day());
    }
}
