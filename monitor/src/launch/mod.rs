//! Starting a program inside the guard: finds it, confines this process as a plan says, and becomes
//! the program. What a plan holds is decided in [`slmguard_core::decide::sandbox`].
//!
//! Everything that can fail is done before the process asks to be a member; what is left then is to
//! close the doors and to execute.

mod command;
mod landlock;
mod seccomp;
mod tree;
pub mod unit;

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command as Process};

pub use command::Command;
use slmguard_core::decide::sandbox::Plan;
pub use tree::Files;

use crate::exit::{Exit, Failure};

/// The version of Landlock that the kernel offers, as far as slmguard knows it; 0 for none.
pub fn landlock_version() -> u32 {
    landlock::version()
}

/// A plan that is ready: nothing of it can be missing any more.
pub struct Prepared {
    landlock: Option<landlock::Ruleset>,
    seccomp: Option<seccomp::Filters>,
}

impl Prepared {
    /// Opens what a plan names and compiles its filters.
    ///
    /// # Errors
    /// The kernel lacks something that the plan needs.
    pub fn new(plan: &Plan) -> Result<Self, Failure> {
        Ok(Self {
            landlock: plan.landlock.as_ref().map(landlock::prepare).transpose()?,
            seccomp: (!plan.calls.is_empty())
                .then(|| seccomp::compile(&plan.calls))
                .transpose()?,
        })
    }

    /// Confines this thread and what it starts, for good. Sets no_new_privs.
    fn enter(self) -> Result<(), Failure> {
        if let Some(ruleset) = self.landlock {
            ruleset.enter()?;
        }
        self.seccomp.map_or(Ok(()), |filters| filters.enter())
    }
}

/// Confines this process and becomes the command. Returns only if that failed.
pub fn become_command(prepared: Option<Prepared>, command: &Command) -> Failure {
    if let Some(Err(failure)) = prepared.map(Prepared::enter) {
        return failure;
    }
    let arguments: &[OsString] = &command.arguments;
    let error = Process::new(&command.program)
        .arg0(&command.name)
        .args(arguments)
        .exec();
    command.failed(&error)
}

/// Something that had to be installed and was not: the command is not started.
fn missing(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(
        Exit::KernelFeature,
        format!(
            "cannot confine the command, so it is not started: {what}: {why}; --sandbox never \
             starts it without Landlock and seccomp"
        ),
    )
}
