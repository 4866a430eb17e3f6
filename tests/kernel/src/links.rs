//! Hard and symbolic links, and files that have no name.

use crate::case::{Ground, cases, holds, list, open_rw, pattern, refused, same, stat};
use anyhow::{Result, ensure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;

cases![
    two_names_of_one_file_share_content_and_count,
    a_hard_link_to_a_directory_is_refused,
    a_hard_link_does_not_replace_what_is_there,
    a_symlink_keeps_its_target_whatever_the_length,
    a_symlink_of_4096_bytes_is_refused,
    a_loop_of_symlinks_answers_eloop,
    a_hard_link_to_a_symlink_is_the_symlink,
    an_unlinked_file_lives_until_its_last_close,
    a_file_without_a_name_can_be_given_one,
    a_file_without_a_name_that_asked_for_none_cannot_be_given_one,
    files_without_names_leave_nothing,
];

fn two_names_of_one_file_share_content_and_count(ground: &Ground) -> Result<()> {
    let (one, two) = (ground.file("one", b"first")?, ground.path("two"));
    let before = stat(&one)?;
    fs::hard_link(&one, &two)?;
    let after = stat(&two)?;
    same("inode, links", (after.st_ino, after.st_nlink), (before.st_ino, 2))?;
    fs::write(&two, b"second")?;
    holds(&one, b"second")?;
    fs::remove_file(&one)?;
    same("links", stat(&two)?.st_nlink, 1)?;
    holds(&two, b"second")
}

fn a_hard_link_to_a_directory_is_refused(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    refused("link", rustix::fs::link(&dir, ground.path("other")), Errno::PERM)
}

fn a_hard_link_does_not_replace_what_is_there(ground: &Ground) -> Result<()> {
    let (one, two) = (ground.file("one", b"1")?, ground.file("two", b"2")?);
    refused("link", rustix::fs::link(&one, &two), Errno::EXIST)?;
    holds(&two, b"2")?;
    same("links", stat(&one)?.st_nlink, 1)
}

fn a_symlink_keeps_its_target_whatever_the_length(ground: &Ground) -> Result<()> {
    for length in [1, 59, 60, 61, 100, 128, 159, 160, 161, 200, 255, 1000, 2047, 4000, 4095] {
        let target = "t".repeat(length);
        let path = ground.path(&format!("link{length}"));
        rustix::fs::symlink(target.as_str(), &path)?;
        same("target", fs::read_link(&path)?, target.into())?;
        same("size", stat(&path)?.st_size, length as i64)?;
    }
    Ok(())
}

fn a_symlink_of_4096_bytes_is_refused(ground: &Ground) -> Result<()> {
    refused("symlink", rustix::fs::symlink("t".repeat(4096), ground.path("link")), Errno::NAMETOOLONG)
}

fn a_loop_of_symlinks_answers_eloop(ground: &Ground) -> Result<()> {
    rustix::fs::symlink("b", ground.path("a"))?;
    rustix::fs::symlink("a", ground.path("b"))?;
    refused("stat", rustix::fs::stat(ground.path("a")), Errno::LOOP)?;
    let opened = rustix::fs::open(ground.path("a"), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
    refused("open without following", opened, Errno::LOOP)
}

fn a_hard_link_to_a_symlink_is_the_symlink(ground: &Ground) -> Result<()> {
    rustix::fs::symlink("target", ground.path("link"))?;
    rustix::fs::link(ground.path("link"), ground.path("second"))?;
    same("target", fs::read_link(ground.path("second"))?, "target".into())?;
    same("links", stat(&ground.path("link"))?.st_nlink, 2)
}

fn an_unlinked_file_lives_until_its_last_close(ground: &Ground) -> Result<()> {
    let content = pattern(3, 300_000);
    let path = ground.file("file", &content)?;
    let mut file = open_rw(&path, OFlags::empty())?;
    fs::remove_file(&path)?;
    same("links", rustix::fs::fstat(&file)?.st_nlink, 0)?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    same("content", found == content, true)?;
    file.rewind()?;
    file.write_all(b"still")?;
    file.sync_all()?;
    same("size", rustix::fs::fstat(&file)?.st_size, 300_000)?;
    // The name is free for another file at once.
    ground.file("file", b"new")?;
    drop(file);
    holds(&path, b"new")
}

fn unnamed(ground: &Ground, more: OFlags) -> Result<fs::File, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | more;
    Ok(rustix::fs::open(ground.top(), flags, Mode::from_bits_retain(0o640))?.into())
}

fn give_name(file: &fs::File, ground: &Ground, name: &str) -> Result<(), Errno> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, from, CWD, ground.path(name), AtFlags::SYMLINK_FOLLOW)
}

fn a_file_without_a_name_can_be_given_one(ground: &Ground) -> Result<()> {
    let mut file = unnamed(ground, OFlags::empty())?;
    ensure!(list(ground.top())?.is_empty(), "it has a name already");
    same("links", rustix::fs::fstat(&file)?.st_nlink, 0)?;
    file.write_all(b"content")?;
    give_name(&file, ground, "named")?;
    let status = stat(&ground.path("named"))?;
    same("links, mode", (status.st_nlink, status.st_mode & 0o7777), (1, 0o640))?;
    drop(file);
    holds(&ground.path("named"), b"content")
}

fn a_file_without_a_name_that_asked_for_none_cannot_be_given_one(ground: &Ground) -> Result<()> {
    let file = unnamed(ground, OFlags::EXCL)?;
    refused("linkat", give_name(&file, ground, "named"), Errno::NOENT)
}

fn files_without_names_leave_nothing(ground: &Ground) -> Result<()> {
    let before = rustix::fs::statvfs(ground.top())?.f_ffree;
    for round in 0..50 {
        let mut file = unnamed(ground, OFlags::empty())?;
        file.write_all(&pattern(round, 20_000))?;
    }
    rustix::fs::syncfs(fs::File::open(ground.top())?)?;
    let after = rustix::fs::statvfs(ground.top())?.f_ffree;
    // Another inode may be in use by what the file system does on its own.
    ensure!(before.saturating_sub(after) < 5, "{before} free inodes before, {after} after");
    same("names", list(ground.top())?.len(), 0)
}
