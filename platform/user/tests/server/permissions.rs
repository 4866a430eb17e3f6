//! Who may do what: access control lists, set-id bits, and mounts that are root's alone.

use super::Place;
use super::place::run;
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65534;
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
const NO_ID: u32 = u32::MAX;

/// Tags of a list's entries.
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

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

fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, allowed, id) in entries {
        bytes.extend([&tag.to_le_bytes()[..], &allowed.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    bytes
}

fn set_list(place: &Place, name: &str, which: &str, entries: &[(u16, u16, u32)]) -> rustix::io::Result<()> {
    rustix::fs::setxattr(place.file(name), which, &list(entries), XattrFlags::empty())
}

fn list_of(place: &Place, name: &str) -> Option<Vec<u8>> {
    let mut room = [0; 256];
    let len = rustix::fs::getxattr(place.file(name), ACCESS, &mut room[..]).ok()?;
    Some(room[..len].to_vec())
}

/// What nobody alone is allowed beside a mask.
fn for_nobody(allowed: u16, mask: u16) -> Vec<(u16, u16, u32)> {
    vec![
        (USER_OBJ, 6, NO_ID),
        (USER, allowed, NOBODY),
        (GROUP_OBJ, 4, NO_ID),
        (MASK, mask, NO_ID),
        (OTHER, 4, NO_ID),
    ]
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
fn an_access_list_is_obeyed_and_the_mode_agrees_with_it() {
    let place = mounted("");
    fs::write(place.file("file"), b"data").unwrap();
    chmod(&place, "file", 0o644);
    assert!(nobody(&place, &["cat", "file"]));
    set_list(&place, "file", ACCESS, &for_nobody(0, 4)).unwrap();
    assert!(!nobody(&place, &["cat", "file"]), "the list forbids it");

    // What others may not, one who is named may.
    chmod(&place, "file", 0o600);
    assert!(!nobody(&place, &["cat", "file"]));
    set_list(&place, "file", ACCESS, &for_nobody(6, 6)).unwrap();
    assert_eq!(mode(&place, "file"), 0o664, "the group shows the mask");
    assert!(nobody(&place, &["sh", "-c", "echo more >> file"]));
    place.umount().well();
    place.mount("").well();
    assert_eq!((mode(&place, "file"), list_of(&place, "file")), (0o664, Some(list(&for_nobody(6, 6)))));
    assert!(nobody(&place, &["cat", "file"]), "it is still there after a mount");

    // A list that says what a mode says is none.
    let plain = [(USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)];
    set_list(&place, "file", ACCESS, &plain).unwrap();
    assert_eq!((mode(&place, "file"), list_of(&place, "file")), (0o640, None));
    assert!(!nobody(&place, &["cat", "file"]));
    end(&place);
}

#[test]
fn chmod_changes_the_access_list_with_the_mode() {
    let place = mounted("");
    fs::write(place.file("file"), b"data").unwrap();
    set_list(&place, "file", ACCESS, &for_nobody(6, 6)).unwrap();
    chmod(&place, "file", 0o641);
    let mut expected = for_nobody(6, 4);
    expected[4].1 = 1;
    assert_eq!(list_of(&place, "file"), Some(list(&expected)));
    assert_eq!(mode(&place, "file"), 0o641);
    assert!(nobody(&place, &["cat", "file"]));
    assert!(!nobody(&place, &["sh", "-c", "echo more >> file"]), "the mask is read-only now");
    chmod(&place, "file", 0o600);
    assert!(!nobody(&place, &["cat", "file"]));
    end(&place);
}

#[test]
fn an_access_list_of_one_who_is_not_in_the_group_ends_the_set_group_id_bit() {
    let place = mounted("");
    fs::write(place.file("file"), b"data").unwrap();
    chown(place.file("file"), Some(NOBODY), Some(0)).unwrap();
    chmod(&place, "file", 0o2755);
    assert!(nobody(&place, &["setfacl", "-m", "u:1:r", "file"]));
    assert_eq!(mode(&place, "file"), 0o755);
    chmod(&place, "file", 0o2755);
    run(Command::new("setfacl").args(["-m", "u:2:r"]).arg(place.file("file"))).well();
    assert_eq!(mode(&place, "file"), 0o2755);
    end(&place);
}

#[test]
fn a_default_list_is_refused_rather_than_ignored() {
    let place = mounted("");
    fs::create_dir(place.file("dir")).unwrap();
    let refused = set_list(&place, "dir", DEFAULT, &for_nobody(7, 7));
    assert_eq!(refused, Err(rustix::io::Errno::OPNOTSUPP));
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
