//! `fs-shutdown DIR MODE`: ends a mounted file system as a crash would, for tests of recovery.
//!
//! 0 writes everything back first, 1 the log, 2 nothing. Any further operation there answers EIO.

use anyhow::{Context, Result, bail};
use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;
use std::process::ExitCode;

/// The number that XFS gave it; ext4, F2FS and Bento have the same.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, mode] = words.as_slice() else { bail!("usage: fs-shutdown DIR MODE") };
    let dir = File::open(dir).with_context(|| dir.clone())?;
    let mode: u32 = mode.parse().context("the mode")?;
    // SAFETY: the call reads one 32-bit number, which Setter passes.
    let request = unsafe { Setter::<SHUTDOWN, u32>::new(mode) };
    // SAFETY: a file system that knows the call does with it what is said above; others refuse it.
    Ok(unsafe { ioctl(&dir, request) }?)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fs-shutdown: {error:#}");
            ExitCode::FAILURE
        }
    }
}
