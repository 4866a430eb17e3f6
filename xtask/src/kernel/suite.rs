//! `cargo xtask kernel-suite`: the scripts of `tests/kernel` in a guest, one boot for all of them.
//!
//! A script is whatever `tests/kernel/*.sh` holds, a long one what `tests/kernel/long/*.sh` does; each ends with
//! "N passed, N failed". `tests/kernel/run` runs them there and asks the kernel afterwards what is left. A line of
//! the kernel's that tells of a fault in it fails the run, whatever the scripts say.

use super::guest::quoted;
use super::place::{Places, copy_changed};
use super::run::{self, Options as Guest};
use super::tree::Kernel;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Run the tests of the kernel modules in a guest.
#[derive(Args)]
pub struct Options {
    /// The kernel to run on
    #[arg(long, value_enum, default_value = "uml")]
    on: Kernel,
    /// The file system to test; ext4 is the suite's own check
    #[arg(long, value_enum, default_value = "bento")]
    fs: FileSystem,
    /// Only these scripts, by name; long ones too
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Run only the long scripts
    #[arg(long, conflicts_with = "only")]
    long: bool,
    /// Processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Let time pass by instructions: one processor, in QEMU
    #[arg(long)]
    instruction_clock: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Size of each of the two disks
    #[arg(long, default_value = "1G")]
    disk: String,
    /// Seconds for one script; the boot may take as long for each
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// A variable for the scripts, as in `--set SWAPS=20`
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<String>,
    /// Name the scripts and stop
    #[arg(long)]
    list: bool,
}

/// What the scripts find in `$FSTYP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileSystem {
    Bento,
    Ext4,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            FileSystem::Bento => "bento",
            FileSystem::Ext4 => "ext4",
        }
    }
}

/// Below the checkout.
const SCRIPTS: &str = "tests/kernel";
const LONG: &str = "long";

/// Runs the scripts; the status is the guest's.
pub fn run(options: &Options) -> Result<ExitCode> {
    let places = Places::find()?;
    let source = places.repo.join(SCRIPTS);
    let (short, long) = (scripts(&source)?, scripts(&source.join(LONG))?);
    if options.list {
        short.iter().for_each(|name| println!("{name}"));
        long.iter().for_each(|name| println!("{name} (long)"));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = if options.only.is_empty() {
        if options.long { long } else { short }
    } else {
        for name in &options.only {
            if !short.contains(name) && !long.contains(name) {
                bail!("no script is named {name}; `cargo xtask kernel-suite --list` names them");
            }
        }
        options.only.clone()
    };
    let files = tempfile::tempdir_in(&places.build)?;
    copy_changed(&source, files.path())?;
    copy_changed(&source.join(LONG), files.path())?;
    let names = wanted.iter().map(|name| format!("{name}.sh")).collect::<Vec<_>>().join(" ");
    let variables = options.set.iter().map(|variable| format!("{} ", quoted(variable))).collect::<String>();
    let line =
        format!("env {variables}FSTYP={} bash /bento/files/run {} {names}", options.fs.name(), options.limit);
    let guest = Guest {
        memory: options.memory,
        disks: vec![options.disk.clone(); 2],
        files: Some(files.path().to_path_buf()),
        instruction_clock: options.instruction_clock,
        timeout: options.limit * (wanted.len() as u64 + 1),
        ..Guest::for_command(&line)
    };
    let cpus = if options.instruction_clock { 1 } else { options.cpus };
    Ok(run::boot(options.on, &guest, cpus)?.exit_code())
}

/// A variable and its value, as env(1) takes them.
fn assignment(text: &str) -> Result<String> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.chars().all(|each| each.is_ascii_uppercase() || each.is_ascii_digit() || each == '_')
    };
    match text.split_once('=') {
        Some((name, _)) if is_name(name) => Ok(text.to_string()),
        _ => bail!("a variable is given as NAME=VALUE, the name in capitals"),
    }
}

/// The names of the scripts in a directory, in the order in which they run; what they share is none.
fn scripts(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".sh").filter(|name| *name != "lib") {
            names.push(name.to_string());
        }
    }
    names.sort();
    Ok(names)
}
