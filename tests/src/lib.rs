//! The scene of slmguard's demo and end-to-end tests.
//!
//! A real inference server (llama.cpp) runs a hand-made, prompt-injectable
//! model; an agent performs its tool calls; services, an attacker and a
//! metadata service count what reaches them. All of it lives in a namespace of
//! its own, so that nothing ever addresses a machine that the scene did not
//! make. The guard under test is a separate program and is only ever spoken to
//! as an operator would.
//!
//! | | |
//! |---|---|
//! | [`gguf`], [`model`], [`script`] | the model: file format, weights, what it falls for |
//! | [`namespace`], [`netlink`] | where everything lives |
//! | [`victim`], [`world`], [`dns`] | who is attacked, and the evidence |
//! | [`agent`], [`tools`], [`http`] | the agent and what it can do |
//! | [`service`], [`child`], [`cgroup`], [`container`], [`wait`] | processes that are kept running, and waiting for them |
//! | [`scene`] | all of that together |
//! | [`daemon`], [`command`] | the guard, its command line |
//! | [`other`], [`bpftrace`], [`manager`] | other tools beside it: scripts, bpftrace, systemd |
//! | [`servers`], [`looks`] | inference servers of different make, and how they look from outside |
//! | [`probe`], [`trial`], [`raw`], [`wire`] | the bench of the end-to-end tests |
//! | [`bench`] | what the guard costs |
//! | [`demo`] | the play with ten acts |

pub mod agent;
pub mod bench;
pub mod bpftrace;
pub mod cgroup;
pub mod child;
pub mod command;
pub mod container;
pub mod daemon;
pub mod demo;
pub mod dns;
pub mod eval;
pub mod gguf;
pub mod http;
pub mod looks;
pub mod manager;
pub mod model;
pub mod namespace;
pub mod netlink;
pub mod other;
pub mod probe;
pub mod raw;
pub mod recording;
pub mod scene;
pub mod script;
pub mod servers;
pub mod service;
pub mod soak;
pub mod tools;
pub mod trial;
pub mod victim;
pub mod wait;
pub mod wire;
pub mod world;
