//! What the mode bits allow somebody who is not root. Another process of this program acts as that user.

use crate::case::{Ground, cases, open_append, same, stat};
use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::io::Write;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

cases![
    mode_bits_keep_others_out,
    a_directory_without_x_hides_what_is_in_it,
    who_may_not_write_a_directory_cannot_change_its_names,
    the_sticky_bit_keeps_names_for_their_owners,
    only_the_owner_changes_mode_and_times,
    a_write_by_another_clears_setuid,
    files_in_a_setgid_directory_take_its_group,
    trusted_attributes_are_for_root,
];

const OTHER: u32 = 1234;
/// Marks a run that acts as another user: then the operation and its arguments follow.
const ACT: &str = "--act";

/// The part of this program that is another user. None if this run is not that part.
pub fn act_as_other() -> Option<ExitCode> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some(ACT) {
        return None;
    }
    let (operation, path) =
        (words.next().unwrap_or_default(), PathBuf::from(words.next().unwrap_or_default()));
    let other = PathBuf::from(words.next().unwrap_or_default());
    let error = act(&operation, &path, &other).err().map_or(0, Errno::raw_os_error);
    Some(ExitCode::from(u8::try_from(error).unwrap_or(u8::MAX)))
}

fn act(operation: &str, path: &Path, other: &Path) -> Result<(), Errno> {
    let mode = Mode::from_bits_retain(0o644);
    match operation {
        "read" => rustix::fs::open(path, OFlags::RDONLY, mode).map(drop),
        "write" => rustix::fs::open(path, OFlags::WRONLY, mode).map(drop),
        "append" => open_append(path).map_err(|_| Errno::ACCESS).and_then(|mut file| {
            file.write_all(b"x").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }),
        "create" => rustix::fs::open(path, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, mode).map(drop),
        "mkdir" => rustix::fs::mkdir(path, Mode::from_bits_retain(0o755)),
        "unlink" => rustix::fs::unlink(path),
        "rename" => rustix::fs::rename(path, other),
        "chmod" => rustix::fs::chmod(path, mode),
        "now" => {
            let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW as _ };
            let times = Timestamps { last_access: now, last_modification: now };
            rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())
        }
        "time" => {
            let then = rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 };
            let times = Timestamps { last_access: then, last_modification: then };
            rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())
        }
        "list" => rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, mode).map(drop),
        "stat" => rustix::fs::lstat(path).map(drop),
        "trusted" => rustix::fs::setxattr(path, "trusted.a", b"", XattrFlags::empty()),
        _ => Err(Errno::INVAL),
    }
}

/// Lets the other user do something; fails unless it came out so.
fn other(operation: &str, paths: &[&Path], expected: Result<(), Errno>) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.args([ACT, operation]).args(paths).uid(OTHER).gid(OTHER).current_dir("/");
    let status = command.status().context("starting as another user")?;
    let found = status.code().with_context(|| format!("{operation}: {status}"))?;
    let wanted = expected.err().map_or(0, Errno::raw_os_error);
    if found != wanted {
        bail!("{operation} {}: error number {found}, not {wanted}", paths[0].display());
    }
    Ok(())
}

fn mode(path: &Path, bits: u32) -> Result<()> {
    Ok(rustix::fs::chmod(path, Mode::from_bits_retain(bits))?)
}

fn mode_bits_keep_others_out(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    for (bits, reads, writes) in [(0o600, false, false), (0o604, true, false), (0o602, false, true)] {
        mode(&path, bits)?;
        let allowed = |yes: bool| if yes { Ok(()) } else { Err(Errno::ACCESS) };
        other("read", &[&path], allowed(reads))?;
        other("write", &[&path], allowed(writes))?;
    }
    chown(&path, None, Some(OTHER))?;
    mode(&path, 0o040)?;
    other("read", &[&path], Ok(()))?;
    chown(&path, Some(OTHER), None)?;
    // The owner's bits count for the owner, though the group's would allow it.
    other("read", &[&path], Err(Errno::ACCESS))
}

fn a_directory_without_x_hides_what_is_in_it(ground: &Ground) -> Result<()> {
    let (dir, file) = (ground.dir("dir")?, ground.file("dir/file", b"")?);
    mode(&dir, 0o704)?;
    other("list", &[&dir], Ok(()))?;
    other("stat", &[&file], Err(Errno::ACCESS))?;
    mode(&dir, 0o701)?;
    other("list", &[&dir], Err(Errno::ACCESS))?;
    other("stat", &[&file], Ok(()))
}

fn who_may_not_write_a_directory_cannot_change_its_names(ground: &Ground) -> Result<()> {
    let (dir, file) = (ground.dir("dir")?, ground.file("dir/file", b"")?);
    mode(&dir, 0o755)?;
    other("create", &[&dir.join("new")], Err(Errno::ACCESS))?;
    other("mkdir", &[&dir.join("new")], Err(Errno::ACCESS))?;
    other("unlink", &[&file], Err(Errno::ACCESS))?;
    other("rename", &[&file, &dir.join("renamed")], Err(Errno::ACCESS))?;
    mode(&dir, 0o757)?;
    other("create", &[&dir.join("new")], Ok(()))?;
    same("owner of what the other made", stat(&dir.join("new"))?.st_uid, OTHER)?;
    other("rename", &[&file, &dir.join("renamed")], Ok(()))?;
    other("unlink", &[&dir.join("renamed")], Ok(()))
}

fn the_sticky_bit_keeps_names_for_their_owners(ground: &Ground) -> Result<()> {
    let (dir, file) = (ground.dir("dir")?, ground.file("dir/file", b"")?);
    mode(&dir, 0o1777)?;
    other("unlink", &[&file], Err(Errno::PERM))?;
    other("rename", &[&file, &dir.join("renamed")], Err(Errno::PERM))?;
    chown(&file, Some(OTHER), None)?;
    other("unlink", &[&file], Ok(()))
}

fn only_the_owner_changes_mode_and_times(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    mode(&path, 0o666)?;
    other("chmod", &[&path], Err(Errno::PERM))?;
    other("time", &[&path], Err(Errno::PERM))?;
    // To the present anybody may set them who may write.
    other("now", &[&path], Ok(()))?;
    mode(&path, 0o644)?;
    other("now", &[&path], Err(Errno::ACCESS))?;
    chown(&path, Some(OTHER), None)?;
    other("chmod", &[&path], Ok(()))?;
    other("time", &[&path], Ok(()))
}

fn a_write_by_another_clears_setuid(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    mode(&path, 0o6777)?;
    other("append", &[&path], Ok(()))?;
    same("mode", stat(&path)?.st_mode & 0o7777, 0o777)
}

fn files_in_a_setgid_directory_take_its_group(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    chown(&dir, None, Some(77))?;
    mode(&dir, 0o2755)?;
    ground.file("dir/file", b"")?;
    symlink("x", dir.join("link"))?;
    let below = ground.dir("dir/below")?;
    same("group of a file", stat(&dir.join("file"))?.st_gid, 77)?;
    same("group of a link", stat(&dir.join("link"))?.st_gid, 77)?;
    same("group and bit of a directory", (stat(&below)?.st_gid, stat(&below)?.st_mode & 0o2000), (77, 0o2000))
}

fn trusted_attributes_are_for_root(ground: &Ground) -> Result<()> {
    let path = ground.file("file", b"")?;
    mode(&path, 0o666)?;
    other("trusted", &[&path], Err(Errno::PERM))
}
