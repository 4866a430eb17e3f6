//! mount(8) and umount(8), which find our helpers in /sbin, and users other than root. Each test goes on in a mount
//! namespace of its own, where it may change /sbin, /etc/fstab and /dev/fuse for nobody else.

use super::Place;
use super::place::{Ended, alone_with_mounts, called, copy_program, run};
use rustix::fs::{FileType, Mode};
use rustix::mount::MountPropagationFlags;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tells the second run of a test that it is in a namespace of its own.
const INSIDE: &str = "BENTO_TEST_IN_A_NAMESPACE";
const NOBODY: u32 = 65534;

/// Runs the test again, in a namespace of its own; true in that second run.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .unwrap();
        return true;
    }
    let _alone = alone_with_mounts();
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("helpers::{test}"), "--nocapture"]).env(INSIDE, "1");
    let said = run(&mut command).well();
    assert!(said.contains("1 passed"), "{said}");
    false
}

fn bind(from: &Path, to: &Path) {
    rustix::mount::mount_bind(from, to).unwrap();
}

/// /sbin, with our helpers beside copies of what there is: the place is removed with all that is in it, so the real
/// directory must never be bound there.
fn install_helpers(place: &Place) {
    let new = place.path("sbin");
    let sbin = fs::canonicalize("/sbin").unwrap();
    run(Command::new("cp").arg("-a").arg(&sbin).arg(&new)).well();
    for entry in fs::read_dir(&new).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().contains("bento") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for name in ["mount.fuse.bento", "umount.fuse.bento", "mount.fuseblk.bento", "fsck.fuse.bento"] {
        symlink(env!("CARGO_BIN_EXE_bento"), new.join(name)).unwrap();
    }
    bind(&new, &sbin);
    // umount(8)'s own table.
    let table = place.path("table");
    fs::create_dir(&table).unwrap();
    fs::create_dir_all("/run/mount").unwrap();
    bind(&table, Path::new("/run/mount"));
}

fn mount(args: &[&str]) -> Ended {
    run(Command::new("mount").args(args))
}

fn umount(args: &[&str]) -> Ended {
    run(Command::new("umount").args(args))
}

#[test]
fn umount_returns_when_the_volume_is_clean_fifty_times() {
    if !inside("umount_returns_when_the_volume_is_clean_fifty_times") {
        return;
    }
    let place = Place::with_image(64);
    install_helpers(&place);
    let (image, dir) = (place.image(), place.dir());
    let (image, dir) = (image.to_str().unwrap(), dir.to_str().unwrap());
    for round in 0..50 {
        mount(&["-t", "fuse.bento", image, dir]).well();
        for number in 0..20 {
            fs::write(place.file(&number.to_string()), vec![round; 20_000]).unwrap();
        }
        umount(&[dir]).well();
        place.expect_clean();
    }
}

