//! Who may do what: set-id bits, and mounts that are root's alone.

use super::Place;
use super::place::run;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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

/// Whether a command of nobody's in the volume succeeds.
fn nobody(place: &Place, args: &[&str]) -> bool {
    let mut command = Command::new(args[0]);
    run(command.args(&args[1..]).uid(NOBODY).gid(NOBODY).current_dir(place.dir())).status == 0
}

fn mode(place: &Place, name: &str) -> u32 {
    fs::metadata(place.file(name)).unwrap().mode() & 0o7777
}

fn chmod(place: &Place, name: &str, mode: u32) {
    fs::set_permissions(place.file(name), PermissionsExt::from_mode(mode)).unwrap();
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

#[test]
fn whatever_the_unprivileged_do_to_content_ends_set_id_bits() {
    let place = mounted("");
    let ways: &[&[&str]] = &[
        &["fallocate", "-l", "10000", "su"],
        &["fallocate", "-n", "-l", "90000", "su"],
        &["fallocate", "-p", "-o", "0", "-l", "5000", "su"],
        &["fallocate", "-z", "-o", "0", "-l", "5000", "su"],
        &["truncate", "-s", "3", "su"],
        &["sh", "-c", ": > su"],
        &["sh", "-c", "echo more >> su"],
    ];
    for way in ways {
        fs::write(place.file("su"), vec![7; 9000]).unwrap();
        chmod(&place, "su", 0o6777);
        let mut as_root = Command::new(way[0]);
        run(as_root.args(&way[1..]).current_dir(place.dir())).well();
        assert_eq!(mode(&place, "su"), 0o6777, "{way:?} by root");
        assert!(nobody(&place, way), "{way:?}");
        assert_eq!(mode(&place, "su"), 0o777, "{way:?}");
    }
    end(&place);
}
