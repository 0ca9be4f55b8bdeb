//! Path patterns: read, written, compiled and walked as the kernel does; what is allowed is what the
//! definition of a match says, with `*` for every class.
//!
//! The first line is a path, the others are patterns; one that starts with `!` is about files below
//! `/proc/*` of other processes.

#![no_main]

use monitor_common::{
    hash::HashKey,
    path::permission::{EXEC, READ, WRITE},
};
use slmguard_core::{
    decide::{
        CompileError,
        automaton::{compile, walk},
        pattern::{Component, PathPattern},
    },
    text::components,
};
use slmguard_fuzz::is_harmless;

const KEY: HashKey = HashKey { k0: 3, k1: 5 };

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|b| *b == b'\n');
    let path: Vec<&[u8]> = components(lines.next().unwrap_or_default())
        .take(12)
        .collect();
    let mut patterns = vec![];
    for (line, permission) in lines.zip([READ, WRITE, EXEC, READ, WRITE, EXEC]) {
        let Ok(text) = std::str::from_utf8(line) else {
            continue;
        };
        let (text, others) = match text.strip_prefix('!') {
            Some(text) => (format!("/proc/*{text}"), true),
            None => (text.to_owned(), false),
        };
        match PathPattern::parse(&text, permission) {
            Ok(pattern) => {
                let written = pattern.to_string();
                is_harmless(&written);
                assert_eq!(
                    PathPattern::parse(&written, permission),
                    Ok(pattern.clone())
                );
                if pattern.components.len() <= 12 {
                    patterns.push(if others {
                        pattern.of_other_processes()
                    } else {
                        pattern
                    });
                }
            }
            Err(error) => drop(error.to_string()),
        }
    }
    // As the kernel gets them: never narrower, and `*` for every class.
    let kernel: Vec<PathPattern> = patterns
        .iter()
        .map(|pattern| pattern.widened().unwrap_or_else(|| pattern.clone()))
        .collect();
    let automaton = match compile(&kernel, KEY, 1, 4096) {
        Ok(automaton) => automaton,
        Err(CompileError::OtherProcessRest(_)) => return,
        Err(error) => return drop(error.to_string()),
    };
    for other_process in [false, true] {
        let defined = kernel
            .iter()
            .filter(|p| matches(p, &path, other_process))
            .fold(0, |bits, p| bits | p.permissions);
        for pattern in patterns.iter().chain(&kernel) {
            assert_eq!(
                pattern.matches(&path, other_process),
                matches(pattern, &path, other_process),
                "{pattern}"
            );
        }
        for (pattern, wider) in patterns.iter().zip(&kernel) {
            let narrow = pattern.matches(&path, other_process);
            assert!(!narrow || wider.matches(&path, other_process), "{pattern}");
        }
        let walked = walk(&automaton, KEY, &path, other_process);
        // The one liberty that the compiler takes, and says so: a state in which both kinds of
        // patterns end counts for both, although the file is nobody's.
        let nobodys =
            !other_process && matches!(&path[..], [b"proc", whose, ..] if *whose != b"self");
        if nobodys {
            assert_eq!(walked & defined, defined, "{path:?}");
        } else {
            assert_eq!(walked, defined, "{path:?} other: {other_process}");
        }
    }
});

/// The definition of a match, by trying everything.
fn matches(pattern: &PathPattern, path: &[&[u8]], other_process: bool) -> bool {
    fn from(pattern: &[Component], path: &[&[u8]], sees_self: bool) -> bool {
        match (pattern, path) {
            ([], _) => path.is_empty(),
            ([Component::Rest], _) => !path.is_empty(),
            ([Component::Rest, more @ ..], _) => {
                (0..=path.len()).any(|skip| from(more, &path[skip..], sees_self))
            }
            (_, []) => false,
            ([Component::Class(form), more @ ..], [name, rest @ ..]) => {
                (sees_self || *name != b"self") && form.matches(name) && from(more, rest, sees_self)
            }
            ([Component::Star, more @ ..], [name, rest @ ..]) => {
                (sees_self || *name != b"self") && from(more, rest, sees_self)
            }
            ([Component::Literal(literal), more @ ..], [name, rest @ ..]) => {
                literal == name && from(more, rest, sees_self)
            }
        }
    }
    (!pattern.other_process || other_process)
        && from(&pattern.components, path, !pattern.other_process)
}
