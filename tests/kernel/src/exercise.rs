//! `fs-exercise DIR [--seed N] [--seeds N] [--operations N] [--files N] [--unmapped]`: random operations on files, each compared with a copy in
//! memory: write(2), mmap and O_DIRECT side by side, truncates, punches, preallocation, syncs, with a thread that writes
//! everything back all the time.

mod mapping;

use anyhow::{Context, Result, bail, ensure};
use mapping::Mapping;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// No file grows larger.
const LARGEST: u64 = 1 << 20;
const BLOCK: u64 = 4096;
/// Operations that a failure tells of.
const RECENT: usize = 12;

/// Numbers that follow from a seed: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Mostly short, at times long.
    fn length(&mut self, most: u64) -> u64 {
        let most = if self.below(4) == 0 { most } else { most.min(20_000) };
        1 + self.below(most)
    }
}

/// Memory that O_DIRECT takes: aligned to a block.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: u64) -> Aligned {
        let bytes = vec![0_u8; (length + BLOCK) as usize];
        let start = bytes.as_ptr().align_offset(BLOCK as usize);
        Aligned { bytes, start, length: length as usize }
    }

    fn all(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

/// The word that an operation writes at a place: it says whose it is, so that what shows up elsewhere can be told.
fn word(file: u64, operation: u64, at: u64) -> [u8; 8] {
    let [op0, op1, op2, ..] = operation.to_le_bytes();
    let [block0, block1, ..] = (at / BLOCK).to_le_bytes();
    let [file0, file1, ..] = file.to_le_bytes();
    [0xb1, file0, file1, op0, op1, op2, block0, block1]
}

/// A file, and what it must hold.
struct Subject {
    number: u64,
    operation: u64,
    path: PathBuf,
    file: File,
    direct: Option<File>,
    model: Vec<u8>,
    log: Vec<String>,
    mapped: bool,
}

fn open(path: &Path, flags: OFlags) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

impl Subject {
    fn new(dir: &Path, number: u64, mapped: bool) -> Result<Subject> {
        let path = dir.join(format!("exercise{number}"));
        let _ = std::fs::remove_file(&path);
        let file = open(&path, OFlags::empty())?;
        let direct = open(&path, OFlags::DIRECT).ok();
        Ok(Subject { number, operation: 0, path, file, direct, model: Vec::new(), log: Vec::new(), mapped })
    }

    fn content(&self, at: u64, length: u64) -> Vec<u8> {
        (at..at + length).map(|at| word(self.number, self.operation, at)[at as usize % 8]).collect()
    }

    fn size(&self) -> u64 {
        self.model.len() as u64
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let end = at as usize + bytes.len();
        if end > self.model.len() {
            self.model.resize(end, 0);
        }
        self.model[at as usize..end].copy_from_slice(bytes);
    }

    fn zero(&mut self, at: u64, end: u64) {
        let end = (end as usize).min(self.model.len());
        if (at as usize) < end {
            self.model[at as usize..end].fill(0);
        }
    }

    fn step(&mut self, random: &mut Random) -> Result<()> {
        let at = random.below(LARGEST - 1);
        let at = if random.below(2) == 0 { at.min(self.size() + 20_000) } else { at };
        let length = random.length(LARGEST / 4).min(LARGEST - at);
        let choice = random.below(100);
        self.log.push(format!("{}: {choice} at {at} length {length} size {}", self.operation, self.size()));
        match choice {
            0..20 => {
                let bytes = self.content(at, length);
                self.file.write_all_at(&bytes, at).context("write")?;
                self.put(at, &bytes);
            }
            20..28 => {
                let bytes = self.content(self.size(), length.min(LARGEST - self.size()));
                self.file.write_all_at(&bytes, self.size()).context("append")?;
                self.put(self.size(), &bytes);
            }
            28..40 if self.mapped => self.write_mapped(random, at, length)?,
            40..50 => self.write_direct(random, at, length)?,
            50..58 => self.read_direct(at, length)?,
            58..66 => {
                let size = if random.below(3) == 0 { at } else { at.min(self.size()) };
                self.file.set_len(size).context("truncate")?;
                self.model.resize(size as usize, 0);
            }
            66..80 => self.allocate(random.below(5), at, length)?,
            80..84 => self.file.sync_all().context("fsync")?,
            84..88 => self.file.sync_data().context("fdatasync")?,
            88..92 if self.mapped => self.compare_mapped()?,
            28..40 | 88..96 => self.compare()?,
            96..98 => {
                rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed).context("fadvise")?;
            }
            _ => self.look_for_data()?,
        }
        let size = self.file.metadata()?.size();
        ensure!(size == self.size(), "the size is {size}, not {}", self.size());
        Ok(())
    }

    fn write_mapped(&mut self, random: &mut Random, at: u64, length: u64) -> Result<()> {
        if self.size() == 0 {
            return Ok(());
        }
        let at = at.min(self.size() - 1);
        let length = length.min(self.size() - at);
        let bytes = self.content(at, length);
        let whole = self.size().next_multiple_of(BLOCK);
        let mapping = Mapping::new(&self.file, whole as usize)?;
        mapping.write(at as usize, &bytes)?;
        // What lies past the end in the last page is nobody's, and must never show.
        if whole > self.size() && random.below(2) == 0 {
            mapping.write(self.size() as usize, &self.content(self.size(), whole - self.size()))?;
        }
        if random.below(4) == 0 {
            mapping.sync()?;
        }
        drop(mapping);
        self.put(at, &bytes);
        Ok(())
    }

    fn write_direct(&mut self, random: &mut Random, at: u64, length: u64) -> Result<()> {
        let Some(direct) = &self.direct else { return Ok(()) };
        let unaligned = random.below(8) == 0;
        let (at, length) =
            if unaligned { (at, length) } else { (at / BLOCK * BLOCK, length.next_multiple_of(BLOCK)) };
        let bytes = self.content(at, length);
        let mut memory = Aligned::new(length);
        memory.all().copy_from_slice(&bytes);
        let written = match direct.write_at(memory.all(), at) {
            // Not every file system writes what is not aligned.
            Err(error) if unaligned && error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                return Ok(());
            }
            other => other.context("O_DIRECT write")?,
        };
        ensure!(written as u64 == length, "O_DIRECT wrote {written} of {length}");
        self.put(at, &bytes);
        Ok(())
    }

    fn read_direct(&mut self, at: u64, length: u64) -> Result<()> {
        let Some(direct) = &self.direct else { return Ok(()) };
        let (at, length) = (at / BLOCK * BLOCK, length.next_multiple_of(BLOCK));
        let mut memory = Aligned::new(length);
        let read = direct.read_at(memory.all(), at).context("O_DIRECT read")?;
        let expected = self.model.get(at as usize..).unwrap_or(&[]);
        let expected = &expected[..expected.len().min(length as usize)];
        ensure!(read == expected.len(), "O_DIRECT read {read} bytes, not {}", expected.len());
        same(&memory.all()[..read], expected, at)
    }

    fn allocate(&mut self, how: u64, at: u64, length: u64) -> Result<()> {
        let keep = FallocateFlags::KEEP_SIZE;
        let flags = match how {
            0 => FallocateFlags::empty(),
            1 => keep,
            2 => FallocateFlags::PUNCH_HOLE | keep,
            3 => FallocateFlags::ZERO_RANGE,
            _ => FallocateFlags::ZERO_RANGE | keep,
        };
        match rustix::fs::fallocate(&self.file, flags, at, length) {
            Err(Errno::OPNOTSUPP) => return Ok(()),
            other => other.with_context(|| format!("fallocate {flags:?}"))?,
        }
        let end = at + length;
        if how >= 2 {
            self.zero(at, end);
        }
        if (how == 0 || how == 3) && end > self.size() {
            self.model.resize(end as usize, 0);
        }
        Ok(())
    }

    fn compare(&self) -> Result<()> {
        let mut read = vec![0; self.model.len() + 10];
        let mut got = 0;
        loop {
            let now = self.file.read_at(&mut read[got..], got as u64)?;
            if now == 0 {
                break;
            }
            got += now;
        }
        ensure!(got == self.model.len(), "read {got} bytes, not {}", self.model.len());
        same(&read[..got], &self.model, 0)
    }

    fn compare_mapped(&self) -> Result<()> {
        if self.model.is_empty() {
            return Ok(());
        }
        let whole = self.model.len().next_multiple_of(BLOCK as usize);
        let read = Mapping::new(&self.file, whole)?.read(0, whole)?;
        same(&read[..self.model.len()], &self.model, 0).context("mapped")
    }

    /// No byte that is not zero may lie in what SEEK_HOLE calls a hole.
    fn look_for_data(&self) -> Result<()> {
        let mut at = 0;
        while at < self.size() {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => self.size(),
                other => other.context("SEEK_DATA")?,
            };
            if let Some(byte) = self.model[at as usize..data as usize].iter().position(|byte| *byte != 0) {
                bail!("SEEK_DATA from {at} goes to {data}, over data at {}", at + byte as u64);
            }
            if data >= self.size() {
                break;
            }
            at = rustix::fs::seek(&self.file, SeekFrom::Hole(data)).context("SEEK_HOLE")?;
            ensure!(at > data, "SEEK_HOLE from {data} answers {at}");
        }
        Ok(())
    }
}

