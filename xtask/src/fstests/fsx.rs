//! fsx: random operations on one file, each compared with a copy in memory.

use super::{Field, crate_tool};
use crate::board::{Counts, spinner};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `fstests fsx` takes.
#[derive(clap::Args)]
pub struct Options {
    /// How many seeds, each with every mix of operations
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Operations for each seed
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
}

/// A mix of operations: its name and its configuration.
struct Mix {
    name: &'static str,
    configuration: &'static str,
}

/// Every operation, mmap included; then only aligned ones; then those that leave large folios of the page cache dirty in part.
const MIXES: &[Mix] = &[
    Mix {
        name: "everything",
        configuration: "flen = 262144\n[opsize]\nmax = 65536\n[weights]\nclose_open = 1.0\ninvalidate = 1.0\n\
             mapread = 10.0\nmapwrite = 10.0\nread = 10.0\nwrite = 10.0\ntruncate = 5.0\nfsync = 0.5\n\
             fdatasync = 0.5\nposix_fallocate = 2.0\npunch_hole = 4.0\nsendfile = 2.0\ncopy_file_range = 4.0\n",
    },
    Mix {
        name: "large and aligned",
        configuration: "flen = 4194304\n[opsize]\nmax = 524288\nmin = 4096\nalign = 4096\n[weights]\n\
             mapread = 1.0\nmapwrite = 1.0\nread = 5.0\nwrite = 10.0\ntruncate = 2.0\npunch_hole = 4.0\n",
    },
    Mix {
        name: "small pieces of a large file",
        configuration: "flen = 4194304\n[opsize]\nmax = 16384\n[weights]\nclose_open = 1.0\ninvalidate = 3.0\n\
             mapread = 5.0\nmapwrite = 5.0\nread = 10.0\nwrite = 10.0\ntruncate = 0.5\nfsync = 0.5\n\
             fdatasync = 0.5\nposix_fallocate = 1.0\npunch_hole = 4.0\n",
    },
];

/// Finds or builds the program.
pub fn tool() -> Result<PathBuf> {
    crate_tool("fsx", "0.3.2")
}

/// Runs every mix with every seed.
pub fn run(options: &Options, tool: &Path, field: &mut Field) -> Result<Counts> {
    let mut counts = Counts::default();
    for (number, mix) in MIXES.iter().enumerate() {
        let config = field.place.join(format!("fsx{number}.toml"));
        fs::write(&config, mix.configuration)?;
        // The others move eight times the bytes an operation.
        let operations = if number == 0 { options.operations } else { options.operations / 8 };
        for seed in options.first_seed..options.first_seed + options.seeds {
            let label = format!("fsx, {}, seed {seed}, {operations} operations", mix.name);
            let bar = spinner(&label);
            let output = Command::new(tool)
                .arg("-q")
                .arg("-f")
                .arg(&config)
                .args(["-N", &operations.to_string(), "-S", &seed.to_string()])
                .arg("-P")
                .arg(field.place)
                .arg(field.volume.dir().join(format!("fsx-{number}-{seed}")))
                .stdin(Stdio::null())
                .output()
                .context("fsx")?;
            bar.finish_and_clear();
            if output.status.success() {
                counts.passed += 1;
            } else {
                counts.failed += 1;
                let text = String::from_utf8_lossy(&output.stderr);
                let lines: Vec<&str> = text.lines().collect();
                println!("FAILED {label}:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
    }
    Ok(counts)
}
