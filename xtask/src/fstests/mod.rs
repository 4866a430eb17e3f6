//! `cargo xtask fstests`: suites that others wrote, on a mount of ours or of a peer.
//!
//! Every suite ends with fsck, and the run with "N passed, N failed".

mod fsstress;
mod fsx;
mod pjdfstest;
mod xfstests;

use crate::board::Counts;
use crate::build;
use crate::install;
use crate::peers::{self, Programs, Shape, System, Volume};
use crate::scratch::Scratch;
use crate::setup;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What `cargo xtask fstests` takes.
#[derive(clap::Args)]
pub struct Options {
    /// The file system to test
    #[arg(long, value_enum, default_value = "bento", global = true)]
    on: System,
    /// Where the images go
    #[arg(long, default_value = "/dev/shm", global = true)]
    place: PathBuf,
    /// Mebibytes of the volume; a small one is full most of the time
    #[arg(long, default_value_t = 3072, global = true)]
    mebibytes: u64,
    #[command(subcommand)]
    suite: Suite,
}

#[derive(clap::Subcommand)]
enum Suite {
    /// POSIX conformance: permissions, times, names, errors of every call
    Pjdfstest(pjdfstest::Options),
    /// One file against a model: read, write, mmap, truncate, punch, copy
    Fsx(fsx::Options),
    /// Random operations in many processes at once
    Fsstress(fsstress::Options),
    /// The generic tests of xfstests, from a tree that you name
    Xfstests(xfstests::Options),
}

/// Where a suite runs: a mounted volume and a directory beside it for its own files.
struct Field<'a> {
    volume: Volume<'a>,
    place: &'a Path,
    programs: &'a Programs,
}

/// `cargo xtask fstests`.
pub fn run(options: &Options) -> Result<()> {
    let programs = peers::programs(options.on)?;
    // Tools are built before root is asked for: what root builds, the caller could not rebuild.
    let counts = match &options.suite {
        Suite::Pjdfstest(own) => {
            let tool = pjdfstest::tool()?;
            on_volume(options, &programs, |field| pjdfstest::run(own, &tool, field))
        }
        Suite::Fsx(own) => {
            let tool = fsx::tool()?;
            on_volume(options, &programs, |field| fsx::run(own, &tool, field))
        }
        Suite::Fsstress(own) => on_volume(options, &programs, |field| fsstress::run(own, field)),
        Suite::Xfstests(own) => xfstests::run(own, options, &programs),
    }?;
    println!("{counts}");
    if counts.failed > 0 {
        bail!("{} of the suite's tests failed on {}", counts.failed, options.on.name());
    }
    Ok(())
}

/// Runs a suite on a fresh volume, then unmounts and checks it; the check is one more test.
fn on_volume(
    options: &Options,
    programs: &Programs,
    suite: impl FnOnce(&mut Field) -> Result<Counts>,
) -> Result<Counts> {
    setup::become_root("mounting")?;
    setup::need(&[setup::MOUNT])?;
    let place = Scratch::new("bt-", &options.place)?;
    let _helpers = match programs {
        Programs::Bento(bento) => install::helpers_for_now(bento)?,
        _ => Vec::new(),
    };
    let mount = if options.on == System::Fuse2fs || options.on == System::Bento {
        "allow_other,default_permissions,suid,dev"
    } else {
        ""
    };
    let shape = Shape { place: place.path(), size: options.mebibytes << 20, options: mount };
    let volume = Volume::create(options.on, programs, &shape)?;
    let mut field = Field { volume, place: place.path(), programs };
    let mut counts = suite(&mut field)?;
    counts += verdict("unmounting and checking", field.volume.unmount().and_then(|()| field.volume.check()));
    Ok(counts)
}

/// One more test, and why it failed.
fn verdict(what: &str, result: Result<()>) -> Counts {
    if let Err(error) = &result {
        println!("FAILED {what}: {error:#}");
    }
    Counts { passed: u64::from(result.is_ok()), failed: u64::from(result.is_err()) }
}

/// Installs a test program that is published as a crate, once, below the target directory.
fn crate_tool(name: &str, version: &str) -> Result<PathBuf> {
    let place = build::own_dir("tools")?;
    let program = place.join(format!("{name}-{version}")).join("bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("building {name} {version}");
    let mut command = build::cargo();
    command.args(["install", "--quiet", "--locked", name, "--version", &format!("={version}")]);
    command.arg("--root").arg(place.join(format!("{name}-{version}")));
    command.env("CARGO_TARGET_DIR", place.join("build"));
    // Run from outside the workspace, whose own settings are not theirs.
    setup::quiet(command.current_dir(&place)).with_context(|| format!("building {name}"))?;
    Ok(program)
}
