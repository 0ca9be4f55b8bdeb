//! Tests of the ledger.

use proptest::prelude::*;

use super::*;
use crate::testing::{endpoint, scope};

const SLOT: u64 = 60 * SECOND;
const START: u64 = 1_700_000_040 * SECOND;
const ME: ProcessKey = ProcessKey {
    pid: 7,
    start_time: 1,
};

fn flow(sent: u64) -> Flow {
    Flow {
        peer: endpoint("10.0.0.1:443/tcp"),
        local_port: 40_000,
        inbound: false,
        sent,
        received: 0,
        duration: 0,
        cookie: 0,
    }
}

fn judged() -> BTreeSet<Scope> {
    BTreeSet::from([scope()])
}

/// A workload that has sent about 100 kB a minute, for so many minutes, while it learned.
fn learned(minutes: u64) -> (Ledger, u64) {
    let mut ledger = Ledger::new(Settings::default());
    let mut time = START;
    for n in 0..minutes {
        ledger.observe(&scope(), &flow(90_000 + n * 7_919 % 10_000), ME, time);
        time += SLOT;
    }
    ledger.advance(time, BTreeSet::new());
    (ledger, time)
}

fn minute(ledger: &mut Ledger, time: &mut u64, sent: u64) -> Vec<Finding> {
    ledger.observe(&scope(), &flow(sent), ME, *time);
    *time += SLOT;
    ledger.advance(*time, judged());
    ledger.take_findings()
}

#[test]
fn a_burst_is_told_at_once_with_what_is_known_and_then_counted_for_an_hour() {
    let (mut ledger, mut time) = learned(120);
    ledger.advance(time, judged());
    assert_eq!(
        minute(&mut ledger, &mut time, 150_000),
        [],
        "not twice as much"
    );
    // In parts, as flows are told: the slot counts.
    for _ in 0..2 {
        ledger.observe(&scope(), &flow(150_000), ME, time);
    }
    let found = ledger.take_findings();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].process, ME);
    let Excess::Burst {
        limit,
        largest,
        learned,
        extrapolated,
        slots,
    } = found[0].volume.excess
    else {
        panic!("{found:?}")
    };
    assert_eq!(
        (found[0].volume.sent, found[0].volume.seconds),
        (300_000, 60)
    );
    assert_eq!(limit, 2 * largest);
    assert!((99_000..100_000).contains(&largest), "{largest}");
    assert_eq!((learned, extrapolated, slots), (120, false, 1));
    ledger.observe(&scope(), &flow(1 << 20), ME, time);
    assert_eq!(ledger.take_findings(), [], "the same minute");
    time += SLOT;
    for _ in 0..59 {
        assert_eq!(
            minute(&mut ledger, &mut time, 400_000),
            [],
            "within the hour"
        );
    }
    let again = minute(&mut ledger, &mut time, 400_000);
    assert!(
        matches!(again[0].volume.excess, Excess::Burst { slots: 60, .. }),
        "{again:?}"
    );
}

#[test]
fn nothing_is_judged_before_there_is_enough_and_then_nothing_is_learned() {
    let (mut ledger, mut time) = learned(99);
    ledger.advance(time, judged());
    assert_eq!(
        minute(&mut ledger, &mut time, 50_000_000),
        [],
        "still learning"
    );
    // The hundredth, large as it was, belongs to what is known now.
    assert_eq!(minute(&mut ledger, &mut time, 60_000_000), []);
    assert_eq!(minute(&mut ledger, &mut time, 101_000_000).len(), 1);
    time += 2 * QUIET;
    assert_eq!(
        minute(&mut ledger, &mut time, 101_000_000).len(),
        1,
        "not learned"
    );

    ledger.advance(time, BTreeSet::new());
    for _ in 0..3 {
        ledger.observe(&scope(), &flow(150_000_000), ME, time);
        time += SLOT;
    }
    ledger.advance(time, judged());
    time += SLOT;
    ledger.advance(time, judged());
    assert_eq!(
        minute(&mut ledger, &mut time, 101_000_000),
        [],
        "learned again"
    );
}

