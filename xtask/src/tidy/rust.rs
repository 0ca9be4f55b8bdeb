//! The house's rules for Rust files.
//!
//! Pure: a path and a text in, findings out. What each rule is for stands above it.

use super::Finding;
use super::source::{self, Source, has_word};

/// A file longer than this has two subjects.
const LONGEST: usize = 600;

/// The folder that may name aya: everything else stays testable without a kernel.
const LOADER: &str = "monitor/src/kernel/";

/// Crates whose code has no effect and sees no clock, so that replaying a record decides the same.
const PURE: [&str; 2] = ["monitor/core/src/", "monitor-common/src/"];

/// What pure code must not name: types and modules that reach outside.
const IMPURE_WORDS: [&str; 9] = [
    "SystemTime",
    "Instant",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
];
/// Parts of the standard library that pure code must not use.
const IMPURE_PATHS: [&str; 4] = ["std::fs", "std::thread", "std::process", "std::env"];
/// Crates that pure code must not use.
const IMPURE_CRATES: [&str; 8] = [
    "tokio", "aya", "aya_obj", "rand", "log", "tracing", "libc", "nix",
];

/// Where `unsafe` may stand: the kernel programs, the loader, and the files of the test scene that
/// fork, enter namespaces, and use what no library wraps safely.
const UNSAFE: [&str; 5] = [
    "monitor-ebpf/",
    LOADER,
    "tests/src/child.rs",
    "tests/src/namespace.rs",
    "tests/src/raw.rs",
];

/// The attributes that make a function a kernel program.
const HOOK_MACROS: [&str; 12] = [
    "raw_tracepoint",
    "btf_tracepoint",
    "tracepoint",
    "cgroup_sock_addr",
    "cgroup_sock",
    "cgroup_skb",
    "sock_ops",
    "lsm",
    "lsm_cgroup",
    "fentry",
    "fexit",
    "kprobe",
];
/// What the comment above each of them must answer.
const HOOK_ANSWERS: [&str; 4] = ["Sees:", "Misses:", "On error:", "Cost:"];

/// All findings in one file.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let source = source::split(text);
    let mut found = Vec::new();
    let mut say = |line: usize, message: String| found.push(Finding::new(path, line + 1, message));
    length(text, &mut say);
    opening(text, &mut say);
    loader_only(path, &source, &mut say);
    purity(path, &source, &mut say);
    unsafety(path, &source, &mut say);
    hooks(path, &source, &mut say);
    exceptions(&source, text, &mut say);
    unfinished(&source, &mut say);
    sleeping(path, &source, &mut say);
    found
}

type Say<'a> = dyn FnMut(usize, String) + 'a;

fn length(text: &str, say: &mut Say) {
    let lines = text.lines().count();
    if lines > LONGEST {
        say(
            LONGEST,
            format!("{lines} lines; the wall is {LONGEST}: split the file by subject"),
        );
    }
}

/// A reader learns what a module is for before anything else.
fn opening(text: &str, say: &mut Say) {
    let first = text.lines().find(|line| !line.trim().is_empty());
    if !first.is_some_and(|line| line.starts_with("//!")) {
        say(
            0,
            "open with a `//!` comment: what the module is for, what it must not know".into(),
        );
    }
}

fn loader_only(path: &str, source: &Source, say: &mut Say) {
    if path.starts_with(LOADER) || path.starts_with("monitor-ebpf/") {
        return;
    }
    for (number, code) in source.code.iter().enumerate() {
        if ["aya", "aya_obj", "aya_log"]
            .iter()
            .any(|name| has_word(code, name))
        {
            say(number, format!("only {LOADER} names aya"));
        }
    }
}

fn purity(path: &str, source: &Source, say: &mut Say) {
    if !PURE.iter().any(|folder| path.starts_with(folder)) {
        return;
    }
    for (number, code) in source.code.iter().enumerate() {
        // Tests of pure code may read their own samples.
        if code.trim() == "#[cfg(test)]" {
            break;
        }
        let word = IMPURE_WORDS.iter().find(|word| has_word(code, word));
        let path = IMPURE_PATHS.iter().find(|path| has_word(code, path));
        let foreign = IMPURE_CRATES
            .iter()
            .find(|name| begins_path(code, name) || code.trim() == format!("use {name};"));
        if let Some(name) = word.or(path).or(foreign) {
            say(
                number,
                format!("pure code must not use `{name}`: take what it gives as argument"),
            );
        }
    }
    if path == "monitor/core/src/lib.rs"
        && !source
            .code
            .iter()
            .any(|code| code.contains("forbid(unsafe_code)"))
    {
        say(0, "the pure crate says `#![forbid(unsafe_code)]`".into());
    }
}

