//! Every event is what its schema demands: OCSF's JSON schemas and captions, ECS's list of fields.

use std::{collections::BTreeMap, sync::LazyLock};

use jsonschema::Validator;
use monitor_common::event::Verdict;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    super::{
        Format,
        ocsf::{Finding, Stage, activity},
    },
    any::any_alert,
    examples,
};
use crate::testing::seen;

const OCSF: &str = include_str!("../../../../vendored/ocsf.json");
const ECS: &str = include_str!("../../../../vendored/ecs.tsv");

/// Made once: the schema is large.
static SCHEMA: LazyLock<(BTreeMap<String, Validator>, Value)> = LazyLock::new(ocsf);

/// A validator for each class, and the captions.
fn ocsf() -> (BTreeMap<String, Validator>, Value) {
    let all: Value = serde_json::from_str(OCSF).unwrap();
    assert_eq!(all["version"], super::super::ocsf::VERSION);
    let classes = all["classes"].as_object().unwrap();
    let validators = classes.iter().map(|(uid, class)| {
        let mut schema = class.clone();
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        schema["$defs"] = all["$defs"].clone();
        (uid.clone(), jsonschema::validator_for(&schema).unwrap())
    });
    (validators.collect(), all["captions"].clone())
}

/// Whether an event is valid, and its words are those of its numbers.
#[track_caller]
fn is_valid(line: &str) {
    let (validators, captions) = &*SCHEMA;
    let event: Value = serde_json::from_str(line).unwrap();
    let class = event["class_uid"].to_string();
    let errors: Vec<String> = validators[&class]
        .iter_errors(&event)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{line}");
    let captions = &captions[&class];
    assert_eq!(event["class_name"], captions["class"]);
    for (number, word) in [
        ("activity_id", "activity_name"),
        ("category_uid", "category_name"),
        ("severity_id", "severity"),
        ("status_id", "status"),
        ("action_id", "action"),
        ("disposition_id", "disposition"),
        ("type_uid", "type_name"),
    ] {
        let (Some(id), other) = (event.get(number), event[number] == 99) else {
            continue;
        };
        // 99 is for words of one's own.
        if !other {
            assert_eq!(
                event[word],
                captions[number][id.to_string()],
                "{number} in {line}"
            );
        }
    }
    let type_uid =
        event["class_uid"].as_u64().unwrap() * 100 + event["activity_id"].as_u64().unwrap();
    assert_eq!(event["type_uid"], type_uid);
}

#[test]
fn every_alert_is_a_valid_finding_at_every_stage() {
    for alert in examples::alerts() {
        is_valid(&Format::Ocsf.render(&alert));
        for stage in [Stage::Create, Stage::Update, Stage::Close] {
            let finding = Finding::at(&alert, stage);
            is_valid(&serde_json::to_string(&finding).unwrap());
        }
    }
}

#[test]
fn every_observation_is_a_valid_activity_or_none() {
    let mut classes = BTreeMap::new();
    for fact in examples::facts() {
        let kind = fact.kind();
        for verdict in [
            Verdict::Known,
            Verdict::New,
            Verdict::WouldBlock,
            Verdict::Blocked,
            Verdict::Killed,
        ] {
            let found = activity(&seen(fact.clone(), verdict), &examples::context());
            if let Some(event) = &found {
                is_valid(&event.to_json_line());
                let stopped = event.action_id == 2;
                let claims =
                    verdict == Verdict::Blocked || (verdict, kind) == (Verdict::Killed, "exec");
                assert_eq!(stopped, claims, "{kind} {verdict:?}");
            }
            classes.insert(kind, found.map(|event| event.class_uid));
        }
    }
    let of = |class| {
        classes
            .iter()
            .filter(|(_, c)| **c == class)
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(Some(4001)),
        [
            "accept", "caller", "connect", "flow", "hello", "listen", "request", "send", "unix"
        ]
    );
    // What was found is of the class of what it is.
    assert_eq!(of(Some(1001)), ["change", "found", "map", "open"]);
    assert_eq!(of(Some(1007)), ["exec", "exit", "fork"]);
    assert_eq!(
        of(None),
        [
            "answer", "episode", "facility", "held", "lineage", "model", "odd", "phase", "query",
            "volume"
        ]
    );
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let (validators, _) = &*SCHEMA;
    let good: Value = serde_json::from_str(&Format::Ocsf.render(&examples::shown())).unwrap();
    let wrong = |change: fn(&mut Map<String, Value>)| {
        let mut event = good.clone();
        change(event.as_object_mut().unwrap());
        !validators["2004"].is_valid(&event)
    };
    assert!(!wrong(|_| ()));
    assert!(wrong(|event| drop(event.remove("metadata"))));
    assert!(wrong(|event| drop(
        event.insert("verdict".into(), json!("blocked"))
    )));
    assert!(wrong(|event| event["severity_id"] = json!(9)));
    assert!(wrong(|event| event["time"] = json!("2023-11-14T22:13:20Z")));
    assert!(wrong(
        |event| event["evidences"][0]["dst_endpoint"]["ip"] = json!("somewhere")
    ));
}

