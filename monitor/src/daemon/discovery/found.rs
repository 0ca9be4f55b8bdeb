//! One sighting in the words of the API and of the store.

use monitor_common::class::Role;
use slmguard_core::{
    detect::{
        Evidence, THRESHOLD, Verdict, capability,
        grouping::{Grouping, grouping},
        telling,
    },
    text::escape,
    workload::role_name,
};

use super::{Program, Seen};
use crate::{api::view, enrich::detect::Sighting};

/// Hundredths as people write them.
pub(super) fn weight(hundredths: u32) -> f64 {
    f64::from(hundredths) / 100.0
}

pub(super) fn evidence(evidence: &[Evidence]) -> Vec<view::Evidence> {
    evidence
        .iter()
        .map(|e| view::Evidence {
            source: e.source.name().into(),
            seen: e.seen.clone(),
            weight: weight(e.weight),
            detector: e.detector.id().into(),
        })
        .collect()
}

/// Everything that is shown of a workload, from its best process and the others.
pub(super) fn seen(best: &Sighting, all: &[&Sighting]) -> Seen {
    let place = grouping(&best.facts.cgroup);
    let Verdict {
        detector,
        score,
        evidence: signs,
    } = &best.verdict;
    let mut ports: Vec<u16> = all.iter().flat_map(|s| s.facts.ports.clone()).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut servers: Vec<u32> = all.iter().map(|s| s.pid).collect();
    servers.sort_unstable();
    let mut mcp_servers: Vec<String> = all
        .iter()
        .flat_map(|s| &s.mcp)
        .map(|server| {
            let how = match (&server.command, &server.url) {
                (Some(command), _) => format!("{command} {}", server.args.join(" ")),
                (None, Some(url)) => url.clone(),
                (None, None) => String::new(),
            };
            escape(format!("{}: {how}", server.name).trim_end().as_bytes())
        })
        .collect();
    mcp_servers.sort();
    mcp_servers.dedup();
    let mut files = vec![];
    for model in all.iter().flat_map(|s| &s.models) {
        let entry = (escape(model.path.as_bytes()), model.id, model.format);
        if !files.contains(&entry) {
            files.push(entry);
        }
    }
    let capabilities = capability::declared(&best.facts)
        .into_iter()
        .map(|c| view::Capability {
            what: c.what.into(),
            option: c.option,
            means: c.means.into(),
        })
        .collect();
    let detection = view::Detection {
        detector: detector.id().into(),
        score: weight(*score),
        threshold: weight(THRESHOLD),
        evidence: evidence(signs),
        capabilities,
        mcp_servers,
        models: vec![],
        unit: place.unit.map(|u| escape(u.as_bytes())),
        container: place
            .container
            .map(|c| escape(format!("{} {}", c.runtime, c.short()).as_bytes())),
        pod: place.pod,
        ports,
        servers,
    };
    Seen { detection, files }
}

/// How the next process like this one is recognised.
pub(super) fn program(sighting: &Sighting, role: Role) -> Program {
    let Grouping { unit, .. } = grouping(&sighting.facts.cgroup);
    let key = sighting.executable.unwrap_or_default();
    let telling = telling(&sighting.facts, sighting.verdict.detector);
    Program {
        exe: sighting.facts.exe.clone(),
        device: key.device,
        inode: key.inode,
        own_files: sighting.own_files,
        arguments: telling
            .filter(|_| sighting.executable.is_some())
            .map(|t| t.arguments),
        unit,
        role: role_name(role).into(),
    }
}
