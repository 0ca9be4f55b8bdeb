//! SQLite's write-ahead log, looked at before SQLite does: it silently ends the log at the first
//! frame that does not add up, and everything committed behind it would be gone.
//!
//! Format: <https://sqlite.org/fileformat2.html#the_write_ahead_log>. Pure: bytes in, a finding out.

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// How a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Every frame adds up, or there is none.
    Whole,
    /// The last commit is incomplete: power went while it was written, and it never counted as done.
    CutShort,
    /// Commits that counted as done are behind something that does not add up.
    Damaged,
}

/// Looks at a log.
pub fn examine(log: &[u8]) -> Finding {
    if log.len() <= HEADER {
        return Finding::Whole;
    }
    let Some(mut sum) = Sum::start(log) else {
        return Finding::Damaged;
    };
    let page = match word(log, 8, true) as usize {
        1 => 65_536,
        size => size,
    };
    if !(512..=65_536).contains(&page) || !page.is_power_of_two() {
        return Finding::Damaged;
    }
    let frames = log[HEADER..].chunks(FRAME_HEADER + page);
    // Frames of an earlier round of the log carry other salts.
    let mut frames = frames.take_while(|f| f.len() >= 16 && f[8..16] == log[16..24]);
    let good = frames.by_ref().find(|frame| {
        frame.len() < FRAME_HEADER + page || {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            !sum.is_at(frame, 16)
        }
    });
    let Some(bad) = good else {
        return Finding::Whole;
    };
    // Each commit is on disk before the next begins: only the last one can have been under way.
    let commits = std::iter::once(bad).chain(frames);
    match commits.filter(|frame| word(frame, 4, true) != 0).count() {
        0 | 1 => Finding::CutShort,
        _ => Finding::Damaged,
    }
}

/// The running checksum over header and frames.
struct Sum {
    words: (u32, u32),
    big_endian: bool,
}

impl Sum {
    /// That of the header, if it is one.
    fn start(log: &[u8]) -> Option<Self> {
        let magic = word(log, 0, true);
        if magic & !1 != 0x377f_0682 {
            return None;
        }
        let mut sum = Self {
            words: (0, 0),
            big_endian: magic & 1 == 1,
        };
        sum.add(&log[..24]);
        sum.is_at(log, 24).then_some(sum)
    }

    fn add(&mut self, bytes: &[u8]) {
        let (mut a, mut b) = self.words;
        for pair in bytes.chunks_exact(8) {
            a = a
                .wrapping_add(word(pair, 0, self.big_endian))
                .wrapping_add(b);
            b = b
                .wrapping_add(word(pair, 4, self.big_endian))
                .wrapping_add(a);
        }
        self.words = (a, b);
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        self.words == (word(bytes, at, true), word(bytes, at + 4, true))
    }
}

/// Four bytes; zero behind the end.
fn word(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    let four: [u8; 4] = four.unwrap_or_default();
    if big_endian {
        u32::from_be_bytes(four)
    } else {
        u32::from_le_bytes(four)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of several commits, written by SQLite itself.
    fn log() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .unwrap();
        connection.execute("CREATE TABLE t (x)", []).unwrap();
        for _ in 0..5 {
            connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        }
        std::fs::read(dir.path().join("a.db-wal")).unwrap()
    }

    #[test]
    fn a_log_as_sqlite_writes_it_is_whole() {
        assert_eq!(examine(&log()), Finding::Whole);
        assert_eq!(examine(b""), Finding::Whole);
        assert_eq!(examine(&log()[..HEADER]), Finding::Whole);
    }

    #[test]
    fn a_last_commit_that_was_cut_short_is_told_from_damage() {
        let whole = log();
        assert_eq!(examine(&whole[..whole.len() - 100]), Finding::CutShort);
        let last = whole.len() - 1;
        for (at, finding) in [
            (last, Finding::CutShort),
            (HEADER + FRAME_HEADER + 7, Finding::Damaged),
            (HEADER + 17, Finding::Damaged),
            (0, Finding::Damaged),
            (9, Finding::Damaged),
            (17, Finding::Damaged),
        ] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            assert_eq!(examine(&damaged), finding, "byte {at}");
        }
    }

    #[test]
    fn any_bytes_are_taken() {
        let whole = log();
        for cut in 0..whole.len().min(300) {
            examine(&whole[..cut]);
            examine(&whole[cut..]);
        }
    }
}
