//! Placements: what is chosen, published, given back.
use crate::volume::{BLOCK, Volume};
use bento_api::{Allocate, Errno, FileBlock, InodeNo, OpKind, Placement, PlacementId, Stop, Wait};

fn place(
    volume: &mut Volume,
    ino: InodeNo,
    file: u64,
    blocks: u64,
) -> Result<(PlacementId, Placement), Errno> {
    let mut placement = Placement::empty();
    let id =
        volume.run(OpKind::Place, |fs, call| fs.place(call, ino, FileBlock(file), blocks, &mut placement))?;
    Ok((id, placement))
}

fn publish(volume: &mut Volume, id: PlacementId, size: u64) -> Result<u64, Errno> {
    volume.run(OpKind::Publish, |fs, call| fs.publish(call, id, size)).map(|done| done.value.size)
}

fn abandon(volume: &mut Volume, id: PlacementId) {
    volume.run(OpKind::Place, |fs, call| fs.abandon(call, id)).unwrap();
}

#[test]
fn what_lies_past_the_end_is_given_back_by_publish() {
    let mut volume = Volume::new(8192);
    let free = volume.free_blocks();
    let ino = volume.create(b"a").unwrap();
    let (id, placement) = place(&mut volume, ino, 0, 20).unwrap();
    assert_eq!(placement.blocks, 20);
    assert_eq!(publish(&mut volume, id, 5 * BLOCK + 1), Ok(5 * BLOCK + 1));
    volume.check();
    assert_eq!(volume.free_blocks(), free - 6);
    assert_eq!(publish(&mut volume, id, 0), Err(Errno::Invalid), "it ended");
    let (id, _) = place(&mut volume, ino, 100, 20).unwrap();
    assert_eq!(publish(&mut volume, id, 0), Ok(5 * BLOCK + 1), "a truncate came first");
    volume.check();
    assert_eq!(volume.free_blocks(), free - 6);
}

#[test]
fn an_abandoned_placement_leaves_nothing() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    volume.fallocate(ino, Allocate::Reserve, 0..10 * BLOCK).unwrap();
    let free = volume.free_blocks();
    let (id, placement) = place(&mut volume, ino, 50, 1000).unwrap();
    assert_eq!(placement.unwritten, 0);
    abandon(&mut volume, id);
    let (id, placement) = place(&mut volume, ino, 5, 1000).unwrap();
    assert_eq!((placement.unwritten, placement.blocks), (1, 5));
    abandon(&mut volume, id);
    assert_eq!(volume.free_blocks(), free);
    volume.check();
}

#[test]
fn the_inode_of_a_placement_may_be_gone_when_it_ends() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    let (id, _) = place(&mut volume, ino, 0, 10).unwrap();
    volume.unlink(b"a").unwrap();
    volume.forget(ino);
    assert_eq!(publish(&mut volume, id, BLOCK), Err(Errno::Stale));
    let again = volume.create(b"b").unwrap();
    if again == ino {
        assert_eq!(publish(&mut volume, id, BLOCK), Err(Errno::Stale));
    }
    abandon(&mut volume, id);
    volume.check();
    volume.free_blocks();
}

#[test]
fn two_placements_of_one_file_never_overlap() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    let (first, _) = place(&mut volume, ino, 10, 10).unwrap();
    let (second, placement) = place(&mut volume, ino, 0, 100).unwrap();
    assert_eq!(placement.blocks, 10);
    let mut scratch = Placement::empty();
    let again = volume.mount.run(&mut volume.call, OpKind::Place, |fs, call| {
        match fs.place(call, ino, FileBlock(15), 100, &mut scratch) {
            Err(Stop::Wait(Wait::Again)) => Err(Stop::Error(Errno::Busy)),
            other => other,
        }
    });
    assert_eq!(again, Err(Errno::Busy));
    assert_eq!(publish(&mut volume, second, 20 * BLOCK), Ok(10 * BLOCK));
    assert_eq!(publish(&mut volume, first, 20 * BLOCK), Ok(20 * BLOCK));
    assert_eq!(place(&mut volume, ino, 15, 1).map(drop), Err(Errno::Busy), "there is data now");
    volume.check();
}

#[test]
fn the_size_waits_for_the_zeroing_of_the_old_end() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    volume.write(ino, 0, b"short").unwrap();
    volume.mount.containers().slot(ino, |slot| slot.zero_from = 5).unwrap();
    let (id, _) = place(&mut volume, ino, 1, 1).unwrap();
    assert_eq!(publish(&mut volume, id, 2 * BLOCK), Ok(5));
    assert_eq!(volume.truncate(ino, 3 * BLOCK).unwrap().size, 5);
    volume.mount.containers().slot(ino, |slot| slot.zero_from = u64::MAX).unwrap();
    assert_eq!(volume.truncate(ino, 3 * BLOCK).unwrap().size, 3 * BLOCK);
    volume.check();
}

#[test]
fn a_fragmented_volume_is_filled_piece_by_piece() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    let spread = volume.create(b"b").unwrap();
    for at in 0..600 {
        volume.write(ino, at * BLOCK, &[1; 4096]).unwrap();
        volume.write(spread, at * BLOCK, &[at as u8; 4096]).unwrap();
    }
    volume.unlink(b"a").unwrap();
    volume.forget(ino);
    let rest = volume.free_blocks() - 600;
    let filler = volume.create(b"c").unwrap();
    volume.fallocate(filler, Allocate::Reserve, 0..rest * BLOCK).unwrap();
    let last = volume.create(b"d").unwrap();
    let (id, placement) = place(&mut volume, last, 0, 10_000).unwrap();
    assert!(placement.count > 30, "{}", placement.count);
    assert_eq!(publish(&mut volume, id, u64::MAX / 2), Ok(u64::from(placement.blocks) * BLOCK));
    volume.check();
    for at in 0..600 {
        assert_eq!(volume.read(spread, at * BLOCK, 4096).unwrap(), [at as u8; 4096]);
    }
}
