//! `fs-race DIR SECONDS`: threads change the same files at once. Every byte that is ever written follows from its place, so
//! whoever reads finds that byte or zero, however the changes fell together.

mod mapping;

use anyhow::{Context, Result, ensure};
use mapping::Mapping;
use rustix::fs::{Advice, FallocateFlags, OFlags};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BLOCK: u64 = 4096;
const SIZE: u64 = 64 * BLOCK;
const THREADS: u64 = 6;

/// Whether the size changes. Where it does not, files are mapped too: a store past the end would end the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Fixed,
    Changes,
}

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn bytes(at: u64, length: u64) -> Vec<u8> {
    (at..at + length).map(|at| (mix(at / 8) >> (at % 8 * 8)) as u8 | 1).collect()
}

fn check(found: &[u8], at: u64) -> Result<()> {
    let right = bytes(at, found.len() as u64);
    let wrong = found.iter().zip(&right).position(|(found, right)| *found != 0 && found != right);
    ensure!(wrong.is_none(), "a byte that nobody wrote, at {}", at + wrong.unwrap_or(0) as u64);
    Ok(())
}

fn direct(file: &File, at: u64, length: u64, size: Size, random: u64) -> Result<()> {
    let (at, length) = (at / BLOCK * BLOCK, length.next_multiple_of(BLOCK));
    let mut memory = vec![0_u8; (length + BLOCK) as usize];
    let start = memory.as_ptr().align_offset(BLOCK as usize);
    let memory = &mut memory[start..start + length as usize];
    // What is mapped and written past the page cache at once is an error of the program's, and fsync says so.
    if size == Size::Changes && random.is_multiple_of(2) {
        memory.copy_from_slice(&bytes(at, length));
        file.write_all_at(memory, at).context("O_DIRECT write")
    } else {
        let read = file.read_at(memory, at).context("O_DIRECT read")?;
        check(&memory[..read], at).context("O_DIRECT")
    }
}

fn step(path: &Path, file: &File, unbuffered: &File, size: Size, random: u64) -> Result<()> {
    let at = mix(random + 1) % SIZE;
    let length = (1 + mix(random + 2) % (6 * BLOCK)).min(SIZE - at);
    let allocate = |flags| match rustix::fs::fallocate(file, flags, at, length) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        other => other.with_context(|| format!("fallocate {flags:?}")),
    };
    match random % 11 {
        0 | 1 => file.write_all_at(&bytes(at, length), at).context("write")?,
        2 => direct(unbuffered, at, length, size, mix(random + 3))?,
        3 => {
            let mut found = vec![0; length as usize];
            let read = file.read_at(&mut found, at).context("read")?;
            check(&found[..read], at)?;
        }
        4 => allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)?,
        5 => allocate(FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE)?,
        6 => allocate(FallocateFlags::KEEP_SIZE)?,
        7 => file.sync_all().context("fsync")?,
        8 => rustix::fs::fadvise(file, 0, None, Advice::DontNeed).context("fadvise")?,
        _ if size == Size::Changes => match random % 2 {
            0 => file.set_len(at).context("truncate")?,
            _ => drop(File::open(path)?),
        },
        _ => {
            let mapping = Mapping::new(file, SIZE as usize)?;
            mapping.write(at as usize, &bytes(at, length))?;
            check(&mapping.read(0, SIZE as usize)?, 0).context("mapped")?;
            if random.is_multiple_of(5) {
                mapping.sync()?;
            }
        }
    }
    Ok(())
}

fn race(dir: &Path, name: &str, size: Size, seconds: u64) -> Result<()> {
    let path = dir.join(name);
    let open = |flags: OFlags| {
        let flags = flags.bits().cast_signed();
        OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(&path)
    };
    let (file, unbuffered) = (open(OFlags::empty())?, open(OFlags::DIRECT)?);
    file.set_len(SIZE)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (path, file, unbuffered) = (&path, &file, &unbuffered);
                scope.spawn(move || -> Result<()> {
                    for round in 0.. {
                        if Instant::now() > end {
                            break;
                        }
                        step(path, file, unbuffered, size, mix(thread * 1_000_000_007 + round))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread died"))??;
        }
        Ok(())
    })?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    check(&std::fs::read(&path)?, 0).context("in the end")?;
    std::fs::remove_file(&path).context("remove")
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, seconds] = words.as_slice() else {
        eprintln!("usage: fs-race DIR SECONDS");
        return ExitCode::from(2);
    };
    let (dir, seconds) = (PathBuf::from(dir), seconds.parse().unwrap_or(5));
    let (mut passed, mut failed) = (0, 0);
    for (name, size) in [("fixed", Size::Fixed), ("changing", Size::Changes)] {
        match race(&dir, name, size, seconds) {
            Ok(()) => passed += 1,
            Err(error) => {
                failed += 1;
                println!("FAILED a file of {name} size: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