/// Whether `code` holds a path that begins with the crate `name`.
fn begins_path(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn unsafety(path: &str, source: &Source, say: &mut Say) {
    let allowed = UNSAFE.iter().any(|place| path.starts_with(place));
    for (number, code) in source.code.iter().enumerate() {
        if !has_word(code, "unsafe") {
            continue;
        }
        if !allowed {
            say(
                number,
                format!("`unsafe` belongs to {} only", UNSAFE.join(", ")),
            );
        }
        // The kernel programs are one conversation with helpers; clippy reads their comments.
        let promises = code.contains("unsafe {") || code.contains("unsafe impl");
        if promises
            && !path.starts_with("monitor-ebpf/")
            && !comment_near(source, number, "SAFETY:")
        {
            say(
                number,
                "say why this is sound: a `// SAFETY:` comment above it".into(),
            );
        }
    }
}

/// Whether a comment on this line, or in the comment block that ends above the statement this line
/// belongs to, contains `wanted`.
fn comment_near(source: &Source, line: usize, wanted: &str) -> bool {
    if source.comments[line].contains(wanted) {
        return true;
    }
    for above in (line.saturating_sub(12)..line).rev() {
        if source.comments[above].contains(wanted) {
            return true;
        }
        let code = source.code[above].trim();
        let goes_on = code.is_empty() && !source.comments[above].is_empty();
        let same_statement = !code.is_empty() && !code.ends_with([';', '{', '}']);
        let attribute = code.starts_with("#[");
        if !(goes_on || same_statement || attribute) {
            return false;
        }
    }
    false
}

/// A hook without its reasons is one that nobody can judge or move.
fn hooks(path: &str, source: &Source, say: &mut Say) {
    if !path.starts_with("monitor-ebpf/src/hooks/") {
        return;
    }
    for (number, code) in source.code.iter().enumerate() {
        let Some(attribute) = code.trim().strip_prefix("#[") else {
            continue;
        };
        let name = attribute.split(['(', ']']).next().unwrap_or_default();
        if !HOOK_MACROS.contains(&name) {
            continue;
        }
        let above: String = (0..number)
            .rev()
            .take_while(|line| {
                source.comments[*line].starts_with("///")
                    || source.code[*line].trim().starts_with("#[")
            })
            .map(|line| source.comments[line].as_str())
            .collect();
        let missing: Vec<&str> = HOOK_ANSWERS
            .into_iter()
            .filter(|answer| !above.contains(answer))
            .collect();
        if !missing.is_empty() {
            say(
                number,
                format!(
                    "the comment above this hook lacks `{}`",
                    missing.join("`, `")
                ),
            );
        }
    }
}

/// A silenced lint says why.
fn exceptions(source: &Source, text: &str, say: &mut Say) {
    let lines: Vec<&str> = text.lines().collect();
    for (number, code) in source.code.iter().enumerate() {
        let opens = ["#[allow(", "#![allow(", "#[expect(", "#![expect("]
            .iter()
            .any(|start| code.trim_start().starts_with(start));
        if !opens {
            continue;
        }
        let end = (number..source.code.len())
            .find(|line| source.code[*line].contains(']'))
            .unwrap_or(number);
        let end = end.min(lines.len().saturating_sub(1));
        if !lines[number..=end]
            .iter()
            .any(|line| line.contains("reason"))
        {
            say(number, "a silenced lint gives its `reason = \"…\"`".into());
        }
    }
}

fn unfinished(source: &Source, say: &mut Say) {
    for (number, code) in source.code.iter().enumerate() {
        for name in ["todo!", "unimplemented!", "dbg!"] {
            if code.contains(name) {
                say(number, format!("`{name}` is unfinished work"));
            }
        }
        if code.contains("#[ignore") {
            say(
                number,
                "a test that is ignored proves nothing: fix it or remove it".into(),
            );
        }
        // Written apart so that this line does not find itself.
        let marks = [
            concat!("FIX", "ME"),
            concat!("TO", "DO"),
            concat!("XX", "X"),
        ];
        if let Some(mark) = marks
            .iter()
            .find(|mark| has_word(&source.comments[number], mark))
        {
            say(
                number,
                format!("`{mark}`: do it, or say in words what is missing"),
            );
        }
    }
}

/// A test that sleeps is slow when all is well and wrong when the machine is busy.
fn sleeping(path: &str, source: &Source, say: &mut Say) {
    if !path.starts_with("tests/tests/") {
        return;
    }
    for (number, code) in source.code.iter().enumerate() {
        if has_word(code, "sleep") || has_word(code, "sleep_ms") {
            say(
                number,
                "tests wait for the event, with a deadline; they do not sleep".into(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text)
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    #[test]
    fn a_good_file_has_no_findings() {
        let text =
            "//! What it is for.\n\nuse std::net::IpAddr;\n\n/// Doc.\npub fn f(a: IpAddr) {}\n";
        assert_eq!(messages("monitor/core/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn length_and_opening() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(600));
        assert_eq!(messages("a.rs", &long).len(), 1);
        assert!(messages("a.rs", "use std::fs;\n")[0].starts_with("a.rs:1: open with"));
    }

    #[test]
    fn aya_is_named_by_the_loader_only() {
        let text = "//! Doc.\nuse aya::Ebpf;\n";
        assert!(messages("monitor/src/kernel/load.rs", text).is_empty());
        assert_eq!(messages("monitor/src/act/kill.rs", text).len(), 1);
        assert!(messages("monitor/src/act/kill.rs", "//! No aya:: here.\n").is_empty());
    }

    #[test]
    fn pure_code_reaches_nothing_outside() {
        for line in [
            "use std::fs;",
            "let t = std::time::SystemTime::now();",
            "use std::time::Instant;",
            "tracing::info!();",
            "use rand::Rng;",
            "std::net::TcpStream::connect(a);",
        ] {
            let text = format!("//! Doc.\n{line}\n");
            assert_eq!(messages("monitor/core/src/a.rs", &text).len(), 1, "{line}");
            assert!(
                messages("monitor/src/store/a.rs", &text).is_empty(),
                "{line}"
            );
        }
        let text =
            "//! Doc.\nfn log() { catalog::x(); }\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert!(messages("monitor/core/src/a.rs", text).is_empty());
        assert_eq!(messages("monitor/core/src/lib.rs", "//! Doc.\n").len(), 1);
    }

    #[test]
    fn unsafe_has_its_places_and_its_reasons() {
        let bare = "//! Doc.\nfn f() {\n    let x = unsafe { g() };\n}\n";
        assert_eq!(messages("monitor/src/store/a.rs", bare).len(), 2);
        assert_eq!(messages("monitor/src/kernel/a.rs", bare).len(), 1);
        let reasoned = "//! Doc.\nfn f() {\n    // SAFETY: g is\n    // always sound.\n    let x =\n        unsafe { g() };\n}\n";
        assert!(messages("monitor/src/kernel/a.rs", reasoned).is_empty());
        let far = "//! Doc.\nfn f() {\n    // SAFETY: h\n    h();\n    unsafe { g() };\n}\n";
        assert_eq!(messages("monitor/src/kernel/a.rs", far).len(), 1);
    }

    #[test]
    fn hooks_answer_four_questions() {
        let bad = "//! Doc.\n\n/// Sees: all.\n/// Cost: none.\n#[lsm(hook = \"file_open\")]\nfn f() {}\n";
        let found = messages("monitor-ebpf/src/hooks/open.rs", bad);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("Misses:") && found[0].contains("On error:"),
            "{found:?}"
        );
        let good = bad.replace("/// Cost", "/// Misses: x.\n/// On error: open.\n/// Cost");
        assert!(messages("monitor-ebpf/src/hooks/open.rs", &good).is_empty());
    }

    #[test]
    fn silenced_lints_give_reasons() {
        assert_eq!(
            messages("a.rs", "//! D.\n#[allow(dead_code)]\nfn f() {}\n").len(),
            1
        );
        let text = "//! D.\n#[expect(\n    dead_code,\n    reason = \"x\"\n)]\nfn f() {}\n";
        assert!(messages("a.rs", text).is_empty());
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments() {
        for line in ["todo!()", "dbg!(x)", "// FIXME later", "#[ignore = \"x\"]"] {
            assert_eq!(
                messages("a.rs", &format!("//! D.\n{line}\n")).len(),
                1,
                "{line}"
            );
        }
        assert!(messages("a.rs", "//! D.\nlet a = \"todo!\";\n").is_empty());
    }

    #[test]
    fn end_to_end_tests_do_not_sleep() {
        let text = "//! D.\nstd::thread::sleep(d);\n";
        assert_eq!(messages("tests/tests/connect.rs", text).len(), 1);
        assert!(messages("tests/src/wait.rs", text).is_empty());
    }
}
