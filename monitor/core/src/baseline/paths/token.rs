//! Classes of names: what a file's name is made of once everything that changes with every file of
//! its kind is taken out, as `req-{uuid}.json`.
//!
//! A pure function of the name: equal names have equal forms on every host, so that baselines can
//! be joined by union. Knows one component; not the path, not what was seen.

use std::{fmt, str::FromStr};

use super::lexer::{self, Part};
use crate::text;

/// What a part of a name can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The number of another process, or of a thread: the whole component, in `/proc` only.
    Pid,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
    /// 64 hexadecimal digits.
    Sha256,
    /// 40 hexadecimal digits.
    Sha1,
    /// 32 hexadecimal digits.
    Md5,
    /// Any other number of hexadecimal digits, at least 12, not only digits.
    Hex,
    /// Two hexadecimal digits: a whole component, before a hash only.
    Hex2,
    /// A day, possibly with a time.
    Date,
    /// At least five digits.
    Num,
    /// The random part of a temporary file's name.
    Rand,
    /// One to four digits: learned from many, never from one.
    Counter,
    /// Any name with the same extension that does not begin with a dot: learned from many, never
    /// from one.
    Any,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::Pid,
        Self::Uuid,
        Self::Sha256,
        Self::Sha1,
        Self::Md5,
        Self::Hex,
        Self::Hex2,
        Self::Date,
        Self::Num,
        Self::Rand,
        Self::Counter,
        Self::Any,
    ];

    /// The word for it, as it stands between braces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Uuid => "uuid",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Hex => "hex",
            Self::Hex2 => "hex2",
            Self::Date => "date",
            Self::Num => "num",
            Self::Rand => "rand",
            Self::Counter => "n",
            Self::Any => "any",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    /// Names of the class, to try whether a pattern can match anything.
    fn samples(self) -> [&'static str; 2] {
        const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let one = |text| [text, text];
        match self {
            Self::Pid => one("1"),
            Self::Uuid => one("01234567-89ab-cdef-0123-456789abcdef"),
            Self::Sha256 => one(HEX),
            Self::Sha1 => one(HEX.split_at(40).0),
            Self::Md5 => one(HEX.split_at(32).0),
            // Not twelve: with something before it, that could be a uuid.
            Self::Hex => one("0123456789abc"),
            Self::Hex2 => one("0a"),
            Self::Date => one("2026-01-31"),
            Self::Num => one(NUMBER),
            Self::Rand => ["aB3dE9", "a1b2c3d4"],
            Self::Counter => one("7"),
            Self::Any => one("name"),
        }
    }
}

/// A sample of a number is so many of these digits.
const NUMBER: &str = "1234567890123456";

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Piece {
    /// Exactly these bytes.
    Literal(Vec<u8>),
    /// Something of this class.
    Class(Class),
}

/// Names of one form. Text form: literal parts escaped as in [`crate::text`], braces and asterisks
/// in them too, and classes in braces: `req-{uuid}.json`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamePattern {
    pieces: Vec<Piece>,
}

/// Why a text is not a pattern of names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No name can be empty.
    #[error("a name is empty")]
    Empty,
    /// `{…}` that is no class.
    #[error(
        "`{{{0}}}` is no class; there are {classes}, and a brace in a name is written `\\x7b`",
        classes = Class::ALL.map(Class::word).join(", ")
    )]
    Class(String),
    /// A brace that is not closed, or closed and not opened.
    #[error("`{0}` has a brace without its other half; a brace in a name is written `\\x7b`")]
    Brace(String),
    /// A wildcard.
    #[error("`{0}`: an asterisk in a name is written `\\x2a`")]
    Asterisk(String),
    /// No file can be called that.
    #[error("`{0}` cannot be a file's name")]
    Impossible(String),
    /// The classes cannot stand so: no name has that form.
    #[error("`{0}` matches no name: a class must be what the whole word there is")]
    NeverMatches(String),
}

