//! Which paths below a directory are forbidden: all deny patterns followed side by side, one name
//! at a time.

use super::Patterns;
use crate::decide::pattern::Component;

/// The deny patterns that concern one kind of access.
#[derive(Debug)]
pub struct Denied<'a> {
    patterns: Vec<&'a [Component]>,
}

/// How far each pattern has come on the way to a path: pattern and component. What is forbidden is
/// forbidden with everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress(Vec<(u16, u16)>);

/// Where one more name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The path is forbidden, and everything below it.
    Denied,
    /// It is not; what is below it may be.
    Open(Progress),
}

impl<'a> Denied<'a> {
    /// The patterns that concern any of these permissions.
    pub fn new(patterns: &'a Patterns, permissions: u8) -> Self {
        Self {
            patterns: patterns
                .iter()
                .filter(|(_, about)| *about & permissions != 0)
                .map(|(components, _)| components.as_slice())
                .collect(),
        }
    }

    /// At the root directory.
    pub fn root(&self) -> Progress {
        let mut progress = Progress::default();
        for pattern in 0..self.patterns.len() {
            self.reach(pattern, 0, &mut progress);
        }
        progress
    }

    /// One name further.
    pub fn step(&self, progress: &Progress, name: &[u8]) -> Next {
        let mut next = Progress::default();
        for (pattern, at) in &progress.0 {
            let (pattern, at) = (usize::from(*pattern), usize::from(*at));
            let components = self.patterns[pattern];
            let to = match components.get(at) {
                Some(Component::Literal(literal)) if literal == name => at + 1,
                Some(Component::Star | Component::Class(_)) => at + 1,
                Some(Component::Rest) if at + 1 == components.len() => at + 1,
                Some(Component::Rest) => at,
                _ => continue,
            };
            if to == components.len() {
                return Next::Denied;
            }
            self.reach(pattern, to, &mut next);
        }
        Next::Open(next)
    }

    /// Along a whole path.
    pub fn walk(&self, path: &[u8]) -> Next {
        let mut progress = self.root();
        for name in crate::text::components(path) {
            match self.step(&progress, name) {
                Next::Open(next) => progress = next,
                Next::Denied => return Next::Denied,
            }
        }
        Next::Open(progress)
    }

    /// `**` that is not at the end also stands for nothing.
    fn reach(&self, pattern: usize, at: usize, progress: &mut Progress) {
        let components = self.patterns[pattern];
        let mut at = at;
        loop {
            // At most 65,536 patterns of 128 components.
            let entry = (pattern as u16, at as u16);
            if !progress.0.contains(&entry) {
                progress.0.push(entry);
            }
            if components.get(at) != Some(&Component::Rest) || at + 1 >= components.len() {
                return;
            }
            at += 1;
        }
    }
}

impl Progress {
    /// Nothing below can be forbidden.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::pattern::PathPattern;

    fn patterns(rules: &[&str]) -> Patterns {
        let parse = |rule: &&str| (PathPattern::parse(rule, 1).unwrap().components, 1);
        rules.iter().map(parse).collect()
    }

    #[test]
    fn what_is_forbidden_is_forbidden_with_what_is_below() {
        let rules = patterns(&["/a/*/c", "/**/.ssh/**", "/x"]);
        let denied = Denied::new(&rules, 1);
        for path in [
            "/a/b/c",
            "/a/b/c/d",
            "/.ssh/id",
            "/h/u/.ssh/id/x",
            "/x",
            "/x/y",
        ] {
            assert_eq!(denied.walk(path.as_bytes()), Next::Denied, "{path}");
        }
        for path in ["/", "/a", "/a/c", "/h/.ssh", "/y"] {
            assert_ne!(denied.walk(path.as_bytes()), Next::Denied, "{path}");
        }
    }

    #[test]
    fn it_knows_when_nothing_more_can_come() {
        let rules = patterns(&["/a/b"]);
        let denied = Denied::new(&rules, 1);
        let Next::Open(progress) = denied.walk(b"/a/c") else {
            panic!("not forbidden")
        };
        assert!(progress.is_over());
        assert!(Denied::new(&rules, 2).root().is_over());
    }
}
