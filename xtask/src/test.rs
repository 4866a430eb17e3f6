//! `cargo xtask test`: everything that CI asks for, stage by stage, and one closing line.

use crate::board::Board;
use crate::build::{cargo, root};
use crate::setup::{self, BARE_TARGET, BareBuild};
use anyhow::{Result, bail};
use std::process::Command;

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Run the long suites too (about an hour)
    #[arg(long)]
    full: bool,
    /// Run only these stages
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Name the stages and stop
    #[arg(long)]
    list: bool,
}

/// The core crates: they must build where there is no operating system.
const CORE: &[&str] = &["bento-api", "bento-fs"];

/// Optimised, yet with every debug assertion and overflow check.
const TEST_PROFILE: &str = "checked";

/// Set for the long run; tests that can do more then do.
const FULL_VARIABLE: &str = "BENTO_FULL";

/// When a stage is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Full,
}

struct Stage {
    name: &'static str,
    about: &'static str,
    when: When,
    command: fn() -> Result<Command>,
}

const STAGES: &[Stage] = &[
    Stage { name: "format", about: "rustfmt has nothing to change", when: When::Always, command: format },
    Stage { name: "lints", about: "clippy has nothing to say", when: When::Always, command: lints },
    Stage {
        name: "core",
        about: "the core builds without an operating system",
        when: When::Always,
        command: core,
    },
    Stage { name: "tests", about: "unit and integration tests", when: When::Always, command: tests },
    Stage {
        name: "doctests",
        about: "the examples in the documentation",
        when: When::Always,
        command: doctests,
    },
    Stage {
        name: "demo",
        about: "the demonstration, as the README has it",
        when: When::Always,
        command: demo,
    },
    Stage { name: "pjdfstest", about: "POSIX conformance", when: When::Always, command: pjdfstest },
    Stage { name: "fsx", about: "data against a model, mmap included", when: When::Always, command: fsx },
    Stage {
        name: "fsstress",
        about: "parallel random operations, then fsck",
        when: When::Always,
        command: fsstress,
    },
    Stage {
        name: "bench-smoke",
        about: "each benchmark runs, shortest form",
        when: When::Always,
        command: bench,
    },
    Stage { name: "fsx-long", about: "fsx with ten more seeds", when: When::Full, command: fsx_long },
    Stage {
        name: "fsstress-long",
        about: "fsstress for ten minutes",
        when: When::Full,
        command: fsstress_long,
    },
];

/// `cargo xtask test`.
pub fn run(options: &Options) -> Result<()> {
    if options.list {
        for stage in STAGES {
            let mark = if stage.when == When::Full { " (--full)" } else { "" };
            println!("{:16} {}{mark}", stage.name, stage.about);
        }
        return Ok(());
    }
    if let Some(unknown) = options.only.iter().find(|name| !STAGES.iter().any(|stage| stage.name == **name)) {
        bail!("no stage is named {unknown}; `cargo xtask test --list` names them");
    }
    setup::need(&[setup::BUILD, setup::MOUNT, setup::FILES])?;
    let mut board = Board::new()?;
    for stage in STAGES {
        let wanted = if options.only.is_empty() {
            stage.when == When::Always || options.full
        } else {
            options.only.iter().any(|name| name == stage.name)
        };
        if wanted {
            let command = (stage.command)().map(|mut command| {
                if options.full {
                    command.env(FULL_VARIABLE, "1");
                }
                command
            });
            board.stage(stage.name, command)?;
        }
    }
    board.finish()
}

fn format() -> Result<Command> {
    let mut command = cargo();
    command.args(["fmt", "--all", "--check"]);
    Ok(command)
}

fn lints() -> Result<Command> {
    let mut command = cargo();
    command.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(command)
}

fn core() -> Result<Command> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--release", "--target", BARE_TARGET]);
    for package in CORE {
        command.args(["--package", package]);
    }
    if let BareBuild::FromSource = setup::bare_target()? {
        // `-Zbuild-std` is not stable yet; the variable is the documented way past that check.
        command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core,alloc,compiler_builtins");
    }
    Ok(command)
}

fn tests() -> Result<Command> {
    let mut command = cargo();
    if setup::which("cargo-nextest").is_some() {
        command.args(["nextest", "run", "--workspace", "--cargo-profile", TEST_PROFILE]);
        command.args([
            "--no-fail-fast",
            "--no-tests=pass",
            "--status-level=fail",
            "--final-status-level=slow",
        ]);
    } else {
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast", "--profile", TEST_PROFILE]);
    }
    Ok(command)
}

fn doctests() -> Result<Command> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--doc", "--profile", TEST_PROFILE]);
    Ok(command)
}

/// A stage that is another command of this program.
fn own(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).current_dir(root());
    Ok(command)
}

fn demo() -> Result<Command> {
    own(&["demo"])
}

fn pjdfstest() -> Result<Command> {
    own(&["fstests", "pjdfstest"])
}

fn fsx() -> Result<Command> {
    own(&["fstests", "fsx", "--seeds", "3", "--operations", "100000"])
}

fn fsx_long() -> Result<Command> {
    own(&["fstests", "fsx", "--seeds", "10", "--first-seed", "100", "--operations", "100000"])
}

fn fsstress() -> Result<Command> {
    own(&["fstests", "fsstress", "--seconds", "20"])
}

fn fsstress_long() -> Result<Command> {
    own(&["fstests", "fsstress", "--seconds", "600"])
}

fn bench() -> Result<Command> {
    own(&["bench", "--smoke"])
}