impl NamePattern {
    /// The form of a name.
    pub fn of(name: &[u8]) -> Self {
        let mut pieces = vec![];
        lexer::lex(name, |part| {
            pieces.push(match part {
                Part::Literal(bytes) => Piece::Literal(bytes.to_vec()),
                Part::Class(class) => Piece::Class(class),
            });
        });
        Self { pieces }
    }

    /// Exactly this name.
    pub fn literal(name: &[u8]) -> Self {
        let pieces = vec![Piece::Literal(name.to_vec())];
        Self { pieces }
    }

    /// Its parts.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The name, if it is exactly one.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &self.pieces[..] {
            [Piece::Literal(name)] => Some(name),
            _ => None,
        }
    }

    /// Whether the first part is of a class that hashes are.
    pub(super) fn is_hash(&self) -> bool {
        matches!(
            self.pieces.first(),
            Some(Piece::Class(
                Class::Sha256 | Class::Sha1 | Class::Md5 | Class::Hex
            ))
        )
    }

    /// The literal extension that every name of the form has, with its dot; `None` where the form
    /// leaves it open.
    pub(super) fn extension(&self) -> Option<&[u8]> {
        match self.pieces.last() {
            Some(Piece::Literal(end)) if self.pieces.len() == 1 => Some(lexer::extension(end)),
            // What stands before the dot is in the pieces before.
            Some(Piece::Literal(end)) => match end.iter().rposition(|b| *b == b'.') {
                Some(at) => Some(&end[at..]),
                None => self.extension_before_end(),
            },
            _ => self.extension_before_end(),
        }
    }

    /// With the last part open, there is no extension if no dot stands anywhere.
    fn extension_before_end(&self) -> Option<&[u8]> {
        let open = self.pieces.iter().any(|piece| match piece {
            Piece::Literal(bytes) => bytes.contains(&b'.'),
            // A date or a time of day may be written with dots.
            Piece::Class(class) => *class == Class::Date,
        });
        (!open).then_some(b"")
    }

    /// The same with every number of one to four digits open; none where there is no such number.
    pub(super) fn with_counters(&self) -> Option<Self> {
        let mut pieces = vec![];
        let mut any = false;
        for piece in &self.pieces {
            let Piece::Literal(bytes) = piece else {
                pieces.push(piece.clone());
                continue;
            };
            for run in bytes.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
                if run[0].is_ascii_digit() && run.len() < lexer::DIGITS {
                    pieces.push(Piece::Class(Class::Counter));
                    any = true;
                } else if let Some(Piece::Literal(before)) = pieces.last_mut() {
                    before.extend_from_slice(run);
                } else {
                    pieces.push(Piece::Literal(run.to_vec()));
                }
            }
        }
        any.then_some(Self { pieces })
    }

    /// Whether a name is of this form.
    pub fn matches(&self, name: &[u8]) -> bool {
        if self.pieces.contains(&Piece::Class(Class::Counter)) {
            return Self::of(name).with_counters().as_ref() == Some(self);
        }
        match &self.pieces[..] {
            [Piece::Literal(literal)] => literal == name,
            [Piece::Class(Class::Pid)] => lexer::is_number(name),
            [Piece::Class(Class::Hex2)] => lexer::is_hex2(name),
            [Piece::Class(Class::Any)] => !name.is_empty() && !name.contains(&b'.'),
            [Piece::Class(Class::Any), Piece::Literal(extension)] => {
                !name.starts_with(b".") && lexer::extension(name) == extension
            }
            pieces => {
                let mut rest = pieces.iter();
                let mut same = true;
                lexer::lex(name, |part| {
                    same &= match (rest.next(), part) {
                        (Some(Piece::Literal(a)), Part::Literal(b)) => a == b,
                        (Some(Piece::Class(a)), Part::Class(b)) => *a == b,
                        _ => false,
                    };
                });
                same && rest.next().is_none()
            }
        }
    }

    /// A name of this form, as far as there is one: to ask about the form what is asked about names.
    pub(super) fn sample(&self) -> Vec<u8> {
        // What is behind a letter must not look like a hash or a random part with it.
        let lengths = (lexer::DIGITS..=NUMBER.len()).chain(1..lexer::DIGITS);
        let mut tries =
            lengths.flat_map(|digits| [0, 1].map(|which| self.with_samples(which, digits)));
        let found = tries.find(|name| self.matches(name));
        found.unwrap_or_else(|| self.with_samples(0, lexer::DIGITS))
    }

    fn with_samples(&self, which: usize, digits: usize) -> Vec<u8> {
        let mut name = vec![];
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => name.extend_from_slice(bytes),
                Piece::Class(Class::Num) => name.extend(NUMBER.bytes().take(digits)),
                Piece::Class(class) => name.extend(class.samples()[which].bytes()),
            }
        }
        name
    }
}

