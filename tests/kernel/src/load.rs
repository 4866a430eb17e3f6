//! `fs-load DIR STOP`: ten threads that make, write, sync, read, rename and remove files below `DIR`, and keep others open
//! and mapped, until the file `STOP` is there. Everything that is read is compared.
//!
//! Every operation counts as one test: whatever else happens to the file system meanwhile, none of them may fail.

mod mapping;

use anyhow::{Context, Result, bail, ensure};
use mapping::Mapping;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: u64 = 10;
/// Names that one thread uses again and again.
const NAMES: u64 = 16;
const MAPPED: usize = 3 * 4096;

static DONE: AtomicU64 = AtomicU64::new(0);

/// Counts an operation that succeeded.
fn done<T>(result: std::io::Result<T>, what: &str, path: &Path) -> Result<T> {
    let value = result.with_context(|| format!("{what} {}", path.display()))?;
    DONE.fetch_add(1, Ordering::Relaxed);
    Ok(value)
}

/// Bytes that tell whose they are.
fn content(seed: u64) -> Vec<u8> {
    let length = usize::try_from(seed.wrapping_mul(2_654_435_761) % 20_000).unwrap_or(0) + 1;
    (0..length).map(|at| (seed as usize).wrapping_mul(31).wrapping_add(at) as u8).collect()
}

/// A file that stays open and mapped for the whole run.
struct Kept {
    path: PathBuf,
    file: File,
    mapping: Mapping,
    last: Option<(usize, Vec<u8>)>,
}

impl Kept {
    fn new(path: PathBuf) -> Result<Kept> {
        let mut options = OpenOptions::new();
        let file =
            done(options.read(true).write(true).create(true).truncate(true).open(&path), "open", &path)?;
        done(file.set_len(MAPPED as u64), "resize", &path)?;
        let mapping = Mapping::new(&file, MAPPED)?;
        Ok(Kept { path, file, mapping, last: None })
    }

    /// What was stored last is still there; then something else is stored.
    fn touch(&mut self, round: u64) -> Result<()> {
        if let Some((at, bytes)) = &self.last {
            ensure!(
                self.mapping.read(*at, bytes.len())? == *bytes,
                "{}: the mapping changed",
                self.path.display()
            );
            let mut read = vec![0; bytes.len()];
            let from = std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut read, *at as u64);
            done(from, "read", &self.path)?;
            ensure!(read == *bytes, "{}: the file changed", self.path.display());
        }
        let bytes = round.to_le_bytes().to_vec();
        let at = usize::try_from(round % 1500).unwrap_or(0) * 8;
        self.mapping.write(at, &bytes)?;
        self.last = Some((at, bytes));
        if round.is_multiple_of(8) { self.mapping.sync() } else { Ok(()) }
    }
}

fn work(dir: &Path, thread: u64, stop: &Path) -> Result<()> {
    let dir = dir.join(format!("thread{thread}"));
    done(fs::create_dir_all(&dir), "mkdir", &dir)?;
    let mut kept = Kept::new(dir.join("kept"))?;
    for round in 0.. {
        if stop.exists() {
            break;
        }
        kept.touch(round)?;
        let bytes = content(thread << 32 | round);
        let path = dir.join(format!("new{}", round % NAMES));
        let mut file = done(File::create(&path), "create", &path)?;
        done(file.write_all(&bytes), "write", &path)?;
        done(file.sync_all(), "sync", &path)?;
        let renamed = dir.join(format!("old{}", round % NAMES));
        done(fs::rename(&path, &renamed), "rename", &path)?;
        let mut read = Vec::new();
        done(done(File::open(&renamed), "open", &renamed)?.read_to_end(&mut read), "read", &renamed)?;
        ensure!(read == bytes, "{}: not what was written", renamed.display());
        if round.is_multiple_of(3) {
            let link = dir.join("link");
            done(fs::hard_link(&renamed, &link), "link", &link)?;
            done(fs::remove_file(&renamed), "remove", &renamed)?;
            done(fs::remove_file(&link), "remove", &link)?;
        }
        if round.is_multiple_of(7) {
            let below = dir.join("below");
            done(fs::create_dir(&below), "mkdir", &below)?;
            done(fs::remove_dir(&below), "rmdir", &below)?;
        }
    }
    Ok(())
}

fn run() -> Result<u64> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [dir, stop] = words.as_slice() else { bail!("usage: fs-load DIR STOP") };
    let failed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || work(dir, thread, stop))).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().map_or(Some(None), |done| done.err().map(Some)))
            .collect()
    });
    for error in &failed {
        match error {
            Some(error) => println!("FAILED {error:#}"),
            None => println!("FAILED a thread panicked"),
        }
    }
    Ok(failed.len() as u64)
}

fn main() -> ExitCode {
    match run() {
        Ok(failed) => {
            println!("{} passed, {failed} failed", DONE.load(Ordering::Relaxed));
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("fs-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
