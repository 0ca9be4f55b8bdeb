//! Tests of `slmguard policy simulate` on the committed recordings of the demo.

use std::path::Path;

use clap::Parser;
use monitor_common::class::{Family, Phase, Role};
use slmguard_core::baseline::Baseline;

use super::*;

fn recording(kernel: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/recordings/{kernel}.recording"))
}

/// What was learned in a recording, as a list.
fn learned(kernel: &str) -> Profile {
    let mut replay = Replay::default();
    let file = recording(kernel);
    replay::read(&file, |record| {
        let decided = replay.take(record);
        decided.map(drop).map_err(|e| replay::broken(&file, &e))
    })
    .unwrap();
    Profile::of("assistant", replay.baseline())
}

fn command(words: &[&str]) -> (Global, Simulate) {
    let line = [&["slmguard", "policy", "simulate"], words].concat();
    let cli = super::super::Cli::try_parse_from(line).unwrap();
    match cli.command {
        super::super::Command::Policy(Command::Simulate(options)) => (cli.global, options),
        other => panic!("{other:?}"),
    }
}

fn try_on(kernel: &str, profile: &Profile, more: &[&str]) -> Result<Trial, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list.toml");
    std::fs::write(&file, profile.to_toml()).unwrap();
    let recording = recording(kernel);
    let words = [
        &[
            recording.to_str().unwrap(),
            "--profile",
            file.to_str().unwrap(),
        ],
        more,
    ]
    .concat();
    let (global, options) = command(&words);
    let (trial, replay, ending) = simulate(&global, &options)?;
    assert!(matches!(ending, Ending::Whole(_)), "{ending:?}");
    assert!(replay.totals().events > 100);
    Ok(trial.unwrap())
}

/// Subjects that would have been refused, without folders that differ between recordings.
fn refused(trial: &Trial) -> Vec<(String, Why)> {
    let findings = trial.simulation.findings();
    findings
        .iter()
        .filter(|f| f.effect == Effect::Refused)
        .map(|f| {
            let shown = match f.subject.split_once("/home/slm/") {
                Some((_, inside)) => inside.to_owned(),
                None => f.subject.clone(),
            };
            (shown, f.why)
        })
        .collect()
}

#[test]
fn the_list_that_the_demo_learned_refuses_the_attacks_and_nothing_else() {
    for kernel in ["native", "6.12"] {
        let trial = try_on(kernel, &learned(kernel), &[]).unwrap();
        let mut subjects = refused(&trial);
        subjects.sort();
        subjects.dedup();
        let expected = [
            (".aws/credentials", Why::Invariant),
            ("/usr/bin/dash", Why::NotListed),
            ("10.77.0.66:80/tcp", Why::NotListed),
            ("10.77.0.66:9999/udp", Why::NotListed),
            ("10.77.0.67:80/tcp", Why::NotListed),
            ("169.254.169.254:80/tcp", Why::Invariant),
            ("io_uring", Why::NotListed),
        ];
        // The recording of the cgroup tier is older than the attacks through io_uring.
        let expected: Vec<_> = expected
            .into_iter()
            .filter(|(subject, _)| kernel == "6.12" || *subject != "io_uring")
            .map(|(subject, why)| (subject.to_owned(), why))
            .collect();
        assert_eq!(subjects, expected, "{kernel}");
        let totals = trial.simulation.totals();
        assert!(totals.allowed > 60, "{kernel}: {totals:?}");
        for finding in trial.simulation.findings() {
            // Names are told, and never refused.
            let then = match finding.effect {
                Effect::Refused => finding.count,
                Effect::Reported => 0,
            };
            assert_eq!(finding.refused_then, then, "{kernel}: {finding:?}");
        }
    }
}

#[test]
fn what_is_missing_on_a_list_is_told_with_what_is_there_instead() {
    let mut list = learned("native");
    assert!(list.remove(
        Role::Agent,
        Phase::Serve,
        Family::Destination,
        "10.77.0.10:80/tcp"
    ));
    let trial = try_on("native", &list, &[]).unwrap();
    let findings = trial.simulation.findings();
    let found = findings.iter().find(|f| f.subject == "10.77.0.10:80/tcp");
    let found = found.unwrap();
    assert_eq!(
        (found.role, found.phase, found.family, found.refused_then),
        ("agent", "serve", "destination", 0)
    );
    assert!(
        found.count > 1 && found.first_seen < found.last_seen,
        "{found:?}"
    );
    assert!(
        found.nearest.contains(&"10.77.0.20:8125/udp".to_owned()),
        "{found:?}"
    );
    let page = page("assistant", &findings, trial.simulation.totals()).join("\n");
    assert!(
        page.contains("refused   agent   serve  destination 10.77.0.10:80/tcp\n    "),
        "{page}"
    );
    assert!(page.contains("on the list: 10.77.0."), "{page}");
}

