//! Alerts of any content in every format: one line, which a strict reader of the format takes, with
//! the id and the verdict of the alert and no field twice.

#![no_main]

use slmguard_core::{
    alert::{
        Alert, ChainStep, Format, ProcessInfo, Severity,
        format::{LONGEST, id_of_line},
    },
    text::{escape, harmless, unescape},
};
use slmguard_fuzz::{
    is_harmless,
    parsers::{Cef, Json, Leef, Pairs, Syslog},
};

const KINDS: [&str; 8] = [
    "connect", "listen", "open", "exec", "unix", "query", "volume", "other",
];
const VERDICTS: [&str; 4] = ["blocked", "killed", "would_block", "audited"];
const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];
const SUBJECTS: [&str; 4] = ["10.0.0.1:443/tcp", "[2001:db8::1]:53/udp", "*:8080/tcp", "/a"];

/// Two bytes that choose, then texts that end with a byte 0xfe; every second one is escaped as the
/// daemon does, the others are as somebody would have them who forgot to.
fn alert(data: &[u8]) -> Alert {
    let (choice, rest) = data.split_at(data.len().min(2));
    let [a, b] = [0, 1].map(|at| usize::from(choice.get(at).copied().unwrap_or_default()));
    let mut texts = rest.split(|byte| *byte == 0xfe).enumerate().map(|(n, bytes)| {
        if n % 2 == 0 {
            escape(bytes)
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        }
    });
    let mut text = || texts.next().unwrap_or_default();
    let time = "2023-11-14T22:13:20.000001Z";
    let mut alert = Alert {
        id: "0190a5b4-7c3d-7e21-9f00-5d2b8c1e4a77".into(),
        time: time.into(),
        host: text(),
        workload: text(),
        role: text(),
        phase: text(),
        mode: text(),
        kind: KINDS[a % 8].into(),
        subject: text(),
        name: Some(text()),
        access: Some(text()),
        verdict: VERDICTS[b % 4].into(),
        prevented: b & 4 != 0,
        tier: text(),
        hook: text(),
        severity: SEVERITIES[a / 8 % 5],
        reasons: vec![text(), text()],
        nearest: vec![text()],
        chain: vec![ChainStep {
            after_ms: 7,
            step: text(),
            subject: text(),
            class: Some(text()),
            known: Some(b & 8 != 0),
        }],
        process: ProcessInfo {
            pid: 1,
            start_time: 2,
            exe: text(),
            argv: vec![text(), text(), text()],
            uid: 3,
            cgroup: text(),
            ancestors: vec![text()],
            adopted: false,
        },
        policy_version: 4,
        attack: vec!["T1552.005".into(), text()],
        atlas: vec![text()],
        owasp: vec![text()],
        count: 1,
        first_seen: time.into(),
        last_seen: time.into(),
    };
    if b & 16 != 0 {
        alert.subject = SUBJECTS[b / 32 % 4].into();
    }
    alert
}

/// The value of a key, with the bytes that it stands for.
fn value(pairs: &Pairs, key: &str) -> Vec<u8> {
    let found = pairs.iter().find(|(known, _)| known == key);
    unescape(&found.unwrap_or_else(|| panic!("no {key} in {pairs:?}")).1)
}

/// What has to be there as it is, whatever else the alert holds.
fn says(pairs: &Pairs, alert: &Alert, [verdict, prevented, workload, truncated]: [&str; 4]) {
    assert_eq!(value(pairs, verdict), alert.verdict.as_bytes());
    assert_eq!(value(pairs, prevented), alert.prevented.to_string().as_bytes());
    if !pairs.iter().any(|(key, _)| key == truncated) {
        assert_eq!(value(pairs, workload), unescape(&harmless(&alert.workload)));
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let alert = alert(data);
    for format in Format::ALL {
        let line = format.render(&alert);
        assert_eq!(id_of_line(&line).as_deref(), Some(alert.id.as_str()), "{line}");
        match format {
            Format::Json | Format::Ocsf | Format::Ecs => {
                is_harmless(&line);
                let json = Json::parse(&line).unwrap();
                let place = match format {
                    Format::Ocsf => "unmapped.slmguard.",
                    Format::Ecs => "slmguard.",
                    _ => "",
                };
                let at = |name: &str| json.at(&format!("{place}{name}"));
                assert_eq!(at("verdict"), Some(&Json::Text(alert.verdict.clone())));
                assert_eq!(at("prevented"), Some(&Json::Bool(alert.prevented)));
                assert_eq!(at("subject"), Some(&Json::Text(alert.subject.clone())));
                if format == Format::Ocsf {
                    let denied = json.number::<u8>("action_id") == Some(2);
                    assert!(!denied || alert.prevented);
                }
            }
            Format::Cef => {
                is_harmless(&line);
                let event = Cef::parse(&line).unwrap();
                let keys = ["act", "slmguardPrevented", "cs1", "slmguardTruncated"];
                says(&event.pairs, &alert, keys);
            }
            Format::Leef => {
                is_harmless(&line.replace('\t', ""));
                let event = Leef::parse(&line).unwrap();
                says(&event.pairs, &alert, ["verdict", "prevented", "workload", "truncated"]);
            }
            Format::Rfc5424 => {
                is_harmless(&line.replacen('\u{feff}', "", 1));
                let message = Syslog::parse(&line).unwrap();
                assert_eq!(message.data.len(), 2);
                let (_, pairs) = &message.data[1];
                says(pairs, &alert, ["verdict", "prevented", "workload", "truncated"]);
            }
        }
        assert!(line.len() <= LONGEST || line.starts_with('{'));
    }
});
