//! An alert as Detection Finding.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{
    super::{
        own::Own,
        view::{PRODUCT, VERSION as PRODUCT_VERSION, milliseconds},
    },
    Stage, VERSION, parts,
    types::*,
};
use crate::alert::Alert;

/// Uid of the class.
const CLASS: u32 = 2004;

impl Finding {
    /// The finding that an alert tells: new, or the same thing again.
    pub fn of(alert: &Alert) -> Self {
        let stage = if alert.is_repeated() {
            Stage::Update
        } else {
            Stage::Create
        };
        Self::at(alert, stage)
    }

    /// The same at a stage of its life.
    pub fn at(alert: &Alert, stage: Stage) -> Self {
        let (activity_id, activity_name) = match stage {
            Stage::Create => (1, "Create"),
            Stage::Update => (2, "Update"),
            Stage::Close => (3, "Close"),
        };
        let (status_id, status) = match stage {
            Stage::Create | Stage::Update => (1, "New"),
            Stage::Close => (4, "Resolved"),
        };
        let (action_id, action, disposition_id, disposition) = parts::action(alert.effect());
        let severity = alert.severity.degrees();
        let attacks = parts::attacks(&alert.attack, &alert.atlas);
        let program = alert.kind == "exec";
        let name = alert.name.as_deref();
        Self {
            activity_id,
            activity_name,
            category_uid: 2,
            category_name: "Findings",
            class_uid: CLASS,
            class_name: "Detection Finding",
            type_uid: CLASS * 100 + activity_id,
            type_name: format!("Detection Finding: {activity_name}"),
            time: milliseconds(&alert.time).unwrap_or_default(),
            start_time: milliseconds(&alert.first_seen),
            end_time: milliseconds(&alert.last_seen),
            count: alert.count,
            severity_id: severity.ocsf,
            severity: severity.caption,
            status_id,
            status,
            action_id,
            action,
            disposition_id,
            disposition,
            is_alert: true,
            message: alert.summary(),
            finding_info: info(alert, attacks.clone()),
            anomaly_analyses: vec![analysis(alert)],
            evidences: vec![parts::evidence(
                &alert.process,
                alert.target(),
                name,
                program,
            )],
            attacks,
            policy: Policy {
                uid: format!("{:013x}", alert.policy_version),
                name: alert.workload.clone(),
            },
            device: parts::device(&alert.host),
            metadata: Metadata {
                version: VERSION,
                product: parts::product(),
                profiles: vec!["host", "security_control"],
                uid: alert.id.clone(),
                event_code: alert.kind.clone(),
                correlation_uid: parts::process_uid(&alert.process),
                log_name: "alerts",
                log_provider: PRODUCT,
                original_time: alert.time.clone(),
            },
            unmapped: Unmapped {
                slmguard: Own::of(alert),
            },
        }
    }
}

fn info(alert: &Alert, attacks: Vec<Attack>) -> FindingInfo {
    let (type_id, word) = match alert.kind.as_str() {
        "volume" | "episode" => (3, "Statistical"),
        "model" | "lineage" => (5, "Fingerprinting"),
        _ => (2, "Behavioral"),
    };
    let steps = alert.chain.iter().zip(alert.chain_times()).enumerate();
    let related_events: Vec<_> = steps
        .map(|(number, (step, time))| RelatedEvent {
            uid: format!("{}/{number}", alert.id),
            r#type: step.step.clone(),
            title: step.subject.clone(),
            first_seen_time: time,
        })
        .collect();
    FindingInfo {
        uid: finding_uid(alert),
        title: alert.title(),
        desc: alert.reasons.join(" "),
        types: vec![alert.kind.clone()],
        analytic: Analytic {
            uid: format!("{PRODUCT}.{}", alert.fixed_kind()),
            name: alert.sort().into(),
            type_id,
            r#type: word,
            version: PRODUCT_VERSION,
        },
        attacks,
        data_sources: vec![alert.hook.clone(), alert.tier.clone()],
        created_time: milliseconds(&alert.time).unwrap_or_default(),
        first_seen_time: milliseconds(&alert.first_seen),
        last_seen_time: milliseconds(&alert.last_seen),
        related_events_count: u32::try_from(related_events.len()).ok().filter(|n| *n > 0),
        related_events,
    }
}

/// The same for all alerts about the same thing, so that what is told again updates what was told:
/// host, workload, role, phase, kind, subject and verdict. Each part with its length, so that no
/// two lists of parts look alike.
fn finding_uid(alert: &Alert) -> String {
    let mut hash = Sha256::new();
    for part in [
        &alert.host,
        &alert.workload,
        &alert.role,
        &alert.phase,
        &alert.kind,
        &alert.subject,
        &alert.verdict,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut uid = String::with_capacity(32);
    for byte in &hash.finalize()[..16] {
        let _ = write!(uid, "{byte:02x}");
    }
    uid
}

/// What was observed against what is known.
fn analysis(alert: &Alert) -> AnomalyAnalysis {
    let (parameter, how) = match (alert.kind.as_str(), alert.access.as_deref()) {
        ("connect" | "send", _) => ("destination", "Set Membership"),
        ("open", Some("read")) => ("file read", "Set Membership"),
        ("open" | "change", _) => ("file written", "Set Membership"),
        ("exec", _) => ("program started", "Set Membership"),
        ("unix", _) => ("unix socket", "Set Membership"),
        ("listen", _) => ("listening port", "Set Membership"),
        ("query", _) => ("name looked up", "Set Membership"),
        ("facility", _) => ("kernel facility", "Set Membership"),
        ("model", _) => ("digest of a model", "Set Membership"),
        ("volume", _) => ("bytes sent", "Volume Analysis"),
        ("odd", _) => ("kind of call", "Sequence Analysis"),
        ("episode", _) => ("episode as a whole", "Sequence Analysis"),
        ("lineage", _) => ("program, flags and model", "Set Membership"),
        ("held", _) => ("alerts a day", "Frequency Analysis"),
        _ => ("what the process had", "Set Membership"),
    };
    let target = |name: &str, r#type| AnalysisTarget {
        name: name.into(),
        r#type,
    };
    let pattern = |observations| Pattern {
        observation_parameter: parameter,
        observation_type: how,
        observations,
    };
    let seen = Observed {
        value: alert.subject.clone(),
        count: Some(alert.count),
    };
    let known: Vec<_> = alert
        .nearest
        .iter()
        .map(|near| Observed {
            value: near.clone(),
            count: None,
        })
        .collect();
    AnomalyAnalysis {
        analysis_targets: vec![
            target(&alert.workload, "workload"),
            target(&alert.role, "role"),
            target(&alert.phase, "phase"),
        ],
        anomalies: vec![pattern(vec![seen])],
        baselines: if known.is_empty() {
            vec![]
        } else {
            vec![pattern(known)]
        },
    }
}
