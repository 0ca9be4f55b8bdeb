//! Whatever an alert's texts hold, in every format: one line, the fields of the alert and no others,
//! each with its value, and the verdict that was given.

use proptest::prelude::*;

use super::{
    super::*,
    any::any_alert,
    examples,
    parsers::{Cef, Json, Leef, Pairs, Syslog},
    whole::{from_ecs, from_ocsf},
};
use crate::{
    alert::{ChainStep, Severity},
    text::{harmless, is_hostile, unescape},
};

/// What a text stands for, as bytes.
fn meaning(text: &str) -> Vec<u8> {
    unescape(&harmless(text))
}

/// What a field of the formats without structure has to say: one text, a list with its separator,
/// or the chain.
enum Said {
    One(String),
    List(Vec<String>, char),
    Chain(Vec<ChainStep>),
}

/// Every field of an alert by its own name.
fn said(alert: &Alert) -> Vec<(&'static str, Said)> {
    let process = &alert.process;
    let list = |items: &Vec<String>, separator| Said::List(items.clone(), separator);
    let mut all: Vec<(&'static str, Said)> = [
        ("id", alert.id.clone()),
        ("time", alert.time.clone()),
        ("host", alert.host.clone()),
        ("workload", alert.workload.clone()),
        ("role", alert.role.clone()),
        ("phase", alert.phase.clone()),
        ("mode", alert.mode.clone()),
        ("kind", alert.kind.clone()),
        ("subject", alert.subject.clone()),
        ("verdict", alert.verdict.clone()),
        ("prevented", alert.prevented.to_string()),
        ("tier", alert.tier.clone()),
        ("hook", alert.hook.clone()),
        ("severity", alert.severity.word().into()),
        ("pid", process.pid.to_string()),
        ("start_time", process.start_time.to_string()),
        ("exe", process.exe.clone()),
        ("uid", process.uid.to_string()),
        ("cgroup", process.cgroup.clone()),
        ("adopted", process.adopted.to_string()),
        ("policy", format!("{:013x}", alert.policy_version)),
        ("count", alert.count.to_string()),
        ("first_seen", alert.first_seen.clone()),
        ("last_seen", alert.last_seen.clone()),
    ]
    .into_iter()
    .map(|(name, text)| (name, Said::One(text)))
    .collect();
    for (name, text) in [("name", &alert.name), ("access", &alert.access)] {
        all.extend(text.clone().map(|text| (name, Said::One(text))));
    }
    for (name, items, separator) in [
        ("reasons", &alert.reasons, ';'),
        ("nearest", &alert.nearest, ';'),
        ("ancestors", &process.ancestors, ';'),
        ("argv", &process.argv, ';'),
        ("attack", &alert.attack, ','),
        ("atlas", &alert.atlas, ','),
        ("owasp", &alert.owasp, ','),
    ] {
        all.extend((!items.is_empty()).then(|| (name, list(items, separator))));
    }
    if !alert.chain.is_empty() {
        all.push(("chain", Said::Chain(alert.chain.clone())));
    }
    all
}

/// Keys of CEF by the field that they hold, and the labels of those that have one.
const CEF: &[(&str, &str)] = &[
    ("externalId", "id"),
    ("dvchost", "host"),
    ("cs1", "workload"),
    ("cat", "kind"),
    ("act", "verdict"),
    ("cnt", "count"),
    ("dhost", "name"),
    ("sproc", "exe"),
    ("spid", "pid"),
    ("suid", "uid"),
    ("cs2", "reasons"),
    ("cs3", "policy"),
    ("cs4", "ancestors"),
    ("cs5", "attack"),
    ("cs6", "argv"),
    ("slmguardSubject", "subject"),
    ("slmguardPrevented", "prevented"),
    ("slmguardSeverity", "severity"),
    ("slmguardTime", "time"),
    ("slmguardRole", "role"),
    ("slmguardPhase", "phase"),
    ("slmguardMode", "mode"),
    ("slmguardTier", "tier"),
    ("slmguardHook", "hook"),
    ("slmguardAccess", "access"),
    ("slmguardStartTime", "start_time"),
    ("slmguardCgroup", "cgroup"),
    ("slmguardAdopted", "adopted"),
    ("slmguardFirstSeen", "first_seen"),
    ("slmguardLastSeen", "last_seen"),
    ("slmguardAtlas", "atlas"),
    ("slmguardOwasp", "owasp"),
    ("slmguardNearest", "nearest"),
    ("slmguardChain", "chain"),
    ("slmguardTruncated", "truncated"),
];
const CEF_LABELS: &[(&str, &str)] = &[
    ("cs1Label", "workload"),
    ("cs2Label", "reasons"),
    ("cs3Label", "policy"),
    ("cs4Label", "ancestors"),
    ("cs5Label", "attack"),
    ("cs6Label", "argv"),
    ("c6a3Label", "Destination IPv6 Address"),
];
/// Keys that repeat what others say.
const CEF_REPEATS: &[&str] = &[
    "rt", "start", "end", "outcome", "dst", "c6a3", "dpt", "proto", "filePath", "fname", "msg",
];
const LEEF: &[(&str, &str)] = &[
    ("alertId", "id"),
    ("cat", "kind"),
    ("identHostName", "host"),
    ("usrName", "uid"),
];
const LEEF_REPEATS: &[&str] = &[
    "sev",
    "devTime",
    "devTimeFormat",
    "msg",
    "dst",
    "dstPort",
    "proto",
    "path",
];
const SYSLOG_REPEATS: &[&str] = &["dst", "dst_port", "protocol", "path"];

