//! The hooks, one file per family. Each is thin: is it ours, what does the policy say, tell, act.

mod accept;
mod bind;
mod change;
mod connect;
mod exec;
mod listen;
mod map;
mod mount;
mod open;
mod process;
mod ptrace;
mod ring;
mod send;
mod sys_exit;
mod tcp;

pub use open::alone;
