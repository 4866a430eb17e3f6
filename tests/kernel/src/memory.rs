//! Files mapped into memory.

use crate::case::{Ground, cases, forget_cached, holds, open_rw, pattern, read_at, same, same_bytes};
use crate::mapping::Mapping;
use anyhow::{Result, ensure};
use rustix::fs::OFlags;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

cases![
    a_mapping_shows_what_was_written_before_and_after,
    a_store_is_seen_by_read,
    a_store_into_a_hole_takes_a_block,
    a_store_survives_unmapping_and_a_cold_cache,
    bytes_past_the_end_of_a_mapped_page_are_not_written,
    a_mapping_follows_a_cut_and_a_growth,
    a_store_changes_the_time_of_modification,
    an_unlinked_file_stays_mapped,
    two_mappings_of_one_file_are_the_same_memory,
    a_store_after_msync_is_written_again,
];

const PAGE: usize = 4096;

fn a_mapping_shows_what_was_written_before_and_after(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 5 * PAGE))?;
    let file = open_rw(&path, OFlags::empty())?;
    let mapping = Mapping::new(&file, 5 * PAGE)?;
    same_bytes("before", &mapping.read(0, 5 * PAGE)?, &pattern(1, 5 * PAGE))?;
    file.write_all_at(b"written", 10_000)?;
    same_bytes("after", &mapping.read(10_000, 7)?, b"written")
}

fn a_store_is_seen_by_read(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 3 * PAGE))?;
    let file = open_rw(&path, OFlags::empty())?;
    let mapping = Mapping::new(&file, 3 * PAGE)?;
    mapping.write(PAGE - 3, b"stored")?;
    same_bytes("read", &read_at(&file, PAGE as u64 - 3, 6)?, b"stored")
}

fn a_store_into_a_hole_takes_a_block(ground: &Ground) -> Result<()> {
    let file = ground.open_new("file")?;
    rustix::fs::ftruncate(&file, 64 * PAGE as u64)?;
    let mapping = Mapping::new(&file, 64 * PAGE)?;
    same_bytes("the hole", &mapping.read(0, 64 * PAGE)?, &vec![0; 64 * PAGE])?;
    for page in [3, 4, 40] {
        mapping.write(page * PAGE + 100, b"stored")?;
    }
    mapping.sync()?;
    let blocks = rustix::fs::fstat(&file)?.st_blocks;
    ensure!((24..64).contains(&blocks), "{blocks} sectors for three pages");
    drop(mapping);
    forget_cached(&file)?;
    let mut model = vec![0; 64 * PAGE];
    for page in [3, 4, 40] {
        model[page * PAGE + 100..][..6].copy_from_slice(b"stored");
    }
    holds(&ground.path("file"), &model)
}

fn a_store_survives_unmapping_and_a_cold_cache(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 20 * PAGE))?;
    let file = open_rw(&path, OFlags::empty())?;
    Mapping::new(&file, 20 * PAGE)?.write(0, &pattern(2, 20 * PAGE))?;
    forget_cached(&file)?;
    holds(&path, &pattern(2, 20 * PAGE))
}

fn bytes_past_the_end_of_a_mapped_page_are_not_written(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 100))?;
    let file = open_rw(&path, OFlags::empty())?;
    let mapping = Mapping::new(&file, PAGE)?;
    mapping.write(50, &[7; 200])?;
    mapping.sync()?;
    drop(mapping);
    same("size", rustix::fs::fstat(&file)?.st_size, 100)?;
    rustix::fs::ftruncate(&file, 300)?;
    let mut model = pattern(1, 50);
    model.resize(100, 7);
    model.resize(300, 0);
    holds(&path, &model)?;
    forget_cached(&file)?;
    holds(&path, &model)
}

fn a_mapping_follows_a_cut_and_a_growth(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 4 * PAGE))?;
    let file = open_rw(&path, OFlags::empty())?;
    let mapping = Mapping::new(&file, 4 * PAGE)?;
    mapping.read(0, 4 * PAGE)?;
    rustix::fs::ftruncate(&file, PAGE as u64 + 10)?;
    same_bytes("the cut page", &mapping.read(PAGE + 10, 100)?, &[0; 100])?;
    rustix::fs::ftruncate(&file, 4 * PAGE as u64)?;
    same_bytes("after growth", &mapping.read(PAGE + 10, 2 * PAGE)?, &vec![0; 2 * PAGE])?;
    mapping.write(3 * PAGE, b"again")?;
    same_bytes("read", &read_at(&file, 3 * PAGE as u64, 5)?, b"again")
}

fn a_store_changes_the_time_of_modification(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, PAGE))?;
    let file = open_rw(&path, OFlags::empty())?;
    file.sync_all()?;
    let time = || rustix::fs::fstat(&file).map(|status| (status.st_mtime, status.st_mtime_nsec));
    let before = time()?;
    std::thread::sleep(Duration::from_millis(25));
    let mapping = Mapping::new(&file, PAGE)?;
    mapping.write(0, b"new")?;
    mapping.sync()?;
    ensure!(time()? > before, "{before:?} stays");
    Ok(())
}

fn an_unlinked_file_stays_mapped(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 8 * PAGE))?;
    let mapping = Mapping::new(&open_rw(&path, OFlags::empty())?, 8 * PAGE)?;
    fs::remove_file(&path)?;
    same_bytes("content", &mapping.read(0, 8 * PAGE)?, &pattern(1, 8 * PAGE))?;
    mapping.write(PAGE, b"still")?;
    mapping.sync()?;
    same_bytes("stored", &mapping.read(PAGE, 5)?, b"still")
}

fn two_mappings_of_one_file_are_the_same_memory(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 2 * PAGE))?;
    let one = Mapping::new(&open_rw(&path, OFlags::empty())?, 2 * PAGE)?;
    let two = Mapping::new(&open_rw(&path, OFlags::empty())?, 2 * PAGE)?;
    one.write(PAGE, b"shared")?;
    same_bytes("the other", &two.read(PAGE, 6)?, b"shared")
}

fn a_store_after_msync_is_written_again(ground: &Ground) -> Result<()> {
    let path = ground.file("file", &pattern(1, 4 * PAGE))?;
    let file = open_rw(&path, OFlags::empty())?;
    let mapping = Mapping::new(&file, 4 * PAGE)?;
    for round in 0..10u8 {
        mapping.write(PAGE * usize::from(round % 4), &[round + 1; 64])?;
        mapping.sync()?;
    }
    drop(mapping);
    forget_cached(&file)?;
    let mut model = pattern(1, 4 * PAGE);
    for round in 0..10u8 {
        model[PAGE * usize::from(round % 4)..][..64].fill(round + 1);
    }
    holds(&path, &model)
}
