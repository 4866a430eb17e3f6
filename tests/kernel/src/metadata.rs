//! Times, modes, owners, extended attributes.

use crate::case::{Ground, cases, open_rw, pattern, refused, same, stat};
use anyhow::{Result, ensure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

cases![
    times_are_kept_to_the_nanosecond,
    utimensat_can_leave_either_time_and_take_now,
    a_write_changes_mtime_and_ctime,
    a_change_of_attributes_changes_ctime_alone,
    a_new_name_changes_the_times_of_its_directory,
    a_truncate_changes_mtime_also_when_the_size_stays,
    the_time_of_birth_stays,
    chmod_keeps_every_bit_and_the_kind,
    chown_keeps_large_numbers,
    an_attribute_comes_back_as_it_was_set,
    create_and_replace_of_attributes_are_told_apart,
    attributes_of_every_namespace_are_listed_and_removed,
    an_attribute_grows_from_the_inode_into_a_block_and_shrinks_back,
    many_attributes_are_all_there,
    attributes_that_are_too_large_are_refused,
    user_attributes_are_for_files_and_directories_only,
];

fn set_times(path: &Path, times: (i64, i64), spans: (i64, i64)) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: times.0, tv_nsec: spans.0 as _ },
        last_modification: Timespec { tv_sec: times.1, tv_nsec: spans.1 as _ },
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Times of an inode: access, modification, change, as one number each.
fn times(path: &Path) -> Result<[i128; 3]> {
    let status = stat(path)?;
    let time = |seconds: i64, nanos| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok([
        time(status.st_atime, status.st_atime_nsec),
        time(status.st_mtime, status.st_mtime_nsec),
        time(status.st_ctime, status.st_ctime_nsec),
    ])
}

/// Longer than the kernel's coarsest clock ticks.
fn tick() {
    std::thread::sleep(Duration::from_millis(25));
}

fn times_are_kept_to_the_nanosecond(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    for (seconds, nanos) in [(1, 1), (1_700_000_000, 999_999_999), (1 << 33, 123_456_789), (-5, 7)] {
        set_times(&path, (seconds, seconds + 1), (nanos, nanos))?;
        let status = stat(&path)?;
        same("atime", (status.st_atime, status.st_atime_nsec as i64), (seconds, nanos))?;
        same("mtime", (status.st_mtime, status.st_mtime_nsec as i64), (seconds + 1, nanos))?;
    }
    Ok(())
}

fn utimensat_can_leave_either_time_and_take_now(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    set_times(&path, (100, 200), (1, 2))?;
    set_times(&path, (0, 300), (rustix::fs::UTIME_OMIT, 3))?;
    let status = stat(&path)?;
    same("times", (status.st_atime, status.st_mtime), (100, 300))?;
    set_times(&path, (0, 0), (rustix::fs::UTIME_NOW, rustix::fs::UTIME_OMIT))?;
    let status = stat(&path)?;
    ensure!(status.st_atime > 1_000_000, "atime is {}", status.st_atime);
    same("mtime", status.st_mtime, 300)
}

fn a_write_changes_mtime_and_ctime(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"one")?;
    let before = times(&path)?;
    tick();
    open_rw(&path, OFlags::empty())?.write_all_at(b"two", 0)?;
    let after = times(&path)?;
    ensure!(after[1] > before[1] && after[2] > before[2], "{before:?} before, {after:?} after");
    Ok(())
}

fn a_change_of_attributes_changes_ctime_alone(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"one")?;
    let changes: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("chmod", &|| Ok(rustix::fs::chmod(&path, Mode::from_bits_retain(0o600))?)),
        ("chown", &|| Ok(std::os::unix::fs::chown(&path, Some(1), None)?)),
        ("link", &|| Ok(fs::hard_link(&path, ground.path("second"))?)),
        ("xattr", &|| Ok(rustix::fs::setxattr(&path, "user.a", b"b", XattrFlags::empty())?)),
    ];
    for (what, change) in changes {
        let before = times(&path)?;
        tick();
        change()?;
        let after = times(&path)?;
        ensure!(after[2] > before[2], "{what}: the time of change stays");
        same(what, after[1], before[1])?;
    }
    Ok(())
}

fn a_new_name_changes_the_times_of_its_directory(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    let steps: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("create", &|| ground.file("dir/file", b"").map(drop)),
        ("link", &|| Ok(fs::hard_link(dir.join("file"), dir.join("link"))?)),
        ("rename", &|| Ok(fs::rename(dir.join("link"), dir.join("moved"))?)),
        ("unlink", &|| Ok(fs::remove_file(dir.join("moved"))?)),
        ("mkdir", &|| Ok(fs::create_dir(dir.join("below"))?)),
    ];
    for (what, step) in steps {
        let before = times(&dir)?;
        tick();
        step()?;
        let after = times(&dir)?;
        ensure!(after[1] > before[1] && after[2] > before[2], "{what}: {before:?}, then {after:?}");
    }
    Ok(())
}

fn a_truncate_changes_mtime_also_when_the_size_stays(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"content")?;
    for size in [7, 3, 100] {
        let before = times(&path)?;
        tick();
        rustix::fs::ftruncate(open_rw(&path, OFlags::empty())?, size)?;
        let after = times(&path)?;
        ensure!(after[1] > before[1] && after[2] > before[2], "to {size}: {before:?}, then {after:?}");
    }
    Ok(())
}