#[test]
fn the_same_thing_told_again_updates_its_finding() {
    let first = examples::shown();
    let mut again = first.clone();
    again.id = "0190a5b4-7c3d-7e21-9f00-000000000000".into();
    again.last_seen = "2023-11-14T23:13:20.000000Z".into();
    let (first, again) = (Finding::of(&first), Finding::of(&again));
    assert_eq!((first.activity_id, again.activity_id), (1, 2));
    assert_eq!(first.finding_info.uid, again.finding_info.uid);
    assert_ne!(first.metadata.uid, again.metadata.uid);
    let mut other = examples::shown();
    other.subject = "203.0.113.67:443/tcp".into();
    assert_ne!(Finding::of(&other).finding_info.uid, first.finding_info.uid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_alert_that_there_could_be_is_a_valid_finding(alert in any_alert()) {
        is_valid(&Format::Ocsf.render(&alert));
    }
}

/// Fields by name: type, whether there may be several, allowed values.
fn ecs() -> BTreeMap<&'static str, [&'static str; 3]> {
    let lines = ECS.lines().map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[0], [columns[1], columns[2], columns[3]])
    });
    lines.collect()
}

/// Leaves of a document by path.
fn leaves(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(&path, value, found);
            }
        }
        value => found.push((path.to_owned(), value.clone())),
    }
}

#[test]
fn every_document_has_the_fields_of_ecs_only() {
    let fields = ecs();
    assert_eq!(fields["version"][0], "9.4.0");
    for alert in examples::alerts() {
        let line = Format::Ecs.render(&alert);
        let document: Value = serde_json::from_str(&line).unwrap();
        let mut found = vec![];
        leaves("", &document, &mut found);
        for (path, value) in found
            .iter()
            .filter(|(path, _)| !path.starts_with("slmguard."))
        {
            let Some([kind, several, allowed]) = fields.get(path.as_str()) else {
                panic!("{path} is no field of ECS");
            };
            assert_eq!(value.is_array(), *several == "array", "{path}");
            let one = std::slice::from_ref(value);
            for value in value.as_array().map_or(one, |values| values) {
                let fits = match *kind {
                    "long" => value.is_u64(),
                    "ip" => value
                        .as_str()
                        .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
                    "date" => value
                        .as_str()
                        .is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()),
                    _ => value.is_string(),
                };
                assert!(fits, "{path} is no {kind}: {value}");
                let known = allowed.split(',').any(|word| value == word);
                assert!(allowed.is_empty() || known, "{path} must not be {value}");
            }
        }
        // What was done belongs to one of the categories.
        let expected: Vec<&str> = document["event"]["category"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|category| {
                let row = format!("event.category={}", category.as_str().unwrap());
                fields[row.as_str()][2].split(',')
            })
            .collect();
        for done in document["event"]["type"].as_array().unwrap() {
            assert!(
                expected.contains(&done.as_str().unwrap()),
                "{done} of {line}"
            );
        }
    }
}
