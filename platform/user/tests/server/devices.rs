//! Block devices: loop devices, mounted as `fuseblk`.

use super::Place;
use super::place::{alone_with_mounts, called, run};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device over the image; it goes when the test does.
struct Loop(PathBuf, #[expect(unused, reason = "held")] File);

impl Loop {
    fn over(image: &Path, flags: &[&str]) -> Self {
        let alone = alone_with_mounts();
        let said = run(Command::new("losetup").args(["-f", "--show"]).args(flags).arg(image)).well();
        Self(PathBuf::from(said.trim_end()), alone)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

fn umount(place: &Place) {
    // Without any helper of ours.
    run(Command::new("umount").arg("-i").arg(place.dir())).well();
}

#[test]
fn a_block_device_is_clean_when_umount_returns_without_any_helper() {
    let place = Place::with_image(64);
    let device = Loop::over(&place.image(), &[]);
    for round in 0..10 {
        place.mount_of(&device.0, &place.dir(), "").well();
        for number in 0..20 {
            fs::write(place.file(&format!("{round}-{number}")), vec![round; 9000]).unwrap();
        }
        umount(&place);
        run(called("fsck.bento").args(["-n", "-f"]).arg(&device.0)).well();
        place.expect_clean();
    }
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    place.mount_of(&device.0, &place.dir(), "ro").well();
    assert!(table().contains(" - fuseblk.bento /dev/loop"));
    assert_eq!(fs::read(place.file("9-19")).unwrap(), [9; 9000]);
    umount(&place);
}

#[test]
fn nobody_else_gets_a_device_that_is_mounted() {
    let place = Place::with_image(16);
    let device = Loop::over(&place.image(), &[]);
    let second = place.path("second");
    fs::create_dir(&second).unwrap();
    place.mount_of(&device.0, &place.dir(), "").well();
    let exclusive = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::EXCL;
    let opened = rustix::fs::open(&device.0, exclusive, rustix::fs::Mode::empty());
    assert_eq!(opened.err(), Some(rustix::io::Errno::BUSY));
    place.mount_of(&device.0, &second, "").badly(32, &["already mounted on", place.dir().to_str().unwrap()]);
    place.mount_of(&device.0, &second, "ro").badly(32, &["already mounted on"]);
    run(called("mkfs.bento").arg("-F").arg(&device.0)).badly(1, &["in use"]);
    place.remount("ro").well();
    place.remount("rw").well();
    umount(&place);
    place.expect_clean();
}

#[test]
fn a_dead_mount_of_a_device_is_replaced_by_the_next() {
    let place = Place::with_image(16);
    let device = Loop::over(&place.image(), &[]);
    for _ in 0..3 {
        let daemon = place.serve_device(&device.0);
        fs::write(place.file("synced"), b"data").unwrap();
        fs::File::open(place.dir()).unwrap().sync_all().unwrap();
        daemon.kill();
        assert!(place.is_mounted());
    }
    place.mount_of(&device.0, &place.dir(), "").well();
    assert_eq!(fs::read(place.file("synced")).unwrap(), b"data");
    umount(&place);
    place.expect_clean();
}

#[test]
fn a_device_without_a_volume_is_never_attached() {
    let place = Place::empty();
    fs::write(place.image(), vec![0; 1 << 20]).unwrap();
    let device = Loop::over(&place.image(), &[]);
    let shown = device.0.to_str().unwrap();
    place.mount_of(&device.0, &place.dir(), "").badly(32, &[shown, "no Bento volume", "mkfs.bento"]);
    assert!(!place.is_mounted());
    run(called("mkfs.bento").arg("-q").arg(&device.0)).badly(1, &[shown]);
}

#[test]
fn a_write_protected_device_is_mounted_read_only_as_mount_does_it() {
    let place = Place::with_image(16);
    let device = Loop::over(&place.image(), &["-r"]);
    let shown = device.0.to_str().unwrap();
    let said = place.mount_of(&device.0, &place.dir(), "").well();
    assert!(said.contains(&format!("{shown} is write-protected; it is mounted read-only")), "{said}");
    let refused = fs::write(place.file("file"), b"").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    umount(&place);
    place.mount_of(&device.0, &place.dir(), "ro").well();
    umount(&place);
}

#[test]
fn a_signal_unmounts_a_device_too() {
    let place = Place::with_image(16);
    let device = Loop::over(&place.image(), &[]);
    let daemon = place.serve_device(&device.0);
    fs::write(place.file("file"), b"data").unwrap();
    daemon.signal(rustix::process::Signal::TERM);
    daemon.end().well();
    assert!(!place.is_mounted());
    place.expect_clean();
}

#[test]
fn an_image_is_not_mounted_beside_a_loop_device_over_it() {
    let place = Place::with_image(16);
    let second = place.path("second");
    fs::create_dir(&second).unwrap();
    place.mount("").well();
    // A device that is made over a mounted image can't be mounted.
    let device = Loop::over(&place.image(), &[]);
    place.mount_of(&device.0, &second, "").badly(32, &["in use"]);
    run(called("mkfs.bento").arg("-F").arg(&device.0)).badly(1, &["its image", "is mounted on"]);
    place.umount().well();
    // And the other way about.
    place.mount_of(&device.0, &place.dir(), "").well();
    place.mount_of(&place.image(), &second, "").badly(32, &["in use"]);
    umount(&place);
    place.expect_clean();
}
