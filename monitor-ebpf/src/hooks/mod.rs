//! The hooks, one file per family. Each is thin: is it ours, what does the policy say, tell, act.

mod bind;
mod change;
mod connect;
mod exec;
mod map;
mod mount;
mod open;
mod process;
mod ptrace;
mod ring;
mod send;
mod sys_exit;

pub use open::alone;
