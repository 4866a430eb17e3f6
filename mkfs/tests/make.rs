//! The library: what it writes is what the format says, at every size; and no crash leaves half of it.
use bento_api::{BLOCK, BlockNo, Bytes, Disk, Errno, FileKind, GroupNo, InodeNo};
use bento_fs::format::block::{self, BlockKind, Header};
use bento_fs::format::geometry::{LOST_AND_FOUND, ORPHANS, ROOT, SUPERBLOCK};
use bento_fs::format::group::{self, Summary};
use bento_fs::format::log::LogHeader;
use bento_fs::format::node::{Node, Tree};
use bento_fs::format::superblock::State;
use bento_fs::format::{Geometry, Inode, Superblock, dirent, orphan};
use bento_mkfs::{Entropy, MakeError, Options, PlanError, make, plan};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// A sparse disk in memory, which keeps what was written and in which order, and can fail.
struct Memory {
    blocks: u64,
    content: RefCell<HashMap<u64, Bytes>>,
    /// Blocks in the order of their writes; `None` is a flush.
    order: RefCell<Vec<Option<u64>>>,
    writes_left: Cell<u64>,
}

impl Memory {
    fn new(blocks: u64) -> Self {
        Self {
            blocks,
            content: RefCell::default(),
            order: RefCell::default(),
            writes_left: Cell::new(u64::MAX),
        }
    }

    fn get(&self, no: BlockNo) -> Bytes {
        let mut bytes = [0; BLOCK];
        self.read(no, &mut bytes).unwrap();
        bytes
    }
}

impl Disk for Memory {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read(&self, no: BlockNo, to: &mut Bytes) -> Result<(), Errno> {
        assert!(no.0 < self.blocks);
        *to = self.content.borrow().get(&no.0).copied().unwrap_or([0; BLOCK]);
        Ok(())
    }

    fn write(&self, no: BlockNo, from: &Bytes) -> Result<(), Errno> {
        assert!(no.0 < self.blocks, "block {no} of {}", self.blocks);
        self.writes_left.set(self.writes_left.get().checked_sub(1).ok_or(Errno::Io)?);
        self.content.borrow_mut().insert(no.0, *from);
        self.order.borrow_mut().push(Some(no.0));
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        self.order.borrow_mut().push(None);
        Ok(())
    }
}

fn options() -> Options {
    Options { label: b"test".to_vec(), root_owner: (7, 8), ..Options::new(1_700_000_000) }
}

fn made(blocks: u64, options: &Options) -> (Memory, Superblock) {
    let disk = Memory::new(blocks);
    let plan = plan(options, blocks).unwrap();
    let made = make(&disk, &plan, &mut |_, _| ()).unwrap();
    assert_eq!(made.written, disk.order.borrow().iter().flatten().count() as u64);
    let superblock = Superblock::decode(&disk.get(SUPERBLOCK)).unwrap();
    assert_eq!(superblock, plan.superblock);
    (disk, superblock)
}

/// Blocks of orphan slots: docs/format.md, section 12.
fn slot_blocks(geometry: &Geometry) -> u64 {
    if geometry.groups < 8 { 1 } else { 8 }
}

/// Looks at everything that mkfs writes.
fn check(disk: &Memory, superblock: &Superblock) {
    let geometry = superblock.geometry;
    let seed = superblock.csum_seed;
    assert!(superblock.state.contains(State::CLEAN));
    let (mut free_blocks, mut free_inodes) = (0, 0);
    for number in 0..geometry.groups {
        let group = GroupNo(number);
        let bytes = disk.get(geometry.alloc_block(group).unwrap());
        let (_, counts) = group::verify_alloc(&bytes, seed, &geometry, group).unwrap();
        let (place, at) = geometry.summary_place(group).unwrap();
        let summary = Summary::read(&disk.get(place), at).unwrap();
        assert_eq!((summary.free_blocks, summary.free_inodes), (counts.free_blocks, counts.free_inodes));
        free_blocks += u64::from(counts.free_blocks);
        free_inodes += u64::from(counts.free_inodes);
        assert_eq!(counts.inodes_init, if number == 0 { 16 } else { 0 });
        if let Some(copy) = geometry.copy_block(group) {
            let copy = Superblock::decode(&disk.get(copy)).unwrap();
            assert_eq!(Superblock { copy_group: GroupNo(0), ..copy }, *superblock);
            assert_eq!(copy.copy_group, group);
        }
    }
    assert_eq!(free_blocks, geometry.data_blocks() - 2 - slot_blocks(&geometry));
    assert_eq!(free_inodes, geometry.inodes_total() - 16);
    let [slot0, slot1] = [0, 1].map(|slot| disk.get(geometry.log_slot(slot).unwrap()));
    let header = LogHeader::choose(&slot0, &slot1, seed).unwrap();
    assert_eq!((header.tail_seq.0, header.tail_at, header.prev_crc, header.counter), (1, 0, 0, 1));
    assert_eq!((header.totals.free_blocks, header.totals.free_inodes), (free_blocks, free_inodes));
    assert_eq!(LogHeader::decode(&slot0, seed).unwrap().epoch, header.epoch);
    files(disk, superblock);
}

