//! The mail spool: deliver, read and mark, delete, in one directory, with an fsync for each delivery.

use super::worker::{pattern, threads};
use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names in the spool; four of five exist at the start.
const NAMES: u32 = 1000;
const PREPARED: u32 = 800;
/// Mean size of a message, and the largest that is ever appended.
const MEAN: f64 = 16384.0;
const APPEND: usize = 16 << 10;
/// What one round counts for: 1 for the delete, 4 for each open-or-create with its write, fsync and
/// close (the second also reads), 3 for the last open, read, close.
const STEPS: u64 = 13;

/// Names that no thread holds at the moment: those with a message, and those without.
struct Spool {
    free: Mutex<Names>,
}

struct Names {
    full: Vec<u32>,
    empty: Vec<u32>,
}

impl Spool {
    fn with<T>(&self, action: impl FnOnce(&mut Names) -> T) -> T {
        action(&mut self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_full(&self, random: &mut SmallRng) -> Option<u32> {
        self.with(|names| take(&mut names.full, random))
    }

    fn take_empty(&self, random: &mut SmallRng) -> Option<u32> {
        self.with(|names| take(&mut names.empty, random))
    }

    fn give_full(&self, name: u32) {
        self.with(|names| names.full.push(name));
    }

    fn give_empty(&self, name: u32) {
        self.with(|names| names.empty.push(name));
    }
}

fn take(names: &mut Vec<u32>, random: &mut SmallRng) -> Option<u32> {
    if names.is_empty() { None } else { Some(names.swap_remove(random.random_range(0..names.len()))) }
}

fn path(dir: &Path, name: u32) -> PathBuf {
    dir.join(format!("message{name:05}"))
}

/// Makes the messages that exist at the start.
pub fn fill(dir: &Path) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(1);
    for name in 0..PREPARED {
        File::create(path(dir, name))?.write_all(&pattern(gamma_size(&mut random)))?;
    }
    Ok(())
}

/// A size from a gamma distribution of shape 1.5: an exponential part plus half a squared normal.
fn gamma_size(random: &mut SmallRng) -> usize {
    let mut unit = || random.random_range(f64::EPSILON..1.0);
    let (u, v, w) = (unit(), unit(), unit());
    let normal = (-2.0 * v.ln()).sqrt() * (std::f64::consts::TAU * w).cos();
    (MEAN / 1.5 * (normal * normal / 2.0 - u.ln())) as usize
}

/// Works on the spool until `limit` is over; returns the steps done.
pub fn run(dir: &Path, count: usize, start: Instant, limit: Duration) -> Result<u64> {
    let names = Names { full: (0..PREPARED).collect(), empty: (PREPARED..NAMES).collect() };
    let spool = Spool { free: Mutex::new(names) };
    let content = pattern(APPEND);
    threads(count, |thread| {
        let mut random = SmallRng::seed_from_u64(100 + thread as u64);
        let mut buffer = Vec::new();
        let mut steps = 0;
        while start.elapsed() < limit {
            round(&spool, dir, &content, &mut random, &mut buffer)?;
            steps += STEPS;
        }
        Ok(steps)
    })
}

fn round(spool: &Spool, dir: &Path, text: &[u8], random: &mut SmallRng, buffer: &mut Vec<u8>) -> Result<()> {
    if let Some(name) = spool.take_full(random) {
        fs::remove_file(path(dir, name))?;
        spool.give_empty(name);
    }
    if let Some(name) = spool.take_empty(random) {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path(dir, name))?;
        file.write_all(&text[..random.random_range(1..=APPEND)])?;
        file.sync_all()?;
        spool.give_full(name);
    }
    if let Some(name) = spool.take_full(random) {
        let mut file = OpenOptions::new().read(true).append(true).open(path(dir, name))?;
        read_whole(&mut file, buffer)?;
        file.write_all(&text[..random.random_range(1..=APPEND)])?;
        file.sync_all()?;
        spool.give_full(name);
    }
    if let Some(name) = spool.take_full(random) {
        read_whole(&mut File::open(path(dir, name))?, buffer)?;
        spool.give_full(name);
    }
    Ok(())
}

fn read_whole(file: &mut File, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    file.read_to_end(buffer)?;
    Ok(())
}
