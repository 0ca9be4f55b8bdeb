//! Why something is a workload, for people: evidence, capabilities, models, agents.

use super::table::Table;
use crate::api::view::{Agent, Evidence, Model, Search, Workload};

/// One or two lines that say what it is.
pub(super) fn summary(workload: &Workload) -> Vec<String> {
    let Some(seen) = &workload.detection else {
        return vec![];
    };
    let mut facts = vec![format!("{} (score {:.2})", seen.detector, seen.score)];
    facts.extend(seen.unit.clone());
    facts.extend(seen.container.clone());
    facts.extend(seen.pod.as_ref().map(|pod| format!("pod {pod}")));
    if !seen.ports.is_empty() {
        let ports: Vec<_> = seen.ports.iter().map(u16::to_string).collect();
        facts.push(format!("port {}", ports.join(", ")));
    }
    let mut lines = vec![format!("  server    {}", facts.join("; "))];
    for model in &seen.models {
        let kind = if model.adapter { "adapter" } else { "model" };
        lines.push(format!("  {kind:<9} {}", in_short(model)));
    }
    lines
}

fn in_short(model: &Model) -> String {
    let mut facts = vec![model.format.clone()];
    facts.extend(model.architecture.clone());
    facts.extend(model.quantisation.clone());
    facts.push(bytes(model.size));
    format!("{} ({})", model.path, facts.join(", "))
}

