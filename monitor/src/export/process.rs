//! What the process says of itself in `/proc/self`, for the standard `process_*` metrics.

use std::fs;

/// USER_HZ, in which the kernel counts processor time for user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// `/proc/self/status` counts in KiB.
const KIB: i64 = 1024;

/// A snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfUsage {
    /// Processor time in seconds, user and system.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: i64,
    /// Open descriptors.
    pub open_fds: i64,
}

/// Reads it; what cannot be read is zero.
pub fn usage() -> SelfUsage {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    SelfUsage {
        cpu_seconds: cpu_seconds(&stat).unwrap_or(0.0),
        resident_bytes: resident_bytes(&status).unwrap_or(0),
        open_fds: fs::read_dir("/proc/self/fd")
            .map_or(0, |d| i64::try_from(d.count()).unwrap_or(0)),
    }
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<i64>().ok()? * KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let usage = usage();
        assert!(
            usage.resident_bytes > 1 << 20 && usage.open_fds > 2,
            "{usage:?}"
        );
        assert_eq!(
            cpu_seconds("1 (a b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20"),
            Some(2.0)
        );
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
