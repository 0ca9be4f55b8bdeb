//! Question `cost`: nanoseconds and bytes per observation and per workload.
//!
//! Measured on this machine: printed, and not on the page.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use slmguard_core::baseline::order::markov::Markov;
use slmguard_core::baseline::order::reach::{Origin, Part, Reach, reached};
use slmguard_core::baseline::volume::beacon::Beacon;
use slmguard_core::baseline::volume::cusum::{Cusum, Hours};
use slmguard_core::baseline::volume::peaks::Tail;
use slmguard_core::baseline::volume::sketch::Sketch;

use super::{Goal, Target};

const SECTION: &str = "Cost";
const TIMES: u64 = 200_000;

/// Answers the question.
pub fn ask(_: &mut dyn FnMut(&str)) -> Result<Vec<Target>> {
    let mut targets = vec![];
    let mut time = |name: &str, what: &str, work: &mut dyn FnMut(u64)| {
        (0..TIMES / 10).for_each(&mut *work);
        let start = Instant::now();
        (0..TIMES).for_each(work);
        let each = start.elapsed().as_nanos() as f64 / TIMES as f64;
        let name = format!("cost_{name}");
        let what = format!("ns: {what}");
        targets.push(Target::new(SECTION, &name, &what, each, Goal::AtMost(1_000.0)).measured());
    };
    // Numbers that look random and cost nothing.
    let number = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let mut sketch = Sketch::default();
    time("sketch_add", "a value into a sketch", &mut |n| {
        sketch.add(number(n))
    });
    let mut tail = Tail::default();
    time("tail_add", "a value into the tail", &mut |n| {
        tail.add(number(n) as f64)
    });
    let mut hours = Hours::default();
    (0..5_000u64).for_each(|n| hours.add(n * 300_000_000_000, number(n)));
    let anchor = hours.freeze().context("an anchor")?;
    let mut cusum = Cusum::new(300);
    time("cusum_add", "a window into the CUSUM", &mut |n| {
        black_box(cusum.add(anchor.z(n * 300_000_000_000, number(n))));
    });
    let mut beacon = Beacon::default();
    time("beacon_add", "a connection into a beacon", &mut |n| {
        beacon.add(n * 1_000_000_000, number(n))
    });
    let mut markov = Markov::default();
    (0..2_000u64).for_each(|n| markov.learn(&[1, 2, (number(n) % 9) as u16, 4]));
    time("order", "the surprise of an episode, per call", &mut |n| {
        // One episode of four calls for every four times.
        if n % 4 == 0 {
            black_box(markov.surprise(&[1, 2, (n % 9) as u16, 4]));
        }
    });
    let mut reach = Reach::default();
    let origin = Origin {
        named: false,
        from_result: Some(true),
    };
    let names: Vec<String> = (0..256)
        .map(|n| format!("name{n}@host{n}.example.org"))
        .collect();
    for name in &names {
        reach.learn(&reached(name, false, Part::Destination, origin));
    }
    let known = reach.known(1);
    time(
        "reach",
        "a destination normalised and looked up",
        &mut |n| {
            let name = &names[(n % 256) as usize];
            black_box(known.news(&reached(name, false, Part::Destination, origin)));
        },
    );
    // A tree keeps at most twice what it holds.
    let tree = |entries: usize, entry: usize| (2 * entries * entry) as f64;
    let text = |name: &String| name.capacity() + size_of::<String>();
    let bytes = [
        (
            "sketch",
            "a sketch of 200,000 sizes over 24 bits",
            tree(sketch.len(), 10),
        ),
        ("tail", "a tail", (size_of::<Tail>() + 512 * 8) as f64),
        ("beacon", "a beacon", size_of::<Beacon>() as f64),
        (
            "sums",
            "anchor and CUSUM of one flow",
            (size_of_val(&anchor) + size_of_val(&cusum)) as f64,
        ),
        ("reach", "256 destinations", tree(256, text(&names[0]) + 8)),
        (
            "order",
            "the order of a workload with four-call episodes",
            tree(markov.len(), 64),
        ),
    ];
    let connectors = 64.0;
    let whole: f64 = connectors * (bytes[0].2 + bytes[1].2 + bytes[3].2) + bytes[4].2 + bytes[5].2;
    let row = |name: &str, what: &str, value, goal| {
        Target::new(
            SECTION,
            &format!("cost_bytes_{name}"),
            &format!("bytes: {what}"),
            value,
            goal,
        )
        .measured()
    };
    targets.extend(bytes.map(|(name, what, value)| row(name, what, value, Goal::Told)));
    let what = "a workload with 64 connectors";
    targets.push(row("workload", what, whole, Goal::AtMost(1_048_576.0)));
    Ok(targets)
}
