//! Exit codes, and the error that carries one: what went wrong, where, and what to do about it.

use std::{fmt, process::ExitCode};

/// How a command ended; people script against these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed, or found something unhealthy.
    Failure = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The daemon is not running.
    NotRunning = 3,
    /// The daemon refused.
    Denied = 4,
    /// The kernel lacks something that slmguard cannot do without.
    KernelFeature = 69,
    /// The caller lacks a privilege.
    Privilege = 77,
    /// The configuration is wrong.
    Config = 78,
    /// The command to start was found and cannot be executed, as shells say it.
    NotExecutable = 126,
    /// The command to start was not found.
    NotFound = 127,
}

impl Exit {
    /// The exit code with that number; anything else is a failure.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Ok,
            2 => Self::Usage,
            3 => Self::NotRunning,
            4 => Self::Denied,
            69 => Self::KernelFeature,
            77 => Self::Privilege,
            78 => Self::Config,
            126 => Self::NotExecutable,
            127 => Self::NotFound,
            _ => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// Whole sentences for a person: what, where, what to do.
    pub message: String,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    /// Keeps the exit code of a [`Failure`] further down, otherwise it is a plain failure.
    fn from(error: anyhow::Error) -> Self {
        let exit = error
            .chain()
            .find_map(|e| e.downcast_ref::<Self>())
            .map(|f| f.exit);
        Self {
            exit: exit.unwrap_or(Exit::Failure),
            message: format!("{error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_failure_keeps_its_code_through_layers_of_context() {
        let inner: Result<(), Failure> = Err(Failure::new(Exit::Config, "bad"));
        let outer = Failure::from(inner.context("while starting").unwrap_err());
        assert_eq!(
            (outer.exit, outer.message.as_str()),
            (Exit::Config, "while starting: bad")
        );
        assert_eq!(Failure::from(anyhow::anyhow!("x")).exit, Exit::Failure);
    }

    /// Rows of the table in `docs/troubleshooting.md`: a piece of a message, and its exit code.
    fn documented() -> Vec<(&'static str, &'static str)> {
        include_str!("../../docs/troubleshooting.md")
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| `")?.split(" | ");
                let piece = cells.next()?.strip_suffix('`')?;
                Some((piece, cells.next()?.trim()))
            })
            .collect()
    }

    fn in_table(error: &dyn std::error::Error, code: u8) {
        let message = error.to_string();
        let code = code.to_string();
        assert!(
            documented()
                .iter()
                .any(|(piece, codes)| message.contains(piece) && *codes == code),
            "docs/troubleshooting.md does not say what to do about exit code {code}: {message}"
        );
    }

    #[test]
    fn every_error_of_kernel_and_store_is_in_the_troubleshooting_table() {
        use crate::{kernel::KernelError as K, store::StoreError as S};
        let path = || std::path::PathBuf::from("/p");
        let text = String::new;
        let kernel = [
            K::Privilege { missing: text() },
            K::UserNamespace,
            K::Feature {
                what: text(),
                advice: text(),
            },
            K::NoPrograms,
            K::Load(text()),
            K::InUse {
                path: path(),
                holder: text(),
            },
            K::NotBpf { path: path() },
            K::Pins {
                path: path(),
                what: text(),
            },
            K::Map {
                map: "MEMBER",
                what: text(),
            },
            K::Full {
                what: "policies",
                have: 2,
                limit: 1,
                advice: "",
            },
        ];
        for error in &kernel {
            // A new kind of error does not compile here until it is in the list above.
            match error {
                K::Privilege { .. } | K::UserNamespace | K::Feature { .. } | K::NoPrograms => {}
                K::Load(_) | K::InUse { .. } | K::NotBpf { .. } | K::Pins { .. } => {}
                K::Map { .. } | K::Full { .. } => {}
            }
            in_table(error, error.exit_code());
        }
        let sql = || rusqlite::Error::InvalidQuery;
        let source = || std::io::Error::other("x");
        let store = [
            S::InUse {
                path: path(),
                holder: text(),
            },
            S::Newer {
                path: path(),
                found: 2,
                known: 1,
            },
            S::Damaged {
                path: path(),
                what: text(),
            },
            S::Io {
                path: path(),
                source: source(),
            },
            S::Sql {
                what: "do it",
                source: sql(),
            },
            S::Full { limit: 1 },
            S::ClassesFull {
                used: 1,
                wanted: 2,
                limit: 1,
            },
            S::Corrupt {
                what: "a word",
                value: text(),
            },
        ];
        for error in &store {
            match error {
                S::InUse { .. } | S::Newer { .. } | S::Damaged { .. } | S::Io { .. } => {}
                S::Sql { .. } | S::Full { .. } | S::ClassesFull { .. } => {}
                S::Corrupt { .. } => {}
            }
            in_table(error, Exit::Failure as u8);
        }
    }

    #[test]
    fn every_message_of_the_troubleshooting_table_is_one_of_ours() {
        fn read(directory: &std::path::Path, all: &mut String) {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    read(&path, all);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    all.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut code = String::new();
        for folder in ["src", "core/src"] {
            read(&here.join(folder), &mut code);
        }
        // Long literals are broken with a backslash, and quotes in them escaped.
        let parts: Vec<_> = code.split("\\\n").map(str::trim_start).collect();
        let code = parts.concat().replace("\\\"", "\"");
        let rows = documented();
        assert!(rows.len() > 30, "{}", rows.len());
        for (piece, _) in rows {
            assert!(code.contains(piece), "nothing says `{piece}` any more");
        }
    }

    #[test]
    fn numbers_and_codes_agree() {
        for exit in [
            Exit::Ok,
            Exit::Usage,
            Exit::NotRunning,
            Exit::Denied,
            Exit::KernelFeature,
        ] {
            assert_eq!(Exit::from_number(exit as i64), exit);
        }
        assert_eq!(Exit::from_number(99), Exit::Failure);
    }
}
