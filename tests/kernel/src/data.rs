//! Bytes: written, read, sparse, cut, allocated.

use crate::case::{
    Ground, cases, forget_cached, holds, open_append, open_rw, pattern, read_at, refused, same, same_bytes,
    stat,
};
use anyhow::{Result, ensure};
use rustix::fs::{FallocateFlags, OFlags, SeekFrom, fallocate};
use rustix::io::Errno;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;

cases![
    what_was_written_is_read_at_every_alignment,
    a_hole_reads_as_zeros_and_takes_no_blocks,
    a_write_far_out_makes_a_sparse_file,
    append_goes_to_the_end_whoever_else_writes,
    a_cut_file_that_grows_again_shows_zeros,
    bytes_after_a_short_end_never_show,
    fallocate_takes_blocks_that_read_as_zeros,
    keep_size_leaves_the_size,
    a_punched_hole_reads_as_zeros_around_kept_edges,
    a_zeroed_range_reads_as_zeros,
    seek_finds_data_and_holes,
    a_file_of_many_pieces_reads_back,
    a_copy_within_the_kernel_is_the_same,
    vectors_are_written_in_one_piece,
    threads_that_append_lose_nothing,
    a_read_past_the_end_is_short,
    the_last_byte_that_a_file_can_have_holds_what_is_written,
    a_huge_size_is_taken_as_it_is_or_refused,
];

const BLOCK: usize = 4096;

fn what_was_written_is_read_at_every_alignment(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    let mut model = vec![0u8; 100_000];
    let pieces = [(0, 1), (1, 4095), (4095, 2), (8191, 8193), (50_000, 12_345), (99_999, 1), (4096, 4096)];
    for (number, (offset, length)) in pieces.into_iter().enumerate() {
        let bytes = pattern(number as u8 * 16, length);
        file.write_all_at(&bytes, offset as u64)?;
        model[offset..offset + length].copy_from_slice(&bytes);
    }
    holds(&ground.path("file"), &model)?;
    forget_cached(&file)?;
    holds(&ground.path("file"), &model)
}

fn a_hole_reads_as_zeros_and_takes_no_blocks(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    rustix::fs::ftruncate(&file, 1 << 30)?;
    let status = rustix::fs::fstat(&file)?;
    same("size", status.st_size, 1 << 30)?;
    ensure!(status.st_blocks < 16, "{} sectors for nothing", status.st_blocks);
    same_bytes("the middle", &read_at(&file, 500 << 20, 10_000)?, &[0; 10_000])
}

fn a_write_far_out_makes_a_sparse_file(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    let bytes = pattern(1, 10_000);
    for offset in [5u64 << 40, 1 << 33, 123_456_789] {
        file.write_all_at(&bytes, offset)?;
    }
    forget_cached(&file)?;
    for offset in [5u64 << 40, 1 << 33, 123_456_789] {
        same_bytes("far out", &read_at(&file, offset, 10_000)?, &bytes)?;
        same_bytes("before it", &read_at(&file, offset - 5000, 5000)?, &[0; 5000])?;
    }
    let status = rustix::fs::fstat(&file)?;
    ensure!(status.st_blocks < 400, "{} sectors for 30,000 bytes", status.st_blocks);
    Ok(())
}

fn append_goes_to_the_end_whoever_else_writes(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"start")?;
    let (mut one, mut two) = (open_append(&path)?, open_append(&path)?);
    one.write_all(b"-one")?;
    two.write_all(b"-two")?;
    one.write_all(b"-three")?;
    holds(&path, b"start-one-two-three")
}

fn a_cut_file_that_grows_again_shows_zeros(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(3, 30_000))?;
    let file = open_rw(&path, OFlags::empty())?;
    for (cut, grow) in [(10_000u64, 25_000u64), (4096, 8192), (1, 4096), (0, 100)] {
        file.write_all_at(&pattern(3, 30_000), 0)?;
        rustix::fs::ftruncate(&file, cut)?;
        rustix::fs::ftruncate(&file, grow)?;
        let mut model = pattern(3, cut as usize);
        model.resize(grow as usize, 0);
        holds(&path, &model)?;
        forget_cached(&file)?;
        holds(&path, &model)?;
    }
    Ok(())
}