/// Whether these pairs are the fields of the alert, all of them and no others.
fn says(
    alert: &Alert,
    pairs: &Pairs,
    names: &[(&str, &str)],
    repeats: &[&str],
) -> Result<(), TestCaseError> {
    let mut found: Vec<(&str, &str)> = vec![];
    for (key, value) in pairs {
        if CEF_LABELS.iter().any(|label| *label == (key, value)) && key.ends_with("Label")
            || repeats.contains(&key.as_str())
        {
            continue;
        }
        let name = names
            .iter()
            .find(|(k, _)| k == key)
            .map_or(key.as_str(), |(_, name)| name);
        found.push((name, value));
    }
    let truncated = found
        .iter()
        .find(|(name, _)| *name == "truncated")
        .map_or("", |(_, value)| value);
    let cut: Vec<&str> = truncated
        .split(',')
        .filter_map(|note| Some(note.split_once(':')?.0))
        .collect();
    found.retain(|(name, _)| *name != "truncated");
    let expected = said(alert);
    prop_assert_eq!(found.len(), expected.len(), "{:?}", pairs);
    for (name, said) in expected {
        let value = found
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value);
        let Some(value) = value else {
            return Err(TestCaseError::fail(format!("no {name} in {pairs:?}")));
        };
        if cut.contains(&name) {
            let kept = value.strip_suffix('…');
            prop_assert!(
                kept.is_some(),
                "{} was cut and does not show it: {}",
                name,
                value
            );
            if let Said::One(text) = &said {
                prop_assert!(
                    meaning(text).starts_with(&unescape(kept.unwrap_or_default())),
                    "{}",
                    name
                );
            }
            continue;
        }
        let read: Vec<Vec<u8>> = match &said {
            Said::One(_) => vec![unescape(value)],
            Said::List(_, separator) => value.split(*separator).map(unescape).collect(),
            Said::Chain(_) => value
                .split(';')
                .flat_map(|step| step.split(','))
                .map(unescape)
                .collect(),
        };
        let meant: Vec<Vec<u8>> = match said {
            Said::One(text) => vec![meaning(&text)],
            Said::List(items, _) => items.iter().map(|item| meaning(item)).collect(),
            Said::Chain(steps) => steps
                .iter()
                .flat_map(|step| {
                    let known = step
                        .known
                        .map_or("-", |known| if known { "listed" } else { "unlisted" });
                    [
                        step.after_ms.to_string(),
                        step.step.clone(),
                        step.class.clone().unwrap_or("-".into()),
                        known.into(),
                        step.subject.clone(),
                    ]
                })
                .map(|part| meaning(&part))
                .collect(),
        };
        prop_assert_eq!(read, meant, "{}", name);
    }
    Ok(())
}

fn is_one_harmless_line(line: &str) -> Result<(), TestCaseError> {
    let hostile: Vec<char> = line.chars().filter(|c| is_hostile(*c)).collect();
    prop_assert!(hostile.is_empty(), "{:?} in {:?}", hostile, line);
    Ok(())
}

