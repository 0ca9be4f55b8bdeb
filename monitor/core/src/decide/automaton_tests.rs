//! Tests of the automaton: the kernel's walk says what a plain matcher says, and sets of patterns
//! that explode are refused by name.

use monitor_common::path::permission::{EXEC, READ, WRITE};
use proptest::prelude::*;

use super::*;

const KEY: HashKey = HashKey { k0: 11, k1: 13 };
const PLENTY: usize = 1 << 16;

fn pattern(text: &str, permissions: u8) -> PathPattern {
    PathPattern::parse(text, permissions).unwrap()
}

fn build(patterns: &[PathPattern]) -> Automaton {
    compile(patterns, KEY, 100, PLENTY).unwrap()
}

fn allowed(automaton: &Automaton, path: &str, other_process: bool) -> u8 {
    let parts: Vec<&[u8]> = text::components(path.as_bytes()).collect();
    walk(automaton, KEY, &parts, other_process)
}

/// The definition of a match, by trying everything: independent of the compiler and of
/// [`PathPattern::matches`].
fn matches(pattern: &[Component], path: &[&[u8]], sees_self: bool) -> bool {
    match (pattern, path) {
        ([], _) => path.is_empty(),
        ([Component::Rest], _) => !path.is_empty(),
        ([Component::Rest, more @ ..], _) => {
            (0..=path.len()).any(|skip| matches(more, &path[skip..], sees_self))
        }
        (_, []) => false,
        ([Component::Star | Component::Class(_), more @ ..], [name, rest @ ..]) => {
            (sees_self || *name != b"self") && matches(more, rest, sees_self)
        }
        ([Component::Literal(literal), more @ ..], [name, rest @ ..]) => {
            literal == name && matches(more, rest, sees_self)
        }
    }
}

/// Permissions by definition.
fn reference(patterns: &[PathPattern], path: &[&[u8]], other_process: bool) -> u8 {
    patterns
        .iter()
        .filter(|p| !p.other_process || other_process)
        .filter(|p| matches(&p.components, path, !p.other_process))
        .fold(0, |bits, p| bits | p.permissions)
}

#[test]
fn each_path_has_the_permissions_of_every_pattern_that_matches() {
    let a = build(&[
        pattern("/srv/models/**", READ),
        pattern("/srv/models/tmp/*", WRITE),
        pattern("/usr/bin/date", EXEC),
        pattern("/", READ),
    ]);
    assert_eq!(allowed(&a, "/srv/models/a/b", false), READ);
    assert_eq!(allowed(&a, "/srv/models/tmp/a", false), READ | WRITE);
    assert_eq!(allowed(&a, "/srv/models", false), 0);
    assert_eq!(allowed(&a, "/usr/bin/date", false), EXEC);
    assert_eq!(allowed(&a, "/usr/bin/date/x", false), 0);
    assert_eq!(allowed(&a, "/", false), READ);
}

#[test]
fn no_patterns_make_a_dead_automaton() {
    let a = build(&[]);
    assert_eq!(a, Automaton::default());
    assert_eq!(allowed(&a, "/etc/passwd", false), 0);
}

#[test]
fn a_literal_star_is_no_wildcard() {
    let a = build(&[pattern("/tmp/\\x2a", READ)]);
    assert_eq!(allowed(&a, "/tmp/*", false), READ);
    assert_eq!(allowed(&a, "/tmp/a", false), 0);
}

#[test]
fn files_of_other_processes_count_only_for_others() {
    let a = build(&[pattern("/proc/*/mem", READ | WRITE).of_other_processes()]);
    assert_eq!(allowed(&a, "/proc/1/mem", true), READ | WRITE);
    assert_eq!(allowed(&a, "/proc/1/mem", false), 0);
    assert_eq!(allowed(&a, "/proc/self/mem", true), 0);
}

