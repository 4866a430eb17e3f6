//! Who may do what: mounts that are root's alone.

use super::Place;
use super::place::run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;

/// A mounted volume into which everybody gets.
fn mounted(options: &str) -> Place {
    let place = Place::with_image(32);
    fs::set_permissions(place.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    place.mount(options).well();
    place
}

fn end(place: &Place) {
    place.umount().well();
    place.expect_clean();
}

#[test]
fn a_private_mount_works_for_root() {
    let place = mounted("private");
    fs::create_dir(place.file("dir")).unwrap();
    fs::write(place.file("dir/file"), b"data").unwrap();
    assert_eq!(fs::read(place.file("dir/file")).unwrap(), b"data");
    let mut others = Command::new("ls");
    assert_ne!(run(others.arg(place.dir()).uid(NOBODY).gid(NOBODY)).status, 0, "it is root's alone");
    end(&place);
}
