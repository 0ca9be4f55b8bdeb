//! Untrusted bytes made safe for text: the one place where paths, arguments and names are escaped,
//! and where paths are taken apart.
//!
//! **Text form of a path**, shared by subjects, rules, baselines and alerts: components separated by
//! `/`, each [`escape`]d; a component that is `*` stands for any one component, `**` for any number
//! of them; a word in braces stands for a class of names ([`crate::baseline::paths::token`]). An
//! asterisk or a brace that really is in a file's name is written `\\x2a`, `\\x7b`, `\\x7d`
//! ([`escape_component`]), so that no file can be called like a wildcard.

use std::{borrow::Cow, fmt::Write};

/// Escapes bytes so that they can stand in any line of text: printable characters stay as they
/// are; control characters, invalid UTF-8, bidirectional overrides, other invisible format
/// characters and the backslash itself become `\xNN` or `\u{N}`. Reversible with [`unescape`].
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if is_hostile(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", c as u32);
                }
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// Text that is as [`escape`] makes it: unchanged where it is so already, escaped as a whole where it
/// is not (a control character in it, or a backslash that begins no escape). Formats for other
/// systems begin with this, so that text that somebody forgot to escape does no harm there either;
/// the bytes come back with [`unescape`].
pub fn harmless(text: &str) -> Cow<'_, str> {
    let escaped = tokens(text).all(|token| match token.as_bytes() {
        [b'\\'] => false,
        [b'\\', ..] => true,
        _ => !token.chars().any(is_hostile),
    });
    if escaped {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(escape(text.as_bytes()))
    }
}

/// The smallest parts that escaped text can be cut into without changing what the rest says: a
/// character or a whole escape. A backslash that begins none stands alone.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            '\\' => escape_at(&rest[1..]).map_or(1, |(_, used)| used + 1),
            c => c.len_utf8(),
        };
        let (token, tail) = rest.split_at(length);
        rest = tail;
        Some(token)
    })
}

/// A number of bytes for people: `999 B`, `1.2 MB` (powers of ten).
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // Not 1000.0 of a unit: that is one of the next.
    while value >= 999.95
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" {
        format!("{number} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// The bytes that [`escape`] made this text of; text that it did not make comes back as it is.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let tail = &rest[at + 1..];
        // A backslash that begins no escape stands for itself.
        let (bytes, used) = escape_at(tail).unwrap_or((vec![b'\\'], 0));
        out.extend(bytes);
        rest = &tail[used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What the escape stands for that begins with a backslash right before this text, and how many bytes
/// of the text belong to it.
fn escape_at(tail: &str) -> Option<(Vec<u8>, usize)> {
    if tail.starts_with('\\') {
        return Some((vec![b'\\'], 1));
    }
    if let Some(digits) = tail.strip_prefix('x').and_then(|rest| rest.get(..2)) {
        return Some((vec![u8::from_str_radix(digits, 16).ok()?], 3));
    }
    let rest = tail.strip_prefix("u{")?;
    let end = rest.find('}')?;
    let c = char::from_u32(u32::from_str_radix(&rest[..end], 16).ok()?)?;
    Some((c.to_string().into_bytes(), end + 3))
}

/// [`escape`] for a component of a path: an asterisk becomes `\x2a` and braces `\x7b` and `\x7d`,
/// because bare ones are wildcards. Reversible with [`unescape`].
pub fn escape_component(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for part in name.chunk_by(|a, b| !is_wild(*a) && !is_wild(*b)) {
        match part {
            b"*" => out.push_str("\\x2a"),
            b"{" => out.push_str("\\x7b"),
            b"}" => out.push_str("\\x7d"),
            part => out.push_str(&escape(part)),
        }
    }
    out
}

/// Whether a byte means something in the text form of a path.
fn is_wild(byte: u8) -> bool {
    matches!(byte, b'*' | b'{' | b'}')
}

/// The components of a path, from the root; empty ones do not count.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty())
}

/// Characters that can forge, reorder or hide text.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c as u32,
            0x00ad | 0x034f | 0x061c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f
            | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// A word that a shell takes as it is: hostile file names must not become commands when somebody
/// copies the line that it stands in.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@[]%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_960, "1.0 MB"),
            (12_300_000, "12.3 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn hostile_text_is_made_visible() {
        assert_eq!(escape(b"/tmp/a\nb\x1b[31m"), "/tmp/a\\u{a}b\\u{1b}[31m");
        assert_eq!(escape(b"\xff\\"), "\\xff\\\\");
        assert_eq!(escape("\u{202e}gpj".as_bytes()), "\\u{202e}gpj");
        assert_eq!(escape("naïve 模型".as_bytes()), "naïve 模型");
    }

    #[test]
    fn an_asterisk_in_a_name_is_not_a_wildcard() {
        assert_eq!(escape_component(b"*"), "\\x2a");
        assert_eq!(unescape("a\\x2ab"), b"a*b");
    }

    proptest! {
        #[test]
        fn any_component_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape_component(&bytes);
            prop_assert!(!text.contains('*'));
            prop_assert_eq!(unescape(&text), bytes);
        }
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&escape(&bytes)), bytes);
        }
        #[test]
        fn escaped_text_has_no_hostile_character(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!escape(&bytes).chars().any(is_hostile));
        }
        #[test]
        fn any_text_is_made_harmless_and_comes_back(text in "(\\\\|\\PC|.|x41|u\\{a\\}){0,32}") {
            let safe = harmless(&text);
            prop_assert!(!safe.chars().any(is_hostile));
            prop_assert_eq!(&harmless(&safe), &safe);
            prop_assert_eq!(tokens(&safe).collect::<String>(), safe.as_ref());
            // Text that was changed was not escaped: it is what its bytes say.
            let meant = if safe == text { unescape(&text) } else { text.clone().into_bytes() };
            prop_assert_eq!(unescape(&safe), meant);
        }
        #[test]
        fn escaped_text_is_harmless_already(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert_eq!(harmless(&text), text.as_str());
            let text = escape_component(&bytes);
            prop_assert_eq!(harmless(&text), text.as_str());
        }
        #[test]
        fn unescape_takes_any_text(text in ".{0,64}") {
            let _ = unescape(&text);
        }
    }
}
