//! Blocks, sizes, times and attributes.
use super::{ROOT, World, error};
use bento_api::{
    Allocate, BlockNo, Errno, FileBlock, FileSystem, InodeNo, MapKind, Placement, Seek, SetAttr, SetTime,
    Slot, Stop, Time, Wait, XattrName, XattrSet,
};

impl World {
    fn write(&self, ino: InodeNo, file: u64, blocks: u64, size: u64) -> Vec<BlockNo> {
        let mut placement = Placement::empty();
        let id = self.fs.place(&mut self.call(), ino, FileBlock(file), blocks, &mut placement).unwrap();
        let _ = self.fs.publish(&mut self.call(), id, size).unwrap();
        placement.extents().iter().map(|extent| extent.block).collect()
    }

    fn kind(&self, ino: InodeNo, file: u64) -> MapKind {
        self.fs.map(&mut self.call(), ino, FileBlock(file), 1).unwrap().kind
    }

    fn free(&self) -> u64 {
        <crate::Memfs as FileSystem<super::Clock>>::statfs(&self.fs, &bento_api::Totals::default())
            .blocks_free
    }

    fn resize(&self, ino: InodeNo, size: u64) -> u64 {
        let set = SetAttr { size: Some(size), ..SetAttr::default() };
        self.fs.setattr(&mut self.call(), ino, &set).unwrap().value.0.size
    }
}

#[test]
fn a_published_placement_is_mapped_and_sets_the_size() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    assert_eq!(world.kind(file, 3), MapKind::Hole);
    let blocks = world.write(file, 3, 2, 5 * 4096 - 100);
    assert_eq!(world.kind(file, 3), MapKind::Data(blocks[0]));
    let attr = world.attr(file);
    assert_eq!((attr.size, attr.sectors), (5 * 4096 - 100, 16));
    assert_eq!(world.free(), 998);
}

#[test]
fn what_was_placed_past_the_size_or_abandoned_comes_back() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    world.write(file, 0, 10, 4096 + 1);
    assert_eq!((world.attr(file).sectors, world.free()), (16, 998));
    let mut placement = Placement::empty();
    let id = world.fs.place(&mut world.call(), file, FileBlock(2), 8, &mut placement).unwrap();
    let overlapping = world.fs.place(&mut world.call(), file, FileBlock(5), 1, &mut Placement::empty());
    assert_eq!(overlapping, Err(Stop::Wait(Wait::Again)));
    world.fs.abandon(&mut world.call(), id).unwrap();
    assert_eq!((world.kind(file, 2), world.free()), (MapKind::Hole, 998));
    assert_eq!(error(world.fs.publish(&mut world.call(), id, 0)), Errno::Invalid);
}

#[test]
fn data_that_arrives_after_its_file_is_gone_is_abandoned() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    let id = world.fs.place(&mut world.call(), file, FileBlock(0), 8, &mut Placement::empty()).unwrap();
    let _ = world.fs.unlink(&mut world.call(), ROOT, super::named("a")).unwrap();
    let _ = world.fs.evict(&mut world.call(), file).unwrap();
    assert_eq!(error(world.fs.publish(&mut world.call(), id, 4096)), Errno::Stale);
    world.fs.abandon(&mut world.call(), id).unwrap();
    assert_eq!(world.free(), 1000);
}

#[test]
fn reserved_blocks_are_unwritten_until_data_is_published_into_them() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    let reserve = |how, range| world.fs.fallocate(&mut world.call(), file, how, range).unwrap().value;
    assert_eq!(reserve(Allocate::ReserveKeepSize, 0..8 * 4096), 8 * 4096);
    assert_eq!(world.attr(file).size, 0);
    let MapKind::Unwritten(first) = world.kind(file, 0) else { panic!("written") };
    world.write(file, 0, 2, 8192);
    assert_eq!((world.kind(file, 0), world.attr(file).size), (MapKind::Data(first), 8192));
    assert!(matches!(world.kind(file, 2), MapKind::Unwritten(_)));
    assert_eq!(reserve(Allocate::Punch, 4000..8192), 8192);
    assert_eq!(world.kind(file, 1), MapKind::Hole);
    assert_eq!(reserve(Allocate::Zero, 0..9000), 9000);
    assert_eq!((world.kind(file, 0), world.attr(file).size), (MapKind::Unwritten(first), 9000));
    assert_eq!(world.resize(file, 0), 0);
    assert_eq!(world.free(), 1000);
}

