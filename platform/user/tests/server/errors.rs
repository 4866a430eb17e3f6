//! What goes wrong before anything is mounted, or instead: the message names the thing, and the exit status is the
//! conventional one.

use super::Place;
use super::place::{called, copy_program, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

/// mount(8).
const USAGE: i32 = 1;
const FAILED: i32 = 32;
const NOBODY: u32 = 65534;

#[test]
fn an_option_that_nobody_knows_is_a_usage_error_and_is_named() {
    let place = Place::with_image(16);
    place.mount("rw,colour=red").badly(USAGE, &["colour=red", "--help"]);
    place.mount("commit=often").badly(USAGE, &["commit=often"]);
    place.mount("data=journal").badly(USAGE, &["data=journal"]);
    let helper = |args: &[&str]| run(called("mount.fuse.bento").args(args));
    helper(&["only-one"]).badly(USAGE, &["usage"]);
    helper(&["image", "dir", "-o"]).badly(USAGE, &["usage"]);
    assert!(!place.is_mounted());
    place.expect_clean();
}

#[test]
fn an_image_or_a_directory_that_is_not_there_is_named() {
    let place = Place::with_image(16);
    let missing = place.path("missing");
    place.mount_of(&missing, &place.dir(), "").badly(FAILED, &["missing", "No such file"]);
    place.mount_of(&place.image(), &missing, "").badly(FAILED, &["missing", "No such file"]);
    let file = place.path("file");
    fs::write(&file, b"").unwrap();
    place.mount_of(&place.image(), &file, "").badly(FAILED, &["file", "not a directory"]);
    place
        .mount_of(&place.dir(), &place.dir(), "")
        .badly(FAILED, &["dir", "neither a regular file nor a block"]);
    place.expect_clean();
}

#[test]
fn what_is_no_volume_is_called_by_its_name() {
    let place = Place::empty();
    fs::write(place.image(), b"").unwrap();
    place.mount("").badly(FAILED, &["volume.img", "no Bento volume", "mkfs.bento"]);
    fs::write(place.image(), vec![0xa5; 1 << 20]).unwrap();
    place.mount("").badly(FAILED, &["no Bento volume", "mkfs.bento"]);
    let mut ext4 = vec![0; 1 << 20];
    ext4[0x438..0x43a].copy_from_slice(b"\x53\xef");
    fs::write(place.image(), &ext4).unwrap();
    place.mount("").badly(FAILED, &["no Bento volume", "ext4"]);
    assert_eq!(fs::read(place.image()).unwrap(), ext4, "what is somebody else's stays as it is");
    run(called("bento").arg("info").arg(place.image())).badly(1, &["no Bento volume", "ext4"]);
}

#[test]
fn an_image_that_was_cut_off_is_recognised() {
    let place = Place::with_image(16);
    let file = fs::OpenOptions::new().write(true).open(place.image()).unwrap();
    let whole = fs::read(place.image()).unwrap();
    file.set_len(8191).unwrap();
    place.mount("").badly(FAILED, &["cut short", "8191 bytes"]);
    fs::write(place.image(), whole).unwrap();
    file.set_len(15 << 20).unwrap();
    place.mount("").badly(FAILED, &["4096 blocks", "3840", "truncated"]);
    // What was cut off is zeros now; nothing was there.
    file.set_len(16 << 20).unwrap();
    place.mount("").well();
    place.umount().well();
    place.expect_clean();
    // Now the inode table is cut off.
    file.set_len(64 << 10).unwrap();
    file.set_len(16 << 20).unwrap();
    place.mount("").badly(FAILED, &["volume.img", "root directory", "fsck.bento"]);
    assert!(!place.is_mounted());
}

#[test]
fn an_image_is_unmounted_by_its_name_too() {
    let place = Place::with_image(16);
    let by_name = || run(called("bento").arg("umount").arg(place.image()));
    by_name().badly(FAILED, &["volume.img", "not mounted"]);
    place.mount("").well();
    by_name().well();
    assert!(!place.is_mounted());
    place.expect_clean();
}

#[test]
fn no_version_is_no_version_to_upgrade_to() {
    let place = Place::with_image(16);
    place.mount("").well();
    let upgraded = run(called("bento").args(["upgrade", "--to", ""]).arg(place.dir()));
    upgraded.badly(1, &["no version ''", "bento-fs-second"]);
    place.umount().well();
}

#[test]
fn a_failure_is_told_in_json_too() {
    let asked: [&[&str]; 4] = [&["info"], &["dump", "inode", "1"], &["prov", "log"], &["upgrade"]];
    for args in asked {
        let mut command = called("bento");
        let (first, rest) = args.split_first().unwrap();
        command.arg(first);
        match *first {
            "prov" => command.args(rest).arg("/nowhere/at/all"),
            _ => command.arg("/nowhere/at/all").args(rest),
        };
        let output = command.arg("--json").output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(said, format!("bento: {}\n", told["error"].as_str().unwrap()), "{args:?}");
    }
}

#[test]
fn an_image_is_mounted_once_and_the_second_try_says_where() {
    let place = Place::with_image(16);
    place.mount("").well();
    let second = place.path("second");
    fs::create_dir(&second).unwrap();
    let shown = place.dir().display().to_string();
    place.mount_of(&place.image(), &second, "").badly(FAILED, &["volume.img", "already mounted on", &shown]);
    place.mount_of(&place.image(), &second, "ro").badly(FAILED, &["already mounted on"]);
    run(called("mkfs.bento").arg("-F").arg(place.image())).badly(1, &["in use"]);
    run(called("bento").arg("umount").arg(&second)).badly(FAILED, &["second", "no Bento volume is mounted"]);
    place.umount().well();
    place.expect_clean();
}

#[test]
fn readers_share_an_image_and_keep_writers_out() {
    let place = Place::with_image(16);
    let second = place.path("second");
    fs::create_dir(&second).unwrap();
    place.mount("ro").well();
    place.mount_of(&place.image(), &second, "ro").well();
    run(called("bento").arg("umount").arg(&second)).well();
    place.mount_of(&place.image(), &second, "").badly(FAILED, &["already mounted on"]);
    place.umount().well();
}

#[test]
fn who_may_not_read_the_image_is_told_so() {
    let place = Place::with_image(16);
    let program = place.path("bento");
    copy_program(&program);
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.image(), fs::Permissions::from_mode(0o600)).unwrap();
    chown(place.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(&program).args(args);
        run(command.current_dir(place.path("")))
    };
    as_nobody(&["mount", "volume.img", "dir"]).badly(FAILED, &["volume.img", "permission denied"]);
    as_nobody(&["info", "volume.img"]).badly(1, &["volume.img", "permission denied"]);
    place.mount("").well();
    as_nobody(&["umount", "dir"]).badly(FAILED, &["dir"]);
    as_nobody(&["upgrade", "dir"]).badly(1, &["only root"]);
    as_nobody(&["mount", "volume.img", "dir", "-o", "remount,ro"]).badly(FAILED, &["only root"]);
    place.umount().well();
    place.expect_clean();
}

#[test]
fn commands_about_a_mount_say_when_there_is_none() {
    let place = Place::with_image(16);
    let dir = place.dir();
    run(called("bento").arg("umount").arg(&dir)).badly(FAILED, &["dir", "no Bento volume is mounted there"]);
    run(&mut called("umount.fuse.bento")).badly(USAGE, &["usage"]);
    run(called("bento").arg("upgrade").arg(&dir)).badly(1, &["dir", "no mounted Bento volume"]);
    run(called("bento").arg("info").arg(&dir)).badly(1, &["dir", "no mounted Bento volume"]);
    place.remount("ro").badly(FAILED, &["dir", "no Bento volume is mounted there"]);
    place.mount("").well();
    let upgrade = |to: &str| run(called("bento").arg("upgrade").arg(&dir).args(["--to", to]));
    upgrade("nonsense").badly(1, &["no such version", "bento-fs"]);
    upgrade("bento-fs-second").well();
    upgrade("bento-fs").well();
    place.umount().well();
}