/// Whose words these bytes are, `at` bytes into a file.
fn whose(bytes: &[u8], at: u64) -> String {
    let aligned = (8 - at % 8) as usize % 8;
    match bytes.get(aligned..aligned + 8) {
        Some(&[0xb1, file0, file1, op0, op1, op2, block0, block1]) => {
            let file = u16::from_le_bytes([file0, file1]);
            let operation = u32::from_le_bytes([op0, op1, op2, 0]);
            format!("file {file}, operation {operation}, block {}", u16::from_le_bytes([block0, block1]))
        }
        Some(word) => format!("{word:?}"),
        None => "the end".into(),
    }
}

fn same(read: &[u8], expected: &[u8], at: u64) -> Result<()> {
    let Some(wrong) = read.iter().zip(expected).position(|(read, expected)| read != expected) else {
        return Ok(());
    };
    let last = read.iter().zip(expected).rposition(|(read, expected)| read != expected).unwrap_or(wrong);
    let place = at + wrong as u64;
    bail!(
        "bytes {place} to {} differ: {}, not {}",
        at + last as u64,
        whose(&read[wrong..], place),
        whose(&expected[wrong..], place)
    )
}

fn exercise(dir: &Path, seed: u64, operations: u64, files: u64, mapped: bool) -> Result<()> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut subjects = (0..files)
        .map(|number| Subject::new(dir, seed * 100 + number, mapped))
        .collect::<Result<Vec<_>>>()?;
    for operation in 0..operations {
        let which = random.below(files) as usize;
        let subject = &mut subjects[which];
        subject.operation = operation;
        subject.step(&mut random).with_context(|| {
            let recent = subject.log.iter().rev().take(RECENT).rev().cloned().collect::<Vec<_>>().join("; ");
            format!("operation {operation} on {}: {recent}", subject.path.display())
        })?;
    }
    for subject in &subjects {
        subject.compare().context("in the end")?;
        subject.file.sync_all()?;
        rustix::fs::fadvise(&subject.file, 0, None, rustix::fs::Advice::DontNeed)?;
        subject.compare().context("from the disk")?;
    }
    for subject in &subjects {
        std::fs::remove_file(&subject.path)?;
    }
    Ok(())
}

