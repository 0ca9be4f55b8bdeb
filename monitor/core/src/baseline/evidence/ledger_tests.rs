//! Tests of the ledger: a workload is watched, promoted on evidence, held back by losses and by its
//! memory, stored and brought back.

use monitor_common::{class::Role, event::Verdict};
use proptest::prelude::*;

use super::*;
use crate::{
    baseline::evidence::{exposure::DAY, lifecycle::Step, promotion::State},
    observation::{Fact, Flow},
    testing::{connect, endpoint, scope, seen},
};

const START: u64 = 1_700_000_000_000_000_000;

/// So many requests that the kernel only counted.
fn requests(count: u64, time: u64) -> Observation {
    let flow = Flow {
        peer: endpoint("10.0.0.9:40000/tcp"),
        local_port: 8080,
        inbound: true,
        sent: 1,
        received: 1,
        duration: 1,
        cookie: 1,
    };
    let mut observation = seen(Fact::Flow(flow), Verdict::Known);
    (observation.time, observation.count) = (time, count);
    observation
}

fn whole_list(evidence: &mut Evidence) {
    let list = evidence.lifecycle_mut("assistant").unwrap();
    for step in Step::ALL {
        list.watched(step, START);
    }
}

/// Days of steady load, ten times a day a hundred requests, with one known destination.
fn watched(evidence: &mut Evidence, days: std::ops::Range<u64>) {
    for tenth in days.start * 10..=days.end * 10 {
        let time = START + tenth * (DAY / 10);
        evidence.observe(&requests(100, time));
        let attribution = evidence.polled(&scope(), time);
        let subject = "10.0.0.1:443/tcp";
        evidence.note(&scope(), Family::Destination, subject, &attribution, time);
    }
}

#[test]
fn a_workload_earns_its_tiers_day_by_day() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..1);
    whole_list(&mut evidence);
    let tier = |evidence: &Evidence| evidence.standing(&scope(), Family::Destination).tier;
    assert!(tier(&evidence) <= Tier::Alert);
    watched(&mut evidence, 1..5);
    assert_eq!(tier(&evidence), Tier::Throttle);
    watched(&mut evidence, 5..40);
    let standing = evidence.standing(&scope(), Family::Destination);
    assert_eq!(
        (standing.state(), standing.basis),
        (State::Enforce, Basis::Evidence)
    );
    let changes = evidence.promote();
    assert_eq!(
        changes.len(),
        Family::ALL.len(),
        "what never happened is evidence as well"
    );
    assert!(evidence.promote().is_empty());
}

#[test]
fn lost_events_begin_the_count_anew_and_take_nothing_back() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..5);
    whole_list(&mut evidence);
    evidence.promote();
    evidence.lost(START + 5 * DAY);
    let standing = evidence.standing(&scope(), Family::Destination);
    assert_eq!(standing.tier, Tier::Throttle);
    watched(&mut evidence, 6..30);
    assert_eq!(
        evidence.standing(&scope(), Family::Destination).tier,
        Tier::Throttle
    );
    watched(&mut evidence, 30..40);
    assert_eq!(
        evidence.standing(&scope(), Family::Destination).tier,
        Tier::Block
    );
}

#[test]
fn a_deploy_keeps_what_is_known_and_asks_for_everything_else_again() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..40);
    whole_list(&mut evidence);
    evidence.promote();
    let before = evidence.standing(&scope(), Family::Destination).tier;
    evidence.deployed("assistant");
    let standing = evidence.standing(&scope(), Family::Destination);
    assert_eq!(standing.tier, before, "nothing is relaxed by a deploy");
    assert!(
        standing.why.iter().any(|why| why.contains("is held")),
        "{standing:?}"
    );
    assert_eq!(
        evidence
            .estimate(&scope(), Family::Destination)
            .unwrap()
            .subjects,
        1
    );
    assert!(!evidence.lifecycle("assistant").unwrap().is_whole());
}

#[test]
fn an_approved_family_blocks_and_can_be_sent_back_to_learning() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..1);
    evidence.declare(&scope(), Family::Destination, true);
    assert_eq!(
        evidence.standing(&scope(), Family::Destination).basis,
        Basis::Declared
    );
    evidence.promote();
    assert_eq!(
        evidence.standing(&scope(), Family::Destination).basis,
        Basis::Declared,
        "a tier that was declared is never taken for one that was earned"
    );
    evidence.learn_again(&scope(), Family::Destination);
    assert!(evidence.standing(&scope(), Family::Destination).tier < Tier::Block);
}

