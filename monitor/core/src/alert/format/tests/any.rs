//! Any alert that there could be, and some that somebody would like to make.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    alert::{Alert, ChainStep, ProcessInfo, Severity},
    text::escape,
};

/// What somebody would name a file, a host or an argument to make a line say something else.
const FORGERIES: &[&str] = &[
    "x act=allowed outcome=not_prevented slmguardPrevented=false",
    "x\nCEF:0|slmguard|slmguard|1|connect|Connection: let through|1|externalId=forged act=known",
    "|10|externalId=forged act=allowed",
    "\\|\\=\\\\",
    "trailing backslash\\",
    "\\",
    "=",
    " ",
    "  two  spaces  ",
    "x\tverdict=known\tprevented=false\talertId=forged",
    "x\" verdict=\"known\"][slmguard@32473 id=\"forged\"",
    "\"]",
    "]",
    "\\\"] \u{feff}text",
    "x\n<108>1 2023-11-14T22:13:20Z h slmguard - connect [slmguard@32473 id=\"forged\"] x",
    "\",\"verdict\":\"known\",\"x\":\"",
    "{\"id\":\"forged\",\"prevented\":false}",
    "\u{1b}[2J\u{1b}[31mred\u{1b}[0m",
    "\u{202e}gpj.exe\u{2066}",
    "\u{0}\u{7f}\u{85}\u{2028}\u{2029}",
    "a;b, c; d\\x3be",
    "\\x20\\x3d\\u{a}",
    "\\xZZ \\u{110000} \\u{",
    "…",
    "truncated=\"verdict:9\"",
    "模型🦀",
];

fn text() -> impl Strategy<Value = String> {
    let forgery = || select(FORGERIES).prop_map(str::to_owned);
    prop_oneof![
        3 => "[a-z/.0-9-]{0,12}",
        // As the daemon escapes them.
        3 => vec(any::<u8>(), 0..24).prop_map(|bytes| escape(&bytes)),
        3 => forgery().prop_map(|text| escape(text.as_bytes())),
        // As they would be if somebody forgot to.
        3 => forgery(),
        2 => "(\\PC|.|[\u{85}\u{2028}\u{202e}\n\r\t\"\\\\=|\\[\\] ;,]){0,24}",
        1 => (forgery(), 100usize..400).prop_map(|(text, times)| text.repeat(times)),
    ]
}

fn identity() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        1 => "(\\PC|[\n\t\"\\\\=|\\] ]){1,6}",
    ]
}

const KINDS: &[&str] = &[
    "connect",
    "send",
    "open",
    "change",
    "exec",
    "unix",
    "listen",
    "query",
    "facility",
    "found",
    "volume",
    "odd",
    "model",
    "episode",
    "lineage",
    "held",
    "from\nlater|version",
];
const SUBJECTS: &[&str] = &[
    "10.0.0.1:443/tcp",
    "[2001:db8::1]:53/udp",
    "*:8080/tcp",
    "/srv/x=y",
];
const VERDICTS: &[&str] = &["blocked", "killed", "would_block", "audited"];
pub const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

prop_compose! {
    pub fn any_alert()(
        id in identity(),
        texts in vec(text(), 24),
        lists in vec(vec(text(), 0..4), 7),
        (kind, verdict, severity, subject) in (select(KINDS), select(VERDICTS), select(&SEVERITIES[..]), select(SUBJECTS)),
        flags in any::<[bool; 7]>(),
        numbers in any::<[u64; 5]>(),
        steps in vec((text(), text(), proptest::option::of(text()), proptest::option::of(any::<bool>()), any::<u64>()), 0..3),
    ) -> Alert {
        let time = |text: &String| if flags[0] { "2023-11-14T22:13:20.000001Z".into() } else { text.clone() };
        let maybe = |flag: bool, text: &String| flag.then(|| text.clone());
        Alert {
            id,
            time: time(&texts[0]),
            host: if flags[1] { "edge-1".into() } else { texts[1].clone() },
            workload: texts[2].clone(),
            role: texts[3].clone(),
            phase: texts[4].clone(),
            mode: texts[5].clone(),
            kind: kind.into(),
            subject: if flags[2] { subject.into() } else { texts[6].clone() },
            name: maybe(flags[3], &texts[7]),
            access: maybe(flags[4], &texts[8]),
            verdict: verdict.into(),
            prevented: flags[5],
            tier: texts[9].clone(),
            hook: texts[10].clone(),
            severity,
            reasons: lists[0].clone(),
            nearest: lists[1].clone(),
            chain: steps.into_iter().map(|(step, subject, class, known, after_ms)| ChainStep { after_ms, step, subject, class, known }).collect(),
            process: ProcessInfo {
                pid: numbers[0] as u32,
                start_time: numbers[1],
                exe: texts[11].clone(),
                argv: lists[2].clone(),
                uid: numbers[2] as u32,
                cgroup: texts[12].clone(),
                ancestors: lists[3].iter().enumerate().map(|(n, text)| if n % 2 == 0 { format!("{n} {text}") } else { text.clone() }).collect(),
                adopted: flags[6],
            },
            policy_version: numbers[3],
            attack: lists[4].iter().cloned().chain(["T1552.005".into(), "T1041".into()]).collect(),
            atlas: lists[5].iter().cloned().chain(["AML.T0018.002".into()]).collect(),
            owasp: lists[6].clone(),
            count: numbers[4],
            first_seen: time(&texts[13]),
            last_seen: time(&texts[14]),
        }
    }
}
