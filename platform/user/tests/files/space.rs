//! A full volume.
use crate::volume::{BLOCK, Volume};
use bento_api::{Allocate, Errno};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[test]
fn random_places_of_many_files_fill_the_volume_and_lose_nothing() {
    let mut random = SmallRng::seed_from_u64(7);
    let mut volume = Volume::with(20_000, |options| options.inodes = Some(1024));
    let before = volume.free_blocks();
    let files: Vec<_> = (0..100).map(|n| volume.create(format!("{n}").as_bytes()).unwrap()).collect();
    let mut written = std::collections::BTreeMap::new();
    let mut full = 0;
    for number in 0_u32.. {
        let (file, at) = (files[random.random_range(0..files.len())], random.random_range(0..2000) * BLOCK);
        let data = [number.to_le_bytes(); 1024];
        match volume.write(file, at, data.as_flattened()) {
            Ok(4096) => drop(written.insert((file, at), number)),
            Ok(less) => panic!("{less}"),
            Err(Errno::NoSpace) => full += 1,
            Err(other) => panic!("{other:?}"),
        }
        if full > 100 {
            break;
        }
    }
    volume.check();
    let left = volume.free_blocks();
    assert!(left * 100 <= before * 3, "{left} of {before} blocks are left");
    for file in &files {
        volume.forget(*file);
    }
    let mut volume = volume.remount();
    for ((file, at), number) in written {
        assert_eq!(volume.read(file, at, 4096).unwrap(), [number.to_le_bytes(); 1024].as_flattened());
    }
    for n in 0..100 {
        volume.unlink(format!("{n}").as_bytes()).unwrap();
    }
    volume.check();
    assert_eq!(volume.free_blocks(), before);
}

#[test]
fn names_can_be_removed_from_a_full_volume() {
    let mut volume = Volume::with(8192, |options| options.inodes = Some(2048));
    for n in 0..1100 {
        volume.create(format!("{n}").as_bytes()).unwrap();
    }
    let before = volume.free_blocks();
    let ino = volume.create(b"filler").unwrap();
    let error = volume.fallocate(ino, Allocate::Reserve, 0..u64::from(u32::MAX));
    assert_eq!(error, Err(Errno::NoSpace));
    assert_eq!(volume.write(ino, 1 << 40, b"x"), Err(Errno::NoSpace));
    assert_eq!(volume.mount.statfs().blocks_available, 0);
    volume.check();
    // All stay in use: the orphan file grows from what is kept for it.
    for n in 0..1100 {
        volume.unlink(format!("{n}").as_bytes()).unwrap();
    }
    volume.check();
    volume.unlink(b"filler").unwrap();
    let volume = volume.remount();
    volume.check();
    assert!(volume.free_blocks() + 2 >= before);
}

#[test]
fn the_last_blocks_of_a_volume_are_reserved_whole_or_not_at_all() {
    // Written and missing blocks take turns, so each block that is reserved is an extent of its own, and one of them finds
    // the inode full of extents: with so many blocks left, the next is taken and there is none for the node.
    for left in 0..16 {
        let mut volume = Volume::with(8192, |options| options.inodes = Some(128));
        let file = volume.create(b"file").unwrap();
        let filler = volume.create(b"filler").unwrap();
        for at in 0..3 {
            volume.write(file, (2 * at + 1) * BLOCK, b"x").unwrap();
        }
        let mut end = 0;
        loop {
            let available = volume.mount.statfs().blocks_available;
            if available <= left {
                break;
            }
            let more = (available - left) * BLOCK;
            volume.fallocate(filler, Allocate::Reserve, end..end + more).unwrap();
            end += more;
        }
        let reserved = volume.fallocate(file, Allocate::Reserve, 0..64 * BLOCK);
        assert_eq!(reserved, Err(Errno::NoSpace), "{left} blocks were left");
        volume.check();
        volume.remount().check();
    }
}
