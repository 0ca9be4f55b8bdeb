//! The lexer: where in a file's name the parts are that change with every file of its kind.
//!
//! One pass from left to right over raw bytes, no tables and no back-tracking: every byte is looked
//! at a fixed number of times, whatever the name. Knows one name at a time; what only the rest of a
//! path can say (`/proc/{pid}`, `{hex2}` before a hash) is decided in [`super::pattern`].
//!
//! Numbers of fewer than five digits stay as they are. They count things that there are few of
//! (versions, shards, tenants, rotated logs), and which of them exist is worth knowing.

use super::token::Class;

/// A part of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// These bytes.
    Literal(&'a [u8]),
    /// Something of this class.
    Class(Class),
}

/// Digits from which on a number is a class.
pub(super) const DIGITS: usize = 5;
/// Hexadecimal digits from which on they are a class.
const HEX: usize = 12;

/// Hands the parts of a name over, from left to right; two literal parts never follow each other.
pub(super) fn lex<'a>(name: &'a [u8], mut emit: impl FnMut(Part<'a>)) {
    let (mut at, mut literal) = (0, 0);
    while at < name.len() {
        match class_at(name, at) {
            Some((class, length)) => {
                if literal < at {
                    emit(Part::Literal(&name[literal..at]));
                }
                emit(Part::Class(class));
                at += length;
                literal = at;
            }
            None => at = next_start(name, at),
        }
    }
    if literal < name.len() {
        emit(Part::Literal(&name[literal..]));
    }
}

/// Whether a name is two hexadecimal digits, as folders of content-addressed stores are called.
pub(super) fn is_hex2(name: &[u8]) -> bool {
    name.len() == 2 && hex_run(name, 0) == Some(2)
}

/// Whether a name is a number.
pub(super) fn is_number(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

/// What follows the last dot of a name, with the dot; nothing where nothing stands before it.
pub(super) fn extension(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 => &name[at..],
        _ => b"",
    }
}

/// The class that begins at a place, and its length in bytes.
fn class_at(name: &[u8], at: usize) -> Option<(Class, usize)> {
    let starts_word = at == 0 || !name[at - 1].is_ascii_alphanumeric();
    if starts_word {
        let found = uuid(name, at)
            .or_else(|| date(name, at))
            .or_else(|| hash(name, at));
        if found.is_some() {
            return found;
        }
    }
    random(name, at).or_else(|| number(name, at))
}

/// The next place at which a class can begin.
fn next_start(name: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while next < name.len() {
        let (before, here) = (name[next - 1], name[next]);
        let begins_word = !before.is_ascii_alphanumeric();
        let begins_number = here.is_ascii_digit() && !before.is_ascii_digit();
        if begins_word || begins_number || is_tmp(name, next) {
            break;
        }
        next += 1;
    }
    next
}

/// Whether a place is directly behind the `tmp` that a name begins with.
fn is_tmp(name: &[u8], at: usize) -> bool {
    (at == 3 && name.starts_with(b"tmp")) || (at == 4 && name.starts_with(b".tmp"))
}

/// Whether no word goes on at a place.
fn ends_word(name: &[u8], at: usize) -> bool {
    name.get(at).is_none_or(|b| !b.is_ascii_alphanumeric())
}

fn count(name: &[u8], at: usize, kind: impl Fn(&u8) -> bool) -> usize {
    name[at..].iter().take_while(|b| kind(b)).count()
}

