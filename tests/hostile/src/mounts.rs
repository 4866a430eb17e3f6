//! `hostile-mounts DEVICE DIR CASES`: damaged images, mounted by the kernel that runs this, walked, changed, unmounted.
//!
//! Whatever a call answers is right, but for three things: it must return, the unmount must succeed, and the
//! kernel must go on. The last is seen by who reads its messages. Ends with "N passed, N failed".

use anyhow::{Context, Result, bail, ensure};
use bento_hostile::Case;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Names that a walk looks at, at most: damage can make a tree of any size.
const MOST_NAMES: usize = 400;
/// Bytes that it reads of a file.
const MOST_BYTES: usize = 1 << 16;
/// No case takes longer on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

struct Ground {
    device: PathBuf,
    dir: PathBuf,
}

impl Ground {
    fn try_case(&self, case: &Case) -> Result<()> {
        let start = Instant::now();
        let mut device = OpenOptions::new().write(true).open(&self.device).context("the device")?;
        device.write_all(case.blocks().as_flattened())?;
        device.sync_all()?;
        drop(device);
        if mount(&self.device, &self.dir, case.read_only)? {
            self.walk();
            if !case.read_only {
                self.change();
            }
            let status = Command::new("umount").arg(&self.dir).status()?;
            ensure!(status.success(), "umount: {status}");
        }
        ensure!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
        Ok(())
    }

    /// Looks at names, attributes and content; any of it may be an error.
    fn walk(&self) {
        let mut left = MOST_NAMES;
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries {
                left = left.saturating_sub(1);
                let (Ok(entry), 1..) = (entry, left) else { break };
                let path = entry.path();
                let _ = rustix::fs::llistxattr(&path, &mut [0u8; 4096]);
                let _ = rustix::fs::lgetxattr(&path, "user.a", &mut [0u8; 4096]);
                let _ = fs::read_link(&path);
                match path.symlink_metadata() {
                    Ok(status) if status.is_dir() => dirs.push(path),
                    Ok(status) if status.is_file() => read(&path),
                    _ => {}
                }
            }
        }
        let _ = rustix::fs::statvfs(&self.dir);
    }

    /// Makes, changes, renames and removes; any of it may be refused.
    fn change(&self) {
        let names: Vec<PathBuf> = fs::read_dir(&self.dir)
            .map(|entries| entries.take(40).flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        let new = self.dir.join("new");
        let _ = fs::create_dir(&new);
        for (number, path) in names.iter().enumerate() {
            let is_file = path.symlink_metadata().is_ok_and(|status| status.is_file());
            if is_file && let Ok(mut file) = OpenOptions::new().append(true).open(path) {
                let _ = file.write_all(&[7; 10_000]);
                let _ = file.sync_all();
                let _ = file.set_len(number as u64 * 1000);
            }
            let _ = rustix::fs::lsetxattr(path, "user.new", &[1; 300], rustix::fs::XattrFlags::empty());
            let _ = fs::write(new.join(format!("file{number}")), [3; 5000]);
            let _ = match number % 3 {
                0 => fs::rename(path, new.join(format!("moved{number}"))),
                1 if is_file => fs::remove_file(path),
                _ => fs::hard_link(path, new.join(format!("link{number}"))),
            };
        }
        if let Ok(dir) = File::open(&self.dir) {
            let _ = rustix::fs::syncfs(dir);
        }
    }
}

fn read(path: &Path) {
    let mut bytes = vec![0; MOST_BYTES];
    if let Ok(mut file) = File::open(path) {
        let _ = file.read(&mut bytes);
    }
}

/// Whether it could be mounted; an error that is none of the file system's ends the run.
fn mount(device: &Path, dir: &Path, read_only: bool) -> Result<bool> {
    let mut command = Command::new("mount");
    command.args(["-t", "bento", "-o", if read_only { "ro" } else { "rw" }]).arg(device).arg(dir);
    let status = command.stderr(Stdio::null()).status().context("mount")?;
    match status.code() {
        Some(0) => Ok(true),
        Some(_) => Ok(false),
        None => bail!("mount: {status}"),
    }
}

/// The cases that once did harm, then some at random.
fn cases(random: u64) -> impl Iterator<Item = Case> {
    let known = include_str!("../regress/image.txt").lines().filter_map(|line| {
        let digits = line.split('#').next().unwrap_or("").trim().as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        bytes.filter(|bytes| !bytes.is_empty())
    });
    let random = (0..random).map(|seed| {
        let mut random = SmallRng::seed_from_u64(seed);
        (0..1 + 8 * random.random_range(1..8)).map(|_| random.random()).collect()
    });
    known.chain(random).map(|data: Vec<u8>| Case::decode(&data))
}

fn run() -> Result<u64> {
    let mut words = std::env::args().skip(1);
    let (Some(device), Some(dir), Some(count)) = (words.next(), words.next(), words.next()) else {
        bail!("usage: hostile-mounts DEVICE DIR CASES");
    };
    let ground = Ground { device: device.into(), dir: dir.into() };
    let (mut passed, mut failed) = (0, 0);
    for (number, case) in cases(count.parse().context("the number of cases")?).enumerate() {
        match ground.try_case(&case) {
            Ok(()) => passed += 1,
            Err(error) => {
                failed += 1;
                println!("FAILED case {number}, {case}: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hostile-mounts: {error:#}");
            ExitCode::from(2)
        }
    }
}
