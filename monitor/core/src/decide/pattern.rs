//! Path patterns: what a rule or a learned path says about files, taken apart into components.
//!
//! The text form is that of [`crate::text`]. A component is a name, `*` (any one component) or `**`
//! (any number of them; at the end: one or more, so that `/a/**` is everything strictly below
//! `/a`). A wildcard inside a component (`*.so`) cannot be had: the kernel compares whole names. A
//! component with a class in it (`req-{uuid}.json`) can, where something is allowed: the kernel takes
//! it for `*`, and what it lets through that is of another class is told ([`PathPattern::widened`]).

use std::fmt;

use monitor_common::limits::MAX_DEPTH;

use crate::{
    baseline::paths::token::{NameError, NamePattern},
    text,
};

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// Exactly this name.
    Literal(Vec<u8>),
    /// Any one name.
    Star,
    /// Any one name of a form; `*` to the kernel.
    Class(NamePattern),
    /// Any number of names; at the end of a pattern at least one.
    Rest,
}

/// Paths, and what may be done with them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern {
    /// From the root; none at all is the root directory itself.
    pub components: Vec<Component>,
    /// Bits of [`monitor_common::path::permission`].
    pub permissions: u8,
    /// Counts only for files in the `/proc` directory of a process other than the one that opens
    /// them; its wildcards do not match `self`.
    pub other_process: bool,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not absolute.
    #[error("must start with `/`")]
    Relative,
    /// `//`, or a `/` at the end.
    #[error("has an empty component: write one `/` between names and none at the end")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("`{0}` is no name: write the path that the file really has")]
    Dots(String),
    /// `*` next to other characters.
    #[error(
        "`{0}`: `*` stands for a whole component; write `*` alone, or `\\x2a` for an asterisk in a name"
    )]
    PartialWildcard(String),
    /// No file can be called that.
    #[error(
        "`{0}` cannot be a file's name: it is longer than 255 bytes or holds `/` or a zero byte"
    )]
    ImpossibleName(String),
    /// Deeper than the kernel looks.
    #[error("has more than {MAX_DEPTH} components")]
    TooDeep,
    /// Braces that are no class, or hold what no name can be.
    #[error(transparent)]
    Class(#[from] NameError),
    /// A class where something is forbidden.
    #[error(
        "`{0}` stands for a class of names, which can be allowed but not forbidden: the kernel \
         compares whole names; forbid the folder, or write `*`"
    )]
    Forbidden(String),
}

impl PathPattern {
    /// Reads the text form.
    pub fn parse(text: &str, permissions: u8) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::Relative)?;
        let components = if rest.is_empty() {
            vec![]
        } else {
            rest.split('/')
                .map(component)
                .collect::<Result<Vec<_>, _>>()?
        };
        if components.len() > MAX_DEPTH as usize {
            return Err(PatternError::TooDeep);
        }
        Ok(Self {
            components,
            permissions,
            other_process: false,
        })
    }

    /// What the kernel makes of it: `*` for every class. `None` if there is none, so that the kernel
    /// sees it as it is.
    pub fn widened(&self) -> Option<Self> {
        let wider = |component: &Component| match component {
            Component::Class(_) => Component::Star,
            component => component.clone(),
        };
        let is_class = |component: &Component| matches!(component, Component::Class(_));
        self.components.iter().any(is_class).then(|| Self {
            components: self.components.iter().map(wider).collect(),
            ..*self
        })
    }

    /// The same pattern, for files of other processes only.
    pub fn of_other_processes(mut self) -> Self {
        self.other_process = true;
        self
    }

    /// The pattern of everything strictly below what this one matches; `None` if it matches that
    /// already.
    pub fn everything_below(&self) -> Option<Self> {
        let mut below = self.clone();
        below.components.push(Component::Rest);
        (self.components.last() != Some(&Component::Rest)).then_some(below)
    }

    /// Whether a path, given as its components, matches. `other_process` is what the kernel says
    /// about the path. Takes time in proportion to pattern × path, whatever the wildcards.
    pub fn matches(&self, path: &[&[u8]], other_process: bool) -> bool {
        if self.other_process && !other_process {
            return false;
        }
        // alive[i]: the components before i can have matched what has been read so far.
        let end = self.components.len();
        let mut alive = vec![false; end + 1];
        alive[0] = true;
        self.skip_rests(&mut alive);
        for name in path {
            let mut next = vec![false; end + 1];
            for (i, component) in self
                .components
                .iter()
                .enumerate()
                .filter(|(i, _)| alive[*i])
            {
                match component {
                    Component::Literal(literal) => next[i + 1] |= literal == name,
                    Component::Star => next[i + 1] |= !(self.other_process && *name == b"self"),
                    Component::Class(form) => {
                        next[i + 1] |=
                            form.matches(name) && !(self.other_process && *name == b"self");
                    }
                    Component::Rest if i + 1 == end => {
                        next[i] = true;
                        next[end] = true;
                    }
                    Component::Rest => next[i] = true,
                }
            }
            self.skip_rests(&mut next);
            alive = next;
        }
        alive[end]
    }

    /// `**` that is not at the end also stands for nothing.
    fn skip_rests(&self, alive: &mut [bool]) {
        for i in 0..self.components.len() {
            if alive[i] && self.components[i] == Component::Rest && i + 1 < self.components.len() {
                alive[i + 1] = true;
            }
        }
    }

    /// Whether any component is a wildcard whose matches go on to further components.
    pub(super) fn has_inner_wildcard(&self) -> bool {
        let inner = self
            .components
            .split_last()
            .map_or(&[][..], |(_, inner)| inner);
        inner.iter().any(|c| !matches!(c, Component::Literal(_)))
    }
}