#[test]
fn an_ordinary_rule_for_self_does_not_borrow_from_the_one_for_others() {
    let a = build(&[
        pattern("/proc/*/mem", READ | WRITE).of_other_processes(),
        pattern("/proc/self/mem", READ),
        pattern("/proc/*/maps", READ),
    ]);
    assert_eq!(allowed(&a, "/proc/self/mem", false), READ);
    assert_eq!(allowed(&a, "/proc/9/mem", true), READ | WRITE);
    assert_eq!(allowed(&a, "/proc/self/maps", false), READ);
    assert_eq!(allowed(&a, "/proc/9/maps", true), READ);
}

#[test]
fn states_are_numbered_from_the_first_one_on() {
    let a = compile(
        &[pattern("/a/b", READ), pattern("/a/*/c", READ)],
        KEY,
        1000,
        PLENTY,
    )
    .unwrap();
    let mut numbers: Vec<u32> = a
        .transitions
        .iter()
        .map(|(_, to)| to.state)
        .chain([a.root.state])
        .collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers, (1000..1000 + a.states).collect::<Vec<_>>());
    assert!(matches!(
        compile(&[pattern("/a/b", READ)], KEY, u32::MAX, PLENTY),
        Err(CompileError::StatesExhausted(_))
    ));
}

#[test]
fn what_everything_below_may_do_needs_no_edges() {
    let a = build(&[
        pattern("/a/**", READ),
        pattern("/a/b/c/d", READ),
        pattern("/a/*/c", READ),
    ]);
    assert_eq!((a.states, a.transitions.len()), (2, 1));
}

/// k patterns of depth k with one literal on the diagonal: the textbook explosion.
fn diagonal(k: usize) -> Vec<PathPattern> {
    let line = |i| {
        (0..k)
            .map(|j| if i == j { "/x" } else { "/*" })
            .collect::<String>()
            + "/end"
    };
    (0..k).map(|i| pattern(&line(i), READ)).collect()
}

#[test]
fn a_set_that_explodes_is_refused_with_its_patterns_named() {
    let mut patterns = diagonal(16);
    patterns.push(pattern("/etc/hosts", READ));
    let error = compile(&patterns, KEY, 1, 5000).unwrap_err();
    let CompileError::Explosive { budget, offenders } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*budget, offenders.len()), (5000, 3));
    assert!(
        offenders
            .iter()
            .all(|o| o.starts_with('/') && o.contains('*')),
        "{offenders:?}"
    );
    assert!(error.to_string().contains(&offenders[0]));
    let stars = (0..12)
        .map(|i| pattern(&format!("/**/a{i}/**/b/**/c"), READ))
        .collect::<Vec<_>>();
    assert!(matches!(
        compile(&stars, KEY, 1, 2000),
        Err(CompileError::Explosive { .. })
    ));
}

#[test]
fn too_many_plain_paths_are_not_blamed_on_wildcards() {
    let patterns: Vec<_> = (0..100)
        .map(|i| pattern(&format!("/a/{i}"), READ))
        .collect();
    let error = compile(&patterns, KEY, 1, 50).unwrap_err();
    assert_eq!(
        error,
        CompileError::TooManyPaths {
            budget: 50,
            patterns: 100
        }
    );
}

#[test]
fn a_rest_has_no_place_in_a_pattern_for_other_processes() {
    let p = pattern("/proc/**", READ).of_other_processes();
    assert_eq!(
        compile(&[p], KEY, 1, 10),
        Err(CompileError::OtherProcessRest("/proc/**".into()))
    );
}

#[test]
fn ten_thousand_learned_paths_compile() {
    let patterns: Vec<_> = (0..10_000)
        .map(|i| {
            pattern(
                &format!("/usr/lib/python3/dist-packages/p{}/m{i}.py", i % 400),
                READ,
            )
        })
        .collect();
    let a = build(&patterns);
    assert_eq!(a.states as usize, 1 + 4 + 400 + 10_000);
    assert_eq!(
        allowed(&a, "/usr/lib/python3/dist-packages/p7/m7.py", false),
        READ
    );
    assert_eq!(
        allowed(&a, "/usr/lib/python3/dist-packages/p8/m7.py", false),
        0
    );
}

