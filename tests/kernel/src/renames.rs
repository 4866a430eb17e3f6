//! Every kind of rename.

use crate::case::{Ground, cases, holds, list, open_rw, pattern, refused, same, stat};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

cases![
    a_rename_keeps_inode_and_content,
    a_rename_over_an_open_file_keeps_its_blocks_until_close,
    a_rename_over_a_directory_takes_an_empty_one_only,
    a_rename_between_kinds_is_refused,
    a_rename_to_another_name_of_the_same_file_does_nothing,
    a_directory_cannot_move_below_itself,
    a_moved_directory_has_a_new_parent,
    noreplace_keeps_what_is_there,
    exchange_swaps_any_two_kinds,
    exchange_of_what_is_not_there_answers_enoent,
    whiteout_leaves_a_device_zero_behind,
    somebody_who_looks_always_finds_one_of_the_two,
    threads_that_move_directories_crosswise_do_not_deadlock,
    a_rename_of_a_long_name_in_a_full_block_works,
];

fn with_flags(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, from, CWD, to, flags)
}

fn a_rename_keeps_inode_and_content(ground: &Ground) -> Result<()> {
    let from = ground.file("from", b"content")?;
    ground.dir("dir")?;
    let before = stat(&from)?;
    fs::rename(&from, ground.path("to"))?;
    fs::rename(ground.path("to"), ground.path("dir/to"))?;
    let after = stat(&ground.path("dir/to"))?;
    same("inode, links", (after.st_ino, after.st_nlink), (before.st_ino, 1))?;
    holds(&ground.path("dir/to"), b"content")?;
    same("names", list(ground.top())?, ["dir".to_string()].into())
}

fn a_rename_over_an_open_file_keeps_its_blocks_until_close(ground: &Ground) -> Result<()> {
    let old = pattern(9, 200_000);
    let victim = ground.file("victim", &old)?;
    let mut open = open_rw(&victim, OFlags::empty())?;
    let new = ground.file("new", &pattern(5, 200_000))?;
    fs::rename(&new, &victim)?;
    same("links", rustix::fs::fstat(&open)?.st_nlink, 0)?;
    let mut found = Vec::new();
    open.read_to_end(&mut found)?;
    same("the old content", found == old, true)?;
    holds(&victim, &pattern(5, 200_000))
}

fn a_rename_over_a_directory_takes_an_empty_one_only(ground: &Ground) -> Result<()> {
    let (from, to) = (ground.dir("from")?, ground.dir("to")?);
    ground.file("from/inner", b"")?;
    let kept = ground.file("to/kept", b"")?;
    refused("rename", rustix::fs::rename(&from, &to), Errno::NOTEMPTY)?;
    fs::remove_file(kept)?;
    fs::rename(&from, &to)?;
    same("names", list(&to)?, ["inner".to_string()].into())?;
    same("links of the parent", stat(ground.top())?.st_nlink, 3)
}

fn a_rename_between_kinds_is_refused(ground: &Ground) -> Result<()> {
    let (file, dir) = (ground.file("file", b"")?, ground.dir("dir")?);
    refused("file over directory", rustix::fs::rename(&file, &dir), Errno::ISDIR)?;
    refused("directory over file", rustix::fs::rename(&dir, &file), Errno::NOTDIR)
}

fn a_rename_to_another_name_of_the_same_file_does_nothing(ground: &Ground) -> Result<()> {
    let (one, two) = (ground.file("one", b"x")?, ground.path("two"));
    fs::hard_link(&one, &two)?;
    fs::rename(&one, &two)?;
    same("links", (stat(&one)?.st_nlink, stat(&two)?.st_nlink), (2, 2))
}

fn a_directory_cannot_move_below_itself(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    ground.dir("dir/inner")?;
    refused("rename", rustix::fs::rename(&dir, ground.path("dir/inner/dir")), Errno::INVAL)?;
    let exchanged = with_flags(&dir, &ground.path("dir/inner"), RenameFlags::EXCHANGE);
    refused("exchange", exchanged, Errno::INVAL)
}

fn a_moved_directory_has_a_new_parent(ground: &Ground) -> Result<()> {
    let (one, two) = (ground.dir("one")?, ground.dir("two")?);
    ground.dir("one/moves")?;
    fs::rename(one.join("moves"), two.join("moved"))?;
    same("parent", stat(&two.join("moved/.."))?.st_ino, stat(&two)?.st_ino)?;
    same("links", (stat(&one)?.st_nlink, stat(&two)?.st_nlink), (2, 3))
}