fn bytes(size: u64) -> String {
    let mut value = size as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{size} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Everything that speaks for it.
pub(super) fn evidence(workload: &Workload) -> Vec<String> {
    let Some(seen) = &workload.detection else {
        return vec!["  evidence  none: no detector has seen a process of it".into()];
    };
    let mut lines = vec![format!(
        "  evidence  {:.2} in all; a workload from {:.2} on",
        seen.score, seen.threshold
    )];
    lines.extend(signs(&seen.evidence));
    for capability in &seen.capabilities {
        let label = format!("  may       {}", capability.what);
        lines.push(format!(
            "{label}: {} ({})",
            capability.means, capability.option
        ));
    }
    for server in &seen.mcp_servers {
        lines.push(format!("  mcp       {server}"));
    }
    for model in &seen.models {
        lines.extend(about(model));
    }
    lines
}

fn signs(evidence: &[Evidence]) -> Vec<String> {
    let mut table = Table::new(&["    WEIGHT", "SIGN", "SEEN", "DETECTOR"]);
    for sign in evidence {
        table.row([
            format!("    {:.2}", sign.weight),
            sign.source.clone(),
            sign.seen.clone(),
            sign.detector.clone(),
        ]);
    }
    table.lines()
}

fn about(model: &Model) -> Vec<String> {
    let mut lines = vec![format!("  file      {}", model.path)];
    let digest = match (&model.sha256, &model.error) {
        (Some(digest), _) => digest.clone(),
        (None, Some(error)) => format!("cannot be worked out: {error}"),
        (None, None) => "is being worked out".into(),
    };
    let context = model.context.map(|n| format!("{n} tokens"));
    for (what, value) in [
        ("sha256", Some(digest)),
        ("name", model.name.clone()),
        ("context", context),
        ("tensors", model.tensors.map(|n| n.to_string())),
        ("template", model.template_sha256.clone()),
    ] {
        if let Some(value) = value {
            lines.push(format!("    {what:<9} {value}"));
        }
    }
    if model.runs_code {
        lines.push("    loading it runs code that is in it".into());
    }
    if model.partial {
        lines.push("    its header could not be read to the end".into());
    }
    for (key, value) in &model.metadata {
        lines.push(format!("    {key} = {value}"));
    }
    lines
}

/// Who calls it.
pub(super) fn agents(workload: &Workload, explain: bool) -> Vec<String> {
    let mut lines = vec![];
    let shown = |agent: &&Agent| explain || agent.state != "dismissed";
    for agent in workload.agents.iter().filter(shown) {
        let pids: Vec<_> = agent.pids.iter().map(u32::to_string).collect();
        let running = match pids.as_slice() {
            [] => "not running".to_owned(),
            pids => format!("process {}", pids.join(", ")),
        };
        lines.push(format!(
            "  agent     {}: {}, {running}, user {}, {}",
            agent.id, agent.state, agent.uid, agent.exe
        ));
        if explain || agent.state == "offered" {
            lines.extend(agent.evidence.iter().map(|e| format!("              {e}")));
        }
        if agent.state == "offered" {
            lines.push(format!(
                "              guard it: `slmguard workloads enrol-agent {} {}`",
                workload.name, agent.id
            ));
        }
    }
    lines
}

/// What came near, and what came to nothing.
pub(super) fn search(search: &Search) -> Vec<String> {
    let mut lines = vec![];
    if !search.enabled {
        lines.push("Workloads are not looked for: `enabled = false` in [detect].".into());
    }
    if search.candidates.is_empty() {
        lines.push("No process comes near an inference workload.".into());
    }
    for candidate in &search.candidates {
        lines.push(format!(
            "{} {}: {} (score {:.2}, below the threshold)",
            candidate.pid, candidate.exe, candidate.detector, candidate.score
        ));
        lines.extend(signs(&candidate.evidence));
    }
    for refused in &search.refused {
        lines.push(format!("not guarded: {refused}"));
    }
    for name in &search.dismissed {
        lines.push(format!(
            "dismissed: {name}; `slmguard workloads restore {name}` finds it again"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::{Candidate, Capability, Detection};

    fn workload() -> Workload {
        Workload {
            name: "llama".into(),
            detection: Some(Detection {
                detector: "llama.cpp".into(),
                score: 1.7,
                threshold: 1.0,
                evidence: vec![Evidence {
                    source: "model".into(),
                    seen: "maps the GGUF file /m/a.gguf".into(),
                    weight: 0.8,
                    detector: "generic".into(),
                }],
                capabilities: vec![Capability {
                    what: "tools".into(),
                    option: "--tools all".into(),
                    means: "the server itself runs tools that the model calls".into(),
                }],
                models: vec![Model {
                    path: "/m/a.gguf".into(),
                    format: "GGUF".into(),
                    size: 3 << 20,
                    sha256: Some("ab".into()),
                    architecture: Some("llama".into()),
                    ..Model::default()
                }],
                unit: Some("llama.service".into()),
                ports: vec![8080],
                ..Detection::default()
            }),
            agents: vec![Agent {
                id: "agent".into(),
                state: "offered".into(),
                exe: "/opt/agent".into(),
                pids: vec![9],
                evidence: vec!["is connected to 127.0.0.1:8080".into()],
                ..Agent::default()
            }],
            ..Workload::default()
        }
    }

    #[test]
    fn an_explanation_shows_everything_that_counts() {
        let workload = workload();
        let text = [
            summary(&workload),
            evidence(&workload),
            agents(&workload, true),
        ]
        .concat()
        .join("\n");
        for part in [
            "  server    llama.cpp (score 1.70); llama.service; port 8080",
            "  model     /m/a.gguf (GGUF, llama, 3.0 MiB)",
            "1.70 in all; a workload from 1.00 on",
            "    0.80    model  maps the GGUF file /m/a.gguf  generic",
            "  may       tools: the server itself runs tools that the model calls (--tools all)",
            "    sha256    ab",
            "  agent     agent: offered, process 9, user 0, /opt/agent",
            "slmguard workloads enrol-agent llama agent",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn what_came_near_is_shown_with_its_signs() {
        let near = Search {
            enabled: true,
            candidates: vec![Candidate {
                pid: 5,
                exe: "/usr/bin/vim".into(),
                detector: "generic".into(),
                score: 0.0,
                evidence: vec![],
            }],
            dismissed: vec!["old".into()],
            refused: vec!["found x".into()],
        };
        let text = search(&near).join("\n");
        assert!(
            text.contains("5 /usr/bin/vim: generic (score 0.00"),
            "{text}"
        );
        assert!(
            text.contains("restore old") && text.contains("not guarded: found x"),
            "{text}"
        );
        let off = search(&Search::default()).join("\n");
        assert!(off.contains("enabled = false"), "{off}");
    }
}
