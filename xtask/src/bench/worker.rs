//! `xtask bench-worker`: one benchmark loop in one directory, in a process of its own.
//!
//! The time ends after syncfs and an fsync of the directory: work still owed is not speed.

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::varmail;

/// What to do, where, and how much of it.
#[derive(clap::Args)]
pub struct Options {
    /// The loop to run
    #[arg(value_enum)]
    action: Action,
    /// The directory to run it in
    dir: PathBuf,
    /// The root of the file system, to sync
    #[arg(long)]
    root: PathBuf,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Files, for loops that end by count
    #[arg(long, default_value_t = 10_000)]
    files: usize,
    /// Milliseconds, for loops that end by time
    #[arg(long, default_value_t = 2_000)]
    milliseconds: u64,
    /// Mebibytes of the one large file
    #[arg(long, default_value_t = 192)]
    mebibytes: u64,
}

/// The loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Make small files: exclusive create, one write, close.
    Create,
    /// Delete what `create` made.
    Delete,
    /// Give one file a new name, again and again.
    Rename,
    /// Write one large file in order.
    SeqWrite,
    /// Read it in order.
    SeqRead,
    /// Read blocks of it at random.
    RandRead,
    /// Overwrite blocks of it at random.
    RandWrite,
    /// Append a block and fsync it.
    AppendFsync,
    /// A mail spool.
    Varmail,
}

/// What a loop did.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
pub struct Outcome {
    /// Operations.
    pub operations: u64,
    /// Seconds, the final sync included.
    pub seconds: f64,
}

/// Files of `create` in one directory.
const FILES_PER_DIRECTORY: usize = 100;
const SMALL_FILE: usize = 16 << 10;
const BLOCK: usize = 4 << 10;
const MEBIBYTE: usize = 1 << 20;
const LARGE_NAME: &str = "large";

/// Runs a loop and prints its [`Outcome`] as JSON.
pub fn run(options: &Options) -> Result<()> {
    let limit = Duration::from_millis(options.milliseconds);
    prepare(options)?;
    let start = Instant::now();
    let operations = match options.action {
        Action::Create => files(options, create_one)?,
        Action::Delete => files(options, |path| Ok(fs::remove_file(path)?))?,
        Action::Rename => threads(options.threads, |thread| rename(&options.dir, thread, start, limit))?,
        Action::SeqWrite => sequential_write(&options.dir, options.mebibytes)?,
        Action::SeqRead => sequential_read(&options.dir)?,
        Action::RandRead => random_read(&options.dir, options.mebibytes)?,
        Action::RandWrite => random_write(&options.dir, options.mebibytes)?,
        Action::AppendFsync => append_fsync(&options.dir, start, limit)?,
        Action::Varmail => varmail::run(&options.dir, options.threads, start, limit)?,
    };
    settle(&options.root)?;
    let outcome = Outcome { operations, seconds: start.elapsed().as_secs_f64() };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Makes everything durable. Over FUSE syncfs may never reach the server, fsync of a directory does.
pub fn settle(root: &Path) -> Result<()> {
    let dir = File::open(root).with_context(|| root.display().to_string())?;
    rustix::fs::syncfs(&dir)?;
    Ok(rustix::fs::fsync(&dir)?)
}

/// What must be there before the clock starts.
fn prepare(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.dir)?;
    match options.action {
        Action::Create => {
            for number in 0..options.files.div_ceil(FILES_PER_DIRECTORY) {
                fs::create_dir(options.dir.join(format!("d{number}")))?;
            }
        }
        Action::Rename => {
            for thread in 0..options.threads {
                File::create(options.dir.join(format!("r{thread}-0")))?;
            }
        }
        Action::RandRead => drop_cache(&File::open(options.dir.join(LARGE_NAME))?)?,
        Action::Varmail => varmail::fill(&options.dir)?,
        _ => return Ok(()),
    }
    settle(&options.root)
}

fn drop_cache(file: &File) -> Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Runs `body` in threads and adds up what they return.
pub fn threads(count: usize, body: impl Fn(usize) -> Result<u64> + Sync) -> Result<u64> {
    std::thread::scope(|scope| {
        let body = &body;
        let running: Vec<_> = (0..count).map(|thread| scope.spawn(move || body(thread))).collect();
        let mut sum = 0;
        for thread in running {
            sum += thread.join().map_err(|_| anyhow::anyhow!("a benchmark thread panicked"))??;
        }
        Ok(sum)
    })
}

/// Does `action` to every file, dealt round to the threads.
fn files(options: &Options, action: impl Fn(&Path) -> Result<()> + Sync) -> Result<u64> {
    threads(options.threads, |thread| {
        let mut done = 0;
        for number in (thread..options.files).step_by(options.threads) {
            let path = options.dir.join(format!("d{}/f{number}", number / FILES_PER_DIRECTORY));
            action(&path).with_context(|| path.display().to_string())?;
            done += 1;
        }
        Ok(done)
    })
}

fn create_one(path: &Path) -> Result<()> {
    static CONTENT: [u8; SMALL_FILE] = [0x5a; SMALL_FILE];
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(file.write_all(&CONTENT)?)
}

fn rename(dir: &Path, thread: usize, start: Instant, limit: Duration) -> Result<u64> {
    let mut from = dir.join(format!("r{thread}-0"));
    let mut done = 0;
    while start.elapsed() < limit {
        let to = dir.join(format!("r{thread}-{}", done + 1));
        fs::rename(&from, &to)?;
        from = to;
        done += 1;
    }
    Ok(done)
}

fn sequential_write(dir: &Path, mebibytes: u64) -> Result<u64> {
    let mut file = File::create(dir.join(LARGE_NAME))?;
    let block = pattern(MEBIBYTE);
    for _ in 0..mebibytes {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(mebibytes)
}

fn sequential_read(dir: &Path) -> Result<u64> {
    let mut file = File::open(dir.join(LARGE_NAME))?;
    let mut block = vec![0; MEBIBYTE];
    let mut bytes = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(bytes / MEBIBYTE as u64),
            count => bytes += count as u64,
        }
    }
}

fn random_read(dir: &Path, mebibytes: u64) -> Result<u64> {
    let file = File::open(dir.join(LARGE_NAME))?;
    let mut block = [0; BLOCK];
    each_random_block(mebibytes, |offset| Ok(file.read_exact_at(&mut block, offset)?))
}

fn random_write(dir: &Path, mebibytes: u64) -> Result<u64> {
    let file = OpenOptions::new().write(true).open(dir.join(LARGE_NAME))?;
    let block = pattern(BLOCK);
    let done = each_random_block(mebibytes, |offset| Ok(file.write_all_at(&block, offset)?))?;
    file.sync_all()?;
    Ok(done)
}

/// As many blocks as the file has, each at a random place.
fn each_random_block(mebibytes: u64, mut action: impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let blocks = mebibytes * (MEBIBYTE / BLOCK) as u64;
    let mut random = SmallRng::seed_from_u64(blocks);
    for _ in 0..blocks {
        action(random.random_range(0..blocks) * BLOCK as u64)?;
    }
    Ok(blocks)
}

fn append_fsync(dir: &Path, start: Instant, limit: Duration) -> Result<u64> {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    let block = pattern(BLOCK);
    let mut done = 0;
    while start.elapsed() < limit {
        file.write_all(&block)?;
        file.sync_all()?;
        done += 1;
    }
    Ok(done)
}

/// Bytes that no layer can take for zeros.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..=255u8).cycle().take(length).collect()
}