/// Writes the text form of the form of a name, without making the pattern. Returns whether any class
/// is in it.
pub(super) fn write_form(name: &[u8], out: &mut String) -> bool {
    let mut general = false;
    lexer::lex(name, |part| match part {
        Part::Literal(bytes) => write_literal(bytes, out),
        Part::Class(class) => {
            general = true;
            write_class(class, out);
        }
    });
    general
}

/// Writes the class in braces.
pub(in crate::baseline) fn write_class(class: Class, out: &mut String) {
    out.push('{');
    out.push_str(class.word());
    out.push('}');
}

/// Writes literal bytes, escaped, with braces and asterisks escaped as well.
pub(in crate::baseline) fn write_literal(bytes: &[u8], out: &mut String) {
    if bytes
        .iter()
        .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
    {
        // What is in almost every name; one of these bytes is one character.
        out.extend(bytes.iter().map(|b| char::from(*b)));
        return;
    }
    out.push_str(&text::escape_component(bytes));
}

impl fmt::Display for NamePattern {
    /// The text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => write_literal(bytes, &mut out),
                Piece::Class(class) => write_class(*class, &mut out),
            }
        }
        f.write_str(&out)
    }
}

impl FromStr for NamePattern {
    type Err = NameError;

    /// Reads the text form.
    fn from_str(whole: &str) -> Result<Self, NameError> {
        let mut pieces = vec![];
        let mut rest = whole;
        while !rest.is_empty() {
            let end = open_brace(rest).ok_or_else(|| NameError::Brace(whole.into()))?;
            if end > 0 {
                pieces.push(Piece::Literal(read_literal(&rest[..end], whole)?));
            }
            rest = &rest[end..];
            if let Some(behind) = rest.strip_prefix('{') {
                let (word, tail) = behind
                    .split_once('}')
                    .ok_or_else(|| NameError::Brace(whole.into()))?;
                let class = Class::from_word(word).ok_or_else(|| NameError::Class(word.into()))?;
                pieces.push(Piece::Class(class));
                rest = tail;
            }
        }
        let pattern = Self { pieces };
        match &pattern.pieces[..] {
            [] => Err(NameError::Empty),
            [Piece::Literal(name)] => match &name[..] {
                b"." | b".." => Err(NameError::Impossible(whole.into())),
                name if name.len() > 255 => Err(NameError::Impossible(whole.into())),
                _ => Ok(pattern),
            },
            _ if pattern.matches(&pattern.sample()) => Ok(pattern),
            _ => Err(NameError::NeverMatches(whole.into())),
        }
    }
}

/// Where the first brace that is not part of an escape stands, or the end; `None` if it closes.
fn open_brace(text: &str) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let tail = &text[at..];
        at += match tail.as_bytes() {
            [b'{', ..] => return Some(at),
            [b'}', ..] => return None,
            [b'\\', b'u', b'{', ..] => tail.find('}').map_or(tail.len(), |end| end + 1),
            [b'\\', b'\\', ..] => 2,
            _ => 1,
        };
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    Some(text.len())
}

fn read_literal(text: &str, whole: &str) -> Result<Vec<u8>, NameError> {
    if text.contains('*') {
        return Err(NameError::Asterisk(whole.into()));
    }
    let bytes = text::unescape(text);
    if bytes.iter().any(|b| matches!(b, 0 | b'/')) {
        return Err(NameError::Impossible(whole.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