fn run() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| -> Result<u64> {
        match words.iter().position(|word| word == name) {
            Some(at) => words.get(at + 1).context("a number")?.parse().context("a number"),
            None => Ok(default),
        }
    };
    let dir = PathBuf::from(
        words
            .first()
            .context("usage: fs-exercise DIR [--seed N] [--operations N] [--files N] [--seeds N]")?,
    );
    let (first, operations, files) =
        (number("--seed", 1)?, number("--operations", 3000)?, number("--files", 3)?);
    let seeds = number("--seeds", 1)?;
    let mapped = !words.iter().any(|word| word == "--unmapped");
    let stop = AtomicBool::new(false);
    let (mut passed, mut failed) = (0, 0);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            let Ok(top) = File::open(&dir) else { return };
            while !stop.load(Ordering::Relaxed) {
                let _ = rustix::fs::syncfs(&top);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let runs: Vec<_> = (first..first + seeds)
            .map(|seed| {
                let dir = &dir;
                (seed, scope.spawn(move || exercise(dir, seed, operations, files, mapped)))
            })
            .collect();
        for (seed, run) in runs {
            match run.join() {
                Ok(Ok(())) => passed += 1,
                Ok(Err(error)) => {
                    failed += 1;
                    println!("FAILED seed {seed}: {error:#}");
                }
                Err(_) => failed += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fs-exercise: {error:#}");
            ExitCode::from(2)
        }
    }
}
