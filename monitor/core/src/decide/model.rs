//! From a model that was not learned to a decision: which it is, what was there before, and what an
//! operator can do.
//!
//! It must not judge again, and it never claims that anything was stopped.

use monitor_common::class::Mode;

use crate::{
    baseline::models::Finding,
    decision::Decision,
    observation::{Fact, Observation},
    text::bytes,
};

/// The decision to tell a finding. `mode` is that of the files that its scope reads.
pub fn model(finding: &Finding, mode: Mode) -> Decision {
    let observation = Observation::derived(
        finding.time,
        finding.process,
        &finding.scope,
        mode,
        Fact::Model(Box::new(finding.model.clone())),
    );
    Decision {
        // Seldom, and never a trifle: it waits for nobody's budget.
        budgeted: false,
        ..Decision::told(observation, reasons(finding))
    }
}

fn reasons(finding: &Finding) -> Vec<String> {
    let (model, workload) = (&finding.model, &finding.scope.workload);
    let mut reasons = vec![format!(
        "Workload {workload} uses a model that it did not learn: {}, {}, SHA-256 {}.",
        model.path,
        bytes(model.size),
        model.sha256
    )];
    reasons.push(match &model.before {
        Some(before) => format!(
            "Under that name it used another before, SHA-256 {before}: the file was replaced. Whoever \
             chooses the weights chooses what the model does."
        ),
        None => format!(
            "It is not among the {} that it used while it learned. Whoever chooses the weights chooses \
             what the model does.",
            model.known
        ),
    });
    if model.runs_code {
        reasons.push("Loading a file of that format runs code that is in it.".into());
    }
    reasons
        .push("Nothing was stopped: the digest of a file is known only after it was read.".into());
    reasons.push(format!(
        "If it is meant, nothing needs to be done: it is told once. If not, stop the service, put the \
         file back, and look who may write it: `slmguard events --workload {workload}` and the alerts \
         of kind change and open."
    ));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::{ModelFile, ProcessKey},
        testing::scope,
    };

    #[test]
    fn a_replaced_file_is_told_with_both_digests() {
        let mut finding = Finding {
            scope: scope(),
            process: ProcessKey {
                pid: 1,
                start_time: 2,
            },
            time: 5,
            model: ModelFile {
                path: "/m/a.pt".into(),
                sha256: "bb".into(),
                size: 2048,
                runs_code: true,
                before: Some("aa".into()),
                known: 3,
            },
        };
        let decision = model(&finding, Mode::Enforce);
        assert!(!decision.budgeted);
        assert_eq!(decision.observation.subject(), "/m/a.pt");
        let text = decision.reasons.join("\n");
        for part in [
            "SHA-256 bb",
            "SHA-256 aa",
            "2.0 kB",
            "runs code",
            "Nothing was stopped",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        finding.model.before = None;
        let text = model(&finding, Mode::Enforce).reasons.join("\n");
        assert!(text.contains("not among the 3"), "{text}");
    }
}
