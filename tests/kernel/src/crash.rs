//! `fs-crash write DIR RECORD` works on files from several threads until the file system is shut down under it, and records
//! what was synced; `fs-crash check DIR RECORD` compares after recovery: what was synced is there, and nothing shows
//! that was never written to its file, nor when it grows. Every byte of a file is zero, or what follows from its place.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FallocateFlags;
use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::Duration;

/// The number that XFS gave it; ext4, F2FS and Bento have the same.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
const THREADS: u64 = 4;
const FILES: u64 = 6;
const LARGEST: u64 = 300_000;

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What a file has at a place, if it was written.
fn byte(file: u64, at: u64) -> u8 {
    (mix(file * 1_000_003 + at / 8) >> (at % 8 * 8)) as u8 | 1
}

fn bytes(file: u64, at: u64, length: u64) -> Vec<u8> {
    (at..at + length).map(|at| byte(file, at)).collect()
}

/// A file, what it holds, and what it held when it was synced last.
struct Subject {
    number: u64,
    path: PathBuf,
    grows_only: bool,
    now: Vec<u8>,
    synced: Option<Vec<u8>>,
    changed: bool,
}

impl Subject {
    fn step(&mut self, file: &File, random: u64) -> std::io::Result<()> {
        let length = 1 + mix(random) % 30_000;
        let size = self.now.len() as u64;
        let choice = if self.grows_only { [0, 0, 0, 5][random as usize % 4] } else { random % 6 };
        if choice == 5 {
            if random.is_multiple_of(3) {
                file.sync_all()?
            } else {
                file.sync_data()?
            }
            self.synced = Some(self.now.clone());
            self.changed = false;
            return Ok(());
        }
        self.changed = true;
        match choice {
            0 => {
                let data = bytes(self.number, size, length.min(LARGEST.saturating_sub(size)));
                file.write_all_at(&data, size)?;
                self.now.extend_from_slice(&data);
            }
            1 | 2 => {
                let at = mix(random + 1) % LARGEST;
                let data = bytes(self.number, at, length);
                file.write_all_at(&data, at)?;
                let end = (at + length) as usize;
                if self.now.len() < end {
                    self.now.resize(end, 0);
                }
                self.now[at as usize..end].copy_from_slice(&data);
            }
            3 => {
                let to = mix(random + 2) % LARGEST;
                file.set_len(to)?;
                self.now.resize(to as usize, 0);
            }
            _ => {
                let at = mix(random + 3) % LARGEST;
                let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(file, how, at, length)?;
                let end = ((at + length) as usize).min(self.now.len());
                if (at as usize) < end {
                    self.now[at as usize..end].fill(0);
                }
            }
        }
        Ok(())
    }
}

fn work(dir: &Path, thread: u64, seed: u64, ready: &Barrier) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for number in thread * FILES..(thread + 1) * FILES {
        let path = dir.join(format!("crash{number}"));
        let grows_only = number % 2 == 0;
        subjects.push(Subject { number, path, grows_only, now: Vec::new(), synced: None, changed: false });
    }
    let open = |subject: &Subject| {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&subject.path)
    };
    let files = subjects.iter().map(open).collect::<std::io::Result<Vec<_>>>();
    ready.wait();
    let files = files?;
    for step in 0.. {
        let random = mix(seed * 77_777 + thread * 1_000_000_007 + step);
        let at = (random >> 32) as usize % files.len();
        match subjects[at].step(&files[at], random & 0xffff_ffff) {
            Ok(()) => {}
            Err(error) if matches!(error.raw_os_error(), Some(5 | 30)) => break,
            Err(error) => return Err(error).context("before the end"),
        }
    }
    Ok(subjects)
}

fn write(dir: &Path, record: &Path, seed: u64) -> Result<()> {
    fs::create_dir_all(record)?;
    let top = File::open(dir)?;
    let ready = &Barrier::new(THREADS as usize + 1);
    let all = std::thread::scope(|scope| -> Result<Vec<Subject>> {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || work(dir, thread, seed, ready))).collect();
        ready.wait();
        std::thread::sleep(Duration::from_millis(200 + mix(seed) % 1500));
        // SAFETY: the call reads one 32-bit number, which Setter passes.
        let request = unsafe { Setter::<SHUTDOWN, u32>::new(2) };
        // SAFETY: a file system that knows the call takes no more changes; others refuse it.
        unsafe { ioctl(&top, request) }.context("shutdown")?;
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread died"))??);
        }
        Ok(all)
    })?;
    for subject in all {
        let Some(synced) = &subject.synced else { continue };
        let kind = match (subject.changed, subject.grows_only) {
            (false, _) => "exact",
            (true, true) => "grown",
            (true, false) => "any",
        };
        fs::write(record.join(format!("{}.{kind}", subject.number)), synced)?;
    }
    Ok(())
}

fn check_one(dir: &Path, number: u64, kind: &str, synced: &[u8]) -> Result<()> {
    let path = dir.join(format!("crash{number}"));
    let found = fs::read(&path).context("a synced file is gone")?;
    for (at, got) in found.iter().enumerate() {
        ensure!(
            *got == 0 || *got == byte(number, at as u64),
            "byte {at} of {} is {got}: nobody wrote that",
            found.len()
        );
    }
    match kind {
        "exact" => {
            ensure!(found.len() == synced.len(), "{} bytes, {} were synced", found.len(), synced.len());
            ensure!(found == synced, "the content is not what was synced");
        }
        "grown" => {
            ensure!(found.starts_with(synced), "{} of {} synced bytes are there", found.len(), synced.len())
        }
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    file.set_len(found.len() as u64 + LARGEST)?;
    let mut behind = vec![0xee; LARGEST as usize];
    file.read_exact_at(&mut behind, found.len() as u64)?;
    let left = behind.iter().position(|byte| *byte != 0);
    ensure!(left.is_none(), "after it grew, byte {left:?} behind its {} is not zero", found.len());
    Ok(())
}

fn check(dir: &Path, record: &Path) -> Result<bool> {
    let (mut passed, mut failed) = (0, 0);
    for entry in fs::read_dir(record)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
        let (number, kind) = name.split_once('.').context("a record")?;
        match check_one(dir, number.parse()?, kind, &fs::read(&path)?) {
            Ok(()) => passed += 1,
            Err(error) => {
                failed += 1;
                println!("FAILED file {number}, {kind}: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn run() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", dir, record, seed] => {
            write(Path::new(dir), Path::new(record), seed.parse()?).map(|()| true)
        }
        ["check", dir, record] => check(Path::new(dir), Path::new(record)),
        _ => bail!("usage: fs-crash write DIR RECORD SEED, fs-crash check DIR RECORD"),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fs-crash: {error:#}");
            ExitCode::from(2)
        }
    }
}
