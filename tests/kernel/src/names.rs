//! Making, finding and removing names.

use crate::case::{Ground, cases, list, refused, same, stat};
use anyhow::{Result, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

cases![
    a_new_file_is_empty_and_found_under_its_name,
    exclusive_create_of_a_name_that_is_there_answers_eexist,
    a_name_of_255_bytes_works_and_one_of_256_answers_enametoolong,
    a_name_may_hold_any_byte_but_a_slash,
    unlink_of_a_directory_and_rmdir_of_a_file_are_refused,
    a_directory_that_is_not_empty_cannot_be_removed,
    a_path_through_a_file_answers_enotdir,
    what_is_not_there_answers_enoent,
    fifos_sockets_and_devices_keep_kind_and_number,
    a_removed_name_can_be_made_again_as_another_kind,
    trailing_slashes_mean_directories,
    opening_a_directory_for_writing_answers_eisdir,
    a_created_file_belongs_to_its_creator_and_obeys_the_umask,
    names_made_and_removed_in_turn_leave_the_directory_empty,
];

const MODE: Mode = Mode::from_bits_retain(0o644);

fn a_new_file_is_empty_and_found_under_its_name(ground: &Ground) -> Result<()> {
    let file = ground.open_new("new")?;
    let (by_name, by_handle) = (stat(&ground.path("new"))?, rustix::fs::fstat(&file)?);
    same("inode", by_name.st_ino, by_handle.st_ino)?;
    same("size, links", (by_name.st_size, by_name.st_nlink), (0, 1))?;
    same("blocks", by_name.st_blocks, 0)?;
    same("names", list(ground.top())?, ["new".to_string()].into())
}

fn exclusive_create_of_a_name_that_is_there_answers_eexist(ground: &Ground) -> Result<()> {
    ground.file("file", b"kept")?;
    ground.dir("dir")?;
    rustix::fs::symlink("nowhere", ground.path("link"))?;
    for name in ["file", "dir", "link"] {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        refused(name, rustix::fs::open(ground.path(name), flags, MODE), Errno::EXIST)?;
        refused(name, rustix::fs::mkdir(ground.path(name), MODE), Errno::EXIST)?;
        refused(name, rustix::fs::symlink("x", ground.path(name)), Errno::EXIST)?;
        let made = rustix::fs::mknodat(CWD, ground.path(name), FileType::Fifo, MODE, 0);
        refused(name, made, Errno::EXIST)?;
    }
    same("content", fs::read(ground.path("file"))?, b"kept".to_vec())
}

fn a_name_of_255_bytes_works_and_one_of_256_answers_enametoolong(ground: &Ground) -> Result<()> {
    let longest = "n".repeat(255);
    ground.file(&longest, b"x")?;
    same("names", list(ground.top())?, [longest].into())?;
    let longer = ground.path(&"n".repeat(256));
    refused("lstat", rustix::fs::lstat(&longer), Errno::NAMETOOLONG)?;
    refused("mkdir", rustix::fs::mkdir(&longer, MODE), Errno::NAMETOOLONG)
}

fn a_name_may_hold_any_byte_but_a_slash(ground: &Ground) -> Result<()> {
    for byte in (1..=255u8).filter(|byte| *byte != b'/') {
        let name = [b'x', byte];
        fs::write(ground.top().join(std::ffi::OsStr::from_bytes(&name)), [byte])?;
    }
    let mut found = 0;
    for entry in fs::read_dir(ground.top())? {
        let entry = entry?;
        let name = entry.file_name();
        same("content", fs::read(entry.path())?.first(), name.as_bytes().get(1))?;
        found += 1;
    }
    same("entries", found, 254)
}

fn unlink_of_a_directory_and_rmdir_of_a_file_are_refused(ground: &Ground) -> Result<()> {
    let (file, dir) = (ground.file("file", b"")?, ground.dir("dir")?);
    refused("unlink", rustix::fs::unlink(&dir), Errno::ISDIR)?;
    refused("rmdir", rustix::fs::rmdir(&file), Errno::NOTDIR)
}

fn a_directory_that_is_not_empty_cannot_be_removed(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    let inner = ground.file("dir/inner", b"")?;
    refused("rmdir", rustix::fs::rmdir(&dir), Errno::NOTEMPTY)?;
    rustix::fs::unlink(inner)?;
    rustix::fs::rmdir(&dir)?;
    refused("lstat", rustix::fs::lstat(&dir), Errno::NOENT)
}

fn a_path_through_a_file_answers_enotdir(ground: &Ground) -> Result<()> {
    ground.file("file", b"")?;
    refused("lstat", rustix::fs::lstat(ground.path("file/below")), Errno::NOTDIR)?;
    refused("mkdir", rustix::fs::mkdir(ground.path("file/below"), MODE), Errno::NOTDIR)
}

fn what_is_not_there_answers_enoent(ground: &Ground) -> Result<()> {
    let none = ground.path("none");
    refused("lstat", rustix::fs::lstat(&none), Errno::NOENT)?;
    refused("unlink", rustix::fs::unlink(&none), Errno::NOENT)?;
    refused("rmdir", rustix::fs::rmdir(&none), Errno::NOENT)?;
    refused("rename", rustix::fs::rename(&none, ground.path("other")), Errno::NOENT)?;
    refused("mkdir", rustix::fs::mkdir(ground.path("none/below"), MODE), Errno::NOENT)
}

fn fifos_sockets_and_devices_keep_kind_and_number(ground: &Ground) -> Result<()> {
    let make = |name: &str, kind, device| rustix::fs::mknodat(CWD, ground.path(name), kind, MODE, device);
    let number = rustix::fs::makedev(1, 7);
    let large = rustix::fs::makedev(511, 70_000);
    make("fifo", FileType::Fifo, 0)?;
    make("character", FileType::CharacterDevice, number)?;
    make("block", FileType::BlockDevice, large)?;
    let _socket = UnixListener::bind(ground.path("socket"))?;
    let kind =
        |name: &str| Ok::<_, anyhow::Error>(FileType::from_raw_mode(stat(&ground.path(name))?.st_mode));
    same("fifo", kind("fifo")?, FileType::Fifo)?;
    same("socket", kind("socket")?, FileType::Socket)?;
    same("character", kind("character")?, FileType::CharacterDevice)?;
    same("block", kind("block")?, FileType::BlockDevice)?;
    same("number", stat(&ground.path("character"))?.st_rdev, number)?;
    same("large number", stat(&ground.path("block"))?.st_rdev, large)
}

fn a_removed_name_can_be_made_again_as_another_kind(ground: &Ground) -> Result<()> {
    for _ in 0..3 {
        ground.file("name", b"file")?;
        fs::remove_file(ground.path("name"))?;
        ground.dir("name")?;
        same("kind", FileType::from_raw_mode(stat(&ground.path("name"))?.st_mode), FileType::Directory)?;
        fs::remove_dir(ground.path("name"))?;
        rustix::fs::symlink("target", ground.path("name"))?;
        same("target", fs::read_link(ground.path("name"))?, "target".into())?;
        fs::remove_file(ground.path("name"))?;
    }
    Ok(())
}

fn trailing_slashes_mean_directories(ground: &Ground) -> Result<()> {
    ground.file("file", b"")?;
    refused("lstat", rustix::fs::lstat(ground.path("file/")), Errno::NOTDIR)?;
    rustix::fs::mkdir(ground.path("dir/"), Mode::from_bits_retain(0o755))?;
    rustix::fs::rmdir(ground.path("dir/"))?;
    Ok(())
}

fn opening_a_directory_for_writing_answers_eisdir(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    refused("open", rustix::fs::open(&dir, OFlags::WRONLY, Mode::empty()), Errno::ISDIR)?;
    refused("open", rustix::fs::open(&dir, OFlags::RDWR | OFlags::CREATE, MODE), Errno::ISDIR)?;
    let file = ground.file("file", b"")?;
    let as_dir = rustix::fs::open(&file, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    refused("open of a file as a directory", as_dir, Errno::NOTDIR)
}

fn a_created_file_belongs_to_its_creator_and_obeys_the_umask(ground: &Ground) -> Result<()> {
    let old = rustix::process::umask(Mode::from_bits_retain(0o027));
    let made = (|| {
        rustix::fs::open(
            ground.path("file"),
            OFlags::CREATE | OFlags::WRONLY,
            Mode::from_bits_retain(0o666),
        )?;
        rustix::fs::mkdir(ground.path("dir"), Mode::from_bits_retain(0o777))
    })();
    rustix::process::umask(old);
    made?;
    same("mode of a file", stat(&ground.path("file"))?.st_mode & 0o7777, 0o640)?;
    same("mode of a directory", stat(&ground.path("dir"))?.st_mode & 0o7777, 0o750)?;
    let status = stat(&ground.path("file"))?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    same("owner", (status.st_uid, status.st_gid), (uid, gid))
}

fn names_made_and_removed_in_turn_leave_the_directory_empty(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    for round in 0..20 {
        for number in 0..40 {
            ground.file(&format!("dir/{round}-{number}-{}", "x".repeat(number * 5)), b"")?;
        }
        for number in (0..40).rev() {
            fs::remove_file(dir.join(format!("{round}-{number}-{}", "x".repeat(number * 5))))?;
        }
    }
    ensure!(list(&dir)?.is_empty(), "{:?} is left", list(&dir)?);
    Ok(fs::remove_dir(dir)?)
}
