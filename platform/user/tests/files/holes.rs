//! Holes, reserved blocks and the edges of a file.
use crate::volume::{BLOCK, Volume};
use bento_api::{Allocate, Errno, FileBlock, MapKind, OpKind, Seek};

#[test]
fn a_sparse_file_of_sixteen_tebibytes_holds_what_was_written() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    let places = [0, 1 << 30, 1 << 40, (16 << 40) - 3];
    for at in places {
        volume.write(ino, at, b"end").unwrap();
    }
    volume.check();
    volume.forget(ino);
    let mut volume = volume.remount();
    let ino = volume.open(b"a").unwrap();
    assert_eq!(volume.stat(ino).unwrap().size, 16 << 40);
    for at in places {
        assert_eq!(volume.read(ino, at, 3).unwrap(), b"end");
    }
    assert_eq!(volume.read(ino, 1 << 39, 5000).unwrap(), [0; 5000]);
    assert_eq!(volume.seek(ino, 1, Seek::Hole), Ok(BLOCK));
    assert_eq!(volume.seek(ino, BLOCK, Seek::Data), Ok(1 << 30));
    assert_eq!(volume.seek(ino, (16 << 40) - 1, Seek::Hole), Ok(16 << 40));
    assert_eq!(volume.seek(ino, 16 << 40, Seek::Data), Err(Errno::NoSuchAddress));
}

#[test]
fn the_largest_file_ends_where_offsets_end() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    let most = i64::MAX as u64;
    assert_eq!(volume.truncate(ino, most).unwrap().size, most);
    assert_eq!(volume.truncate(ino, most + 1), Err(Errno::FileTooBig));
    volume.write(ino, most - 2, b"ab").unwrap();
    assert_eq!(volume.read(ino, most - 3, 10).unwrap(), b"\0ab");
    assert_eq!(volume.write(ino, most - 1, b"ab"), Err(Errno::FileTooBig));
    volume.check();
}

#[test]
fn reserved_blocks_read_as_zeros_and_take_data_in_place() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    volume.write(ino, 0, &[1; 5000]).unwrap();
    volume.fallocate(ino, Allocate::ReserveKeepSize, 0..40 * BLOCK).unwrap();
    let attr = volume.stat(ino).unwrap();
    assert_eq!((attr.size, attr.sectors), (5000, 320));
    volume.fallocate(ino, Allocate::Reserve, 0..40 * BLOCK).unwrap();
    assert_eq!(volume.stat(ino).unwrap().size, 40 * BLOCK);
    volume.check();
    let map = |volume: &mut Volume, file| {
        volume.run(OpKind::Read, |fs, call| fs.map(call, ino, FileBlock(file), 100)).unwrap()
    };
    let MapKind::Unwritten(before) = map(&mut volume, 20).kind else { panic!("reserved") };
    volume.write(ino, 20 * BLOCK + 10, b"data").unwrap();
    assert_eq!(map(&mut volume, 20).kind, MapKind::Data(before));
    assert!(matches!(map(&mut volume, 19).kind, MapKind::Unwritten(_)));
    assert!(matches!(map(&mut volume, 21).kind, MapKind::Unwritten(_)));
    assert_eq!(volume.seek(ino, 3 * BLOCK, Seek::Data), Ok(20 * BLOCK));
    volume.check();
    volume.fallocate(ino, Allocate::Zero, 0..BLOCK * 40).unwrap();
    assert_eq!(volume.seek(ino, 0, Seek::Data), Err(Errno::NoSuchAddress));
    assert_eq!(volume.stat(ino).unwrap().sectors, 320);
    volume.fallocate(ino, Allocate::Punch, BLOCK..BLOCK * 40).unwrap();
    assert_eq!(volume.stat(ino).unwrap().sectors, 8);
    assert_eq!(volume.read(ino, 0, 200_000).unwrap(), vec![0; 40 * BLOCK as usize]);
    volume.check();
}

#[test]
fn a_seek_walks_over_more_pieces_than_one_attempt_can() {
    let mut volume = Volume::new(65_536);
    let ino = volume.create(b"a").unwrap();
    volume.truncate(ino, 20_000 * BLOCK).unwrap();
    // Every second block reserved, so that no two extents join.
    for at in (0..10_000).map(|at| at * 2 * BLOCK) {
        volume.fallocate(ino, Allocate::Reserve, at..at + BLOCK).unwrap();
    }
    volume.write(ino, 19_999 * BLOCK, b"x").unwrap();
    assert_eq!(volume.seek(ino, 0, Seek::Data), Ok(19_999 * BLOCK));
    assert_eq!(volume.seek(ino, 5, Seek::Hole), Ok(5));
    volume.check();
    volume.truncate(ino, 0).unwrap();
    assert_eq!(volume.stat(ino).unwrap().sectors, 0);
    volume.check();
}

#[test]
fn a_file_may_be_raised_over_what_a_longer_one_left() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    volume.write(ino, 0, &[0xff; 3 * 4096]).unwrap();
    volume.truncate(ino, 5000).unwrap();
    volume.truncate(ino, 3 * BLOCK).unwrap();
    let back = volume.read(ino, 0, 20_000).unwrap();
    assert_eq!(back[..5000], [0xff; 5000]);
    assert_eq!(back[5000..], [0; 3 * 4096 - 5000]);
    volume.check();
}
