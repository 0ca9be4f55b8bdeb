//! `cargo xtask`: everything done to this repository besides editing it.
//!
//! One file per command; this one only names them. It must stay quick to compile: it is the first
//! thing a newcomer builds.

mod apt;
mod bench;
mod bless;
mod build;
mod demo;
mod eval;
mod formats;
mod fuzz;
mod kernels;
mod paths;
mod run;
mod scene;
mod servers;
mod setup;
mod sh;
mod soak;
mod test;
mod tidy;
mod toolchain;
mod ui;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, builds, runs and tests slmguard. Each command first sets up what it needs.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = false
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Setup),
    Build(build::Build),
    Run(run::Run),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Eval(eval::Eval),
    Formats(formats::Formats),
    Soak(soak::Soak),
    Test(test::Test),
    Servers(servers::Servers),
    Bless(bless::Bless),
    Fuzz(fuzz::Fuzz),
    Tiers(test::Tiers),
    Tidy(tidy::Tidy),
    Vm(vm::Vm),
    #[command(hide = true)]
    Plan(test::plan::Plan),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => build::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => run::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Formats(args) => formats::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Servers(args) => servers::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Bless(args) => bless::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Tiers(args) => test::run_tiers(&args),
        Command::Tidy(args) => tidy::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Vm(args) => vm::run(&args),
        Command::Plan(args) => test::plan::run(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        ui::line(&format!("\nerror: {error:#}"));
        ExitCode::FAILURE
    })
}
