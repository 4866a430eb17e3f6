//! Placements: what is chosen, published, given back.
use crate::volume::{BLOCK, Volume};
use bento_api::{
    Allocate, Errno, FileBlock, InodeNo, MapKind, OpKind, Placement, PlacementId, SetAttr, Stop, Wait,
};

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

/// A file of five bytes and 100 reserved blocks, with data behind them that the size did not reach when the power failed.
fn left_behind() -> (Volume, InodeNo) {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    volume.write(ino, 0, b"short").unwrap();
    volume.fallocate(ino, Allocate::ReserveKeepSize, BLOCK..101 * BLOCK).unwrap();
    volume.mount.containers().slot(ino, |slot| slot.zero_from = 5).unwrap();
    for (block, len) in [(3, 2), (200, 4)] {
        let (id, placement) = place(&mut volume, ino, block, len).unwrap();
        for extent in placement.extents() {
            for no in extent.block.0..extent.block.0 + u64::from(extent.blocks) {
                volume.scribble(no, 0xaa);
            }
        }
        assert_eq!(publish(&mut volume, id, 300 * BLOCK), Ok(5));
    }
    volume.check();
    let mut volume = volume.remount();
    let ino = volume.open(b"a").unwrap();
    assert_eq!(volume.read(ino, 0, 4096).unwrap(), b"short");
    (volume, ino)
}

/// The first five bytes and one block at `written`; all else is zero.
fn assert_zeros(volume: &mut Volume, ino: InodeNo, size: u64, written: Option<u64>) {
    assert_eq!(volume.stat(ino).unwrap().size, size);
    for block in 0..size.div_ceil(BLOCK) {
        let mut expected = vec![if Some(block) == written { 7 } else { 0 }; 4096];
        if block == 0 {
            expected[..5].copy_from_slice(b"short");
        }
        expected.truncate(usize::try_from(size - block * BLOCK).unwrap().min(4096));
        assert_eq!(volume.read(ino, block * BLOCK, 4096).unwrap(), expected, "block {block}");
    }
    volume.check();
}

#[test]
fn what_a_crash_left_past_the_end_does_not_show_when_the_file_grows() {
    let (mut volume, ino) = left_behind();
    volume.truncate(ino, 210 * BLOCK).unwrap();
    assert_zeros(&mut volume, ino, 210 * BLOCK, None);

    let (mut volume, ino) = left_behind();
    volume.write(ino, 4 * BLOCK, &[7; 4096]).unwrap();
    assert_zeros(&mut volume, ino, 5 * BLOCK, Some(4));
    volume.write(ino, 250 * BLOCK, &[0; 1]).unwrap();
    assert_zeros(&mut volume, ino, 250 * BLOCK + 1, Some(4));

    let (mut volume, ino) = left_behind();
    volume.fallocate(ino, Allocate::ReserveKeepSize, 100 * BLOCK..220 * BLOCK).unwrap();
    volume.truncate(ino, 220 * BLOCK).unwrap();
    assert_zeros(&mut volume, ino, 220 * BLOCK, None);

    let (mut volume, ino) = left_behind();
    volume.fallocate(ino, Allocate::Reserve, 0..220 * BLOCK).unwrap();
    assert_zeros(&mut volume, ino, 220 * BLOCK, None);
}

/// A host that raises the size without a look at what it uncovers, and one that asks where a block is before it is part of
/// the file.
#[test]
fn what_a_crash_left_past_the_end_is_unwritten_and_keeps_the_size_down() {
    let (mut volume, ino) = left_behind();
    let map = |volume: &mut Volume, block| {
        volume.run(OpKind::Read, |fs, call| fs.map(call, ino, FileBlock(block), 1)).unwrap().kind
    };
    assert!(matches!(map(&mut volume, 201), MapKind::Unwritten(_)));
    assert_eq!(place(&mut volume, ino, 150, 1).map(drop), Err(Errno::Busy));
    let set = SetAttr { size: Some(2 * BLOCK), ..SetAttr::default() };
    let grown = volume.run(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).map(drop);
    assert_eq!(grown, Err(Errno::Busy));
    let sectors = volume.stat(ino).unwrap().sectors;
    while volume.run(OpKind::SetAttr, |fs, call| fs.trim_past_end(call, ino)).unwrap().value {}
    assert_eq!(volume.stat(ino).unwrap().sectors, sectors, "what was reserved stays");
    let grown = volume.run(OpKind::SetAttr, |fs, call| fs.setattr(call, ino, &set)).unwrap();
    assert_eq!(grown.value.0.size, 2 * BLOCK);

    // What this mount puts there stays, whatever else is freed.
    volume.mount.containers().slot(ino, |slot| slot.zero_from = 0).unwrap();
    let (id, _) = place(&mut volume, ino, 201, 1).unwrap();
    assert_eq!(publish(&mut volume, id, 300 * BLOCK), Ok(2 * BLOCK));
    assert!(!volume.run(OpKind::SetAttr, |fs, call| fs.trim_past_end(call, ino)).unwrap().value);
    assert!(matches!(map(&mut volume, 201), MapKind::Data(_)));
}

/// Neither of a file with a name nor of one without.
#[test]
fn a_truncate_frees_reserved_space_in_as_many_steps_as_it_takes() {
    for unnamed in [false, true] {
        let mut volume = Volume::new(65_536);
        let free = volume.free_blocks();
        let ino = if unnamed { volume.tmpfile() } else { volume.create(b"a") }.unwrap();
        for piece in 0..400 {
            let start = 2 * piece * BLOCK;
            volume.fallocate(ino, Allocate::Reserve, start..start + BLOCK).unwrap();
        }
        assert_eq!(volume.truncate(ino, 0).unwrap().sectors, 0);
        volume.check();
        assert_eq!(volume.free_blocks(), free);
    }
}

/// Reserved space past the end is no leftover, in however many pieces it is.
#[test]
fn space_that_is_reserved_past_the_end_survives_a_remount() {
    let mut volume = Volume::new(8192);
    let ino = volume.create(b"a").unwrap();
    for piece in 0..300 {
        let start = 2 * piece * BLOCK;
        volume.fallocate(ino, Allocate::ReserveKeepSize, start..start + BLOCK).unwrap();
    }
    let sectors = volume.stat(ino).unwrap().sectors;
    let mut volume = volume.remount();
    let ino = volume.open(b"a").unwrap();
    volume.truncate(ino, 1).unwrap();
    assert_eq!(volume.stat(ino).unwrap().sectors, sectors);
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