fn files(disk: &Memory, superblock: &Superblock) {
    let inode = |ino: InodeNo| {
        let (block, at) = superblock.geometry.inode_place(ino).unwrap();
        Inode::decode(&disk.get(block)[at..], ino, superblock.csum_seed).unwrap()
    };
    let run = |ino: InodeNo, blocks: u64| {
        let inode = inode(ino);
        let extent = Node::root(inode.extent_root(), Tree::Extents, inode.depth).extent(0).unwrap().unwrap();
        assert!(superblock.geometry.is_data_run(extent.start, extent.len));
        assert_eq!((u64::from(extent.len), inode.blocks, inode.size), (blocks, blocks, blocks * 4096));
        assert_eq!(inode.generation, 1);
        extent.start.0..extent.start.0 + blocks
    };
    let block = |ino: InodeNo, kind, no: u64| {
        let bytes = disk.get(BlockNo(no));
        Header::verify(&bytes, superblock.csum_seed, kind, BlockNo(no), ino.into()).unwrap();
        bytes
    };
    let data = |ino, kind| block(ino, kind, run(ino, 1).start);
    let root = data(ROOT, BlockKind::Dir);
    let hash = superblock.hash_key.hash(b"lost+found");
    let entry = dirent::find(&root, b"lost+found", hash).unwrap().unwrap();
    assert_eq!((entry.ino, entry.kind), (LOST_AND_FOUND, FileKind::Directory));
    assert_eq!(dirent::entries(&root).count(), 1);
    assert_eq!(dirent::is_empty(&data(LOST_AND_FOUND, BlockKind::Dir)), Ok(true));
    for no in run(ORPHANS, slot_blocks(&superblock.geometry)) {
        assert_eq!(orphan::used(&block(ORPHANS, BlockKind::Orphan, no), &superblock.geometry).count(), 0);
    }
    let root = inode(ROOT);
    assert_eq!((root.mode, root.nlink, root.uid, root.gid, root.parent), (0o040_755, 3, 7, 8, ROOT));
    let lost = inode(LOST_AND_FOUND);
    assert_eq!((lost.mode, lost.nlink, lost.uid, lost.parent), (0o040_700, 2, 0, ROOT));
    assert!((5..16).all(|ino| inode(InodeNo(ino)).is_free()));
}

#[test]
fn volumes_of_every_size_pass_the_format_and_waste_little() {
    let mut sizes: Vec<u64> = (2048..2200).collect();
    sizes.extend((11..20).flat_map(|log| [(1 << log) - 1, 1 << log, (1 << log) + 1, (3 << log) / 2 + 77]));
    for blocks in sizes.into_iter().filter(|blocks| *blocks >= 2048) {
        let (disk, superblock) = made(blocks, &options());
        check(&disk, &superblock);
        // At most metadata and 63 blocks of a last group that was too short.
        assert!(blocks - superblock.geometry.blocks_total < 64 + 482, "{blocks}");
        assert!(superblock.geometry.groups >= 2, "every volume has a superblock copy");
    }
}

#[test]
fn small_logs_many_inodes_and_odd_groups_pass_the_format() {
    let changes: [fn(&mut Options); 8] = [
        |o| o.log_blocks = Some(128),
        |o| o.bytes_per_inode = 1024,
        |o| o.bytes_per_inode = 1 << 40,
        |o| o.inodes = Some(100_000),
        |o| o.inodes = Some(1),
        |o| o.blocks_per_group = Some(512),
        |o| o.reserved_percent = 50,
        |o| o.zero_log = true,
    ];
    for change in changes {
        let mut options = options();
        change(&mut options);
        let (disk, superblock) = made(100_000, &options);
        check(&disk, &superblock);
        if let Some(inodes) = options.inodes {
            assert!(superblock.geometry.inodes_total() >= inodes);
        }
    }
}

