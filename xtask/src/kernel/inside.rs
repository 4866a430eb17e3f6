//! This very program inside a guest: what it does here on images, it does there on disks, through the kernel there.

use super::run::{self, Options};
use super::tree::Kernel;
use crate::build::{GUEST_VARIABLE, in_guest};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The guest that it runs in.
#[derive(Default)]
pub struct Guest {
    /// Memory in MiB.
    pub memory: u32,
    /// Sizes of its disks, or files that stay.
    pub disks: Vec<String>,
    /// Programs that it finds beside this one.
    pub programs: Vec<PathBuf>,
    /// Where what it leaves in `/out` goes.
    pub out: Option<PathBuf>,
    /// Words for the kernel.
    pub words: String,
    /// How long it may take.
    pub seconds: u64,
    /// The line at which its power is cut.
    pub power_cut: Option<String>,
    /// Its user land, if it is another than what guests have.
    pub userland: Option<PathBuf>,
    /// Processors; none: two, or one in user-mode Linux, where more are slower.
    pub cpus: Option<u32>,
    /// Whether time passes by instructions.
    pub instruction_clock: bool,
}

/// The guest's disks; none outside a guest.
pub fn disks() -> Vec<PathBuf> {
    let names = if in_guest() { std::env::var("DISKS").unwrap_or_default() } else { String::new() };
    names.split_whitespace().map(PathBuf::from).collect()
}

/// The guest's first disk; none outside a guest.
pub fn disk() -> Option<PathBuf> {
    disks().into_iter().next()
}

/// The arguments of this run, without some options and their values.
pub fn own_arguments(without: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((name, _)) if without.contains(&name) => {}
            None if without.contains(&word.as_str()) => {
                // Its value.
                words.next();
            }
            _ => kept.push(word),
        }
    }
    kept
}

/// Runs this program with these arguments in a guest; fails if it fails there, or if its kernel complains.
pub fn run(kernel: Kernel, arguments: &[String], guest: &Guest) -> Result<()> {
    let files = tempfile::tempdir()?;
    for program in &guest.programs {
        if let Some(name) = program.file_name() {
            std::fs::copy(program, Path::new(files.path()).join(name))?;
        }
    }
    let words: Vec<String> = arguments.iter().map(|word| super::guest::quoted(word)).collect();
    let line = format!("modprobe bento_fs && {GUEST_VARIABLE}=1 xtask {}", words.join(" "));
    let options = Options {
        memory: guest.memory,
        disks: guest.disks.clone(),
        files: Some(files.path().to_path_buf()),
        out: guest.out.clone(),
        timeout: guest.seconds,
        power_cut: guest.power_cut.clone(),
        instruction_clock: guest.instruction_clock,
        append: guest.words.clone(),
        userland: guest.userland.clone(),
        ..Options::for_command(&line)
    };
    let cpus = guest.cpus.unwrap_or(if kernel.series().is_some() { 2 } else { 1 });
    let verdict = run::boot(kernel, &options, cpus)?;
    if verdict.succeeded() {
        return Ok(());
    }
    // Says what a caller cannot see from the status alone.
    verdict.exit_code();
    bail!("it failed in the guest (kernel {})", kernel.name())
}