fn the_time_of_birth_stays(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    let born = || {
        let status = rustix::fs::statx(CWD, &path, AtFlags::empty(), StatxFlags::BTIME)?;
        ensure!(status.stx_mask & StatxFlags::BTIME.bits() != 0, "no time of birth");
        Ok((status.stx_btime.tv_sec, status.stx_btime.tv_nsec))
    };
    let before = born()?;
    tick();
    fs::write(&path, b"more")?;
    set_times(&path, (5, 5), (5, 5))?;
    same("time of birth", born()?, before)
}

fn chmod_keeps_every_bit_and_the_kind(ground: &Ground) -> Result<()> {
    let (file, dir) = (ground.file("file", b"")?, ground.dir("dir")?);
    for mode in [0, 0o1, 0o7777, 0o4755, 0o2711, 0o1777, 0o644] {
        for (path, kind) in [(&file, 0o100_000), (&dir, 0o040_000)] {
            rustix::fs::chmod(path, Mode::from_bits_retain(mode))?;
            same("mode", stat(path)?.st_mode, kind | mode)?;
        }
    }
    Ok(())
}

fn chown_keeps_large_numbers(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    std::os::unix::fs::chown(&path, Some(70_000), Some(4_000_000_000))?;
    let status = stat(&path)?;
    same("owner", (status.st_uid, status.st_gid), (70_000, 4_000_000_000))?;
    std::os::unix::fs::lchown(&path, None, Some(5))?;
    let status = stat(&path)?;
    same("owner", (status.st_uid, status.st_gid), (70_000, 5))
}

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1 << 16];
    let length = rustix::fs::lgetxattr(path, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
}

/// The names, without those that a security module of the kernel adds.
fn names(path: &Path) -> Result<BTreeSet<String>> {
    let mut buffer = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut buffer)?;
    let text = String::from_utf8(buffer[..length].to_vec())?;
    let all = text.split_terminator('\0').filter(|name| *name != "security.selinux");
    Ok(all.map(str::to_string).collect())
}

fn an_attribute_comes_back_as_it_was_set(ground: &Ground) -> Result<()> {
    for path in [ground.file("file", b"")?, ground.dir("dir")?] {
        refused("get", get(&path, "user.name"), Errno::NODATA)?;
        for length in [0, 1, 10, 60, 100, 500, 1000, 3000] {
            let value = pattern(length as u8, length);
            set(&path, "user.name", &value)?;
            same("value", get(&path, "user.name")?, value)?;
        }
        let short = rustix::fs::lgetxattr(&path, "user.name", &mut [0u8; 10]);
        refused("get into too little", short, Errno::RANGE)?;
    }
    Ok(())
}

fn create_and_replace_of_attributes_are_told_apart(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    let with = |flags| rustix::fs::setxattr(&path, "user.a", b"value", flags);
    refused("replace", with(XattrFlags::REPLACE), Errno::NODATA)?;
    with(XattrFlags::CREATE)?;
    refused("create", with(XattrFlags::CREATE), Errno::EXIST)?;
    Ok(with(XattrFlags::REPLACE)?)
}

fn attributes_of_every_namespace_are_listed_and_removed(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    let all = ["user.one", "trusted.two", "security.three"];
    for name in all {
        set(&path, name, name.as_bytes())?;
    }
    same("names", names(&path)?, all.map(str::to_string).into())?;
    rustix::fs::removexattr(&path, "trusted.two")?;
    same("names", names(&path)?, ["user.one", "security.three"].map(str::to_string).into())?;
    refused("remove", rustix::fs::removexattr(&path, "trusted.two"), Errno::NODATA)?;
    refused("an unknown namespace", set(&path, "nonsense.x", b""), Errno::OPNOTSUPP)
}

fn an_attribute_grows_from_the_inode_into_a_block_and_shrinks_back(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"content")?;
    set(&path, "user.small", b"stays")?;
    for length in [10, 2000, 20, 3000, 0, 1500] {
        let value = pattern(7, length);
        set(&path, "user.grows", &value)?;
        same("value", get(&path, "user.grows")?, value)?;
        same("the other", get(&path, "user.small")?, b"stays".to_vec())?;
    }
    rustix::fs::removexattr(&path, "user.grows")?;
    same("the other", get(&path, "user.small")?, b"stays".to_vec())?;
    same("content", fs::read(&path)?, b"content".to_vec())
}

fn many_attributes_are_all_there(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    for number in 0..40u8 {
        set(&path, &format!("user.number{number}"), &pattern(number, 40))?;
    }
    for number in 0..40u8 {
        same("value", get(&path, &format!("user.number{number}"))?, pattern(number, 40))?;
    }
    same("names", names(&path)?.len(), 40)
}

fn attributes_that_are_too_large_are_refused(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    refused("a long name", set(&path, &format!("user.{}", "n".repeat(251)), b""), Errno::RANGE)?;
    refused("a value over 64 KiB", set(&path, "user.a", &vec![1; 65_537]), Errno::TOOBIG)?;
    // What is over a block, but not over what the kernel takes, is the file system's to refuse.
    match set(&path, "user.a", &vec![1; 60_000]) {
        Ok(()) | Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => Ok(()),
        Err(error) => anyhow::bail!("a value of 60,000 bytes: {error:?}"),
    }
}

fn user_attributes_are_for_files_and_directories_only(ground: &Ground) -> Result<()> {
    let link = ground.path("link");
    rustix::fs::symlink("target", &link)?;
    refused("on a symlink", set(&link, "user.a", b""), Errno::PERM)?;
    set(&link, "trusted.a", b"value")?;
    same("trusted, on a symlink", get(&link, "trusted.a")?, b"value".to_vec())
}
