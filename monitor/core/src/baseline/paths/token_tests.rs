//! Tests of classes and of the text form of names.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn form(name: &str, expected: &str) {
    let pattern = NamePattern::of(name.as_bytes());
    assert_eq!(pattern.to_string(), expected);
    assert!(pattern.matches(name.as_bytes()));
    assert_eq!(expected.parse(), Ok(pattern));
}

const UUID: &str = "c2a7af9e-ab79-b005-6dd1-77d2c700d84c";
const HEX: &str = "24a41fed5b724685c806fe8e2de26283956e3e6dfe41278330a8ed5781ddc80d";

#[test]
fn what_changes_with_every_file_becomes_a_class() {
    form(&format!("req-{UUID}.json"), "req-{uuid}.json");
    form(HEX, "{sha256}");
    form(&format!("sha256-{HEX}"), "sha256-{sha256}");
    form(&HEX[..40], "{sha1}");
    form(&format!("{}.lock", &HEX[..32]), "{md5}.lock");
    form(&HEX[..20], "{hex}");
    form(&HEX[..12].to_uppercase(), "{hex}");
    form("server-2026-01-31.log", "server-{date}.log");
    form("20260131T235959Z.tar.gz", "{date}.tar.gz");
    form("2026-01-31T23:59:59.125.log", "{date}.log");
    form("20260131", "{date}");
    form("doc-98702.md", "doc-{num}.md");
    form("worker12345", "worker{num}");
    form(
        "model-00001-of-00002.safetensors",
        "model-{num}-of-{num}.safetensors",
    );
    form("sem.ARoMW9", "sem.{rand}");
    form("sem.joblib-23065-_2ltmxgd", "sem.joblib-{num}-{rand}");
    form("sem.joblib-17-cfucbcdu", "sem.joblib-{num}-{rand}");
    form("tmpab_d12ef.json", "tmp{rand}.json");
    form(".tmpAb3dE9", ".tmp{rand}");
    form("tmp.aB3dE9wXyZ", "tmp.{rand}");
    form("config.json.Ab3dE9", "config.json.{rand}");
}

#[test]
fn words_versions_and_small_numbers_stay() {
    for name in [
        "libc.so.6",
        "python3.11",
        "tenant-003",
        "doc-5.md",
        "ld.so.preload",
        "app.config",
        "x.sqlite3",
        "a.tar.bz2",
        "model.Q4_K_M.gguf",
        "cpython-311-x86_64-linux-gnu",
        "deadbeef",
        "template.html",
        "tmpfiles.d",
        "sem.worker",
        ".bashrc",
        "2026-13-01",
        "1-2-3-4",
        "README",
        "a",
        "",
    ] {
        let pattern = NamePattern::of(name.as_bytes());
        assert!(
            pattern
                .pieces()
                .iter()
                .all(|p| matches!(p, Piece::Literal(_))),
            "{name} became {pattern}"
        );
    }
}

#[test]
fn a_form_does_not_match_other_forms() {
    let pattern = NamePattern::of(b"doc-98702.md");
    for other in [
        "doc-1.md",
        "doc-98702.sh",
        "doc-98702.md.sh",
        "doc-9870x.md",
        "doc-.md",
        "",
    ] {
        assert!(!pattern.matches(other.as_bytes()), "{other}");
    }
    let any: NamePattern = "{any}.md".parse().unwrap();
    assert!(any.matches(b"x.md") && any.matches(b"a.b.md"));
    assert!(!any.matches(b".md") && !any.matches(b".x.md") && !any.matches(b"x.mdx"));
    let bare: NamePattern = "{any}".parse().unwrap();
    assert!(bare.matches(b"x") && !bare.matches(b"x.md") && !bare.matches(b".x"));
}

#[test]
fn braces_and_asterisks_in_names_are_no_classes() {
    form("{uuid}.json", "\\x7buuid\\x7d.json");
    form("*", "\\x2a");
    form("\\{", "\\\\\\x7b");
    form("\\u\u{202e}", "\\\\u\\u{202e}");
    form("\\u12345", "\\\\u{num}");
}

