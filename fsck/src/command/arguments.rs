//! The command line, in the manner of e2fsck(8), as fsck(8) passes it on.
use bento_api::BLOCK_BYTES;
use clap::{ArgGroup, Parser};
use std::path::PathBuf;

/// Checks a Bento file system on a device, or in an image file.
///
/// This version finds every problem and repairs none: nothing is ever written. What is in the log is checked as the
/// next mount will replay it.
///
/// Exit status, as in fsck(8), a sum of: 0 no errors; 4 errors, which are left; 8 the check could not be done, its
/// report could not be written, or the repair that was asked for cannot be done; 16 wrong usage; 32 cancelled.
#[derive(Debug, Parser)]
#[command(
    name = "fsck.bento",
    version = concat!(env!("CARGO_PKG_VERSION"), " (format 1)"),
    args_override_self = true,
    group = ArgGroup::new("mode").args(["preen", "automatic", "no", "yes"]).multiple(false)
)]
pub(crate) struct Arguments {
    /// Repair what is safe to repair without asking: a volume without errors ends at once with 0
    #[arg(short = 'p')]
    preen: bool,
    /// The same as -p
    #[arg(short = 'a')]
    automatic: bool,
    /// Check all, change nothing; the only mode that looks at a volume in use
    #[arg(short = 'n')]
    no: bool,
    /// Repair everything (not in this version)
    #[arg(short = 'y')]
    yes: bool,
    /// Check everything even if the volume seems clean
    #[arg(short = 'f')]
    force: bool,
    /// Say more
    #[arg(short = 'v', long = "verbose")]
    pub(crate) verbose: bool,
    /// Say how long it took
    #[arg(short = 't')]
    pub(crate) timing: bool,
    /// Write the progress to this file descriptor, for other programs; 0 shows a bar
    #[arg(short = 'C', value_name = "FD")]
    pub(crate) progress: Option<u32>,
    /// Use the superblock copy in this block
    #[arg(short = 'b', value_name = "BLOCK")]
    pub(crate) superblock: Option<u64>,
    /// Block size: 4096, the only one
    #[arg(short = 'B', value_name = "BYTES", value_parser = block_size)]
    block_size: Option<u64>,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// List the paths of what cannot be read any more, and nothing else
    #[arg(long = "list-lost", conflicts_with = "json")]
    pub(crate) list_lost: bool,
    /// The device or the image file
    pub(crate) device: PathBuf,
}

/// What is to be done about problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing: every structure is looked at.
    Look,
    /// Nothing, and nobody minds if the volume is in use.
    LookOnly,
    /// They are to be repaired.
    Repair,
}

impl Arguments {
    pub(crate) fn mode(&self) -> Mode {
        if self.no {
            Mode::LookOnly
        } else if self.preen || self.automatic || self.yes {
            Mode::Repair
        } else {
            Mode::Look
        }
    }

    /// Whether a volume that seems well is left alone, as at boot.
    pub(crate) fn trusts_clean(&self) -> bool {
        self.mode() == Mode::Repair && !self.force && self.superblock.is_none()
    }
}

fn block_size(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(BLOCK_BYTES) => Ok(BLOCK_BYTES),
        _ => Err(format!("blocks have {BLOCK_BYTES} bytes, always")),
    }
}