/// Length of the word at a place if it is all hexadecimal and of one case.
fn hex_run(name: &[u8], at: usize) -> Option<usize> {
    let low = count(name, at, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let high = count(name, at, |b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let length = low.max(high);
    ends_word(name, at + length).then_some(length)
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562).
fn uuid(name: &[u8], at: usize) -> Option<(Class, usize)> {
    let text = name.get(at..at + 36)?;
    let fits = text.iter().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    (fits && ends_word(name, at + 36)).then_some((Class::Uuid, 36))
}

fn hash(name: &[u8], at: usize) -> Option<(Class, usize)> {
    let length = hex_run(name, at)?;
    let word = &name[at..at + length];
    let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    let class = match length {
        64 => Class::Sha256,
        40 => Class::Sha1,
        32 => Class::Md5,
        HEX.. if mixed => Class::Hex,
        _ => return None,
    };
    // Digits alone are a number, however many.
    word.iter()
        .any(u8::is_ascii_alphabetic)
        .then_some((class, length))
}

fn number(name: &[u8], at: usize) -> Option<(Class, usize)> {
    if at > 0 && name[at - 1].is_ascii_digit() {
        return None;
    }
    let length = count(name, at, u8::is_ascii_digit);
    // In the name of a semaphore every number is that of a process, and small in a container.
    let least = if name.starts_with(b"sem.") { 1 } else { DIGITS };
    (length >= least && ends_word(name, at + length)).then_some((Class::Num, length))
}

/// A day of 1970 to 2099 (`2026-01-31`, `2026_01_31`, `2026.01.31`, `20260131`), and the time of
/// day that stands behind a `T`.
fn date(name: &[u8], at: usize) -> Option<(Class, usize)> {
    let text = &name[at..];
    let separator = text.get(4)?;
    let (month, day, length) = match separator {
        b'-' | b'_' | b'.' if text.get(7) == Some(separator) => (5, 8, 10),
        b'0' | b'1' => (4, 6, 8),
        _ => return None,
    };
    let two = |from: usize| match text.get(from..from + 2) {
        Some(&[a @ b'0'..=b'9', b @ b'0'..=b'9']) => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    };
    let year = u32::from(two(0)?) * 100 + u32::from(two(2)?);
    let fits = (1970..2100).contains(&year)
        && (1..=12).contains(&two(month)?)
        && (1..=31).contains(&two(day)?);
    let length = length + time_of_day(text.get(length..).unwrap_or_default());
    (fits && ends_word(text, length)).then_some((Class::Date, length))
}

/// Bytes of `T120000Z`, `T12:00:00.123` and the like; 0 if there is none.
fn time_of_day(text: &[u8]) -> usize {
    if !matches!(text, [b'T', b'0'..=b'9', ..]) {
        return 0;
    }
    let mut length = 1;
    loop {
        length += count(text, length, u8::is_ascii_digit);
        match text.get(length..) {
            Some([b':' | b'-' | b'.', b'0'..=b'9', ..]) => length += 1,
            Some([b'Z', ..]) => return length + 1,
            _ => return length,
        }
    }
}

/// What makes names of temporary files unique: six letters and digits (`mkstemp`), eight small
/// letters, digits and `_` (Python), ten (`mktemp`).
///
/// A word can look the same, so the more the name itself says that it is temporary, the less the
/// letters have to: behind `tmp` and in the names of semaphores (`sem.`) almost anything will do;
/// elsewhere they must stand behind the last dot and change between kinds of characters at least
/// twice, as `sqlite3` does not.
fn random(name: &[u8], at: usize) -> Option<(Class, usize)> {
    let before = &name[..at];
    let small = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let found = |length: usize| Some((Class::Rand, length));
    if is_tmp(name, at) {
        // `tmpabcd1234`, `.tmpAb3dE9`: up to the end or an extension.
        let length = count(name, at, |b| b.is_ascii_alphanumeric() || *b == b'_');
        let word = &name[at..at + length];
        let ends = name.get(at + length).is_none_or(|b| *b == b'.');
        let fits = match length {
            8 => word.iter().all(small),
            6 => !word.contains(&b'_') && !word.iter().all(u8::is_ascii_lowercase),
            _ => false,
        };
        return if ends && fits { found(length) } else { None };
    }
    if !matches!(before.last(), Some(b'.' | b'-')) {
        return None;
    }
    let word = &name[at..];
    if word.len() > 10 {
        return None;
    }
    let letters = word.iter().all(u8::is_ascii_alphanumeric);
    let fits = if before.starts_with(b"sem.") {
        match word.len() {
            6 => letters && !word.iter().all(u8::is_ascii_lowercase),
            8 => word.iter().all(small),
            _ => false,
        }
    } else if before.last() == Some(&b'.') && at > 1 {
        match word.len() {
            6 => letters && changes(word) >= 2,
            8 => letters && word.iter().all(small) && changes(word) >= 2,
            10 => before == b"tmp." && letters && changes(word) >= 2,
            _ => false,
        }
    } else {
        false
    };
    if fits { found(word.len()) } else { None }
}

/// How often neighbours are of different kinds: small letters, capitals, digits.
fn changes(word: &[u8]) -> usize {
    let kind = |b: u8| (b.is_ascii_lowercase(), b.is_ascii_uppercase());
    word.windows(2).filter(|w| kind(w[0]) != kind(w[1])).count()
}