#[test]
fn an_empty_list_refuses_everything_but_enrolment_and_an_incomplete_one_only_reports() {
    let nothing = Profile::of("assistant", &Baseline::default());
    let trial = try_on("native", &nothing, &[]).unwrap();
    assert_eq!(trial.simulation.totals().allowed, 0);
    let subjects = refused(&trial);
    assert!(
        !subjects.iter().any(|(s, _)| s.ends_with("scene-agent")),
        "{subjects:?}"
    );
    assert!(
        subjects.iter().any(|(s, _)| s == "/usr/bin/date"),
        "{subjects:?}"
    );
    let partial = Profile {
        families: vec!["destination".into()],
        ..nothing
    };
    let trial = try_on("native", &partial, &[]).unwrap();
    for finding in trial.simulation.findings() {
        let complete = finding.family == "destination" || finding.why == Why::Invariant;
        assert_eq!(finding.effect == Effect::Refused, complete, "{finding:?}");
    }
}

#[test]
fn rules_are_those_of_the_recording_or_of_the_configuration_that_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let text = "[[workload]]\nname = \"assistant\"\n\
         [workload.allow]\nconnect = [\"10.77.0.66:80\"]\nread = [\"/**\"]\n\
         [workload.deny]\nexec = [\"/usr/bin/date\"]\n\
         [[workload.process]]\nrole = \"agent\"\nexe = \"/bin/x\"\n";
    std::fs::write(&config, text).unwrap();
    let with = ["--config", config.to_str().unwrap()];
    let trial = try_on("native", &learned("native"), &with).unwrap();
    assert!(trial.rules.ends_with("config.toml"), "{}", trial.rules);
    let subjects = refused(&trial);
    let has = |subject: &str, why| subjects.contains(&(subject.to_owned(), why));
    assert!(has("/usr/bin/date", Why::DenyRule), "{subjects:?}");
    assert!(has("10.77.0.67:80/tcp", Why::NotListed), "{subjects:?}");
    assert!(has(".aws/credentials", Why::Invariant), "{subjects:?}");
    assert!(
        !subjects.iter().any(|(s, _)| s == "10.77.0.66:80/tcp"),
        "{subjects:?}"
    );
}

#[test]
fn the_workload_is_the_named_one_the_list_s_or_the_only_one() {
    let config = "name = \"a\"";
    let one: Workload = toml::from_str(config).unwrap();
    let all = |names: &[&str]| -> BTreeMap<String, Workload> {
        let pair = |name: &&str| ((*name).to_owned(), one.clone());
        names.iter().map(pair).collect()
    };
    assert_eq!(choose(None, None, &all(&["a"])).unwrap(), "a");
    assert_eq!(choose(None, Some("x"), &all(&["a"])).unwrap(), "a");
    assert_eq!(choose(None, Some("b"), &all(&["a", "b"])).unwrap(), "b");
    assert_eq!(
        choose(Some("a"), Some("b"), &all(&["a", "b"])).unwrap(),
        "a"
    );
    let refused = |wanted, list, names: &[&str]| {
        let failure = choose(wanted, list, &all(names)).unwrap_err();
        assert_eq!(failure.exit, Exit::Failure);
        failure.message
    };
    assert!(refused(Some("\x1bc"), None, &["a"]).contains("no workload \\u{1b}c; it has a"));
    assert!(refused(None, Some("x"), &["a", "b"]).contains("say which with --workload"));
    assert!(refused(None, None, &[]).contains("nothing to try"));
}

#[test]
fn a_list_that_is_none_and_a_recording_that_is_not_there_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let (global, options) = command(&[missing.to_str().unwrap(), "--learned"]);
    let failure = simulate(&global, &options).err().unwrap();
    assert!(
        failure.message.contains("cannot open the recording"),
        "{failure}"
    );
    std::fs::write(&missing, "format = 9").unwrap();
    let recording = recording("native");
    let words = [
        recording.to_str().unwrap(),
        "--profile",
        missing.to_str().unwrap(),
    ];
    let (global, options) = command(&words);
    let failure = simulate(&global, &options).err().unwrap();
    assert_eq!(failure.exit, Exit::Failure);
    assert!(
        failure.message.contains("missing: not a profile"),
        "{failure}"
    );
    let socket = dir.path().join("api.sock");
    let words = [
        recording.to_str().unwrap(),
        "--socket",
        socket.to_str().unwrap(),
    ];
    let (global, options) = command(&words);
    let failure = simulate(&global, &options).err().unwrap();
    assert_eq!(failure.exit, Exit::NotRunning, "{failure}");
}
