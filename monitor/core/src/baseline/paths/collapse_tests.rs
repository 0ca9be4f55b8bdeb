//! Tests of open sets, on entries as text.

use super::*;

fn open(access: Access, entries: &[(String, Days)], days: u32) -> Vec<String> {
    let entries = entries.iter().map(|(text, days)| (text.as_str(), *days));
    open_sets(access, entries, days)
        .into_iter()
        .map(String::from)
        .collect()
}

/// `count` names, `a day` new ones.
fn growing(count: u32, a_day: u32, pattern: &str) -> Vec<(String, Days)> {
    // Letters, so that only names grow and not numbers.
    let letters = |n: u32| {
        n.to_string()
            .bytes()
            .map(|b| char::from(b + 49))
            .collect::<String>()
    };
    let name = |n: u32| {
        pattern
            .replace('#', &letters(n))
            .replace('@', &n.to_string())
    };
    (0..count).map(|n| (name(n), Days::on(n / a_day))).collect()
}

#[test]
fn a_folder_that_keeps_growing_is_open_for_its_access_and_extension() {
    let entries = growing(9, 3, "/srv/in/report#.md");
    assert_eq!(open(Access::Read, &entries, 3), ["/srv/in/{any}.md"]);
    assert_eq!(open(Access::Read, &entries[..7], 3), [""; 0], "too few");
    let bare = growing(9, 3, "/srv/in/r#");
    assert_eq!(open(Access::Create, &bare, 3), ["/srv/in/{any}"]);
}

#[test]
fn what_was_there_at_once_is_not_growing() {
    let library = growing(40, 40, "/srv/lib/part-#.dat");
    assert_eq!(open(Access::Read, &library, 1), [""; 0]);
    assert_eq!(open(Access::Read, &library, 3), [""; 0]);
    let twice = growing(40, 20, "/srv/lib/part-#.dat");
    assert_eq!(open(Access::Read, &twice, 2), [""; 0]);
    let slow = growing(9, 1, "/srv/in/report#.md");
    assert_eq!(
        open(Access::Read, &slow, 19),
        [""; 0],
        "less than one in two days"
    );
}

#[test]
fn programs_hidden_and_guarded_names_never_become_open() {
    for pattern in [
        "/srv/plugins/#.py",
        "/srv/cache/#.so",
        "/srv/in/.hidden-#.md",
        "/etc/app/#.conf",
        "/srv/tls/#.pem",
        "/x#.md",
        "/srv/in/#.",
    ] {
        let entries = growing(30, 3, pattern);
        assert_eq!(open(Access::Read, &entries, 10), [""; 0], "{pattern}");
    }
    let shared = growing(30, 3, "/tmp/#x");
    assert_eq!(open(Access::Create, &shared, 10), [""; 0]);
    assert_eq!(open(Access::Remove, &shared, 10), [""; 0]);
}

#[test]
fn numbers_that_keep_coming_are_open_and_what_is_around_them_is_not() {
    let folders = growing(9, 3, "/srv/data/tenant-@/index");
    assert_eq!(
        open(Access::Read, &folders, 3),
        ["/srv/data/tenant-{n}/index"]
    );
    let logs = growing(12, 3, "/srv/log/a.log.@");
    assert_eq!(open(Access::Create, &logs, 3), ["/srv/log/a.log.{n}"]);
    for pattern in ["/srv/data/tenant-@/x.py", "/etc/x@", "/srv/.git/x@"] {
        let entries = growing(30, 3, pattern);
        assert_eq!(open(Access::Read, &entries, 10), [""; 0], "{pattern}");
    }
    let twice = growing(10, 5, "/srv/data/tenant-@/index");
    assert_eq!(open(Access::Read, &twice, 3).len(), 1);
    assert_eq!(open(Access::Read, &twice, 2), [""; 0], "too early");
    let at_once = growing(9, 9, "/srv/data/tenant-@/index");
    assert_eq!(open(Access::Read, &at_once, 3), [""; 0]);
}

#[test]
fn an_entry_belongs_to_one_set_of_names_and_to_one_of_numbers_for_each_component() {
    let sets = |text| sets_of(Access::Read, text);
    assert_eq!(
        sets("/srv/t-1/doc-{num}-2.md"),
        [
            "/srv/t-1/{any}.md",
            "/srv/t-{n}/doc-{num}-2.md",
            "/srv/t-1/doc-{num}-{n}.md"
        ]
    );
    assert_eq!(sets("/srv/a.tar.gz"), ["/srv/{any}.gz"]);
    assert_eq!(sets("/srv/{sha256}/name"), ["/srv/{sha256}/{any}"]);
    assert_eq!(sets("/srv/v1/x.py"), [""; 0]);
    assert_eq!(sets("/"), [""; 0]);
}