#[test]
fn umount_says_who_has_the_mount_in_another_namespace() {
    let _alone = alone_with_mounts();
    let place = Place::with_image(64);
    place.mount("").well();
    let mut other = Command::new("unshare").args(["--mount", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let unmount = Command::new(env!("CARGO_BIN_EXE_bento"))
        .args(["umount", place.dir().to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    drop(other.stdin.take());
    let said = unmount.wait_with_output().unwrap();
    other.wait().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.contains(&format!("process {} (cat)", other.id())), "{text}");
    place.expect_clean();
}

#[test]
fn mount_and_umount_take_their_options_from_fstab() {
    if !inside("mount_and_umount_take_their_options_from_fstab") {
        return;
    }
    let place = Place::with_image(16);
    install_helpers(&place);
    let dir = place.dir().display().to_string();
    let options = "rw,nofail,noauto,noatime,_netdev,commit=2,x-systemd.requires-mounts-for=/";
    let fstab = place.path("fstab");
    fs::write(&fstab, format!("{} {dir} fuse.bento {options} 0 2\n", place.image().display())).unwrap();
    bind(&fstab, Path::new("/etc/fstab"));
    let shown = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().find(|line| line.contains(&dir)).map(|line| line.split(' ').nth(5).unwrap().to_owned())
    };
    mount(&[&dir]).well();
    assert_eq!(shown().as_deref(), Some("rw,nosuid,nodev,noatime"));
    fs::write(place.file("file"), b"data").unwrap();
    mount(&["-o", "remount,ro", &dir]).well();
    assert!(shown().unwrap().starts_with("ro,"));
    assert!(fs::write(place.file("file"), b"other").is_err());
    mount(&["-o", "remount,rw", &dir]).well();
    let open = File::create(place.file("open")).unwrap();
    mount(&["-o", "remount,ro", &dir]).badly(32, &["open for writing"]);
    umount(&[&dir]).badly(32, &["in use"]);
    drop(open);
    umount(&[&dir]).well();
    assert_eq!(shown(), None);
    place.expect_clean();
    mount(&["-f", &dir]).well();
    assert_eq!(shown(), None, "-f: nothing is mounted");
    mount(&["-o", "colour=red", &dir]).badly(1, &["colour=red"]);
    // Not on every machine; it finds ours by the type.
    if Path::new("/sbin/fsck").exists() {
        run(Command::new("/sbin/fsck").args(["-t", "fuse.bento", "-n"]).arg(place.image())).well();
    }
}

#[test]
fn mount_makes_a_loop_device_when_asked_to() {
    if !inside("mount_makes_a_loop_device_when_asked_to") {
        return;
    }
    let place = Place::with_image(16);
    install_helpers(&place);
    let (image, dir) = (place.image(), place.dir());
    let (image, dir) = (image.to_str().unwrap(), dir.to_str().unwrap());
    let made = mount(&["-t", "fuse.bento", "-o", "loop", image, dir]);
    if made.said.contains("loop device") {
        return eprintln!("no loop device: nothing to test: {}", made.said);
    }
    made.well();
    fs::write(place.file("file"), b"data").unwrap();
    mount(&["-o", "remount,ro", dir]).well();
    mount(&["-o", "remount,rw", dir]).well();
    umount(&[dir]).well();
    place.expect_clean();
}

/// A command as nobody, in the place's directory.
fn as_nobody(place: &Place, args: &[&str]) -> Ended {
    let mut command = Command::new(args[0]);
    run(command.args(&args[1..]).uid(NOBODY).gid(NOBODY).current_dir(place.path("")))
}

#[test]
fn a_user_other_than_root_mounts_an_image_of_theirs() {
    if Command::new("fusermount3").arg("--version").output().is_err() {
        return eprintln!("fusermount3 is not installed (package fuse3): nothing to test");
    }
    if !inside("a_user_other_than_root_mounts_an_image_of_theirs") {
        return;
    }
    let place = Place::with_image(16);
    install_helpers(&place);
    let everybodys = place.path("fuse");
    let device = rustix::fs::makedev(10, 229);
    rustix::fs::mknodat(rustix::fs::CWD, &everybodys, FileType::CharacterDevice, Mode::empty(), device)
        .unwrap();
    fs::set_permissions(&everybodys, PermissionsExt::from_mode(0o666)).unwrap();
    bind(&everybodys, Path::new("/dev/fuse"));
    let program = place.path("bento");
    copy_program(&program);
    let program = program.to_str().unwrap();
    fs::set_permissions(place.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    let bento = |args: &[&str]| as_nobody(&place, &[&[program], args].concat());

    // Not theirs: the helper refuses the directory.
    chown(place.image(), Some(NOBODY), Some(NOBODY)).unwrap();
    bento(&["mount", "volume.img", "dir"]).badly(32, &["fusermount3", "dir"]);
    chown(place.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    bento(&["mount", "volume.img", "dir", "-o", "allow_other"]).badly(32, &["fusermount3", "allow_other"]);
    place.expect_clean();

    bento(&["mount", "volume.img", "dir"]).well();
    assert!(place.is_mounted());
    assert!(fs::read_dir(place.dir()).is_err(), "not even root may look into it");
    as_nobody(&place, &["ls", "dir"]).well();
    bento(&["umount", "dir"]).well();
    assert!(!place.is_mounted());
    place.expect_clean();
    bento(&["mount", "volume.img", "dir"]).well();
    as_nobody(&place, &["umount", "dir"]).well();
    assert!(!place.is_mounted());
    place.expect_clean();
    run(called("bento").arg("mount").arg(place.image()).arg(place.dir())).well();
    bento(&["umount", "dir"]).badly(32, &["dir"]);
    place.umount().well();
}
