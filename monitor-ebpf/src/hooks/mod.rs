//! The hooks, one file per family. Each is thin: is it ours, what does the policy say, tell, act.

mod accept;
mod bind;
mod change;
mod connect;
mod exec;
mod flow;
mod listen;
mod map;
mod mount;
mod open;
mod owner;
mod packet;
mod process;
mod ptrace;
mod ring;
mod send;
mod socket;
mod sys_exit;
mod tcp;
mod unix;

pub use open::alone;
