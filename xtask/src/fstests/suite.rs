//! Our own cases (`tests/kernel`): the same program on every host.

use super::Field;
use crate::board::{Counts, count, spinner};
use crate::build;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `fstests suite` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Only cases whose name holds one of these
    only: Vec<String>,
    /// Leave out cases whose name holds one of these
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
}

/// Builds the program.
pub fn tool() -> Result<PathBuf> {
    if build::in_guest() {
        return Ok(PathBuf::from("/usr/local/bin/fs-suite"));
    }
    build::release_program("bento-kernel-tests", "fs-suite")
}

/// Runs the cases.
pub fn run(options: &Options, tool: &Path, field: &mut Field) -> Result<Counts> {
    let bar = spinner("suite");
    let mut command = Command::new(tool);
    command.arg(field.volume.dir());
    for (name, list) in [("--only", &options.only), ("--without", &options.without)] {
        if !list.is_empty() {
            command.arg(name).arg(list.join(","));
        }
    }
    let output = command.stdin(Stdio::null()).output().with_context(|| tool.display().to_string())?;
    bar.finish_and_clear();
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.starts_with("FAILED")) {
        println!("{line}");
    }
    let counts = count(&text);
    if counts == Counts::default() {
        println!("FAILED fs-suite: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        return Ok(Counts { passed: 0, failed: 1 });
    }
    Ok(counts)
}
