//! Tests of the forms of whole paths.

use proptest::prelude::*;

use super::*;
use crate::{baseline::paths::tests::paths, text::components};

fn form_of(path: &str) -> String {
    form(
        Access::Read,
        &components(path.as_bytes()).collect::<Vec<_>>(),
    )
    .text
}

#[test]
fn processes_and_hash_folders_are_told_by_the_path() {
    let hash = "24a41fed5b724685c806fe8e2de26283956e3e6dfe41278330a8ed5781ddc80d";
    assert_eq!(form_of("/proc/77/stat"), "/proc/{pid}/stat");
    assert_eq!(form_of("/proc/77/maps"), "/proc/77/maps");
    assert_eq!(form_of("/proc/self/status"), "/proc/self/status");
    assert_eq!(
        form_of("/proc/self/task/7/comm"),
        "/proc/self/task/{pid}/comm"
    );
    assert_eq!(form_of("/srv/77/stat"), "/srv/77/stat");
    assert_eq!(form_of(&format!("/c/24/{hash}")), "/c/{hex2}/{sha256}");
    assert_eq!(
        form_of(&format!("/c/24/a4/{hash}.bin")),
        "/c/{hex2}/{hex2}/{sha256}.bin"
    );
    assert_eq!(form_of("/c/24/evil.so"), "/c/24/evil.so");
    assert_eq!(form_of("/etc/x-12345"), "/etc/x-12345");
    assert_eq!(form_of("/"), "/");
}

#[test]
fn only_whole_paths_count() {
    for path in ["", "a/b", "/a/../b", "/a/./b", "/a\0b"] {
        assert_eq!(whole(path.as_bytes()), None, "{path:?}");
    }
    assert_eq!(whole(b"/a//b/"), Some(vec![b"a".as_slice(), b"b"]));
    assert_eq!(whole("/x".repeat(129).as_bytes()), None);
    assert_eq!(whole(format!("/{}", "x".repeat(256)).as_bytes()), None);
}

#[test]
fn the_kernel_gets_a_wildcard_for_what_is_general() {
    let kernel = |text: &str, access| {
        let pattern: Pattern = text.parse().unwrap();
        kernel_pattern(&pattern, access)
    };
    let pattern = kernel("/tmp/req-{uuid}.json", Access::Create);
    assert_eq!(pattern.to_string(), "/tmp/*");
    assert_eq!(pattern.permissions, Access::Write.permission());
    assert_eq!(
        kernel("/c/{hex2}/{sha256}/a\\x2ab", Access::Read).to_string(),
        "/c/*/*/a\\x2ab"
    );
}

#[test]
fn what_is_no_pattern_says_why() {
    let error = |text: &str| text.parse::<Pattern>().unwrap_err();
    assert_eq!(error("a"), PatternError::Relative);
    assert_eq!(error("/a//b"), PatternError::Name(NameError::Empty));
    assert_eq!(error(&"/x".repeat(129)), PatternError::TooDeep);
}

proptest! {
    #[test]
    fn the_form_is_a_pattern_that_matches_and_comes_back(path in paths()) {
        let parts = whole(&path).unwrap();
        for access in Access::ALL {
            let form = form(access, &parts);
            let pattern: Pattern = form.text.parse().unwrap();
            prop_assert_eq!(pattern.to_string(), form.text);
            prop_assert!(pattern.matches(&parts));
            prop_assert_eq!(pattern.is_general(), form.general);
            prop_assert!(!form.general || form.guard.is_none());
            prop_assert!(kernel_pattern(&pattern, access).matches(&parts, false));
        }
    }

    #[test]
    fn any_bytes_are_a_path_or_none(path in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(parts) = whole(&path) {
            let text = form(Access::Read, &parts).text;
            prop_assert!(text.parse::<Pattern>().is_ok(), "{}", text);
        }
    }
}
