//! Models by digest: what is used while a workload learns is learned, and what takes its place is told.

use slmguard_core::detect::model::Format;

use super::*;
use crate::{
    daemon::discovery::Seen,
    enrich::detect::{FileId, digest::Known},
};

/// A process that is there: this one.
fn uses(engine: &Engine, inode: u64, sha256: Option<&str>) -> Vec<serde_json::Value> {
    let id = FileId {
        inode,
        size: 9,
        ..FileId::default()
    };
    if let Some(digest) = sha256 {
        let known = Known {
            digest: Some(digest.into()),
            ..Known::default()
        };
        engine.digests.remember(id, known);
    }
    let mut seen = Seen::default();
    seen.detection.servers = vec![std::process::id()];
    seen.files = vec![("/srv/m.gguf".into(), id, Format::Gguf)];
    engine.discovery().seen.insert("a".into(), seen);
    engine.weigh_models();
    let alerts = engine.tell();
    let text = |a: &engine::NewAlert| serde_json::from_str(&a.stored.body).unwrap();
    alerts.iter().map(text).collect()
}

#[test]
fn a_model_that_was_replaced_is_told_once_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = start(dir.path(), CONFIG);
    assert_eq!(uses(&engine, 1, Some("aa")), [0; 0], "it learns");
    engine
        .set_mode("a", &change("monitor", false), ROOT)
        .unwrap();
    assert_eq!(uses(&engine, 1, Some("aa")), [0; 0], "it was learned");
    engine.save_models();
    drop(engine);

    let (engine, _) = start(dir.path(), CONFIG);
    assert_eq!(
        uses(&engine, 2, None),
        [0; 0],
        "the digest is not known yet"
    );
    let alerts = uses(&engine, 2, Some("bb"));
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let alert = &alerts[0];
    for (key, value) in [
        ("kind", "model"),
        ("subject", "/srv/m.gguf"),
        ("verdict", "audited"),
        ("severity", "high"),
        ("mode", "monitor"),
    ] {
        assert_eq!(alert[key], value, "{alert}");
    }
    let reasons = alert["reasons"].to_string();
    assert!(
        reasons.contains("SHA-256 aa") && reasons.contains("SHA-256 bb"),
        "{reasons}"
    );
    assert_eq!(alert["process"]["pid"], std::process::id());
    assert_eq!(uses(&engine, 2, Some("bb")), [0; 0], "once");
    engine.state().forget("a");
    assert_eq!(
        uses(&engine, 3, Some("cc")),
        [0; 0],
        "there is nothing to compare with"
    );
}
