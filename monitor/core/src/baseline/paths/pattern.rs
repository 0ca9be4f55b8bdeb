//! Patterns of whole paths, and the one form that every path has.
//!
//! Knows names, their classes and the guard; not what was seen.

use std::{fmt, str::FromStr};

use monitor_common::limits::MAX_DEPTH;

use super::{
    access::Access,
    guard::guarded,
    lexer,
    token::{self, Class, NameError, NamePattern},
};
use crate::decide::pattern::{Component, PathPattern};

/// Paths of one form: a pattern per component. Text form: `/`, and the components' text forms
/// between slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    components: Vec<NamePattern>,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not absolute.
    #[error("must start with `/`")]
    Relative,
    /// Deeper than the kernel looks.
    #[error("has more than {MAX_DEPTH} components")]
    TooDeep,
    /// A component is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Pattern {
    /// Its components, from the root.
    pub fn components(&self) -> &[NamePattern] {
        &self.components
    }

    /// Whether it stands for more than one path.
    pub fn is_general(&self) -> bool {
        self.components.iter().any(|c| c.as_literal().is_none())
    }

    /// The components of a path of this form, to ask about the form what is asked about paths.
    pub fn sample(&self) -> Vec<Vec<u8>> {
        self.components.iter().map(NamePattern::sample).collect()
    }

    /// Whether a path, given as its components, is of this form. The guard has no say here: see
    /// [`super::PathModel::knows`].
    pub fn matches(&self, path: &[&[u8]]) -> bool {
        let same = |(pattern, name): (&NamePattern, &&[u8])| pattern.matches(name);
        self.components.len() == path.len() && self.components.iter().zip(path).all(same)
    }
}

/// What the kernel can hold of a pattern: its automaton compares hashes of whole names, so that
/// every component that is not one name becomes `*`. How much wider that is, and what is done about
/// it, stands in [`super`].
pub fn kernel_pattern(pattern: &Pattern, access: Access) -> PathPattern {
    let component = |name: &NamePattern| match name.as_literal() {
        Some(name) => Component::Literal(name.to_vec()),
        None => Component::Star,
    };
    PathPattern {
        components: pattern.components.iter().map(component).collect(),
        permissions: access.permission(),
        other_process: false,
    }
}

impl fmt::Display for Pattern {
    /// The text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.components.is_empty() {
            return f.write_str("/");
        }
        self.components.iter().try_for_each(|c| write!(f, "/{c}"))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    /// Reads the text form.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::Relative)?;
        let components = if rest.is_empty() {
            vec![]
        } else {
            rest.split('/')
                .map(str::parse)
                .collect::<Result<Vec<_>, _>>()?
        };
        if components.len() > MAX_DEPTH as usize {
            return Err(PatternError::TooDeep);
        }
        Ok(Self { components })
    }
}

/// The one form of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Text form.
    pub text: String,
    /// Whether any class is in it.
    pub general: bool,
    /// Why nothing general may be learned here, if so.
    pub guard: Option<&'static str>,
}

/// The components of a path that can be learned: absolute, without `.`, `..` and zero bytes, and no
/// deeper than the kernel looks.
pub(super) fn whole(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path.first() != Some(&b'/') || path.contains(&0) {
        return None;
    }
    let parts: Vec<&[u8]> = crate::text::components(path).collect();
    let fits = parts.len() <= MAX_DEPTH as usize
        && parts
            .iter()
            .all(|name| !matches!(*name, b"." | b"..") && name.len() <= 255);
    fits.then_some(parts)
}

/// The form of a path, given as its components.
pub(super) fn form(access: Access, path: &[&[u8]]) -> Form {
    let guard = guarded(access, path);
    let mut text =
        String::with_capacity(16 + path.iter().map(|name| name.len() + 1).sum::<usize>());
    if path.is_empty() {
        text.push('/');
    }
    if guard.is_some() {
        for name in path {
            text.push('/');
            token::write_literal(name, &mut text);
        }
        return Form {
            text,
            general: false,
            guard,
        };
    }
    let pairs = hash_folders(path);
    let mut general = false;
    for (at, name) in path.iter().enumerate() {
        text.push('/');
        let class = if is_process(path, at) {
            Class::Pid
        } else if pairs.get(at) == Some(&true) {
            Class::Hex2
        } else {
            general |= token::write_form(name, &mut text);
            continue;
        };
        token::write_class(class, &mut text);
        general = true;
    }
    Form {
        text,
        general,
        guard,
    }
}

/// Whether a component is the number of another process or of a thread.
fn is_process(path: &[&[u8]], at: usize) -> bool {
    let number = || lexer::is_number(path[at]);
    match (at, path) {
        (1, [b"proc", ..]) => number(),
        (3, [b"proc", _, b"task", ..]) => number(),
        _ => false,
    }
}

/// Which components are two hexadecimal digits that the hash behind them begins with or is sorted
/// by; empty where no component is two digits.
fn hash_folders(path: &[&[u8]]) -> Vec<bool> {
    if !path.iter().any(|name| lexer::is_hex2(name)) {
        return vec![];
    }
    let mut pairs = vec![false; path.len()];
    for at in (0..path.len().saturating_sub(1)).rev() {
        pairs[at] =
            lexer::is_hex2(path[at]) && (pairs[at + 1] || NamePattern::of(path[at + 1]).is_hash());
    }
    pairs
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
