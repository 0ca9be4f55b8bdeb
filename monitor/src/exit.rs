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