#[test]
fn a_full_memory_stops_a_family_and_says_so() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..1);
    let attribution = evidence.polled(&scope(), START + DAY);
    let mut learned = 0u32;
    loop {
        let subject = format!("/srv/data/{learned:0>200}");
        match evidence.note(&scope(), Family::Read, &subject, &attribution, START + DAY) {
            Noted::New => learned += 1,
            Noted::Full => break,
            Noted::Known => unreachable!(),
        }
    }
    assert!(learned > 4000, "{learned}");
    assert!(evidence.bytes("assistant") <= MEMORY);
    assert_eq!(
        evidence.full("assistant").collect::<Vec<_>>(),
        [Family::Read]
    );
    let standing = evidence.standing(&scope(), Family::Read);
    assert_eq!(standing.tier, Tier::Alert);
    let known = format!("/srv/data/{:0>200}", 0);
    let noted = evidence.note(&scope(), Family::Read, &known, &attribution, START + DAY);
    assert_eq!(noted, Noted::Known, "what is known is still counted");
    evidence.besides("another", MEMORY + 1);
    let other = Scope {
        workload: "another".into(),
        ..scope()
    };
    let noted = evidence.note(&other, Family::Exec, "/bin/date", &attribution, START);
    assert_eq!(noted, Noted::Full, "what is held elsewhere counts as well");
}

#[test]
fn a_second_witness_must_be_of_another_kind() {
    let mut evidence = Evidence::new(1, 1);
    let tool = Scope {
        role: Role::Tool,
        ..scope()
    };
    for day in 0..=400u64 {
        for _ in 0..3 {
            let mut observation = requests(100, START + day * (DAY / 10));
            observation.scope = tool.clone();
            evidence.observe(&observation);
        }
    }
    // An end of a connection that was only counted is nobody's: the list comes with the first act.
    let mut act = seen(connect("10.0.0.1:443/tcp"), Verdict::Known);
    (act.scope, act.time) = (tool.clone(), START + 40 * DAY);
    evidence.observe(&act);
    whole_list(&mut evidence);
    assert_eq!(
        evidence.standing(&tool, Family::Destination).tier,
        Tier::Kill
    );
}

#[test]
fn the_forecast_reads_from_the_ledger() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..9);
    whole_list(&mut evidence);
    evidence.would_block(
        &scope(),
        Family::Destination,
        "192.0.2.1:443/tcp",
        4,
        START + 9 * DAY,
    );
    let forecast = evidence.forecast(&scope(), Family::Destination, 7, START + 9 * DAY);
    assert_eq!(
        forecast.lines.last().unwrap(),
        "had it enforced during the last 7 days, 1 destination would have been blocked, 4 times"
    );
}

#[test]
fn a_caller_is_nobodys_episode() {
    let mut evidence = Evidence::new(1, 1);
    let caller = Fact::Caller {
        endpoint: endpoint("127.0.0.1:8080/tcp"),
        program: (1, 2),
    };
    assert_eq!(evidence.observe(&seen(caller, Verdict::Known)), None);
}

#[test]
fn rows_with_an_unknown_word_change_nothing() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..1);
    let mut rows = evidence.rows();
    rows[0].scopes[0].phase = "sleep".into();
    let error = evidence.restore(rows).unwrap_err();
    assert_eq!(
        error.to_string(),
        "evidence of assistant: `sleep` is not a phase; was it written by a newer version?"
    );
    assert!(evidence.estimate(&scope(), Family::Destination).is_some());
}

#[test]
fn hosts_pool_their_days() {
    let mut one = Evidence::new(1, 1);
    watched(&mut one, 0..10);
    whole_list(&mut one);
    for host in 2..5 {
        let mut other = Evidence::new(host, 1);
        watched(&mut other, 0..10);
        one.merge(&other);
    }
    assert_eq!(
        one.standing(&scope(), Family::Destination).tier,
        Tier::Block
    );
}

#[test]
fn a_forgotten_workload_is_gone() {
    let mut evidence = Evidence::new(1, 1);
    watched(&mut evidence, 0..1);
    evidence.forget("assistant");
    assert!(evidence.scopes().is_empty() && evidence.bytes("assistant") == 0);
}

proptest! {
    #[test]
    fn rows_bring_the_evidence_back(days in 1u64..4, subjects in proptest::collection::vec("[a-c/]{1,4}", 0..20)) {
        let mut evidence = Evidence::new(1, 1);
        watched(&mut evidence, 0..days);
        for (i, subject) in subjects.iter().enumerate() {
            let time = START + days * DAY + i as u64 * 70_000_000_000;
            let attribution = evidence.polled(&scope(), time);
            evidence.note(&scope(), Family::Read, subject, &attribution, time);
            evidence.would_block(&scope(), Family::Exec, subject, 1, time);
        }
        evidence.lost(START);
        evidence.declare(&scope(), Family::Exec, true);
        evidence.promote();
        let json = serde_json::to_string(&evidence.rows()).unwrap();
        let mut back = Evidence::new(1, evidence.next_episode());
        back.restore(serde_json::from_str(&json).unwrap()).unwrap();
        prop_assert_eq!(back.rows(), evidence.rows());
        for family in Family::ALL {
            prop_assert_eq!(back.standing(&scope(), family), evidence.standing(&scope(), family));
        }
    }
}
