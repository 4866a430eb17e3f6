//! Opening, syncing, reading around the cache.

use crate::case::{Ground, cases, holds, open_rw, pattern, read_at, refused, same, same_bytes, sync_dir};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

cases![
    open_with_truncate_empties_a_file,
    every_kind_of_sync_succeeds,
    a_synchronous_file_is_written_through,
    direct_writes_are_seen_by_buffered_reads,
    buffered_writes_are_seen_by_direct_reads,
    direct_writes_extend_a_file,
    direct_reads_end_at_the_end,
    a_file_written_and_synced_again_and_again_keeps_its_content,
    locks_of_two_owners_exclude_each_other,
    an_executable_runs,
];

fn open_with_truncate_empties_a_file(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 50_000))?;
    let file = open_rw(&path, OFlags::TRUNC)?;
    same("size", rustix::fs::fstat(&file)?.st_size, 0)?;
    file.write_all_at(b"x", 9999)?;
    let mut model = vec![0; 9999];
    model.push(b'x');
    holds(&path, &model)
}

fn every_kind_of_sync_succeeds(ground: &Ground) -> Result<()> {
    let mut file = ground.open_new("file")?;
    file.write_all(b"content")?;
    file.sync_all()?;
    file.write_all(b"more")?;
    file.sync_data()?;
    sync_dir(ground.top())?;
    rustix::fs::syncfs(&file)?;
    rustix::fs::sync();
    // Nothing to do is no error either.
    file.sync_all()?;
    // A handle that may only read syncs too.
    Ok(File::open(ground.path("file"))?.sync_all()?)
}

fn a_synchronous_file_is_written_through(ground: &Ground) -> Result<()> {
    for (name, flag) in [("sync", OFlags::SYNC), ("dsync", OFlags::DSYNC)] {
        let mut file = open_rw(&ground.path(name), OFlags::CREATE | flag)?;
        for round in 0..10 {
            file.write_all(&pattern(round, 3000))?;
        }
        same("size", rustix::fs::fstat(&file)?.st_size, 30_000)?;
    }
    Ok(())
}

const ALIGNED: usize = 4096;

/// A buffer whose bytes begin at a multiple of a page, as direct transfers ask for.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    fn new(content: &[u8]) -> Result<Buffer> {
        let mut bytes = vec![0u8; content.len() + ALIGNED];
        let start = bytes.as_ptr().align_offset(ALIGNED);
        bytes.get_mut(start..start + content.len()).context("no aligned place")?.copy_from_slice(content);
        Ok(Buffer { bytes, start, length: content.len() })
    }

    fn content(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

fn direct(path: &Path, more: OFlags) -> Result<File> {
    open_rw(path, OFlags::DIRECT | more)
}

fn direct_writes_are_seen_by_buffered_reads(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 64 << 10))?;
    let buffered = open_rw(&path, OFlags::empty())?;
    read_at(&buffered, 0, 64 << 10)?;
    let file = direct(&path, OFlags::empty())?;
    let mut new = Buffer::new(&pattern(2, 16 << 10))?;
    file.write_all_at(new.content(), 16 << 10)?;
    same_bytes("buffered", &read_at(&buffered, 16 << 10, 16 << 10)?, &pattern(2, 16 << 10))?;
    same_bytes("before it", &read_at(&buffered, 0, 16 << 10)?, &pattern(1, 64 << 10)[..16 << 10])
}

fn buffered_writes_are_seen_by_direct_reads(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(4, 40 << 10))?;
    open_rw(&path, OFlags::empty())?.write_all_at(b"dirty", 5000)?;
    let mut model = pattern(4, 40 << 10);
    model[5000..5005].copy_from_slice(b"dirty");
    let file = direct(&path, OFlags::empty())?;
    let mut found = Buffer::new(&vec![0; 40 << 10])?;
    file.read_exact_at(found.content(), 0)?;
    same_bytes("direct", found.content(), &model)
}

fn direct_writes_extend_a_file(ground: &Ground) -> Result<()> {
    let path = ground.path("file");
    let mut file = direct(&path, OFlags::CREATE)?;
    let mut model = Vec::new();
    for round in 0..8 {
        let mut piece = Buffer::new(&pattern(round, ALIGNED * (1 + usize::from(round) % 3)))?;
        file.write_all(piece.content())?;
        model.extend_from_slice(piece.content());
    }
    holds(&path, &model)?;
    // Over a hole that was left.
    rustix::fs::ftruncate(&file, 1 << 20)?;
    let mut last = Buffer::new(&pattern(9, ALIGNED))?;
    file.write_all_at(last.content(), 512 << 10)?;
    model.resize(1 << 20, 0);
    model[512 << 10..][..ALIGNED].copy_from_slice(last.content());
    holds(&path, &model)
}

fn direct_reads_end_at_the_end(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(7, 10_000))?;
    let mut file = direct(&path, OFlags::empty())?;
    let mut buffer = Buffer::new(&vec![0; 16 << 10])?;
    same("read", file.read(buffer.content())?, 10_000)?;
    same_bytes("content", &buffer.content()[..10_000], &pattern(7, 10_000))?;
    file.seek(std::io::SeekFrom::Start(12 << 10))?;
    same("past the end", file.read(buffer.content())?, 0)
}

fn a_file_written_and_synced_again_and_again_keeps_its_content(ground: &Ground) -> Result<()> {
    let path = ground.path("file");
    let mut file = ground.open_new("file")?;
    let mut model = Vec::new();
    for round in 0..60u8 {
        let piece = pattern(round, 100 + usize::from(round) * 37);
        file.write_all(&piece)?;
        model.extend_from_slice(&piece);
        if round % 3 == 0 { file.sync_all() } else { file.sync_data() }?;
    }
    holds(&path, &model)
}

fn locks_of_two_owners_exclude_each_other(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    let (one, two) = (open_rw(&path, OFlags::empty())?, open_rw(&path, OFlags::empty())?);
    let lock = |file: &File, operation| rustix::fs::flock(file, operation);
    lock(&one, rustix::fs::FlockOperation::LockExclusive)?;
    let second = lock(&two, rustix::fs::FlockOperation::NonBlockingLockShared);
    refused("a second lock", second, Errno::WOULDBLOCK)?;
    lock(&one, rustix::fs::FlockOperation::Unlock)?;
    Ok(lock(&two, rustix::fs::FlockOperation::NonBlockingLockShared)?)
}

fn an_executable_runs(ground: &Ground) -> Result<()> {
    let path = ground.file("program", &fs::read("/proc/self/exe")?)?;
    rustix::fs::chmod(&path, Mode::from_bits_retain(0o755))?;
    let output =
        std::process::Command::new(&path).arg("--help").output().context("running a copy of this program")?;
    ensure!(output.status.success(), "{}", output.status);
    let opened = rustix::fs::open(&path, OFlags::RDONLY, Mode::empty())?;
    same("size", rustix::fs::fstat(opened)?.st_size as u64, fs::metadata("/proc/self/exe")?.len())
}
