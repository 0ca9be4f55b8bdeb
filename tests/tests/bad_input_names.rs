//! Hostile names: of programs, arguments, files and cgroups, with line ends, escape sequences,
//! quotes, bytes that are no text, and overrides of the direction of text. Nowhere may they forge a
//! line, move the cursor, or break a format.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use scene::cgroup::Cgroup;
use scene::http;
use scene::probe::{Order, Probe};
use scene::trial::{Setup, Trial, WORKLOAD, text};
use serde_json::Value;

/// A name with everything that has ever done harm.
const HOSTILE: &str =
    "x\n{\"fake\":1}\r\x1b[2J\x1b]0;owned\x07\t\"'`$(id)\u{202e}gpj\u{200b}\u{9b}31m";

/// No byte of this can do harm on a terminal or in a line-based format.
#[track_caller]
fn harmless(what: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec());
    let text = text.unwrap_or_else(|e| panic!("{what} is no text: {e}"));
    let hostile = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}')
    };
    let found = text.chars().find(|c| hostile(*c));
    assert_eq!(found, None, "{what}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("{\"fake\"")),
        "{what} holds a forged line: {text}"
    );
    text
}

#[test]
fn hostile_names_are_shown_escaped_everywhere() -> Result<()> {
    let cgroup = Cgroup::create(&HOSTILE.replace('\n', ""))?;
    let quoted = Value::from(cgroup.path()).to_string();
    let trial = Trial::unguarded()?;
    // A program and a file with such names; no text file can name the program, the cgroup does.
    let program = trial.path(HOSTILE);
    fs::copy(trial.member_program(), &program)?;
    let secret = trial.file(&format!("secret {HOSTILE}"), "secret")?;
    let escaped = quoted
        .replace("\u{9b}", "\\u009b")
        .replace('\u{7f}', "\\u007f");
    let trial = trial.with_guard(Setup::tool().recognised(format!("cgroup = {escaped}")))?;
    let daemon = trial.daemon()?;

    let mut probe = trial.outsider()?;
    cgroup.add(probe.pid())?;
    probe.become_copy(&program)?;
    trial.enrolled(probe.pid())?;
    // What is no text at all comes from a shell: bytes as a file's name and as an argument.
    let odd = format!(
        "cd {}; f=$(printf 'odd\\377\\033[31m'); : > \"$f\"; cat \"$f\" \"$1\"",
        text(&trial.path("."))
    );
    let shell = Order::exec("/bin/sh", &["-c", &odd, "sh", &text(&secret)]);
    assert!(probe.ask(&shell)?.worked());
    assert!(probe.ask(&Order::Read(secret.clone()))?.worked());
    daemon.learned(WORKLOAD, "read", "the hostile file", |subject| {
        subject.contains("secret x\\u{a}")
    })?;
    daemon.learned(WORKLOAD, "read", "what is no text", |subject| {
        subject.contains("odd\\xff\\u{1b}")
    })?;
    trial.enforce()?;
    // Denied or killed, by tier; either way there is an alert with the names in it.
    let unknown = trial.file(&format!("unknown {HOSTILE}"), "secret")?;
    assert!(!probe.ask(&Order::Read(unknown))?.worked());
    let alert = daemon.alert("the unknown file", |alert| {
        alert["subject"]
            .as_str()
            .is_some_and(|subject| subject.contains("unknown x\\u{a}"))
    })?;
    let process = &alert["process"];
    let exe = process["exe"].as_str().context("a program")?;
    assert!(exe.contains("x\\u{a}{\"fake\":1}"), "{alert}");
    let place = process["cgroup"].as_str().context("a cgroup")?;
    assert!(place.contains("\\u{1b}[2J"), "{alert}");

    for command in [
        &["status"][..],
        &["workloads"],
        &["events", "--limit", "500"],
        &["alerts", "--limit", "500"],
        &["baseline", "show", WORKLOAD],
        &["doctor"],
        &["config", "check"],
    ] {
        let output = daemon.cli(command)?;
        harmless(&format!("{command:?}"), &output.stdout);
        harmless(&format!("{command:?}"), &output.stderr);
        if command[0] != "config" {
            let json = daemon.cli(&[command, &["--json"]].concat())?;
            for line in harmless(&format!("{command:?} --json"), &json.stdout).lines() {
                serde_json::from_str::<Value>(line).with_context(|| line.to_owned())?;
            }
        }
    }
    for line in harmless("the file of alerts", &fs::read(daemon.alerts_file())?).lines() {
        serde_json::from_str::<Value>(line).with_context(|| line.to_owned())?;
    }
    let status = daemon.status()?;
    let address = status["metrics"].as_str().context("metrics")?.parse()?;
    let metrics = http::ask(address, "/metrics", None, Duration::from_secs(5))?.body;
    harmless("metrics", metrics.as_bytes());
    drop::<Probe>(probe);
    daemon.end()?;
    harmless("the log", &fs::read(daemon.log())?);
    Ok(())
}
