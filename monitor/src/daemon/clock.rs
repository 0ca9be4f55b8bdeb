//! Clocks: the wall clock, and the way to it from the clock that the kernel stamps events with.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use slmguard_core::decode::ClockOffset;

/// Nanoseconds since the epoch.
pub fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What to add to CLOCK_MONOTONIC. The wall clock can be set, so this is asked again now and then.
pub fn offset() -> ClockOffset {
    let Ok(monotonic) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
        return ClockOffset::default();
    };
    let monotonic = monotonic.tv_sec() * 1_000_000_000 + monotonic.tv_nsec();
    let wall = i64::try_from(now()).unwrap_or(i64::MAX);
    ClockOffset {
        monotonic_to_wall_ns: wall - monotonic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_leads_from_one_clock_to_the_other() {
        let offset = offset().monotonic_to_wall_ns;
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
        let there = monotonic.tv_sec() * 1_000_000_000 + monotonic.tv_nsec() + offset;
        assert!(there.abs_diff(now() as i64) < 1_000_000_000);
    }
}
