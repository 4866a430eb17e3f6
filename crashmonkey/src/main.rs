//! The `crashmonkey` command.

mod command;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Crash-consistency testing for the Bento file system.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate workloads: every sequence of core operations within the bounds of a profile.
    Gen(command::r#gen::Gen),
    /// Run workloads, cut the power in every way, and judge what recovery makes of it.
    Run(command::run::Run),
    /// Let streams of operations meet in every order that a seed says, with upgrades, and cut the power.
    Explore(command::explore::Explore),
    /// Seed faults into the file system, and see that each is caught.
    Selftest(command::selftest::Selftest),
    /// Run one failure of an earlier run again, exactly.
    Replay(command::run::Replay),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Gen(args) => command::r#gen::generate(args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => command::run::run(args),
        Command::Explore(args) => command::explore::explore(args),
        Command::Selftest(args) => command::selftest::selftest(args),
        Command::Replay(args) => command::run::replay(args),
    };
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crashmonkey: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
