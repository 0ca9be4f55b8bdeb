//! The hooks, one file per family. Each is thin: is it ours, what does the policy say, tell, act.

mod bind;
mod connect;
mod exec;
mod open;
mod process;
mod send;
mod sys_exit;
