//! `cargo xtask`: builds, tests, benchmarks, demonstrates and installs Bento.
//!
//! Every command sets up what it lacks, or names the one line that does. Work that needs root asks
//! `sudo` for it after the build, so that build output stays the caller's.

mod bench;
mod blind;
mod board;
mod build;
mod demo;
mod fstests;
mod install;
mod kernel;
mod peers;
mod scratch;
mod setup;
mod test;
mod tree;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests, benchmarks and demonstrates Bento")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up and pass every test of CI; ends with "N passed, N failed"
    Test(test::Options),
    /// Measure Bento beside ext4, fuse2fs and an in-memory file system
    Bench(bench::Options),
    /// Run one benchmark loop in a directory (used by `bench`)
    #[command(hide = true)]
    BenchWorker(bench::worker::Options),
    /// Make an image, work on it, upgrade, kill, recover, check; with times
    Demo(demo::Options),
    /// Run outside conformance suites on a mount
    Fstests(fstests::Options),
    /// Put bugs into a copy of the file system's readers, and see that fsck does not share them (used by `test`)
    #[command(hide = true)]
    Blind,
    /// Install the `bento` command and the names that mount(8), mkfs(8) and fsck(8) look for
    Install(install::Options),
    /// Build the kernel modules and check their objects
    Kmod(kernel::kbuild::Options),
    /// Boot one of Debian's kernels in QEMU, by software emulation, and run a command in it
    Vm(kernel::run::VmOptions),
    /// Boot user-mode Linux, with all checks of locks, and run a command in it
    Uml(kernel::run::UmlOptions),
    /// Run the tests of the kernel modules in a guest
    KernelSuite(kernel::suite::Options),
    /// Install the system packages and Rust targets that the other commands need
    Setup,
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Vm(options) => return kernel::run::vm(&options),
        Command::Uml(options) => return kernel::run::uml(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::BenchWorker(options) => bench::worker::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Fstests(options) => fstests::run(&options),
        Command::Blind => blind::run(),
        Command::Install(options) => install::run(&options),
        Command::KernelSuite(options) => return kernel::suite::run(&options),
        Command::Kmod(options) => kernel::kbuild::run(&options),
        Command::Setup => setup::everything(),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    match setup::find_root_programs().and_then(|()| run(Cli::parse().command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
