//! Embeds the kernel object in the daemon, if it has been built.
//!
//! `cargo check` and rust-analyzer must work without the BPF toolchain: where there is no object,
//! an empty one is embedded, and the daemon says so when it is started.

use std::{env, fs, path::PathBuf};

/// Set to the object's path to embed another one than `target/bpf/slmguard.bpf.o`.
const OVERRIDE: &str = "SLMGUARD_BPF_OBJECT";
/// What the kernel module includes, in `OUT_DIR`.
const EMBEDDED: &str = "slmguard.bpf.o";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={OVERRIDE}");
    let object = match env::var_os(OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => {
            let directory = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../target/bpf");
            let object = directory.join(EMBEDDED);
            if !object.exists() {
                // Cargo runs this again when something appears in a directory that it watches;
                // a path that does not exist would make it run every time. Where the directory
                // cannot be made, that is what happens.
                let _ = fs::create_dir_all(&directory);
                println!("cargo:rerun-if-changed={}", directory.display());
            }
            object
        }
    };
    let bytes = match fs::read(&object) {
        Ok(bytes) => {
            println!("cargo:rerun-if-changed={}", object.display());
            bytes
        }
        Err(e) if env::var_os(OVERRIDE).is_some() => {
            panic!(
                "{OVERRIDE} names {}, which cannot be read: {e}",
                object.display()
            )
        }
        Err(_) => vec![],
    };
    let embedded = PathBuf::from(variable("OUT_DIR")).join(EMBEDDED);
    if let Err(e) = fs::write(&embedded, bytes) {
        panic!("cannot write {}: {e}", embedded.display());
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|e| panic!("cargo sets {name} for build scripts: {e}"))
}
