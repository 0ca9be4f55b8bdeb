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
    let name = |n: u32| pattern.replace('#', &n.to_string());
    (0..count).map(|n| (name(n), Days::on(n / a_day))).collect()
}

#[test]
fn a_folder_that_keeps_growing_is_open_for_its_access_and_extension() {
    let entries = growing(9, 3, "/srv/in/report-#.md");
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
    let slow = growing(9, 1, "/srv/in/report-#.md");
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
fn a_name_belongs_to_the_set_that_its_form_is_counted_in() {
    for (text, name) in [
        ("/srv/in/doc-{num}-a.md", "doc-12345-a.md"),
        ("/srv/in/report.tar.gz", "report.tar.gz"),
        ("/srv/in/name", "name"),
    ] {
        let counted = set_of(Access::Read, text);
        assert!(counted.is_some());
        assert_eq!(counted, set_of_name(Access::Read, text, name.as_bytes()));
    }
}
