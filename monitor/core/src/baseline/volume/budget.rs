//! Budgets: the token bucket that lets a connector do what it has always done, and little more.
//!
//! Rate and burst come from frozen anchors only, so that a flow cannot widen its own bucket.

use serde::{Deserialize, Serialize};

use super::peaks::{Anchor, Basis};

/// Bytes that every bucket holds at least: a TLS handshake must never stall.
pub const LEAST_BURST: u64 = 64 * 1024;
/// Bytes per second that every bucket refills at least, so that an empty one fills in a minute.
pub const LEAST_RATE: u64 = LEAST_BURST / 60;
/// How often one request may need more than what the rate is made of.
const RATE_EXCEEDED: f64 = 1e-4;
/// How often one request may need more than the burst.
const BURST_EXCEEDED: f64 = 1e-5;
/// What is added to the largest value seen where it cannot be extrapolated: never more than twice
/// the anchor.
const MARGIN: f64 = 2.0;

/// A token bucket, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes at once.
    pub burst: u64,
    /// Both come from a fitted tail; otherwise from the largest value seen, doubled.
    pub extrapolated: bool,
}

/// The bucket of a connector: `bytes` is the anchor of bytes per request, `requests` the 99th
/// percentile of requests per second. Without a single value there is only the least bucket.
pub fn budget(bytes: &Anchor, requests: f64) -> Budget {
    let requests = if requests.is_finite() {
        requests.max(0.0)
    } else {
        0.0
    };
    let (request, first) = need(bytes, RATE_EXCEEDED);
    let (burst, second) = need(bytes, BURST_EXCEEDED);
    Budget {
        rate: ((request * requests).ceil() as u64).max(LEAST_RATE),
        burst: (burst.max(request).ceil() as u64).max(LEAST_BURST),
        extrapolated: first && second,
    }
}

/// The bucket of what a throttled flow gets: its usual rate and nothing at once.
pub fn usual(per_second: f64) -> Budget {
    let rate = if per_second.is_finite() {
        per_second.max(0.0)
    } else {
        0.0
    };
    Budget {
        rate: (rate.ceil() as u64).max(LEAST_RATE),
        burst: LEAST_BURST,
        extrapolated: false,
    }
}

fn need(anchor: &Anchor, rate: f64) -> (f64, bool) {
    match anchor.limit(rate) {
        Some(limit) if limit.basis == Basis::Extrapolated => (limit.value, true),
        Some(limit) => (limit.value * MARGIN, false),
        None => (0.0, false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::baseline::volume::peaks::Tail;

    fn anchor(n: u32) -> Anchor {
        let mut tail = Tail::default();
        for i in 0..n {
            tail.add(f64::from(i % 1000) * 100.0);
        }
        tail.freeze()
    }

    #[test]
    fn few_values_get_twice_the_largest() {
        let bucket = budget(&anchor(1_000), 2.0);
        assert_eq!((bucket.rate, bucket.burst), (399_600, 199_800));
        assert!(!bucket.extrapolated);
        assert!(budget(&anchor(20_000), 2.0).extrapolated);
    }

    #[test]
    fn nothing_known_still_lets_a_handshake_through() {
        let bucket = budget(&anchor(0), f64::NAN);
        assert_eq!((bucket.rate, bucket.burst), (LEAST_RATE, LEAST_BURST));
        assert_eq!(usual(-1.0).rate, LEAST_RATE);
    }

    proptest! {
        #[test]
        fn a_bucket_always_holds_a_handshake_and_what_was_usual(
            values in prop::collection::vec(0.0..1e12f64, 0..3000),
            requests in any::<f64>(),
        ) {
            let mut tail = Tail::default();
            values.iter().for_each(|v| tail.add(*v));
            let bucket = budget(&tail.freeze(), requests);
            prop_assert!(bucket.burst >= LEAST_BURST && bucket.rate >= LEAST_RATE);
            if values.len() < 2000 {
                let largest = values.iter().copied().fold(0.0, f64::max);
                prop_assert!(bucket.burst as f64 >= largest);
            }
        }
    }
}