#[test]
fn the_largest_volume_can_be_planned() {
    let huge = plan(&options(), 1 << 42).unwrap();
    assert_eq!(huge.superblock.geometry.check(), Ok(()));
    assert_eq!(plan(&options(), 1 << 52).unwrap_err(), PlanError::TooLarge(1 << 52));
}

#[test]
fn what_cannot_be_made_is_refused_with_the_reason() {
    let refused = |blocks, change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        plan(&options, blocks).unwrap_err()
    };
    assert_eq!(refused(1000, |_| ()), PlanError::TooSmall { blocks: 1000, log: 1024 });
    assert_eq!(
        refused(4096, |o| o.blocks = Some(5000)),
        PlanError::DeviceTooSmall { have: 4096, want: 5000 }
    );
    assert_eq!(refused(4096, |o| o.log_blocks = Some(127)), PlanError::Log(127));
    assert_eq!(refused(4096, |o| o.log_blocks = Some(4096)), PlanError::TooSmall { blocks: 4096, log: 4096 });
    assert_eq!(refused(4096, |o| o.blocks_per_group = Some(513)), PlanError::GroupSize(513));
    assert_eq!(refused(4096, |o| o.bytes_per_inode = 1023), PlanError::InodeRatio(1023));
    assert!(matches!(refused(4096, |o| o.inodes = Some(u64::MAX)), PlanError::Inodes(..)));
    assert_eq!(refused(4096, |o| o.label = vec![b'x'; 64]), PlanError::Label);
    assert_eq!(refused(4096, |o| o.label = vec![b'x', 0]), PlanError::Label);
    assert_eq!(refused(4096, |o| o.reserved_percent = 51), PlanError::Reserved(51));
}

#[test]
fn the_old_superblock_goes_first_and_the_new_one_comes_last() {
    let (disk, _) = made(4096, &options());
    let order = disk.order.borrow();
    let home = Some(SUPERBLOCK.0);
    assert_eq!(order[..2], [home, None], "the old one is gone before anything else is written");
    assert_eq!(order[order.len() - 3..], [None, home, None], "the new one follows everything else");
    assert_eq!(order.iter().filter(|write| **write == home).count(), 2);
}

#[test]
fn a_failing_write_is_named_and_leaves_no_volume() {
    let blocks = 4096;
    let plan = plan(&options(), blocks).unwrap();
    let total = {
        let disk = Memory::new(blocks);
        make(&disk, &plan, &mut |_, _| ()).unwrap().written
    };
    for left in 0..total {
        let disk = Memory::new(blocks);
        // An older volume was here.
        let mut bytes = [0; BLOCK];
        plan.superblock.encode(&mut bytes);
        disk.write(SUPERBLOCK, &bytes).unwrap();
        disk.writes_left.set(left);
        let failed = make(&disk, &plan, &mut |_, _| ()).unwrap_err();
        assert!(matches!(failed, MakeError::Write { errno: Errno::Io, .. }), "{failed}");
        let there = Superblock::decode(&disk.get(SUPERBLOCK));
        assert_eq!(there.is_ok(), left == 0, "write {left}");
    }
}

#[test]
fn two_volumes_share_neither_seed_key_nor_epoch() {
    let [a, b] = [(), ()].map(|()| plan(&options(), 4096).unwrap());
    assert_ne!(a.superblock.uuid, b.superblock.uuid);
    assert_ne!(a.superblock.csum_seed, b.superblock.csum_seed);
    assert_ne!(a.superblock.hash_key, b.superblock.hash_key);
    assert_ne!(a.epoch, b.epoch);
}

/// If this fails, volumes that exist are not what this code makes: that needs a version or a feature bit.
#[test]
fn what_version_1_makes_of_one_uuid_and_time_never_changes() {
    let uuid = *b"golden image v1.";
    let options = Options { uuid, entropy: Entropy::from_uuid(uuid), ..options() };
    let (disk, _) = made(16_384, &options);
    let content = disk.content.borrow();
    let mut written: Vec<u64> = content.keys().copied().collect();
    written.sort_unstable();
    let sum = written.iter().fold(0, |sum, no| block::crc(block::crc(sum, &no.to_le_bytes()), &content[no]));
    assert_eq!((written.len(), sum), (15, 3_824_098_775));
}
