//! Tests of the model of paths: what is known after which days.

use proptest::prelude::*;

use super::*;

fn model(days: &[(u32, Access, &str)]) -> PathModel {
    let mut model = PathModel::default();
    for (day, access, path) in days {
        model.absorb(*access, path.as_bytes(), *day);
    }
    model
}

fn says<'a>(model: &'a PathModel, access: Access, path: &str) -> Known<'a> {
    model.knows(access, path.as_bytes())
}

#[test]
fn a_path_is_known_exactly_or_by_its_form() {
    let model = model(&[
        (0, Access::Read, "/srv/model.gguf"),
        (0, Access::Create, "/tmp/job-12345.json"),
        (0, Access::Read, "/proc/77/stat"),
    ]);
    assert_eq!(says(&model, Access::Read, "/srv/model.gguf"), Known::Exact);
    assert_eq!(
        says(&model, Access::Create, "/tmp/job-99999.json"),
        Known::Class("/tmp/job-{num}.json")
    );
    assert_eq!(
        says(&model, Access::Read, "/proc/9/stat"),
        Known::Class("/proc/{pid}/stat")
    );
    for (access, path) in [
        (Access::Read, "/tmp/job-99999.json"),
        (Access::Create, "/tmp/job-99999.sh"),
        (Access::Create, "/tmp/job-9.json"),
        (Access::Create, "/srv/../tmp/job-99999.json"),
        (Access::Create, "tmp/job-99999.json"),
    ] {
        assert!(!says(&model, access, path).is_known(), "{path}");
    }
    assert_eq!(
        model.nearest(Access::Create, b"/tmp/job-1.json"),
        ["/tmp/job-{num}.json"]
    );
}

#[test]
fn under_the_guard_only_the_very_path_is_known() {
    let model = model(&[(0, Access::Read, "/srv/.ssh/key-12345")]);
    assert_eq!(
        says(&model, Access::Read, "/srv/.ssh/key-12345"),
        Known::Exact
    );
    assert_eq!(
        says(&model, Access::Read, "/srv/.ssh/key-54321"),
        Known::Unknown {
            guard: Some("SSH keys")
        }
    );
}

#[test]
fn a_growing_folder_is_known_with_new_names_and_not_with_guarded_ones() {
    let mut model = PathModel::default();
    for n in 0..12u32 {
        let path = format!("/srv/in/report-{}.db", char::from(b'a' + n as u8));
        model.absorb(Access::Read, path.as_bytes(), n / 3);
    }
    assert_eq!(
        says(&model, Access::Read, "/srv/in/report-a.db"),
        Known::Exact
    );
    assert_eq!(
        says(&model, Access::Read, "/srv/in/new.db"),
        Known::Collapsed("/srv/in/{any}.db")
    );
    for (access, path) in [
        (Access::Create, "/srv/in/new.db"),
        (Access::Read, "/srv/in/secrets.db"),
        (Access::Read, "/srv/in/.new.db"),
        (Access::Read, "/srv/in/sub/new.db"),
        (Access::Read, "/srv/in/new.py"),
    ] {
        assert!(!says(&model, access, path).is_known(), "{path}");
    }
    assert_eq!(model.patterns(), [(Access::Read, "/srv/in/{any}.db")]);
    assert_eq!(model.len(), 12);
}

#[test]
fn numbered_customers_that_keep_coming_are_known_and_others_are_not() {
    let mut model = PathModel::default();
    for n in 0..12u32 {
        let path = format!("/srv/data/tenant-{n:03}/doc-12345.md");
        model.absorb(Access::Read, path.as_bytes(), n / 3);
    }
    assert_eq!(
        says(&model, Access::Read, "/srv/data/tenant-777/doc-54321.md"),
        Known::Collapsed("/srv/data/tenant-{n}/doc-{num}.md")
    );
    for path in [
        "/srv/data/tenant-evil/doc-54321.md",
        "/srv/data/tenant-777/doc-54321.db",
        "/srv/data/tenant-003/.git/config",
        "/srv/data/tenant-003/secret-54321.md",
    ] {
        assert!(!says(&model, Access::Read, path).is_known(), "{path}");
    }
    assert_eq!(model.patterns().len(), 1);
}

#[test]
fn a_full_model_stops_learning_says_so_and_still_knows() {
    let mut model = PathModel::default();
    for n in 0..20_000u32 {
        let path = format!("/srv/{}-{n}x/f", "a".repeat(100));
        model.absorb(Access::Read, path.as_bytes(), 0);
    }
    assert!(model.bytes() <= MAX_BYTES && model.refused() > 0);
    let first = format!("/srv/{}-0x/f", "a".repeat(100));
    assert_eq!(says(&model, Access::Read, &first), Known::Exact);
    model.expire(1);
    assert_eq!((model.len(), model.bytes()), (0, 0));
}

#[test]
fn entries_come_back_and_forged_ones_do_not() {
    let mut model = PathModel::default();
    let error = |model: &mut PathModel, access, text: &str| {
        model.restore(access, text, Days::on(1)).unwrap_err()
    };
    assert!(matches!(
        error(&mut model, Access::Read, "/etc/{num}"),
        EntryError::Guarded(..)
    ));
    assert!(matches!(
        error(&mut model, Access::Execute, "/srv/{uuid}"),
        EntryError::Guarded(..)
    ));
    for form in [
        "/srv/{any}.md",
        "/srv/x-12345",
        "/srv/{pid}/x",
        "/srv/{hex2}/x",
    ] {
        assert!(
            matches!(error(&mut model, Access::Read, form), EntryError::Form(_)),
            "{form}"
        );
    }
    assert!(matches!(
        error(&mut model, Access::Read, "x"),
        EntryError::Pattern(..)
    ));
    assert_eq!(
        model.restore(Access::Read, "/srv/x-{num}", Days::on(1)),
        Ok(true)
    );
}