fn noreplace_keeps_what_is_there(ground: &Ground) -> Result<()> {
    let (from, to) = (ground.file("from", b"from")?, ground.file("to", b"to")?);
    refused("rename", with_flags(&from, &to, RenameFlags::NOREPLACE), Errno::EXIST)?;
    holds(&to, b"to")?;
    with_flags(&from, &ground.path("free"), RenameFlags::NOREPLACE)?;
    holds(&ground.path("free"), b"from")
}

fn exchange_swaps_any_two_kinds(ground: &Ground) -> Result<()> {
    let (one, two) = (ground.dir("one")?, ground.dir("two")?);
    ground.file("one/file", b"content")?;
    ground.dir("two/dir")?;
    ground.file("two/dir/inner", b"")?;
    with_flags(&one.join("file"), &two.join("dir"), RenameFlags::EXCHANGE)?;
    holds(&two.join("dir"), b"content")?;
    same("names", list(&one.join("file"))?, ["inner".to_string()].into())?;
    same("links", (stat(&one)?.st_nlink, stat(&two)?.st_nlink), (3, 2))?;
    same("parent", stat(&one.join("file/.."))?.st_ino, stat(&one)?.st_ino)
}

fn exchange_of_what_is_not_there_answers_enoent(ground: &Ground) -> Result<()> {
    let one = ground.file("one", b"")?;
    refused("exchange", with_flags(&one, &ground.path("none"), RenameFlags::EXCHANGE), Errno::NOENT)
}

fn whiteout_leaves_a_device_zero_behind(ground: &Ground) -> Result<()> {
    let from = ground.file("from", b"content")?;
    with_flags(&from, &ground.path("to"), RenameFlags::WHITEOUT)?;
    let left = stat(&from)?;
    same("kind", FileType::from_raw_mode(left.st_mode), FileType::CharacterDevice)?;
    same("number", left.st_rdev, 0)?;
    holds(&ground.path("to"), b"content")
}

fn somebody_who_looks_always_finds_one_of_the_two(ground: &Ground) -> Result<()> {
    let path = ground.file("name", b"old")?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let looking = scope.spawn(|| -> Result<u32> {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                let content = fs::read(&path).context("looking")?;
                ensure!(content == b"old" || content == b"new", "found {content:?}");
                looks += 1;
            }
            Ok(looks)
        });
        let replaced = (0..300).try_for_each(|round| -> Result<()> {
            let content: &[u8] = if round % 2 == 0 { b"new" } else { b"old" };
            let aside = ground.file("aside", content)?;
            Ok(fs::rename(aside, &path)?)
        });
        over.store(true, Ordering::Relaxed);
        match looking.join() {
            Ok(looked) => looked.map(drop).and(replaced),
            Err(_) => bail!("the looking thread panicked"),
        }
    })
}

fn threads_that_move_directories_crosswise_do_not_deadlock(ground: &Ground) -> Result<()> {
    for name in ["a", "b", "c"] {
        ground.dir(name)?;
        for number in 0..4 {
            ground.dir(&format!("{name}/{number}"))?;
        }
    }
    let names = ["a", "b", "c"];
    std::thread::scope(|scope| {
        for thread in 0..6usize {
            scope.spawn(move || {
                for round in 0..200usize {
                    let (from, to) = (names[(thread + round) % 3], names[(thread * 2 + round / 3) % 3]);
                    let (one, two) = (round % 4, (round / 4) % 4);
                    // Who comes second finds nothing, or something in the way: both are right.
                    let _ = fs::rename(
                        ground.path(&format!("{from}/{one}")),
                        ground.path(&format!("{to}/{two}")),
                    );
                    let _ = fs::rename(
                        ground.path(&format!("{to}/{two}")),
                        ground.path(&format!("{from}/{one}/x")),
                    );
                    let _ = fs::rename(
                        ground.path(&format!("{from}/{one}/x")),
                        ground.path(&format!("{to}/{two}")),
                    );
                }
            });
        }
    });
    for name in names {
        let dirs = fs::read_dir(ground.path(name))?.count() as u64;
        same("links", stat(&ground.path(name))?.st_nlink, 2 + dirs)?;
    }
    Ok(())
}

fn a_rename_of_a_long_name_in_a_full_block_works(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    for number in 0..60 {
        fs::write(dir.join(format!("{number:02}{}", "y".repeat(60))), b"")?;
    }
    for number in 0..60 {
        let to = dir.join(format!("{number:02}{}", "z".repeat(250)));
        fs::rename(dir.join(format!("{number:02}{}", "y".repeat(60))), to)?;
    }
    same("names", list(&dir)?.len(), 60)
}
