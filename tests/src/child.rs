//! Child processes: ones that cannot outlive their parent, and bare forks; and
//! bare system calls.
//!
//! Unsafe, as few files of this crate are.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, ForkResult};

/// Has the kernel send `signal` to the child when the **thread** that starts
/// it ends, however it ends. The child also starts with no signal blocked:
/// which ones this program handles itself is not its business.
pub fn tie(command: &mut Command, signal: Signal) -> &mut Command {
    // SAFETY: the closure runs between fork and exec. It makes two system calls
    // and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            prctl::set_pdeathsig(signal)?;
            Ok(())
        })
    }
}

/// A system call, with numbers for arguments. Pointers among them are null: the
/// kernel reads and writes no memory of this program.
pub fn call(number: i64, arguments: [u64; 3]) -> io::Result<()> {
    let [first, second, third] = arguments;
    // SAFETY: see above; what the call does otherwise is what the caller wants.
    let result = unsafe { nix::libc::syscall(number, first, second, third, 0, 0, 0) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Starts the child in a mount namespace of its own.
pub fn apart(command: &mut Command) -> &mut Command {
    // SAFETY: the closure runs between fork and exec and makes one system call.
    unsafe { command.pre_exec(|| Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?)) }
}

/// Starts the child traced by the thread that starts it: it stops before its
/// program's first instruction.
pub fn traced(command: &mut Command) -> &mut Command {
    // SAFETY: the closure runs between fork and exec and makes one system call.
    unsafe { command.pre_exec(|| Ok(nix::sys::ptrace::traceme()?)) }
}

/// How a forked child ended.
#[derive(Debug)]
pub enum Ending {
    /// By itself; what it had to say.
    Said(Vec<u8>),
    /// By a signal.
    Killed(i32),
}

/// Does `work` in a forked child, without an exec, and waits for it. Only for
/// programs with a single thread.
pub fn fork(work: impl FnOnce() -> Vec<u8>) -> io::Result<Ending> {
    let (reader, writer) = unistd::pipe()?;
    // SAFETY: this program has one thread (see above), so the child holds no
    // lock that another thread would have to release.
    match unsafe { unistd::fork() }? {
        ForkResult::Child => {
            drop(reader);
            let said = File::from(writer).write_all(&work());
            process::exit(i32::from(said.is_err()));
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut bytes = Vec::new();
            File::from(reader).read_to_end(&mut bytes)?;
            match waitpid(child, None)? {
                WaitStatus::Signaled(_, signal, _) => Ok(Ending::Killed(signal as i32)),
                _ => Ok(Ending::Said(bytes)),
            }
        }
    }
}
