//! What the shell finds out about one process, as plain values. Text from the process is taken as
//! it is and escaped where it is shown.

use serde::Deserialize;

use super::model::Format;

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessFacts {
    /// Path of its program.
    pub exe: String,
    /// Its name, as it may have set it itself.
    pub comm: String,
    /// Its arguments, the program's name first.
    pub argv: Vec<String>,
    /// Names of its environment variables; never their values.
    pub env: Vec<String>,
    /// Shared libraries that are mapped.
    pub libraries: Vec<String>,
    /// Other files that it maps or holds open and that could be models.
    #[serde(rename = "file")]
    pub files: Vec<FileSeen>,
    /// TCP ports that it listens on.
    pub ports: Vec<u16>,
    /// Device nodes that it holds open.
    pub devices: Vec<String>,
    /// Path of its cgroup.
    pub cgroup: String,
    /// Its real user.
    pub uid: u32,
    /// Anonymous memory in bytes.
    pub heap: u64,
}

/// A file that a process uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSeen {
    /// Its path as the process sees it.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// What its first bytes say it is.
    #[serde(default)]
    pub format: Option<Format>,
    /// How it is used.
    #[serde(default)]
    pub how: How,
}

/// How a file is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Open for writing: it comes or goes, nobody computes with it.
    Written,
    /// Named by an option, and closed again or not opened yet.
    Named,
    /// Open for reading only.
    #[default]
    Read,
    /// Mapped into memory.
    Mapped,
}