fn component(text: &str) -> Result<Component, PatternError> {
    match text {
        "" => return Err(PatternError::EmptyComponent),
        "*" => return Ok(Component::Star),
        "**" => return Ok(Component::Rest),
        "." | ".." => return Err(PatternError::Dots(text.into())),
        _ if text.contains('*') => return Err(PatternError::PartialWildcard(text.into())),
        _ => {}
    }
    // `\u{…}` is an escape and no class.
    if text.contains(['{', '}']) {
        let form: NamePattern = text.parse()?;
        if form.as_literal().is_none() {
            return Ok(Component::Class(form));
        }
    }
    let name = text::unescape(text);
    if name.is_empty() || name.len() > 255 || name.iter().any(|b| matches!(b, 0 | b'/')) {
        return Err(PatternError::ImpossibleName(text.into()));
    }
    if matches!(&name[..], b"." | b"..") {
        return Err(PatternError::Dots(text.into()));
    }
    Ok(Component::Literal(name))
}

impl fmt::Display for PathPattern {
    /// The text form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.components.is_empty() {
            return f.write_str("/");
        }
        self.components.iter().try_for_each(|c| match c {
            Component::Literal(name) => write!(f, "/{}", text::escape_component(name)),
            Component::Star => f.write_str("/*"),
            Component::Class(form) => write!(f, "/{form}"),
            Component::Rest => f.write_str("/**"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn matches(pattern: &str, path: &str, expected: bool) {
        let parts: Vec<&[u8]> = text::components(path.as_bytes()).collect();
        let pattern = PathPattern::parse(pattern, 1).unwrap();
        assert_eq!(pattern.matches(&parts, false), expected, "{pattern} {path}");
    }

    #[test]
    fn stars_stand_for_components() {
        matches("/a/*", "/a/b", true);
        matches("/a/*", "/a", false);
        matches("/a/*", "/a/b/c", false);
        matches("/a/**", "/a", false);
        matches("/a/**", "/a/b/c", true);
        matches("/**/.aws/credentials", "/.aws/credentials", true);
        matches("/**/.aws/credentials", "/home/x/.aws/credentials", true);
        matches("/a/**/b/**", "/a/b", false);
        matches("/a/**/b/**", "/a/x/b/b", true);
        matches("/", "/", true);
        matches("/**", "/", false);
    }

    #[test]
    fn a_literal_asterisk_matches_only_itself() {
        matches("/tmp/\\x2a", "/tmp/*", true);
        matches("/tmp/\\x2a", "/tmp/a", false);
        matches("/tmp/\\x2a\\x2a", "/tmp/**", true);
        matches("/tmp/\\x2a\\x2a", "/tmp/a", false);
    }

    #[test]
    fn a_pattern_for_other_processes_is_blind_to_self() {
        let p = PathPattern::parse("/proc/*/mem", 1)
            .unwrap()
            .of_other_processes();
        assert!(p.matches(&[b"proc", b"1", b"mem"], true));
        assert!(!p.matches(&[b"proc", b"1", b"mem"], false));
        assert!(!p.matches(&[b"proc", b"self", b"mem"], true));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let error = |text: &str| PathPattern::parse(text, 1).unwrap_err();
        assert_eq!(error("a/b"), PatternError::Relative);
        assert_eq!(error(""), PatternError::Relative);
        assert_eq!(error("/a//b"), PatternError::EmptyComponent);
        assert_eq!(error("/a/"), PatternError::EmptyComponent);
        assert_eq!(error("/a/../b"), PatternError::Dots("..".into()));
        assert_eq!(error("/a/\\x2e"), PatternError::Dots("\\x2e".into()));
        assert_eq!(
            error("/lib/*.so"),
            PatternError::PartialWildcard("*.so".into())
        );
        assert_eq!(error("/***"), PatternError::PartialWildcard("***".into()));
        assert_eq!(
            error("/a\\x2fb"),
            PatternError::ImpossibleName("a\\x2fb".into())
        );
        assert_eq!(
            error(&format!("/{}", "x".repeat(256))),
            PatternError::ImpossibleName("x".repeat(256))
        );
        assert_eq!(error(&"/x".repeat(129)), PatternError::TooDeep);
    }

    proptest! {
        #[test]
        fn parsing_takes_any_text(text in ".{0,40}") {
            let _ = PathPattern::parse(&text, 1);
        }
        #[test]
        fn the_text_form_comes_back(parts in proptest::collection::vec("(\\*|\\*\\*|[a-c*\\\\]{1,3})", 0..5), raw in any::<bool>()) {
            let components = parts.iter().map(|p| match p.as_str() {
                "*" if !raw => Component::Star,
                "**" if !raw => Component::Rest,
                name => Component::Literal(name.into()),
            }).collect();
            let pattern = PathPattern { components, permissions: 1, other_process: false };
            prop_assert_eq!(PathPattern::parse(&pattern.to_string(), 1), Ok(pattern));
        }
    }
}
