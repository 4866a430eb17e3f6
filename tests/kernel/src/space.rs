//! What statfs says, and that space comes back.

use crate::case::{Ground, cases, pattern, same};
use anyhow::{Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

cases![
    statfs_counts_blocks_and_inodes,
    space_comes_back_after_unlink,
    reserved_space_comes_back_after_a_cut,
    a_thousand_links_to_one_file_come_and_go,
];

fn free(ground: &Ground) -> Result<(u64, u64)> {
    rustix::fs::syncfs(File::open(ground.top())?)?;
    let status = rustix::fs::statvfs(ground.top())?;
    Ok((status.f_bfree * status.f_frsize, status.f_ffree))
}

fn statfs_counts_blocks_and_inodes(ground: &Ground) -> Result<()> {
    let status = rustix::fs::statvfs(ground.top())?;
    same("longest name", status.f_namemax, 255)?;
    ensure!(
        status.f_bfree <= status.f_blocks && status.f_bavail <= status.f_bfree,
        "{} free of {}",
        status.f_bfree,
        status.f_blocks
    );
    let before = free(ground)?;
    ground.file("file", &pattern(1, 1 << 20))?;
    let after = free(ground)?;
    ensure!(before.0 - after.0 >= 1 << 20, "a mebibyte took {} bytes", before.0 - after.0);
    ensure!(before.1 > after.1, "a file took no inode");
    Ok(())
}

/// What a file system may keep for itself after a busy case: blocks of directories and trees.
const SLACK: u64 = 256 << 10;

/// Waits for background work: freeing may come after the call that asked for it.
fn comes_back(ground: &Ground, before: u64) -> Result<()> {
    let mut now = 0;
    for _ in 0..100 {
        now = free(ground)?.0;
        if now + SLACK >= before {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    anyhow::bail!("{before} bytes were free before, {now} are after")
}

fn space_comes_back_after_unlink(ground: &Ground) -> Result<()> {
    let before = free(ground)?.0;
    for round in 0..5u8 {
        ground.file("large", &pattern(round, 8 << 20))?;
        for number in 0..100 {
            ground.file(&format!("small{number}"), &pattern(round, 3000))?;
        }
        rustix::fs::syncfs(File::open(ground.top())?)?;
        fs::remove_file(ground.path("large"))?;
        for number in 0..100 {
            fs::remove_file(ground.path(&format!("small{number}")))?;
        }
    }
    comes_back(ground, before)
}

fn reserved_space_comes_back_after_a_cut(ground: &Ground) -> Result<()> {
    let before = free(ground)?.0;
    let file = ground.open_new("file")?;
    for round in 0..20u8 {
        // Cut before anything of it had to be written.
        file.write_all_at(&pattern(round, 1 << 20), 0)?;
        rustix::fs::ftruncate(&file, 0)?;
    }
    comes_back(ground, before)
}

fn a_thousand_links_to_one_file_come_and_go(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"x")?;
    for number in 0..1000 {
        fs::hard_link(&path, ground.path(&format!("link{number}")))?;
    }
    same("links", rustix::fs::lstat(&path)?.st_nlink, 1001)?;
    for number in 0..1000 {
        fs::remove_file(ground.path(&format!("link{number}")))?;
    }
    same("links", rustix::fs::lstat(&path)?.st_nlink, 1)
}
