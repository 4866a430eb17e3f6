//! Large directories.
use crate::volume::{Expects, ROOT, Volume};
use bento_api::{BLOCK_BYTES, Errno, Map};
use bento_fs::format::BlockKind;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

fn long_name(i: u32) -> Vec<u8> {
    let mut name = format!("{i:08}").into_bytes();
    name.resize(255, b'n');
    name
}

#[test]
fn a_directory_of_the_longest_names_is_emptied_in_any_order_and_gives_back_its_blocks() {
    let mut volume = Volume::new(32_768);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    volume = volume.remount();
    let free = volume.mount.statfs().blocks_free;
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    let mut names: Vec<_> = (0..5000).collect();
    names.iter().for_each(|i| volume.link(file, dir, &long_name(*i)).unwrap());
    assert_eq!(volume.list(dir).unwrap().len(), names.len());
    names.shuffle(&mut SmallRng::seed_from_u64(1));
    let (first, rest) = names.split_at(2500);
    first.iter().for_each(|i| volume.unlink(dir, &long_name(*i)).unwrap());
    for i in &names {
        let gone = first.contains(i);
        assert_eq!(volume.lookup(dir, &long_name(*i)), Ok((!gone).then_some(file)));
    }
    volume.check();
    assert_eq!(volume.rmdir(ROOT, b"dir"), Err(Errno::NotEmpty));
    rest.iter().for_each(|i| volume.unlink(dir, &long_name(*i)).unwrap());
    assert_eq!(volume.list(dir).unwrap(), []);
    assert!(
        volume.stat(dir).unwrap().sectors <= 16,
        "what is left is the free map, and perhaps a leaf for its extent"
    );
    volume.rmdir(ROOT, b"dir").unwrap();
    assert_eq!(volume.mount.statfs().blocks_free, free);
    volume = volume.remount();
    assert_eq!(volume.mount.containers().available(Map::Blocks), free);
}

#[test]
fn the_names_of_a_directory_that_grows_alone_lie_together() {
    let mut volume = Volume::new(32_768);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    (0..3000).for_each(|i| volume.link(file, dir, &long_name(i)).unwrap());
    volume.remount_changed(Expects::Health, |disk| {
        let blocks = Volume::blocks_of(disk, dir);
        let names: Vec<_> =
            blocks.iter().filter(|(_, kind)| *kind == BlockKind::Dir).map(|(no, _)| no.0).collect();
        assert_eq!(names.len(), 3000_usize.div_ceil(14), "a block takes 14 of the longest names");
        let pieces = names.chunk_by(|a, b| *b == *a + 1).count();
        assert!(pieces <= 2, "a new level of the index may lie between: {names:?}");
        assert!(blocks.iter().all(|(_, kind)| *kind != BlockKind::Extent), "so the inode holds all extents");
    });
}

#[test]
fn a_directory_of_more_blocks_than_one_block_of_the_free_map_describes() {
    const COUNT: u32 = 60_000;
    let mut volume = Volume::new(65_536);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    (0..COUNT).for_each(|i| volume.link(file, dir, &long_name(i)).unwrap());
    let size = volume.stat(dir).unwrap().size;
    assert!(size > 4064 * BLOCK_BYTES);
    volume = volume.remount();
    // Whole blocks go, here and there; then names come back, most of them into the holes.
    let gone = || (0..COUNT).filter(|i| i / 14 % 3 == 0);
    gone().for_each(|i| volume.unlink(dir, &long_name(i)).unwrap());
    volume.check();
    assert_eq!(volume.list(dir).unwrap().len(), COUNT as usize - gone().count());
    gone().for_each(|i| volume.link(file, dir, &long_name(i)).unwrap());
    volume.check();
    assert_eq!(volume.stat(dir).unwrap().size, size, "the holes were filled");
    (0..COUNT).step_by(97).for_each(|i| assert_eq!(volume.lookup(dir, &long_name(i)), Ok(Some(file))));
}

#[test]
fn a_hundred_thousand_names_are_found_listed_removed_and_replaced_in_the_same_blocks() {
    const COUNT: u32 = 100_000;
    let name = |i: u32| format!("{i:x}-a-name").into_bytes();
    let mut volume = Volume::new(65_536);
    let file = volume.create(ROOT, b"file", 0o100_644).unwrap();
    let dir = volume.mkdir(ROOT, b"dir").unwrap();
    (0..COUNT).for_each(|i| volume.link(file, dir, &name(i)).unwrap());
    let size = volume.stat(dir).unwrap().size;
    assert!(
        size <= u64::from(COUNT) * 32 * 102 / 100 + BLOCK_BYTES,
        "a block is filled before the next: {size}"
    );
    volume = volume.remount();
    assert_eq!(volume.list(dir).unwrap().len(), COUNT as usize);
    (0..COUNT).for_each(|i| assert_eq!(volume.lookup(dir, &name(i)), Ok(Some(file))));
    (0..COUNT).step_by(2).for_each(|i| volume.unlink(dir, &name(i)).unwrap());
    assert_eq!(volume.list(dir).unwrap().len(), COUNT as usize / 2);
    (0..COUNT).for_each(|i| {
        assert_eq!(volume.lookup(dir, &name(i)), Ok((i % 2 == 1).then_some(file)));
    });
    (0..COUNT).step_by(2).for_each(|i| volume.link(file, dir, &name(i)).unwrap());
    assert_eq!(volume.stat(dir).unwrap().size, size, "the holes were used");
    volume.check();
    (0..COUNT).for_each(|i| volume.unlink(dir, &name(i)).unwrap());
    volume.check();
    assert_eq!(volume.rmdir(ROOT, b"dir"), Ok(()));
    volume.check();
}