fn bytes_after_a_short_end_never_show(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    file.write_all_at(&pattern(1, 5000), 0)?;
    forget_cached(&file)?;
    rustix::fs::ftruncate(&file, 100)?;
    file.write_all_at(b"end", 7000)?;
    let mut model = pattern(1, 100);
    model.resize(7000, 0);
    model.extend_from_slice(b"end");
    holds(&ground.path("file"), &model)?;
    forget_cached(&file)?;
    holds(&ground.path("file"), &model)
}

fn fallocate_takes_blocks_that_read_as_zeros(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    fallocate(&file, FallocateFlags::empty(), 1000, 1 << 20)?;
    let status = rustix::fs::fstat(&file)?;
    same("size", status.st_size, 1000 + (1 << 20))?;
    ensure!(status.st_blocks >= 2048, "{} sectors for a mebibyte", status.st_blocks);
    file.write_all_at(b"in the middle", 500_000)?;
    forget_cached(&file)?;
    let mut model = vec![0; 1000 + (1 << 20)];
    model[500_000..500_013].copy_from_slice(b"in the middle");
    holds(&ground.path("file"), &model)
}

fn keep_size_leaves_the_size(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"short")?;
    let file = open_rw(&path, OFlags::empty())?;
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20)?;
    let status = stat(&path)?;
    same("size", status.st_size, 5)?;
    ensure!(status.st_blocks >= 2048, "{} sectors", status.st_blocks);
    rustix::fs::ftruncate(&file, 5)?;
    rustix::fs::ftruncate(&file, 10_000)?;
    let mut model = b"short".to_vec();
    model.resize(10_000, 0);
    holds(&path, &model)
}

fn a_punched_hole_reads_as_zeros_around_kept_edges(ground: &Ground) -> Result<()> {
    let length = 20 * BLOCK;
    let mut model = pattern(6, length);
    let path = ground.file("file", &model)?;
    let file = open_rw(&path, OFlags::empty())?;
    file.sync_all()?;
    let before = rustix::fs::fstat(&file)?.st_blocks;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for (offset, size) in
        [(5000, 3000), (3 * BLOCK, 4 * BLOCK), (10 * BLOCK - 7, BLOCK + 20), (19 * BLOCK, 90_000)]
    {
        fallocate(&file, punch, offset as u64, size as u64)?;
        model[offset..(offset + size).min(length)].fill(0);
        holds(&path, &model)?;
    }
    forget_cached(&file)?;
    holds(&path, &model)?;
    let after = rustix::fs::fstat(&file)?.st_blocks;
    ensure!(after <= before - 6 * 8, "{before} sectors before, {after} after");
    Ok(())
}

fn a_zeroed_range_reads_as_zeros(ground: &Ground) -> Result<()> {
    let mut model = pattern(2, 50_000);
    let path = ground.file("file", &model)?;
    let file = open_rw(&path, OFlags::empty())?;
    fallocate(&file, FallocateFlags::ZERO_RANGE, 10_000, 20_000)?;
    model[10_000..30_000].fill(0);
    holds(&path, &model)?;
    fallocate(&file, FallocateFlags::ZERO_RANGE, 45_000, 20_000)?;
    model.truncate(45_000);
    model.resize(65_000, 0);
    forget_cached(&file)?;
    holds(&path, &model)
}

fn seek_finds_data_and_holes(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    rustix::fs::ftruncate(&file, 1 << 20)?;
    file.write_all_at(&[1; BLOCK], 256 << 10)?;
    file.sync_all()?;
    let seek = |from| rustix::fs::seek(&file, from);
    same("data", seek(SeekFrom::Data(0))?, 256 << 10)?;
    same("hole in the data", seek(SeekFrom::Hole(256 << 10))?, (256 << 10) + BLOCK as u64)?;
    same("hole at the start", seek(SeekFrom::Hole(0))?, 0)?;
    refused("data after the last", seek(SeekFrom::Data(512 << 10)), Errno::NXIO)?;
    refused("past the end", seek(SeekFrom::Hole(2 << 20)), Errno::NXIO)?;
    let full = ground.open_new("full")?;
    full.write_all_at(&[1; 3 * BLOCK], 0)?;
    same("hole of a full file", rustix::fs::seek(&full, SeekFrom::Hole(0))?, 3 * BLOCK as u64)
}

