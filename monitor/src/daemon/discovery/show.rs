//! What the API shows of what was found.

use slmguard_core::detect::model::{Description, Format};

use super::{Discovery, operator::recognisable};
use crate::{api::view, daemon::engine::Engine, enrich::detect::FileId};

const FORMATS: [Format; 11] = [
    Format::Gguf,
    Format::Ggml,
    Format::LlamaState,
    Format::Safetensors,
    Format::PytorchZip,
    Format::Pickle,
    Format::Onnx,
    Format::Hdf5,
    Format::Tflite,
    Format::Numpy,
    Format::Llamafile,
];

/// The format of a word.
pub(super) fn format(name: &str) -> Option<Format> {
    FORMATS.into_iter().find(|f| f.name() == name)
}

/// What was shown of a file, as what is known about it.
pub(super) fn description(model: &view::Model) -> Description {
    Description {
        version: None,
        name: model.name.clone(),
        architecture: model.architecture.clone(),
        quantisation: model.quantisation.clone(),
        context: model.context,
        tensors: model.tensors,
        adapter: model.adapter,
        template: model.template_sha256.clone(),
        metadata: model.metadata.clone(),
        partial: model.partial,
    }
}

impl Engine {
    /// Model files with what is known about them by now.
    pub(in crate::daemon) fn models(&self, files: &[(String, FileId, Format)]) -> Vec<view::Model> {
        files
            .iter()
            .map(|(path, id, format)| {
                let known = self.digests.known(id).unwrap_or_default();
                let about = known.description;
                view::Model {
                    path: path.clone(),
                    format: format.name().into(),
                    size: id.size,
                    sha256: known.digest,
                    error: known.failed,
                    name: about.name,
                    architecture: about.architecture,
                    quantisation: about.quantisation,
                    context: about.context,
                    tensors: about.tensors,
                    adapter: about.adapter,
                    template_sha256: about.template,
                    runs_code: format.runs_code(),
                    metadata: about.metadata,
                    partial: about.partial,
                }
            })
            .collect()
    }

    /// Adds to workloads what was found about them.
    pub(in crate::daemon) fn explain(&self, workloads: &mut [view::Workload]) {
        let discovery = self.discovery();
        for workload in workloads {
            let found = discovery.found.get(&workload.name);
            workload.origin = match found {
                Some(_) => "detected",
                None => "configured",
            }
            .into();
            workload.confirmed = found.is_none_or(|f| f.confirmed);
            workload.detection = discovery.seen.get(&workload.name).map(|seen| {
                let mut detection = seen.detection.clone();
                detection.models = self.models(&seen.files);
                detection
            });
            workload.agents = agents(&discovery, &workload.name);
            for member in &mut workload.processes {
                if discovery.mcp.contains(&member.pid) {
                    member.kind = Some("mcp".into());
                }
            }
        }
    }

    /// The search itself.
    pub(in crate::daemon) fn show_search(&self) -> view::Search {
        let discovery = self.discovery();
        let mut refused: Vec<String> = discovery.refused.values().cloned().collect();
        if discovery.without_rule > 0 {
            refused.push(without_rule(discovery.without_rule));
        }
        view::Search {
            enabled: self.config.detect.enabled,
            candidates: discovery.candidates.clone(),
            dismissed: discovery.dismissed.values().cloned().collect(),
            refused,
        }
    }
}

/// What to say of programs that the kernel has no room for.
pub(super) fn without_rule(count: usize) -> String {
    format!(
        "{count} programs of detected workloads found no room among the kernel's enrolment rules: \
         they are guarded a moment after they start instead of from the first instruction; tell \
         their workloads apart in the configuration by unit or cgroup"
    )
}

fn agents(discovery: &Discovery, workload: &str) -> Vec<view::Agent> {
    discovery
        .agents
        .iter()
        .filter(|((w, _), _)| w == workload)
        .map(|((_, id), agent)| view::Agent {
            id: id.clone(),
            state: agent.state.name().into(),
            exe: slmguard_core::text::escape(agent.program.exe.as_bytes()),
            arguments: agent
                .program
                .arguments
                .iter()
                .flatten()
                .map(|a| slmguard_core::text::escape(a.as_bytes()))
                .collect(),
            unit: agent.program.unit.clone(),
            uid: agent.uid,
            pids: agent.pids.iter().copied().collect(),
            evidence: agent.evidence.clone(),
            recognisable: recognisable(agent),
        })
        .collect()
}