#[test]
fn little_is_never_told() {
    let mut ledger = Ledger::new(Settings::default());
    let mut time = START;
    for _ in 0..150 {
        assert_eq!(minute(&mut ledger, &mut time, 10), []);
    }
    assert_eq!(minute(&mut ledger, &mut time, LEAST_LIMIT), []);
    assert_eq!(minute(&mut ledger, &mut time, LEAST_LIMIT + 1).len(), 1);
}

#[test]
fn a_lasting_rise_is_found_and_its_size_is_about_right() {
    let (mut ledger, mut time) = learned(1_500);
    ledger.advance(time, judged());
    for n in 0..1_500 {
        assert_eq!(
            minute(&mut ledger, &mut time, 90_000 + n * 7_919 % 10_000),
            []
        );
    }
    let mut found = vec![];
    let began = time;
    while found.is_empty() && time < began + 86_400 * SECOND {
        let sent = 103_000 + time / SLOT * 7_919 % 10_000;
        found = minute(&mut ledger, &mut time, sent);
    }
    let volume = found[0].volume;
    let Excess::Leak { expected } = volume.excess else {
        panic!("{found:?}")
    };
    let percent = volume.sent * 100 / expected;
    assert!((108..=116).contains(&percent), "{percent} % in {volume:?}");
    let minutes = (time - began) / SLOT;
    // Ten windows at most: each counts for three deviations, and 25 are needed.
    assert!(minutes <= 60, "after {minutes} minutes");
    assert!(volume.seconds <= (minutes + 30) * 60, "{volume:?}");
    let per_minute = volume.sent * 60 / volume.seconds;
    assert!((90_000..115_000).contains(&per_minute), "{volume:?}");
}

#[test]
fn a_restart_and_a_clock_that_is_set_back_change_nothing() {
    let (mut ledger, time) = learned(120);
    ledger.advance(time, judged());
    ledger.advance(time + SLOT, judged());
    let text = serde_json::to_string(&ledger.rows()).unwrap();
    let mut next = Ledger::new(Settings::default());
    assert_eq!(next.restore(serde_json::from_str(&text).unwrap()), [""; 0]);
    assert_eq!(next.standing("assistant"), ledger.standing("assistant"));
    let mut other = Ledger::new(Settings {
        slot: SECOND,
        ..Settings::default()
    });
    assert_eq!(
        other.restore(serde_json::from_str(&text).unwrap()),
        ["assistant"]
    );

    next.advance(time, judged());
    next.observe(&scope(), &flow(100_000), ME, time + 1_000 * SLOT);
    next.observe(&scope(), &flow(100_000), ME, time);
    assert_eq!(next.take_findings(), [], "two slots, not one with both");
    next.observe(&scope(), &flow(300_000), ME, time + SLOT);
    assert_eq!(next.take_findings().len(), 1);
}

#[test]
fn what_there_is_no_room_for_is_said() {
    let mut ledger = Ledger::new(Settings::default());
    for port in 0..200 {
        let mut flow = flow(1);
        flow.peer.port = port;
        ledger.observe(&scope(), &flow, ME, START);
    }
    assert_eq!(ledger.standing("assistant").len(), MAX_CONNECTORS);
    let unwatched = ledger.unwatched("assistant").unwrap();
    assert!(unwatched.contains("72 at least"), "{unwatched}");
    ledger.forget("assistant");
    assert_eq!(ledger.standing("assistant"), []);
    assert_eq!(ledger.unwatched("assistant"), None);
}

proptest! {
    #[test]
    fn no_order_of_times_and_no_amount_panics_or_forgets_its_bounds(
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..60),
        least in 0u64..4,
    ) {
        let mut ledger = Ledger::new(Settings { slot: SECOND, least });
        for (time, sent, is_judged) in steps {
            ledger.observe(&scope(), &flow(sent), ME, time);
            ledger.advance(time, if is_judged { judged() } else { BTreeSet::new() });
            for finding in ledger.take_findings() {
                prop_assert!(finding.volume.sent > LEAST_LIMIT);
            }
            let rows = ledger.rows();
            let text = serde_json::to_string(&rows).unwrap();
            let mut again = Ledger::new(Settings { slot: SECOND, least });
            prop_assert!(again.restore(serde_json::from_str(&text).unwrap()).is_empty());
            prop_assert_eq!(again.standing("assistant"), ledger.standing("assistant"));
        }
    }
}
