//! What can go wrong on the way into the kernel, in words an operator can act on.

use std::path::PathBuf;

/// Why the kernel side cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process lacks capabilities.
    #[error(
        "not enough privileges: {missing} missing; run this as root, and let the service or container keep these capabilities (CapabilityBoundingSet=, --cap-add)"
    )]
    Privilege {
        /// Names of the missing capabilities.
        missing: String,
    },
    /// Capabilities of another user namespace than the host's.
    #[error(
        "not enough privileges: slmguard runs in a user namespace of its own, and its capabilities do not reach the kernel; run it in the host's user namespace (no `unshare --user`, no rootless container)"
    )]
    UserNamespace,
    /// The kernel lacks something that no tier can do without.
    #[error("this kernel cannot be guarded: {what}; {advice}")]
    Feature {
        /// What is missing.
        what: String,
        /// What to do.
        advice: String,
    },
    /// Built without kernel programs.
    #[error(
        "this slmguard was built without its kernel programs; build it with `cargo xtask build`, which embeds them"
    )]
    NoPrograms,
    /// The object cannot be loaded.
    #[error("the kernel programs cannot be loaded: {0}")]
    Load(String),
    /// Another daemon guards with the same pins.
    #[error(
        "pin directory {} is in use by another slmguard{holder}: stop that one, or give this one a pin_dir of its own; nothing was changed",
        path.display()
    )]
    InUse {
        /// The pin directory.
        path: PathBuf,
        /// ` (pid N)`, where it is known.
        holder: String,
    },
    /// The pin directory is at a place that cannot hold pins.
    #[error(
        "pin_dir {} is not on a bpf file system; use a directory below /sys/fs/bpf",
        path.display()
    )]
    NotBpf {
        /// Which.
        path: PathBuf,
    },
    /// The pin directory cannot be used.
    #[error("pin directory {path}: {what}")]
    Pins {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// A map cannot be read or written.
    #[error("kernel map {map}: {what}")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        what: String,
    },
    /// More than a map holds.
    #[error("too many {what}: {have}, and at most {limit} fit; {advice}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many are wanted.
        have: usize,
        /// How many fit.
        limit: usize,
        /// What to do.
        advice: &'static str,
    },
}

impl KernelError {
    /// Exit code of the program for this error (77 privilege, 69 feature, 78 configuration,
    /// 1 anything else).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Privilege { .. } | Self::UserNamespace => 77,
            Self::NotBpf { .. } => 78,
            Self::Feature { .. } => 69,
            _ => 1,
        }
    }

    /// Wraps any error of a map operation.
    pub(super) fn map<E: std::fmt::Display>(map: &'static str) -> impl Fn(E) -> Self {
        move |e| Self::Map {
            map,
            what: e.to_string(),
        }
    }
}