#[test]
fn what_the_wildcard_of_the_kernel_covers_too_is_denied_by_name() {
    let pattern: Pattern = "/srv/{uuid}/doc-{num}.md".parse().unwrap();
    let kernel = kernel_pattern(&pattern, Access::Read);
    let texts: Vec<String> = kernel_exceptions(&kernel)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(texts.contains(&"/srv/*/.env".into()) && texts.contains(&"/srv/.ssh/*".into()));
    for exception in kernel_exceptions(&kernel) {
        let parsed: Pattern = exception.to_string().replace('*', "x").parse().unwrap();
        let path = parsed.sample();
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        assert!(kernel.matches(&path, false) && guard::guarded(Access::Read, &path).is_some());
    }
}

/// Paths that hit classes and the guard.
pub(super) fn paths() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("proc"),
        Just("self"),
        Just("task"),
        Just("1234"),
        Just("99999"),
        Just("24"),
        Just("24a41fed5b724685c806fe8e2de26283956e3e6d"),
        Just("tmp"),
        Just("sem.Ab3dE9"),
        Just("etc"),
        Just(".ssh"),
        Just("data"),
        Just("a{num}"),
        Just("x*"),
        Just("doc-12345.md"),
        Just("n\u{ef}\u{202e}"),
        Just("stat"),
        Just("\\u12345"),
    ];
    proptest::collection::vec(part, 0..6)
        .prop_map(|parts| format!("/{}", parts.join("/")).into_bytes())
}

/// What a day may bring: few folders and names, so that sets grow and meet.
fn happenings() -> impl Strategy<Value = Vec<(u32, Access, String)>> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Create)];
    let path = prop_oneof![
        (0u32..40).prop_map(|n| format!("/srv/in/r{n}.md")),
        (0u32..40).prop_map(|n| format!("/srv/out/t{n}/r")),
        (0u32..40).prop_map(|n| format!("/srv/names/{}.md", "x".repeat(n as usize + 1))),
        (0u32..4).prop_map(|n| format!("/etc/r{n}")),
        (10_000u32..10_004).prop_map(|n| format!("/srv/x-{n}.py")),
    ];
    proptest::collection::vec((0u32..6, access, path), 0..80)
}

fn of(happenings: &[(u32, Access, String)]) -> PathModel {
    let all: Vec<_> = happenings
        .iter()
        .map(|(d, a, p)| (*d, *a, p.as_str()))
        .collect();
    model(&all)
}

proptest! {
    #[test]
    fn the_order_and_the_host_do_not_matter(all in happenings(), turn in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let whole = of(&all);
        let mut turned = all.clone();
        if !turned.is_empty() {
            let by = turn.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        let other = of(&turned);
        prop_assert_eq!(&whole, &other);
        prop_assert_eq!(whole.patterns(), other.patterns());
        let (a, b) = all.split_at(if all.is_empty() { 0 } else { cut.index(all.len()) });
        for (first, second) in [(a, b), (b, a)] {
            let mut joined = of(first);
            // A question in between must not change what comes out.
            let _ = joined.patterns();
            joined.merge(&of(second));
            prop_assert_eq!(&joined, &whole);
            prop_assert_eq!(joined.patterns(), whole.patterns());
            prop_assert_eq!(joined.bytes(), whole.bytes());
        }
        let mut again = PathModel::default();
        for (access, text, days) in whole.entries() {
            prop_assert_eq!(again.restore(access, text, days), Ok(true));
        }
        prop_assert_eq!(again, whole);
    }

    #[test]
    fn what_was_absorbed_is_known(all in happenings()) {
        let model = of(&all);
        for (_, access, path) in &all {
            prop_assert!(model.knows(*access, path.as_bytes()).is_known());
        }
    }

    #[test]
    fn nothing_general_is_known_under_the_guard(all in happenings(), path in paths()) {
        let mut model = of(&all);
        model.absorb(Access::Read, &path, 1);
        let parts: Vec<&[u8]> = crate::text::components(&path).collect();
        let mut other = parts.clone();
        if let Some(last) = other.last_mut()
            && guard::guarded(Access::Read, &parts).is_some()
        {
            *last = b"doc-54321.md";
            let other = [b"/".as_slice(), &other.join(&b'/')].concat();
            let same = other == path;
            let guarded = guard::guarded(Access::Read, &crate::text::components(&other).collect::<Vec<_>>());
            prop_assert!(same || guarded.is_none() || !model.knows(Access::Read, &other).is_known());
        }
    }

    #[test]
    fn any_bytes_can_be_learned(path in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut model = PathModel::default();
        let path = [b"/".as_slice(), &path].concat();
        if model.absorb(Access::Read, &path, 0) {
            prop_assert!(model.knows(Access::Read, &path).is_known());
            let entries: Vec<_> = model.entries().collect();
            prop_assert!(PathModel::default().restore(entries[0].0, entries[0].1, entries[0].2).is_ok());
        }
    }
}
