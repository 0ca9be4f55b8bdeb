//! Files that a guarded workload maps: how models are loaded, and replaced.

use std::net::Ipv4Addr;

use anyhow::Result;
use scene::daemon::ALERT;
use scene::probe::Order;
use scene::trial::{Setup, Trial, at, text};
use scene::wait;
use serde_json::Value;

/// The size of a very small model.
const SIZE: usize = 2 << 20;

fn told(trial: &Trial, subject: &str, phase: &str) -> Result<Value> {
    wait::until(&format!("the mapping of {subject} is told"), ALERT, || {
        let events = trial.daemon()?.json(&["events", "--limit", "1000"])?;
        Ok(events.into_iter().find(|event| {
            event["kind"] == "map" && event["subject"] == subject && event["phase"] == phase
        }))
    })
}

#[test]
fn a_model_that_is_mapped_is_told() -> Result<()> {
    let trial = Trial::guarded(Setup::role("server"))?;
    let first = trial.file("first.gguf", &"x".repeat(SIZE))?;
    let second = trial.file("second.gguf", &"x".repeat(SIZE))?;
    let small = trial.file("small", "x")?;
    let mut probe = trial.member()?;
    assert!(probe.ask(&Order::Map(small.clone()))?.worked());
    assert!(probe.ask(&Order::Map(first.clone()))?.worked());
    assert_eq!(told(&trial, &text(&first), "start")?["stage"], "load");
    let listen = Order::Listen(at(Ipv4Addr::LOCALHOST.into(), 8080));
    assert!(probe.ask(&listen)?.worked());
    assert!(probe.ask(&Order::Map(second.clone()))?.worked());
    assert_eq!(told(&trial, &text(&second), "serve")?["stage"], "reload");
    let process = trial.process(probe.pid())?;
    assert_eq!(
        process.map(|p| p["phase"].clone()),
        Some("serve".into()),
        "mapping a model gives no other policy"
    );
    let events = trial.daemon()?.json(&["events", "--limit", "1000"])?;
    let small = text(&small);
    assert!(
        !events
            .iter()
            .any(|e| e["kind"] == "map" && e["subject"] == *small)
    );
    Ok(())
}
