//! A full volume.

use super::Place;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};

#[test]
fn a_full_volume_says_so_loses_nothing_and_gives_back_what_is_removed() {
    let place = Place::with_image(32);
    place.mount("").well();
    let free = || rustix::fs::statvfs(place.dir()).unwrap().f_bavail;
    let empty = free();
    let mut written = Vec::new();
    let full = 'full: loop {
        let name = place.file(&format!("file-{}", written.len()));
        let mut file = File::create(&name).unwrap_or_else(|why| panic!("{why}, {} left", free()));
        for _ in 0..100 {
            if let Err(why) = file.write_all(&[written.len() as u8; 65536]) {
                written.push((name, file.metadata().unwrap().len()));
                break 'full why;
            }
        }
        written.push((name, 6_553_600));
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert!(free() * 100 <= empty * 3, "{} of {empty} blocks left", free());
    File::open(place.dir()).unwrap().sync_all().unwrap();
    place.umount().well();
    place.expect_clean();
    place.mount("").well();
    for (number, (name, length)) in written.iter().enumerate() {
        let content = fs::read(name).unwrap();
        assert_eq!(content.len() as u64, *length);
        assert!(content.iter().all(|byte| *byte == number as u8));
        fs::remove_file(name).unwrap();
    }
    File::open(place.dir()).unwrap().sync_all().unwrap();
    assert!(free() >= empty - 8, "{} of {empty} blocks are back", free());
    fs::write(place.file("again"), vec![1; 6_553_600]).unwrap();
    place.umount().well();
    place.expect_clean();
}

#[test]
fn a_volume_without_room_for_a_name_still_lets_names_go() {
    let place = Place::with_image(16);
    place.mount("").well();
    let mut names = 0;
    let full = loop {
        match fs::write(place.file(&format!("{names:0200}")), b"x") {
            Ok(()) => names += 1,
            Err(why) => break why,
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    for name in 0..names {
        fs::remove_file(place.file(&format!("{name:0200}"))).unwrap();
    }
    // The one that there was room to name, but not to fill.
    assert!(fs::read_dir(place.dir()).unwrap().count() <= 1);
    fs::create_dir(place.file("room again")).unwrap();
    place.umount().well();
    place.expect_clean();
}
