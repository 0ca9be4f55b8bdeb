//! The program `slmguard`: reads the command line and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use slmguard::{cli, exit::Exit, kernel::probe};

fn main() -> ExitCode {
    // The daemon starts itself as a harmless child to see its own hooks fire.
    let arguments: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    if arguments
        .get(1)
        .is_some_and(|first| first == probe::ARGUMENT)
    {
        return probe::run(&arguments[2..]);
    }
    match cli::run(cli::Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.exit != Exit::Ok {
                eprintln!("slmguard: {failure}");
            }
            failure.exit.into()
        }
    }
}
