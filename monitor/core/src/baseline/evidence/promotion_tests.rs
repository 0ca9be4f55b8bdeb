//! Tests of promotion: what each tier needs, that time alone is never enough, and the words.

use proptest::prelude::*;

use super::*;
use crate::baseline::evidence::bound;

fn estimate(episodes: u64, once: usize) -> Estimate {
    let t = episodes as f64;
    Estimate {
        episodes,
        subjects: 412,
        once,
        twice: 1,
        unseen: once as f64 / t,
        upper: bound::upper(once as f64) / t,
        cluster: 1.0,
        owning: once as f64 / t,
        more: 0.0,
    }
}

fn whole() -> Lifecycle {
    let mut list = Lifecycle::default();
    for step in Step::ALL {
        list.watched(step, 1);
    }
    list
}

fn facts(list: &Lifecycle, days: f64, once: usize) -> Facts<'_> {
    Facts {
        role: Role::Tool,
        family: Family::Read,
        estimate: estimate((days * 1000.0) as u64, once),
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
fn the_rule_of_three_sets_the_pace() {
    let list = whole();
    for (days, tier) in [
        (0.9, Tier::Learn),
        (1.0, Tier::Alert),
        (2.9, Tier::Alert),
        (3.0, Tier::Throttle),
        (29.9, Tier::Throttle),
        (30.0, Tier::Block),
    ] {
        assert_eq!(stand(&facts(&list, days, 0)).tier, tier, "{days}");
    }
    let second = Facts {
        second: true,
        ..facts(&list, 30.0, 0)
    };
    assert_eq!(stand(&second).tier, Tier::Kill);
    let server = Facts {
        role: Role::Server,
        ..second
    };
    let standing = stand(&server);
    assert_eq!(
        (standing.tier, standing.state()),
        (Tier::Block, State::Enforce)
    );
    assert_eq!(standing.missing, [Unmet::NotATool]);
}

#[test]
fn thirty_hosts_do_in_a_day_what_one_does_in_thirty() {
    let list = whole();
    let pooled = Facts {
        hosts: 30,
        ..facts(&list, 30.0, 0)
    };
    assert_eq!(stand(&pooled).tier, Tier::Block);
}

#[test]
fn singletons_hold_it_back() {
    let list = whole();
    assert_eq!(stand(&facts(&list, 30.0, 3)).tier, Tier::Throttle);
    let standing = stand(&facts(&list, 30.0, 10));
    assert_eq!(standing.tier, Tier::Throttle);
    assert_eq!(
        standing.missing[0].to_string(),
        "up to 0.6 new files read per day must still be reckoned with; 0.1 is the most"
    );
}

#[test]
fn time_alone_is_no_evidence() {
    let list = whole();
    let mut idle = facts(&list, 1000.0, 0);
    idle.estimate = estimate(199, 0);
    idle.per_day = 0.2;
    let standing = stand(&idle);
    assert_eq!((standing.tier, standing.basis), (Tier::Learn, Basis::None));
    assert_eq!(
        standing.missing[0].to_string(),
        "199 of at least 200 episodes were watched"
    );
}

#[test]
fn without_the_whole_list_it_only_alerts() {
    let mut list = whole();
    list = {
        let mut partial = Lifecycle::default();
        for step in Step::ALL {
            if !matches!(step, Step::Restart | Step::Rotation) && list.coverage(step).is_some() {
                partial.watched(step, 1);
            }
        }
        partial
    };
    let standing = stand(&facts(&list, 90.0, 0));
    assert_eq!(
        (standing.tier, standing.state()),
        (Tier::Alert, State::Monitor)
    );
    assert_eq!(
        standing
            .missing
            .iter()
            .map(Unmet::to_string)
            .collect::<Vec<_>>(),
        ["not watched yet: log rotation, restart"]
    );
}

#[test]
fn an_approval_blocks_at_once_and_is_told_apart_from_evidence() {
    let list = Lifecycle::default();
    let declared = Facts {
        declared: true,
        second: true,
        ..facts(&list, 0.1, 5)
    };
    let standing = stand(&declared);
    assert_eq!(
        (standing.tier, standing.basis),
        (Tier::Block, Basis::Declared)
    );
    assert_eq!(standing.why, ["the operator approved the list"]);
    let list = whole();
    let both = Facts {
        declared: true,
        ..facts(&list, 40.0, 0)
    };
    assert_eq!(stand(&both).basis, Basis::Evidence);
}

#[test]
fn lost_events_hold_what_was_reached_and_let_nothing_rise() {
    let list = whole();
    let mut after = facts(&list, 0.0, 0);
    after.held = Tier::Throttle;
    after.lost = Some(5);
    after.estimate = estimate(0, 0);
    let standing = stand(&after);
    assert_eq!(standing.tier, Tier::Throttle);
    assert_eq!(
        standing.why,
        [
            "throttling was reached earlier and is held",
            "events were lost: evidence counts from then on"
        ]
    );
    assert_eq!(
        standing.missing[0].to_string(),
        "nothing can be said about new files read yet"
    );
}

#[test]
fn a_full_memory_only_alerts_unless_the_list_was_approved() {
    let list = whole();
    let mut full = facts(&list, 90.0, 0);
    full.full = true;
    full.held = Tier::Block;
    let standing = stand(&full);
    assert_eq!(standing.tier, Tier::Alert);
    assert_eq!(
        standing.why[0],
        "its memory is full and it does not learn any more: it is at most alerting"
    );
    full.declared = true;
    assert_eq!(
        (stand(&full).tier, stand(&full).basis),
        (Tier::Block, Basis::Declared)
    );
}

#[test]
fn the_reason_of_a_standing_reads_in_plain_words() {
    let list = whole();
    assert_eq!(
        stand(&facts(&list, 9.0, 2)).why,
        ["at most 0.7 new files read per day (95 %) after 9,000 episodes in 9 days"]
    );
}

#[test]
fn auto_goes_as_far_as_the_evidence_and_no_further_than_the_operator() {
    let list = whole();
    let standing = stand(&facts(&list, 30.0, 0));
    let mode_of = |setting| mode(setting, &standing);
    assert_eq!(mode_of(Setting::Auto { confirmed: true }), Mode::Enforce);
    assert_eq!(mode_of(Setting::Auto { confirmed: false }), Mode::Monitor);
    assert_eq!(mode_of(Setting::Fixed(Mode::Learn)), Mode::Learn);
    let early = stand(&facts(&list, 0.5, 0));
    assert_eq!(mode(Setting::Auto { confirmed: true }, &early), Mode::Learn);
}

#[test]
fn families_that_go_hand_in_hand_are_no_second_witness() {
    assert!(!independent(Family::Destination, Family::Name));
    assert!(!independent(Family::Read, Family::Write));
    assert!(independent(Family::Read, Family::Exec));
    assert!(!independent(Family::Exec, Family::Exec));
}

proptest! {
    #[test]
    fn more_days_without_news_never_lower_a_standing(days in 0.0..100.0f64, more in 0.0..50.0f64, once in 0usize..20) {
        let list = whole();
        let (a, b) = (facts(&list, days, once), facts(&list, days + more, once));
        prop_assert!(stand(&b).tier >= stand(&a).tier);
    }

    #[test]
    fn more_singletons_never_raise_it(days in 0.0..100.0f64, once in 0usize..20) {
        let list = whole();
        prop_assert!(stand(&facts(&list, days, once + 1)).tier <= stand(&facts(&list, days, once)).tier);
    }

    #[test]
    fn with_too_few_episodes_only_an_approval_does_it(episodes in 0u64..200, days in 0.0..1e4f64) {
        let list = whole();
        let mut few = facts(&list, days, 0);
        few.estimate = estimate(episodes, 0);
        few.per_day = 1e-9;
        prop_assert_eq!(stand(&few).tier, Tier::Learn);
    }
}