fn a_file_of_many_pieces_reads_back(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    for number in 0..1500u64 {
        file.write_all_at(&[number as u8 | 1; BLOCK], number * 3 * BLOCK as u64)?;
    }
    forget_cached(&file)?;
    for number in 0..1500u64 {
        let offset = number * 3 * BLOCK as u64;
        same_bytes("a piece", &read_at(&file, offset, BLOCK)?, &[number as u8 | 1; BLOCK])?;
        if number > 0 {
            same_bytes("a hole", &read_at(&file, offset - BLOCK as u64, BLOCK)?, &[0; BLOCK])?;
        }
    }
    rustix::fs::ftruncate(&file, 100 * 3 * BLOCK as u64)?;
    file.sync_all()?;
    let blocks = rustix::fs::fstat(&file)?.st_blocks;
    ensure!(blocks < 100 * 8 + 100, "{blocks} sectors after the cut");
    Ok(())
}

fn a_copy_within_the_kernel_is_the_same(ground: &Ground) -> Result<()> {
    let content = pattern(8, 200_001);
    let from = ground.file("from", &content)?;
    same("copied", fs::copy(&from, ground.path("to"))?, 200_001)?;
    holds(&ground.path("to"), &content)
}

fn vectors_are_written_in_one_piece(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    let (one, two, three) = (pattern(1, 5000), pattern(2, 1), pattern(3, 9000));
    let slices = [&one, &two, &three].map(|bytes| std::io::IoSlice::new(bytes));
    same("written", rustix::io::pwritev(&file, &slices, 10)?, 14_001)?;
    let model: Vec<u8> = [vec![0; 10], one.clone(), two.clone(), three.clone()].concat();
    holds(&ground.path("file"), &model)
}

fn threads_that_append_lose_nothing(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    let append = |thread: u8| -> Result<()> {
        let mut file = open_append(&path)?;
        for _ in 0..200 {
            file.write_all(&[thread + 1; 777])?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|thread| scope.spawn(move || append(thread))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a thread panicked"),
        })
    })?;
    let content = fs::read(&path)?;
    same("bytes", content.len(), 4 * 200 * 777)?;
    for record in content.chunks(777) {
        ensure!(record.iter().all(|byte| Some(byte) == record.first()), "a record is torn");
    }
    Ok(())
}

fn a_read_past_the_end_is_short(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"0123456789")?;
    let file = open_rw(&path, OFlags::empty())?;
    let mut buffer = [0; 100];
    same("at the last bytes", file.read_at(&mut buffer, 7)?, 3)?;
    same("at the end", file.read_at(&mut buffer, 10)?, 0)?;
    same("far out", file.read_at(&mut buffer, 1 << 40)?, 0)
}

fn the_last_byte_that_a_file_can_have_holds_what_is_written(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    let last = i64::MAX as u64 - 1;
    match file.write_at(b"abcdef", last - 5) {
        // Not every file system can count its blocks that far.
        Err(error) => return same("the error", error.raw_os_error(), Some(Errno::FBIG.raw_os_error())),
        Ok(count) => same("written", count, 6)?,
    }
    same("nothing behind it", file.write_at(b"g", last + 1).is_err(), true)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    let mut buffer = [0; 8];
    same("read", file.read_at(&mut buffer, last - 7)?, 8)?;
    same("content", &buffer, b"\0\0abcdef")
}

fn a_huge_size_is_taken_as_it_is_or_refused(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    for size in [1u64 << 40, 1 << 44, 1 << 52, i64::MAX as u64] {
        let before = rustix::fs::fstat(&file)?.st_size as u64;
        match rustix::fs::ftruncate(&file, size) {
            Ok(()) => same("size", rustix::fs::fstat(&file)?.st_size as u64, size)?,
            Err(Errno::FBIG) => same("size", rustix::fs::fstat(&file)?.st_size as u64, before)?,
            Err(error) => anyhow::bail!("to {size}: {error:?}"),
        }
    }
    refused("a negative one", rustix::fs::ftruncate(&file, u64::MAX), Errno::INVAL)
}
