//! What `slmguard doctor` says about the hooks, and whether it is true.

use std::collections::BTreeMap;

use anyhow::Result;
use scene::trial::{Setup, Trial};
use serde_json::Value;

/// Hooks that work on every tier, and those that work on one.
const ALWAYS: [&str; 9] = [
    "process_fork",
    "process_exec",
    "process_exit",
    "bind4",
    "bind6",
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
];
const LSM: [&str; 4] = ["lsm_file_open", "lsm_exec", "lsm_connect", "lsm_sendmsg"];
const CGROUP: [&str; 1] = ["open_exit"];

fn rows(trial: &Trial) -> Result<BTreeMap<String, Value>> {
    let rows = trial.daemon()?.doctor()?;
    Ok(rows
        .into_iter()
        .map(|row| (row["hook"].as_str().unwrap_or_default().to_owned(), row))
        .collect())
}

/// `doctor` finds nothing missing.
fn is_well(trial: &Trial) -> Result<()> {
    let output = trial.daemon()?.cli(&["doctor"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let status = trial.daemon()?.status()?;
    assert_eq!(output.status.code(), Some(0), "{said}\n{status}");
    Ok(())
}

#[test]
fn every_hook_of_the_tier_is_attached_and_fires() -> Result<()> {
    let trial = Trial::guarded(Setup::tool())?;
    is_well(&trial)?;
    let rows = rows(&trial)?;
    let (of_tier, of_other): (&[&str], &[&str]) = if trial.daemon()?.tier()? == "lsm" {
        (&LSM, &CGROUP)
    } else {
        (&CGROUP, &LSM)
    };
    for hook in ALWAYS.iter().chain(of_tier) {
        assert_eq!(rows[*hook]["attached"], true, "{}", rows[*hook]);
        assert_ne!(rows[*hook]["fires"], false, "{}", rows[*hook]);
    }
    for hook in of_other {
        assert_eq!(rows[*hook]["attached"], false, "{}", rows[*hook]);
        assert!(rows[*hook]["reason"].is_string(), "{}", rows[*hook]);
    }
    for row in rows.values() {
        assert!(
            ["prevents", "kills", "detects", "tracks"]
                .contains(&row["effect"].as_str().unwrap_or("")),
            "{row}"
        );
        assert!(!row["guards"].as_str().unwrap_or("").is_empty(), "{row}");
    }
    Ok(())
}

/// The tier that needs no BPF LSM is whole on kernels that have it, too: each kernel's verifier has
/// limits of its own. Its self-test has processes killed in the middle of what they do, and leaves
/// nothing of that behind.
#[test]
fn the_lesser_tier_is_whole_on_every_kernel() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let inside = format!("TMPDIR={}", temporary.path().display());
    let setup = Setup::tool().tier("cgroup");
    let trial = Trial::guarded(setup.inside(vec!["env".into(), inside]))?;
    let left = std::fs::read_dir(temporary.path())?.count();
    assert_eq!(left, 0, "left by the self-test");
    let status = trial.daemon()?.status()?;
    assert_eq!(status["degraded"], serde_json::json!([]), "{status}");
    let rows = rows(&trial)?;
    for row in rows.values().filter(|row| row["tier"] != "lsm") {
        assert_eq!(row["attached"], true, "{row}");
        assert_ne!(row["fires"], false, "{row}");
    }
    is_well(&trial)
}

#[test]
fn a_hook_that_is_left_out_is_reported_as_degraded() -> Result<()> {
    let trial = Trial::prepared(Setup::tool())?;
    let config = std::fs::read_to_string(trial.daemon()?.config())?;
    let config = config.replace("disable_hooks = [", "disable_hooks = [\"sendmsg6\", ");
    std::fs::write(trial.daemon()?.config(), config)?;
    trial.daemon()?.launch()?;
    assert_eq!(trial.daemon()?.cli(&["doctor"])?.status.code(), Some(1));
    let row = &rows(&trial)?["sendmsg6"];
    assert_eq!(row["attached"], false);
    assert!(
        row["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{row}"
    );
    let status = trial.daemon()?.status()?;
    let degraded = status["degraded"].to_string();
    assert!(degraded.contains("sendmsg6"), "{status}");
    Ok(())
}