#[test]
fn what_is_no_pattern_says_why() {
    let error = |text: &str| text.parse::<NamePattern>().unwrap_err();
    assert_eq!(error(""), NameError::Empty);
    assert_eq!(error("{foo}"), NameError::Class("foo".into()));
    assert_eq!(error("{num"), NameError::Brace("{num".into()));
    assert_eq!(error("num}"), NameError::Brace("num}".into()));
    assert_eq!(error("*.md"), NameError::Asterisk("*.md".into()));
    assert_eq!(error(".."), NameError::Impossible("..".into()));
    assert_eq!(error("a\\x2fb"), NameError::Impossible("a\\x2fb".into()));
    for never in [
        "{num}{num}",
        "a{uuid}",
        "{any}.tar.gz",
        "a{any}",
        "{pid}x",
        "{num}abc",
        "x{hex2}",
    ] {
        assert_eq!(
            error(never),
            NameError::NeverMatches(never.into()),
            "{never}"
        );
    }
    assert!(error("{foo}").to_string().contains("uuid, sha256"));
}

#[test]
fn extensions_are_those_that_every_name_of_the_form_has() {
    let of = |name: &str| {
        let pattern = NamePattern::of(name.as_bytes());
        pattern
            .extension()
            .map(|e| String::from_utf8_lossy(e).into_owned())
    };
    assert_eq!(of("a.tar.gz").as_deref(), Some(".gz"));
    assert_eq!(of(&format!("req-{UUID}.json")).as_deref(), Some(".json"));
    assert_eq!(of("doc-12345").as_deref(), Some(""));
    assert_eq!(of("README").as_deref(), Some(""));
    assert_eq!(of(".bashrc").as_deref(), Some(""));
    assert_eq!(of("a.log.12345"), None);
}

#[test]
fn counters_are_opened_on_demand_only() {
    let open = |name: &str| NamePattern::of(name.as_bytes()).with_counters();
    let pattern = open("tenant-003").unwrap();
    assert_eq!(pattern.to_string(), "tenant-{n}");
    assert_eq!("tenant-{n}".parse(), Ok(pattern.clone()));
    assert!(pattern.matches(b"tenant-7") && pattern.matches(b"tenant-1234"));
    assert!(!pattern.matches(b"tenant-12345") && !pattern.matches(b"tenant-evil"));
    assert_eq!(open("v2-12345.md").unwrap().to_string(), "v{n}-{num}.md");
    assert_eq!(open("name"), None);
}

/// Names that are likely to hit classes.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[0-9a-f]{1,66}",
        "[0-9]{1,12}",
        "[a-zA-Z0-9_]{1,10}",
        Just(UUID.to_owned()),
        Just("2026-01-31".to_owned()),
        Just("20260131T1".to_owned()),
        Just("tmp".to_owned()),
        Just("sem.".to_owned()),
        "[.\\-_{}*\\\\]{1,2}",
        "\\PC{0,3}",
    ];
    let raw = proptest::collection::vec(any::<u8>(), 0..3);
    proptest::collection::vec((piece, raw), 0..5).prop_map(|parts| {
        let join = |(text, raw): (String, Vec<u8>)| [text.into_bytes(), raw].concat();
        let name: Vec<u8> = parts.into_iter().flat_map(join).collect();
        name.into_iter()
            .filter(|b| !matches!(b, 0 | b'/'))
            .take(255)
            .collect()
    })
}

proptest! {
    #[test]
    fn every_name_has_its_form_and_the_text_comes_back(name in names()) {
        let pattern = NamePattern::of(&name);
        prop_assert!(pattern.matches(&name));
        let mut text = String::new();
        let general = write_form(&name, &mut text);
        prop_assert_eq!(&text, &pattern.to_string());
        prop_assert_eq!(general, !name.is_empty() && pattern.as_literal().is_none());
        prop_assert!(!text.chars().any(text::is_hostile));
        if !name.is_empty() && !matches!(&name[..], b"." | b"..") {
            prop_assert_eq!(text.parse(), Ok(pattern));
        }
    }

    #[test]
    fn a_form_matches_exactly_the_names_that_have_it(a in names(), b in names()) {
        let (of_a, of_b) = (NamePattern::of(&a), NamePattern::of(&b));
        if of_a.as_literal().is_none() {
            prop_assert_eq!(of_a.matches(&b), of_a == of_b);
        }
    }

    #[test]
    fn reading_takes_any_text(text in "[{}\\\\a-u0-9.*x]{0,30}|\\PC{0,30}") {
        if let Ok(pattern) = text.parse::<NamePattern>() {
            prop_assert!(pattern.matches(&pattern.sample()));
            prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
    }
}
