//! `fs-suite DIR`: the file-system suite, on whatever is mounted at DIR.
//!
//! One program for every host: our FUSE mount, the kernel module, and ext4 as the suite's own check. Each case
//! works in a directory of its own, which must be removable afterwards. Prints a line for each case that
//! fails, and ends with "N passed, N failed".

mod case;
mod data;
mod directories;
mod files;
mod links;
mod mapping;
mod memory;
mod metadata;
mod names;
mod permissions;
mod renames;
mod space;

use anyhow::{Context, Result};
use case::{Case, Ground};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Test a mounted file system through system calls.
#[derive(Parser)]
#[command(name = "fs-suite")]
struct Options {
    /// A directory of the file system to test
    dir: PathBuf,
    /// Only cases whose name holds one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out cases whose name holds one of these
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Name each case before it runs, so that a hang can be seen
    #[arg(long)]
    verbose: bool,
}

const GROUPS: &[&[Case]] = &[
    names::CASES,
    directories::CASES,
    links::CASES,
    renames::CASES,
    metadata::CASES,
    permissions::CASES,
    data::CASES,
    files::CASES,
    memory::CASES,
    space::CASES,
];

fn run(options: &Options) -> Result<usize> {
    let top = options.dir.canonicalize().with_context(|| options.dir.display().to_string())?;
    let holds = |list: &[String], name: &str| list.iter().any(|part| name.contains(part.as_str()));
    let (mut passed, mut failed) = (0, 0);
    for (number, case) in GROUPS.iter().flat_map(|group| group.iter()).enumerate() {
        let wanted = options.only.is_empty() || holds(&options.only, case.name);
        if !wanted || holds(&options.without, case.name) {
            continue;
        }
        if options.verbose {
            println!("{}", case.name);
        }
        let result = Ground::new(&top, number).and_then(|ground| {
            (case.run)(&ground)?;
            ground.clear()
        });
        match result {
            Ok(()) => passed += 1,
            Err(error) => {
                failed += 1;
                println!("FAILED {}: {error:#}", case.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

fn main() -> ExitCode {
    if let Some(code) = permissions::act_as_other() {
        return code;
    }
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fs-suite: {error:#}");
            ExitCode::from(2)
        }
    }
}
