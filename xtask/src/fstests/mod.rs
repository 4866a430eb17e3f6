//! `cargo xtask fstests`: suites that others wrote, on a mount of ours or of a peer.
//!
//! Every suite ends with fsck, and the run with "N passed, N failed".

mod fsstress;
mod fsx;
mod pjdfstest;
mod suite;
mod xfstests;

use crate::board::Counts;
use crate::build;
use crate::install;
use crate::kernel::inside;
use crate::kernel::tree::Kernel;
use crate::peers::{self, Programs, Shape, System, Volume};
use crate::scratch::Scratch;
use crate::setup;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What `cargo xtask fstests` takes.
#[derive(clap::Args)]
pub struct Options {
    /// The file system to test; with --kernel, ours in the kernel
    #[arg(long, value_enum, global = true)]
    on: Option<System>,
    /// Run in a guest with this kernel
    #[arg(long, value_enum, global = true)]
    kernel: Option<Kernel>,
    /// Where the images go
    #[arg(long, default_value = "/dev/shm", global = true)]
    place: PathBuf,
    /// Mebibytes of the volume; a small one is full most of the time
    #[arg(long, default_value_t = 3072, global = true)]
    mebibytes: u64,
    /// MiB of memory of the guest
    #[arg(long, default_value_t = 1024, global = true)]
    memory: u32,
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
    /// Our own cases, the same for every host
    #[command(name = "suite")]
    Own(suite::Options),
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
    if let Some(kernel) = options.kernel {
        return in_guest(options, kernel);
    }
    let programs = peers::programs(options.system())?;
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
        Suite::Own(own) => {
            let tool = suite::tool()?;
            on_volume(options, &programs, |field| suite::run(own, &tool, field))
        }
        Suite::Fsstress(own) => on_volume(options, &programs, |field| fsstress::run(own, field)),
        Suite::Xfstests(own) => xfstests::run(own, options, &programs),
    }?;
    println!("{counts}");
    if counts.failed > 0 {
        bail!("{} of the suite's tests failed on {}", counts.failed, options.system().name());
    }
    Ok(())
}

impl Options {
    fn system(&self) -> System {
        let ours = if build::in_guest() { System::BentoKernel } else { System::Bento };
        self.on.unwrap_or(ours)
    }
}

/// Builds what the suite needs here, and runs the same command in a guest.
fn in_guest(options: &Options, kernel: Kernel) -> Result<()> {
    let programs = match &options.suite {
        Suite::Pjdfstest(_) => vec![pjdfstest::tool()?],
        Suite::Fsx(_) => vec![fsx::tool()?],
        // What every guest has.
        Suite::Fsstress(_) | Suite::Own(_) => Vec::new(),
        Suite::Xfstests(own) => return xfstests::in_guest(own, options.memory, kernel),
    };
    let guest = inside::Guest {
        memory: options.memory,
        disks: vec![format!("{}M", options.mebibytes)],
        programs,
        seconds: 3 * 3600,
        cpus: Some(2),
        ..inside::Guest::default()
    };
    inside::run(kernel, &inside::own_arguments(&["--kernel", "--memory"]), &guest)
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
        Programs::Bento(bento) if options.system() == System::Bento => install::helpers_for_now(bento)?,
        _ => Vec::new(),
    };
    let system = options.system();
    let mount = if system == System::Fuse2fs || system == System::Bento {
        "allow_other,default_permissions,suid,dev"
    } else {
        ""
    };
    let disk = inside::disk();
    let shape =
        Shape { place: place.path(), size: options.mebibytes << 20, device: disk.as_deref(), options: mount };
    let volume = Volume::create(system, programs, &shape)?;
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
    if build::in_guest() {
        return Ok(build::guest_program(name));
    }
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
