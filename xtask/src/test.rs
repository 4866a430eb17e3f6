//! `cargo xtask test`: everything that CI asks for, stage by stage, and one closing line.

use crate::board::Board;
use crate::build::{cargo, root};
use crate::setup::{self, BARE_TARGET, BareBuild};
use anyhow::{Result, bail};
use std::process::Command;

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Run the long suites too (some hours)
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
const CORE: &[&str] = &["bento-api", "bento-fs", "bento-prov"];

/// Optimised, yet with every debug assertion and overflow check.
const TEST_PROFILE: &str = "checked";

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

const fn always(name: &'static str, about: &'static str, command: fn() -> Result<Command>) -> Stage {
    Stage { name, about, when: When::Always, command }
}

const fn full(name: &'static str, about: &'static str, command: fn() -> Result<Command>) -> Stage {
    Stage { name, about, when: When::Full, command }
}

const STAGES: &[Stage] = &[
    always("format", "rustfmt has nothing to change", format),
    always("lints", "clippy has nothing to say", lints),
    always("core", "the core builds without an operating system", core),
    always("tests", "unit and integration tests", tests),
    always("doctests", "the examples in the documentation", doctests),
    always("demo", "the demonstration, as the README has it", || own(&["demo"])),
    always("suite", "the file-system suite over FUSE", || own(&["fstests", "suite"])),
    always("suite-ext4", "the same on ext4: the suite's own check", || {
        own(&["fstests", "suite", "--on", "ext4-ordered"])
    }),
    always("pjdfstest", "POSIX conformance", || own(&["fstests", "pjdfstest"])),
    always("fsx", "data against a model, mmap included", || {
        own(&["fstests", "fsx", "--seeds", "3", "--operations", "100000"])
    }),
    always("fsstress", "parallel random operations, then fsck", || {
        own(&["fstests", "fsstress", "--seconds", "20"])
    }),
    always("fsstress-full", "the same on a disk that is full most of the time", || {
        own(&["fstests", "fsstress", "--seconds", "20", "--mebibytes", "64"])
    }),
    always("bench-smoke", "each benchmark runs, shortest form", || own(&["bench", "--smoke"])),
    always("kmod-6.1", "modules for Debian's 6.1, objects checked", || own(&["kmod", "--kernel", "6.1"])),
    always("kmod-6.12", "modules for Debian's 6.12, objects checked", || own(&["kmod", "--kernel", "6.12"])),
    always("kmod-7.2", "modules for Debian's 7.2, objects checked", || own(&["kmod", "--kernel", "7.2"])),
    always("uml", "the kernel's suite in user-mode Linux, with lockdep", || {
        own(&["kernel-suite", "--on", "uml"])
    }),
    always("vm-6.1", "the suite on Debian's 6.1, in QEMU", || own_suite("6.1")),
    always("vm-6.12", "the suite on Debian's 6.12, in QEMU", || own_suite("6.12")),
    always("vm-7.2", "the suite on Debian's 7.2, in QEMU", || own_suite("7.2")),
    full("model-long", "a million random operations against the model", model_long),
    full("blind", "fsck finds what bugs in the file system's readers pass over", || own(&["blind"])),
    full("vm-6.1-whole", "all of the kernel's scripts on Debian's 6.1", || {
        own(&["kernel-suite", "--on", "6.1"])
    }),
    full("vm-6.12-whole", "all of the kernel's scripts on Debian's 6.12", || {
        own(&["kernel-suite", "--on", "6.12"])
    }),
    full("vm-7.2-whole", "all of the kernel's scripts on Debian's 7.2", || {
        own(&["kernel-suite", "--on", "7.2"])
    }),
    full("fsx-long", "fsx with ten more seeds", || {
        own(&["fstests", "fsx", "--seeds", "10", "--first-seed", "100", "--operations", "100000"])
    }),
    full("fsstress-long", "fsstress for ten minutes", || own(&["fstests", "fsstress", "--seconds", "600"])),
    full("fsstress-crashes", "the same with crashes and upgrades", || {
        own(&["fstests", "fsstress", "--seconds", "300", "--crashes", "10", "--upgrades"])
    }),
    full("pjdfstest-6.1", "POSIX conformance on Debian's 6.1", || {
        own(&["fstests", "pjdfstest", "--kernel", "6.1"])
    }),
    full("pjdfstest-6.12", "POSIX conformance on Debian's 6.12", || {
        own(&["fstests", "pjdfstest", "--kernel", "6.12"])
    }),
    full("pjdfstest-7.2", "POSIX conformance on Debian's 7.2", || {
        own(&["fstests", "pjdfstest", "--kernel", "7.2"])
    }),
    full("kernel-fsx", "fsx in the kernel, ten minutes or so", || {
        own(&["fstests", "fsx", "--kernel", "uml", "--seeds", "20", "--operations", "100000"])
    }),
    full("kernel-fsstress", "fsstress in the kernel for ten minutes", || {
        own(&["fstests", "fsstress", "--kernel", "uml", "--seconds", "600"])
    }),
    full("kernel-small-memory", "fsstress with 512 MiB of memory and a log of 1 GiB", || {
        // The log is a 64th of the volume.
        own(&[
            "fstests",
            "fsstress",
            "--kernel",
            "uml",
            "--memory",
            "512",
            "--mebibytes",
            "65536",
            "--seconds",
            "120",
        ])
    }),
    full("debug-kernel", "the kernel's suite under KASAN and lockdep, in QEMU", || {
        own(&["kernel-suite", "--on", "debug", "--limit", "1200"])
    }),
    full("kernel-long", "full disks, large directories, little memory, damaged images, shutdowns", || {
        own(&["kernel-suite", "--on", "uml", "--long", "--limit", "1200"])
    }),
    full("kernel-demo", "the demonstration in a guest", || own(&["demo", "--kernel", "6.12"])),
    full("kernel-bench", "the benchmarks in a guest", || own(&["bench", "--kernel", "6.12", "--quick"])),
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
            board.stage(stage.name, (stage.command)())?;
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

/// Each seed is 200 operations on average.
fn model_long() -> Result<Command> {
    let mut command = cargo();
    command.args(["test", "--profile", TEST_PROFILE, "--package", "bento-hostile", "--test", "hostile"]);
    command.args(["random_operations_do_what_the_model_says", "--", "--nocapture"]);
    command.env("HOSTILE_SEEDS", "5200");
    Ok(command)
}

/// What emulation can do within a share of CI's time: mounts, upgrades there and back, every system call, and the data path, since
/// user-mode Linux has no large folios.
fn own_suite(kernel: &str) -> Result<Command> {
    own(&["kernel-suite", "--on", kernel, "--only", "data,folios,mounts,upgrade,suite"])
}

/// A stage that is another command of this program.
fn own(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).current_dir(root());
    Ok(command)
}
