//! An alert read back out of OCSF and ECS, by the places that the documentation names: nothing of it
//! is lost.

use super::{any::SEVERITIES, parsers::Json};
use crate::alert::{Alert, ChainStep, ProcessInfo, Severity};

fn severity_of(ocsf: u8) -> Severity {
    SEVERITIES[usize::from(ocsf) - 1]
}

fn steps(list: &[Json]) -> Vec<ChainStep> {
    let step = |json: &Json| ChainStep {
        after_ms: json.number("after_ms").unwrap(),
        step: json.text("step").unwrap(),
        subject: json.text("subject").unwrap(),
        class: json.text("class"),
        known: json.at("known").map(|known| *known == Json::Bool(true)),
    };
    list.iter().map(step).collect()
}

/// The alert that an OCSF finding tells, by the places that the documentation names.
pub fn from_ocsf(json: &Json) -> Alert {
    let own = |name: &str| json.text(&format!("unmapped.slmguard.{name}"));
    let texts = |name: &str| json.texts(&format!("unmapped.slmguard.{name}"));
    let process = |name: &str| format!("evidences.0.process.{name}");
    let flag =
        |name: &str| json.at(&format!("unmapped.slmguard.{name}")) == Some(&Json::Bool(true));
    let techniques = |version: &str| {
        let of = json
            .list("attacks")
            .iter()
            .filter(|attack| attack.text("version").as_deref() == Some(version));
        of.map(|attack| {
            attack
                .text("sub_technique.uid")
                .or(attack.text("technique.uid"))
                .unwrap()
        })
        .collect()
    };
    let ancestor = |entity: &Json| {
        let path = entity.text("path").unwrap();
        entity
            .number::<u32>("pid")
            .map_or(path.clone(), |pid| format!("{pid} {path}"))
    };
    Alert {
        id: json.text("metadata.uid").unwrap(),
        time: json.text("metadata.original_time").unwrap(),
        host: json.text("device.hostname").unwrap(),
        workload: own("workload").unwrap(),
        role: own("role").unwrap(),
        phase: own("phase").unwrap(),
        mode: own("mode").unwrap(),
        kind: own("kind").unwrap(),
        subject: own("subject").unwrap(),
        name: own("name"),
        access: own("access"),
        verdict: own("verdict").unwrap(),
        prevented: flag("prevented"),
        tier: own("tier").unwrap(),
        hook: own("hook").unwrap(),
        severity: severity_of(json.number("severity_id").unwrap()),
        reasons: texts("reasons"),
        nearest: json
            .list("anomaly_analyses.0.baselines.0.observations")
            .iter()
            .map(|o| o.text("value").unwrap())
            .collect(),
        chain: steps(json.list("unmapped.slmguard.chain")),
        process: ProcessInfo {
            pid: json.number(&process("pid")).unwrap(),
            start_time: own("process.start_time").unwrap().parse().unwrap(),
            exe: json.text(&process("path")).unwrap_or_default(),
            argv: texts("process.argv"),
            uid: json.text(&process("user.uid")).unwrap().parse().unwrap(),
            cgroup: own("process.cgroup").unwrap(),
            ancestors: json
                .list(&process("ancestry"))
                .iter()
                .map(ancestor)
                .collect(),
            adopted: flag("process.adopted"),
        },
        policy_version: u64::from_str_radix(&json.text("policy.uid").unwrap(), 16).unwrap(),
        attack: techniques("18.1"),
        atlas: techniques("5.6.0"),
        owasp: texts("owasp"),
        count: json.number("count").unwrap(),
        first_seen: own("first_seen").unwrap(),
        last_seen: own("last_seen").unwrap(),
    }
}

/// The same of an ECS document. Techniques and their parts are told apart there: they are compared
/// by themselves.
pub fn from_ecs(json: &Json, attack: Vec<String>) -> Alert {
    let own = |name: &str| json.text(&format!("slmguard.{name}"));
    let texts = |name: &str| json.texts(&format!("slmguard.{name}"));
    let flag = |name: &str| json.at(&format!("slmguard.{name}")) == Some(&Json::Bool(true));
    let word = own("severity").unwrap();
    Alert {
        id: json.text("event.id").unwrap(),
        time: json.text("@timestamp").unwrap(),
        host: json.text("host.name").unwrap(),
        workload: json.text("service.name").unwrap(),
        role: own("role").unwrap(),
        phase: own("phase").unwrap(),
        mode: own("mode").unwrap(),
        kind: json.text("event.action").unwrap(),
        subject: own("subject").unwrap(),
        name: own("name"),
        access: own("access"),
        verdict: own("verdict").unwrap(),
        prevented: flag("prevented"),
        tier: own("tier").unwrap(),
        hook: own("hook").unwrap(),
        severity: SEVERITIES
            .into_iter()
            .find(|severity| severity.word() == word)
            .unwrap(),
        reasons: texts("reasons"),
        nearest: texts("nearest"),
        chain: steps(json.list("slmguard.chain")),
        process: ProcessInfo {
            pid: json.number("process.pid").unwrap(),
            start_time: own("process.start_time").unwrap().parse().unwrap(),
            exe: json.text("process.executable").unwrap(),
            argv: json.texts("process.args"),
            uid: json.text("user.id").unwrap().parse().unwrap(),
            cgroup: own("process.cgroup").unwrap(),
            ancestors: texts("process.ancestors"),
            adopted: flag("process.adopted"),
        },
        policy_version: u64::from_str_radix(&json.text("rule.ruleset").unwrap(), 16).unwrap(),
        attack,
        atlas: texts("atlas"),
        owasp: texts("owasp"),
        count: json.number("slmguard.count").unwrap(),
        first_seen: json.text("event.start").unwrap(),
        last_seen: json.text("event.end").unwrap(),
    }
}