#[test]
fn a_full_device_gives_what_it_has_and_then_says_so() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    let mut at = 0;
    while let Ok(id) = world.fs.place(&mut world.call(), file, FileBlock(at), 300, &mut Placement::empty()) {
        let _ = world.fs.publish(&mut world.call(), id, u64::MAX).unwrap();
        at = world.attr(file).sectors / 8;
    }
    assert_eq!((at, world.free()), (1000, 0));
    let full = world.fs.place(&mut world.call(), file, FileBlock(at), 1, &mut Placement::empty());
    assert_eq!(error(full), Errno::NoSpace);
}

#[test]
fn the_size_stays_below_bytes_that_are_not_zeroed_yet() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    let slot = Slot { zero_from: 10, ..Slot::new(1, bento_api::BatchSeq(0)) };
    world.platform.slots.lock().unwrap().insert(file, slot);
    assert_eq!(world.resize(file, 100), 10);
    world.write(file, 1, 1, 8192);
    assert_eq!(world.attr(file).size, 10);
    world.platform.slots.lock().unwrap().get_mut(&file).unwrap().zero_from = u64::MAX;
    assert_eq!(world.resize(file, 8192), 8192);
}

#[test]
fn newer_times_of_the_slot_are_answered_and_a_change_wins_over_them() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    let newer = Time::new(1 << 40, 5);
    let slot = Slot { times_dirty: 1, mtime: newer, version: 9, ..Slot::new(1, bento_api::BatchSeq(0)) };
    world.platform.slots.lock().unwrap().insert(file, slot);
    assert_eq!((world.attr(file).mtime, world.attr(file).version), (newer, 9));
    let set = SetAttr { mtime: Some(SetTime::To(Time::new(7, 8))), ..SetAttr::default() };
    let _ = world.fs.setattr(&mut world.call(), file, &set).unwrap();
    assert_eq!(world.attr(file).mtime, Time::new(7, 8));
}

#[test]
fn data_and_holes_are_found() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    world.write(file, 2, 1, 3 * 4096);
    world.resize(file, 5 * 4096);
    let seek = |from, what| world.fs.seek(&mut world.call(), file, from, what);
    assert_eq!(seek(0, Seek::Data), Ok(8192));
    assert_eq!(seek(9000, Seek::Data), Ok(9000));
    assert_eq!(seek(0, Seek::Hole), Ok(0));
    assert_eq!(seek(9000, Seek::Hole), Ok(12288));
    assert_eq!(error(seek(12288, Seek::Data)), Errno::NoSuchAddress);
    assert_eq!(error(seek(5 * 4096, Seek::Hole)), Errno::NoSuchAddress);
    assert_eq!(seek(5 * 4096 - 1, Seek::Hole), Ok(5 * 4096 - 1));
}

#[test]
fn attributes_are_set_listed_and_removed() {
    let world = World::new();
    let file = world.file(ROOT, "a");
    let name = |name: &'static str| XattrName::new(name.as_bytes()).unwrap();
    let set = |n, how| world.fs.setxattr(&mut world.call(), file, name(n), b"value", how).map(|_| ());
    assert_eq!(error(set("user.a", XattrSet::Replace)), Errno::NoAttribute);
    assert_eq!(error(set("other.a", XattrSet::Any)), Errno::NotSupported);
    set("user.a", XattrSet::Create).unwrap();
    set("security.capability", XattrSet::Any).unwrap();
    assert_eq!(error(set("user.a", XattrSet::Create)), Errno::Exists);
    let mut value = [0; 8];
    assert_eq!(world.fs.getxattr(&mut world.call(), file, name("user.a"), &mut value), Ok(5));
    assert_eq!(&value[..5], b"value");
    assert_eq!(error(world.fs.getxattr(&mut world.call(), file, name("user.a"), &mut [0; 2])), Errno::Range);
    let kill = SetAttr { kill_privileges: true, ..SetAttr::default() };
    let _ = world.fs.setattr(&mut world.call(), file, &kill).unwrap();
    let mut names = [0; 64];
    assert_eq!(world.fs.listxattr(&mut world.call(), file, &mut names), Ok(7));
    assert_eq!(&names[..7], b"user.a\0");
    let _ = world.fs.removexattr(&mut world.call(), file, name("user.a")).unwrap();
    assert_eq!(world.fs.listxattr(&mut world.call(), file, &mut []), Ok(0));
}
