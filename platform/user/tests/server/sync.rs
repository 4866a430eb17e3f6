//! `-o sync` and `-o dirsync`: what was answered survives the daemon.

use super::Place;
use super::place::Daemon;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

/// Nothing is committed without being asked.
const NEVER: &str = "commit=3600";

fn mounted(options: &str) -> (Place, Daemon) {
    let place = Place::with_image(32);
    let daemon = place.serve(&format!("{NEVER},{options}"));
    (place, daemon)
}

/// Kills the daemon, and mounts what it left.
fn crash(place: &Place, daemon: Daemon) {
    daemon.kill();
    place.mount("").well();
}

fn end(place: &Place) {
    place.umount().well();
    place.expect_clean();
}

/// Whether a name is there, links not followed.
fn is_there(place: &Place, name: &str) -> bool {
    fs::symlink_metadata(place.file(name)).is_ok()
}

/// Each way to change names, what is there after it, and what is not.
type Change = (&'static str, fn(&Place), &'static [&'static str], &'static [&'static str]);

/// Each change is the last one before a crash.
const CHANGES: &[Change] = &[
    ("mkdir", |place| fs::create_dir(place.file("dir")).unwrap(), &["dir"], &[]),
    ("create", |place| drop(File::create(place.file("dir/file")).unwrap()), &["dir/file"], &[]),
    (
        "mknod",
        |place| {
            rustix::fs::mknodat(CWD, place.file("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        },
        &["pipe"],
        &[],
    ),
    ("symlink", |place| symlink("anything", place.file("link")).unwrap(), &["link"], &[]),
    ("link", |place| fs::hard_link(place.file("dir/file"), place.file("other")).unwrap(), &["other"], &[]),
    (
        "tmpfile and link",
        |place| {
            let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
            let file = rustix::fs::open(place.dir(), flags, Mode::RUSR).unwrap();
            let shown = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            rustix::fs::linkat(CWD, shown, CWD, place.file("named"), rustix::fs::AtFlags::SYMLINK_FOLLOW)
                .unwrap();
        },
        &["named"],
        &[],
    ),
    (
        "rename",
        |place| fs::rename(place.file("link"), place.file("dir/moved")).unwrap(),
        &["dir/moved"],
        &["link"],
    ),
    (
        "exchange",
        |place| {
            let (a, b) = (place.file("dir/moved"), place.file("pipe"));
            rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
        },
        &["dir/moved", "pipe"],
        &[],
    ),
    ("unlink", |place| fs::remove_file(place.file("dir/file")).unwrap(), &["other"], &["dir/file"]),
    (
        "rmdir",
        |place| {
            fs::remove_file(place.file("dir/moved")).unwrap();
            fs::remove_dir(place.file("dir")).unwrap();
        },
        &[],
        &["dir"],
    ),
];

#[test]
fn with_dirsync_every_change_of_names_survives_the_daemon() {
    let place = Place::with_image(32);
    for (what, change, there, gone) in CHANGES {
        let daemon = place.serve(&format!("{NEVER},dirsync"));
        change(&place);
        crash(&place, daemon);
        for name in *there {
            assert!(is_there(&place, name), "{what}: {name} is gone");
        }
        for name in *gone {
            assert!(!is_there(&place, name), "{what}: {name} is still there");
        }
        end(&place);
    }
}

#[test]
fn with_sync_every_change_of_a_file_survives_the_daemon() {
    let place = Place::with_image(32);
    place.mount("").well();
    fs::write(place.file("file"), vec![7; 20_000]).unwrap();
    end(&place);
    let path = place.file("file");
    type Step<'a> = (&'static str, Box<dyn Fn() + 'a>, Box<dyn Fn() -> bool + 'a>);
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    let value = || rustix::fs::getxattr(&path, "user.a", &mut [0; 8][..]);
    let steps: Vec<Step<'_>> = vec![
        (
            "chmod",
            Box::new(|| fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap()),
            Box::new(|| mode() == 0o604),
        ),
        (
            "setxattr",
            Box::new(|| rustix::fs::setxattr(&path, "user.a", b"value", XattrFlags::empty()).unwrap()),
            Box::new(|| value() == Ok(5)),
        ),
        (
            "removexattr",
            Box::new(|| rustix::fs::removexattr(&path, "user.a").unwrap()),
            Box::new(|| value().is_err()),
        ),
        (
            "truncate",
            Box::new(|| File::options().write(true).open(&path).unwrap().set_len(9_000).unwrap()),
            Box::new(|| fs::read(&path).unwrap() == vec![7; 9_000]),
        ),
        (
            "fallocate",
            Box::new(|| {
                let file = File::options().write(true).open(&path).unwrap();
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 50_000).unwrap();
            }),
            Box::new(|| fs::metadata(&path).unwrap().len() == 50_000),
        ),
        (
            "write",
            Box::new(|| {
                File::options().write(true).open(&path).unwrap().write_all_at(b"new", 60_000).unwrap();
            }),
            Box::new(|| fs::read(&path).unwrap().ends_with(b"\0new")),
        ),
        (
            "create",
            Box::new(|| fs::write(place.file("new"), b"").unwrap()),
            Box::new(|| place.file("new").exists()),
        ),
    ];
    for (what, step, holds) in &steps {
        let daemon = place.serve(&format!("{NEVER},sync"));
        step();
        crash(&place, daemon);
        assert!(holds(), "{what} was lost");
        end(&place);
    }
}

#[test]
fn without_either_nothing_is_committed_that_was_not_asked_for() {
    let (place, daemon) = mounted("async");
    fs::create_dir(place.file("dir")).unwrap();
    crash(&place, daemon);
    assert!(!is_there(&place, "dir"), "then the other tests show nothing");
    end(&place);
}

#[test]
fn a_remount_says_what_has_to_be_durable() {
    let (place, daemon) = mounted("dirsync");
    // What a remount does not name stays.
    place.remount("noexec").well();
    fs::create_dir(place.file("one")).unwrap();
    crash(&place, daemon);
    assert!(is_there(&place, "one"));
    end(&place);

    let daemon = place.serve(NEVER);
    place.remount("sync").well();
    fs::create_dir(place.file("two")).unwrap();
    place.remount("async").well();
    fs::create_dir(place.file("three")).unwrap();
    crash(&place, daemon);
    assert!(is_there(&place, "two") && !is_there(&place, "three"));
    end(&place);
}

#[test]
fn many_who_wait_at_once_for_their_names_all_have_them() {
    let (place, daemon) = mounted("dirsync");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let place = &place;
            scope.spawn(move || {
                let dir = place.file(&format!("dir{thread}"));
                fs::create_dir(&dir).unwrap();
                for number in 0..50 {
                    drop(File::create(dir.join(number.to_string())).unwrap());
                }
            });
        }
    });
    crash(&place, daemon);
    for thread in 0..8 {
        assert_eq!(fs::read_dir(place.file(&format!("dir{thread}"))).unwrap().count(), 50);
    }
    end(&place);
}