fn ten(severity: Severity) -> u8 {
    [1, 3, 5, 8, 10][severity as usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn ocsf_and_ecs_hold_the_whole_alert(alert in any_alert()) {
        let line = Format::Ocsf.render(&alert);
        is_one_harmless_line(&line)?;
        let json = Json::parse(&line).map_err(TestCaseError::fail)?;
        prop_assert_eq!(from_ocsf(&json), alert.clone());
        let stopped = alert.prevented && matches!(alert.verdict.as_str(), "blocked" | "killed");
        let action = (json.number::<u8>("action_id"), json.number::<u8>("disposition_id"));
        prop_assert_eq!(action == (Some(2), Some(2)), stopped, "{:?}", action);
        prop_assert!(stopped || action.1 != Some(2) && action.0 != Some(2));

        let line = Format::Ecs.render(&alert);
        is_one_harmless_line(&line)?;
        let json = Json::parse(&line).map_err(TestCaseError::fail)?;
        prop_assert_eq!(from_ecs(&json, alert.attack.clone()), alert.clone());
        let (mut whole, parts) = (json.texts("threat.technique.id"), json.texts("threat.technique.subtechnique.id"));
        whole.extend(parts);
        prop_assert!(alert.attack.iter().all(|id| whole.contains(id)));
        let types = json.texts("event.type");
        prop_assert_eq!(types.contains(&"denied".to_owned()), stopped);
        prop_assert_eq!(json.text("event.outcome").as_deref() == Some("failure"), stopped);

        let line = Format::Json.render(&alert);
        is_one_harmless_line(&line)?;
        Json::parse(&line).map_err(TestCaseError::fail)?;
        prop_assert_eq!(Alert::from_json_line(&line).unwrap(), alert);
    }

    #[test]
    fn cef_says_what_the_alert_says_and_nothing_else(alert in any_alert()) {
        let line = Format::Cef.render(&alert);
        is_one_harmless_line(&line)?;
        prop_assert!(line.len() <= LONGEST, "{}", line.len());
        let event = Cef::parse(&line).map_err(TestCaseError::fail)?;
        prop_assert_eq!(event.severity, ten(alert.severity));
        let [vendor, product, version, kind, _] = &event.header;
        prop_assert_eq!([vendor.as_str(), product, version], ["slmguard", "slmguard", env!("CARGO_PKG_VERSION")]);
        prop_assert!(*kind == alert.kind || kind == "other");
        says(&alert, &event.pairs, CEF, CEF_REPEATS)?;
        let outcome = event.pairs.iter().find(|(key, _)| key == "outcome").map(|(_, value)| value.as_str());
        prop_assert_eq!(outcome, Some(if alert.prevented { "prevented" } else { "not prevented" }));
        prop_assert_eq!(id_of_line(&line).map(|id| unescape(&id)), Some(meaning(&alert.id)));
    }

    #[test]
    fn leef_says_what_the_alert_says_and_nothing_else(alert in any_alert()) {
        let line = Format::Leef.render(&alert);
        // The one character that parts fields.
        is_one_harmless_line(&line.replace('\t', ""))?;
        prop_assert!(line.len() <= LONGEST, "{}", line.len());
        let event = Leef::parse(&line).map_err(TestCaseError::fail)?;
        says(&alert, &event.pairs, LEEF, LEEF_REPEATS)?;
        prop_assert!(event.pairs.iter().all(|(_, value)| !value.contains('=')));
        let sev = event.pairs.iter().find(|(key, _)| key == "sev").map(|(_, value)| value.clone());
        prop_assert_eq!(sev, Some(ten(alert.severity).to_string()));
        prop_assert_eq!(id_of_line(&line).map(|id| unescape(&id)), Some(meaning(&alert.id)));
    }

    #[test]
    fn syslog_says_what_the_alert_says_and_nothing_else(alert in any_alert()) {
        let line = Format::Rfc5424.render(&alert);
        is_one_harmless_line(&line.replacen('\u{feff}', "", 1))?;
        prop_assert!(line.len() <= LONGEST, "{}", line.len());
        let message = Syslog::parse(&line).map_err(TestCaseError::fail)?;
        prop_assert_eq!(message.facility, 13);
        prop_assert_eq!(message.severity, [6, 5, 4, 3, 2][alert.severity as usize]);
        let [(origin, _), (id, pairs)] = &message.data[..] else {
            return Err(TestCaseError::fail(format!("{:?}", message.data)));
        };
        prop_assert_eq!([origin.as_str(), id], ["origin", "slmguard@32473"]);
        says(&alert, pairs, &[], SYSLOG_REPEATS)?;
        prop_assert!(message.header[1].as_ref().is_none_or(|host| *host == alert.host));
        prop_assert_eq!(id_of_line(&line).map(|id| unescape(&id)), Some(meaning(&alert.id)));

        // The same, read by somebody else's parser.
        let other = syslog_loose::parse_message(&line, syslog_loose::Variant::RFC5424);
        prop_assert_eq!(other.severity.map(|s| s as u8), Some(message.severity));
        prop_assert_eq!(other.hostname, message.header[1].as_deref());
        prop_assert_eq!(other.structured_data.len(), 2);
        let theirs: Pairs = other.structured_data[1].params().map(|(k, v)| ((*k).to_owned(), v)).collect();
        prop_assert_eq!(&theirs, pairs);
    }
}

#[test]
fn what_is_too_long_is_cut_where_it_shows() {
    let mut alert = examples::shown();
    alert.process.argv = vec!["\"]=\\\\".repeat(4000); 3];
    alert.reasons = vec!["模型 ".repeat(2000)];
    alert.workload = "w".repeat(5000);
    for format in [Format::Cef, Format::Leef, Format::Rfc5424] {
        let line = format.render(&alert);
        assert!(
            line.len() <= LONGEST && line.len() > LONGEST / 2,
            "{}",
            line.len()
        );
        assert!(line.contains("argv:"), "{line}");
        // What is short is whole.
        assert_eq!(id_of_line(&line).as_deref(), Some(alert.id.as_str()));
        for part in ["blocked", "203.0.113.66:443/tcp", "0190a5b4"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    // JSON has no longest line.
    assert!(Format::Ocsf.render(&alert).len() > 3 * LONGEST);
}

#[test]
fn an_alert_that_fits_says_nothing_of_cuts() {
    for format in Format::ALL {
        let line = format.render(&examples::shown());
        assert!(!line.to_lowercase().contains("truncated"), "{line}");
    }
}
