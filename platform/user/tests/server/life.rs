//! From mount to unmount, by every way there is.

use super::Place;
use super::place::{BUDGET, called, run};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

/// Files enough that there is something to write home, and not yet durable.
fn work(place: &Place, round: u32) {
    let dir = place.file(&format!("round-{round}"));
    fs::create_dir(&dir).unwrap();
    for number in 0..50 {
        fs::write(dir.join(number.to_string()), vec![round as u8; 5000]).unwrap();
    }
}

fn expect_work(place: &Place, round: u32) {
    let dir = place.file(&format!("round-{round}"));
    for number in 0..50 {
        assert_eq!(fs::read(dir.join(number.to_string())).unwrap(), vec![round as u8; 5000]);
    }
}

#[test]
fn the_volume_is_clean_when_umount_returns_every_time() {
    let place = Place::with_image(64);
    for round in 0..10 {
        place.mount("").well();
        work(&place, round);
        run(called("umount.fuse.bento").arg(place.dir())).well();
        place.expect_clean();
    }
    place.mount("ro").well();
    (0..10).for_each(|round| expect_work(&place, round));
    place.umount().well();
}

#[test]
fn sigint_and_sigterm_in_the_foreground_leave_a_clean_volume() {
    let place = Place::with_image(64);
    for (round, signal) in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let daemon = place.serve("");
        work(&place, round as u32);
        daemon.signal(signal);
        daemon.end().well();
        assert!(!place.is_mounted());
        place.expect_clean();
    }
}

#[test]
fn a_signal_while_files_are_open_makes_all_durable_and_a_second_one_detaches() {
    let place = Place::with_image(64);
    let mut daemon = place.serve("commit=3600");
    work(&place, 1);
    let mut open = File::create(place.file("open")).unwrap();
    daemon.signal(Signal::TERM);
    // A copy of the image is what a power cut would leave.
    let copy = place.path("copy.img");
    let start = Instant::now();
    loop {
        fs::copy(place.image(), &copy).unwrap();
        let listed = run(called("bento").arg("dump").arg(&copy).args(["dir", "1"])).well();
        if listed.contains("round-1") && listed.contains("open") {
            break;
        }
        assert!(start.elapsed() < BUDGET, "{listed}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(daemon.lives() && place.is_mounted());
    open.write_all(b"still served").unwrap();
    daemon.signal(Signal::TERM);
    while place.is_mounted() {
        assert!(start.elapsed() < BUDGET);
        std::thread::sleep(Duration::from_millis(2));
    }
    open.write_all(b", to the end").unwrap();
    assert!(daemon.lives(), "its last user is not gone");
    drop(open);
    let said = daemon.end().well();
    assert!(said.contains("in use") && said.contains("a second signal"), "{said}");
    place.expect_clean();
    place.mount("").well();
    assert_eq!(fs::read(place.file("open")).unwrap(), b"still served, to the end");
    expect_work(&place, 1);
    place.umount().well();
}

#[test]
fn after_a_kill_the_next_mount_replaces_the_dead_one_and_has_what_was_synced() {
    let place = Place::with_image(64);
    for round in 0..3 {
        let daemon = place.serve("commit=3600");
        work(&place, round);
        File::open(place.dir()).unwrap().sync_all().unwrap();
        fs::write(place.file("unsynced"), vec![7; 100_000]).unwrap();
        daemon.kill();
        assert!(fs::metadata(place.file("round-0")).is_err() && place.is_mounted());
        assert_ne!(place.info("state"), "clean");
        place.check().well();
        let said = place.mount("").well();
        assert!(said.contains("recovered") && said.contains("dead mount"), "{said}");
        (0..=round).for_each(|round| expect_work(&place, round));
        place.umount().well();
        place.expect_clean();
    }
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let place = Place::with_image(16);
    // As early as anybody can see the mount: the daemon must not be caught in a look at itself.
    for _ in 0..10 {
        place.serve("").kill();
        place.umount().well();
        assert!(!place.is_mounted());
    }
    place.mount("").well();
    place.umount().well();
}

#[test]
fn a_mount_in_use_stays_and_says_how_to_find_who_uses_it() {
    let place = Place::with_image(16);
    place.mount("").well();
    let open = File::create(place.file("open")).unwrap();
    place.umount().badly(32, &["dir", "in use", "fuser"]);
    run(called("umount.fuse.bento").arg(place.dir()).arg("-l")).well();
    assert!(!place.is_mounted());
    // The daemon serves on for who has files open, so the image is not free yet.
    (&open).write_all(b"x").unwrap();
    drop(open);
    place.mount("").well();
    assert_eq!(fs::read(place.file("open")).unwrap(), b"x");
    place.umount().well();
    place.expect_clean();
}

#[test]
fn a_remount_changes_what_it_is_asked_to_and_nothing_else() {
    let place = Place::with_image(16);
    let flags = || rustix::fs::statvfs(place.dir()).unwrap().f_flag;
    place.mount("noexec").well();
    let before = flags();
    let open = File::create(place.file("open")).unwrap();
    place.remount("ro").badly(32, &["dir", "open for writing"]);
    drop(open);
    place.remount("ro").well();
    assert_eq!(flags(), before | rustix::fs::StatVfsMountFlags::RDONLY);
    let refused = fs::write(place.file("new"), b"").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    place.remount("rw").well();
    assert_eq!(flags(), before);
    fs::write(place.file("new"), b"").unwrap();
    place.remount("rw,commit=9").well();
    place.remount("bogus").badly(1, &["bogus"]);
    place.umount().well();
    place.expect_clean();
}

#[test]
fn a_read_only_mount_writes_nothing_not_even_to_recover() {
    let place = Place::with_image(16);
    let daemon = place.serve("commit=3600");
    work(&place, 1);
    File::open(place.dir()).unwrap().sync_all().unwrap();
    daemon.kill();
    place.umount().well();
    let before = fs::read(place.image()).unwrap();
    place.mount("ro").well();
    expect_work(&place, 1);
    assert!(fs::write(place.file("new"), b"").is_err());
    assert!(fs::remove_file(place.file("round-1/1")).is_err());
    place.remount("rw").badly(32, &["opened read-only", "unmount it"]);
    place.umount().well();
    assert!(fs::read(place.image()).unwrap() == before, "the image has changed");
    place.mount("").well();
    expect_work(&place, 1);
    place.umount().well();
    place.expect_clean();
}

#[test]
fn a_source_given_by_a_relative_path_is_found_again_from_anywhere() {
    let place = Place::with_image(16);
    run(called("bento").args(["mount", "volume.img", "dir"]).current_dir(place.path(""))).well();
    let said = run(called("bento").arg("info").arg(place.dir()).current_dir("/")).well();
    assert!(said.contains(place.image().to_str().unwrap()), "{said}");
    run(called("bento").args(["umount", "."]).current_dir(place.dir())).badly(32, &["in use"]);
    place.umount().well();
    place.expect_clean();
}
