//! What has to be unpredictable: the key of the path hashes, and the ids of alerts.

use std::{
    fs::File,
    io::Read,
    sync::{Mutex, PoisonError},
};

use monitor_common::hash::{HashKey, Sip};

use crate::exit::{Exit, Failure};

const SOURCE: &str = "/dev/urandom";

/// A fresh key. It lives in memory only; each start draws another.
pub fn hash_key() -> Result<HashKey, Failure> {
    let mut bytes = [0; 16];
    File::open(SOURCE)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| {
            Failure::new(
                Exit::Failure,
                format!("cannot draw a random key from {SOURCE}: {e}; is /dev mounted?"),
            )
        })?;
    let (a, b) = bytes.split_at(8);
    let word = |half: &[u8]| {
        half.iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    Ok(HashKey {
        k0: word(a),
        k1: word(b),
    })
}

/// Ids of alerts: UUIDs of version 7, unique, and in the order of time also within a millisecond.
#[derive(Debug)]
pub struct AlertIds {
    key: HashKey,
    last: Mutex<(u64, u64)>,
}

impl AlertIds {
    /// Ids that nobody can foresee without the key.
    pub fn new(key: HashKey) -> Self {
        Self {
            key,
            last: Mutex::new((0, 0)),
        }
    }

    /// The next one, at this time in nanoseconds since the epoch.
    pub fn next(&self, now: u64) -> String {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Never backwards, whatever the clock does; a full millisecond borrows from the next.
        let (mut millisecond, mut sequence) = (last.0.max(now / 1_000_000), 0);
        if millisecond == last.0 {
            sequence = last.1 + 1;
            if sequence > 0xfff {
                (millisecond, sequence) = (millisecond + 1, 0);
            }
        }
        *last = (millisecond, sequence);
        let mut sip = Sip::new(self.key);
        sip.word(millisecond);
        sip.word(sequence);
        let random = sip.finish();
        format!(
            "{:08x}-{:04x}-7{sequence:03x}-{:04x}-{:012x}",
            millisecond >> 16 & 0xffff_ffff,
            millisecond & 0xffff,
            random >> 48 & 0x3fff | 0x8000,
            random & 0xffff_ffff_ffff,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        assert_ne!(hash_key().unwrap(), hash_key().unwrap());
    }

    #[test]
    fn ids_are_unique_and_sort_by_time() {
        let ids = AlertIds::new(HashKey { k0: 1, k1: 2 });
        let now = 1_700_000_000_000_000_000;
        let all: Vec<_> = (0..10_000).map(|n| ids.next(now + n / 5000)).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
        assert_eq!(all[0].len(), 36);
        assert_eq!(&all[0][..15], "018bcfe5-6800-7");
        let back = ids.next(now - 1_000_000_000);
        assert!(back > all[9999], "the clock went back, the ids did not");
    }
}
