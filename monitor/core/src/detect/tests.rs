//! Detectors against processes that were written down: servers, and what looks like them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it is.
    says: String,
    /// `recorded` from a running process, or `derived` from what is written about it.
    provenance: String,
    detector: String,
    found: bool,
    /// The arguments of the rule for the next one like it.
    telling: Option<Vec<String>>,
    process: ProcessFacts,
}

fn cases() -> Vec<Case> {
    [
        include_str!("fixtures/native.toml"),
        include_str!("fixtures/interpreted.toml"),
        include_str!("fixtures/lookalikes.toml"),
        include_str!("fixtures/recorded-candle.toml"),
        include_str!("fixtures/recorded-llama-server.toml"),
        include_str!("fixtures/recorded-node.toml"),
        include_str!("fixtures/recorded-onnx.toml"),
    ]
    .into_iter()
    .flat_map(|text| toml::from_str::<File>(text).unwrap().case)
    .collect()
}

fn told(verdict: &Verdict) -> String {
    let lines: Vec<_> = verdict
        .evidence
        .iter()
        .map(|e| format!("{:>3} {} {}", e.weight, e.source.name(), e.seen))
        .collect();
    format!(
        "{} {}\n{}",
        verdict.detector.id(),
        verdict.score,
        lines.join("\n")
    )
}

#[test]
fn every_written_down_process_is_judged_as_it_should_be() {
    let mut wrong = vec![];
    for case in cases() {
        let verdict = score(&case.process);
        let telling = telling(&case.process, verdict.detector).map(|t| t.arguments);
        let right = ["derived", "recorded"].contains(&case.provenance.as_str())
            && verdict.found() == case.found
            && verdict.detector.id() == case.detector
            && case
                .telling
                .is_none_or(|expected| telling == Some(expected));
        if !right {
            wrong.push(format!("{}: {}\n{telling:?}", case.says, told(&verdict)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_detector_has_a_process_that_it_finds() {
    let found: BTreeSet<String> = cases()
        .into_iter()
        .filter(|case| case.found)
        .map(|case| case.detector)
        .collect();
    for server in servers::SERVERS {
        assert!(found.contains(server.name), "no case for {}", server.name);
        assert_eq!(Detector::from_id(server.name), Some(server.id));
    }
    assert!(found.contains("generic"));
}

#[test]
fn no_single_sign_is_enough() {
    for case in cases().into_iter().filter(|case| case.found) {
        let verdict = score(&case.process);
        let most = verdict.evidence.iter().map(|e| e.weight).max().unwrap();
        assert!(most < THRESHOLD, "{}: {}", case.says, told(&verdict));
    }
}

#[test]
fn a_score_is_the_sum_of_what_is_shown() {
    for case in cases() {
        let verdict = score(&case.process);
        let sum: u32 = verdict.evidence.iter().map(|e| e.weight).sum();
        assert_eq!(sum, verdict.score, "{}", case.says);
    }
}

prop_compose! {
    fn file()(path in "/.{0,12}(\\.gguf)?", size in any::<u64>(), mapped in any::<bool>()) -> FileSeen {
        FileSeen { path, size, format: Some(model::Format::Gguf), how: if mapped { How::Mapped } else { How::Read } }
    }
}

prop_compose! {
    fn process()(
        exe in "(/usr/bin/)?(python3|node|llama-server|vllm|.{0,10})",
        argv in proptest::collection::vec("(-m|--model|serve|--model=x|.{0,8})", 0..6),
        comm in ".{0,15}",
        libraries in proptest::collection::vec("(/x/libllama.so|/.{0,10})", 0..3),
        files in proptest::collection::vec(file(), 0..3),
        ports in proptest::collection::vec(any::<u16>(), 0..3),
        heap in any::<u64>(),
    ) -> ProcessFacts {
        ProcessFacts { exe, argv, comm, libraries, files, ports, heap, ..ProcessFacts::default() }
    }
}

proptest! {
    #[test]
    fn any_process_is_judged_without_harm(facts in process()) {
        let verdict = score(&facts);
        for evidence in &verdict.evidence {
            prop_assert!(!evidence.seen.contains('\n'), "{:?}", evidence);
        }
        telling(&facts, verdict.detector);
        capability::declared(&facts);
        capability::mcp_sources(&facts);
    }

    #[test]
    fn more_signs_never_say_less(facts in process()) {
        let mut more = facts.clone();
        more.libraries.push("/usr/lib/libllama.so".into());
        more.devices.push("/dev/nvidia0".into());
        prop_assert!(score(&more).score >= score(&facts).score);
    }
}