#[test]
fn a_path_that_is_too_deep_has_no_permissions() {
    let a = build(&[pattern("/**", READ)]);
    assert_eq!(allowed(&a, &"/x".repeat(128), false), READ);
    assert_eq!(allowed(&a, &"/x".repeat(129), false), 0);
}

/// Few names, so that patterns and paths meet often.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::sample::select(vec!["a", "b", "c", "proc", "self", "1", "*"]).prop_map(|s| s.into()),
        1 => proptest::collection::vec(1u8..=255, 1..255).prop_filter("a slash", |n| !n.contains(&b'/')),
    ]
}

fn part() -> impl Strategy<Value = Component> {
    prop_oneof![4 => name().prop_map(Component::Literal), 2 => Just(Component::Star), 1 => Just(Component::Rest)]
}

prop_compose! {
    fn ordinary()(components in proptest::collection::vec(part(), 0..6), permissions in 1u8..8) -> PathPattern {
        PathPattern { components, permissions, other_process: false }
    }
}

prop_compose! {
    fn of_others()(rest in proptest::collection::vec(prop_oneof![name().prop_map(Component::Literal), Just(Component::Star)], 1..3), permissions in 1u8..8) -> PathPattern {
        let components = [Component::Literal(b"proc".into()), Component::Star].into_iter().chain(rest).collect();
        PathPattern { components, permissions, other_process: true }
    }
}

/// A path and what the kernel says of it: `/proc/<n>` belongs to another process, because the
/// process's own arrives as `self`.
fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let free = proptest::collection::vec(name(), 0..7);
    let in_proc = proptest::collection::vec(name(), 1..4)
        .prop_map(|rest| [b"proc".to_vec()].into_iter().chain(rest).collect());
    prop_oneof![2 => free, 1 => in_proc]
}

fn belongs_to_another(path: &[&[u8]]) -> bool {
    matches!(path, [b"proc", process, ..] if *process != b"self")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_walk_says_what_the_patterns_say(
        ordinary in proptest::collection::vec(ordinary(), 0..8),
        others in proptest::collection::vec(of_others(), 0..3),
        paths in proptest::collection::vec(path(), 1..12),
    ) {
        let patterns: Vec<_> = ordinary.into_iter().chain(others).collect();
        let automaton = compile(&patterns, KEY, 1, PLENTY).unwrap();
        for path in &paths {
            let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            let other = belongs_to_another(&path);
            prop_assert_eq!(walk(&automaton, KEY, &path, other), reference(&patterns, &path, other), "{:?}", path);
        }
    }

    #[test]
    fn the_matcher_for_explanations_says_it_too(pattern in prop_oneof![ordinary(), of_others()], path in path(), other in any::<bool>()) {
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(pattern.matches(&path, other), reference(std::slice::from_ref(&pattern), &path, other) != 0);
    }

    #[test]
    fn equal_patterns_make_equal_automata_whatever_their_key(patterns in proptest::collection::vec(ordinary(), 0..6), k0 in any::<u64>()) {
        let one = compile(&patterns, KEY, 1, PLENTY).unwrap();
        prop_assert_eq!(&one, &compile(&patterns, KEY, 1, PLENTY).unwrap());
        let shape = |a: &Automaton| {
            let mut edges: Vec<_> = a.transitions.iter().map(|(key, to)| (key.state, *to)).collect();
            edges.sort();
            (a.root, a.states, edges)
        };
        prop_assert_eq!(shape(&one), shape(&compile(&patterns, HashKey { k0, k1: 1 }, 1, PLENTY).unwrap()));
    }

    #[test]
    fn no_budget_makes_it_panic(patterns in proptest::collection::vec(ordinary(), 0..8), budget in 0usize..40) {
        if let Ok(automaton) = compile(&patterns, KEY, 1, budget) {
            prop_assert!(automaton.transitions.len() <= budget);
        }
    }
}
