//! Where the structures of a volume lie.
use crate::base::Record;
use bento_api::{BLOCK, BlockNo, Bytes, GroupNo, InodeNo};
use bento_fs::format::block::{BlockKind, RawHeader};
use bento_fs::format::geometry::INODE_SIZE;
use bento_fs::format::inode::{Inode, RawInode};
use bento_fs::format::log::{RawBatch, RawSlot, RawTag, RawTagBlock, RawTotals};
use bento_fs::format::node::RawNodeHead;
use bento_fs::format::record::RawRecord;
use bento_fs::format::superblock::{RawErrorRecord, RawSuperblock};
use bento_fs::format::xattr::{RawXattrBlockHead, RawXattrHead};
use bento_fs::format::{Field, Header, Layout, Superblock, dirent, group, prov};

/// Which checksums cover a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// That of a superblock.
    Superblock,
    /// That of a block's header.
    Header,
    /// That of an inode's record, which begins at this byte of its block.
    Inode(InodeNo, usize),
    /// That of a log header.
    Slot,
    /// Those of a record in the log.
    Record,
    /// Those of a record in the log, and that of the header of the copied block.
    Copy,
}

/// A structure in a volume.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is.
    pub layout: &'static Layout,
    /// In which block.
    pub block: u64,
    /// At which byte of it.
    pub at: usize,
    /// What covers it.
    pub cover: Cover,
}

/// Every structure of a volume, by its layout, in a fixed order.
#[derive(Default)]
pub struct Targets(pub Vec<(&'static Layout, Vec<Target>)>);

impl Targets {
    fn add(&mut self, layout: &'static Layout, block: u64, at: usize, cover: Cover) {
        let target = Target { layout, block, at, cover };
        match self.0.iter_mut().find(|(known, _)| *known == layout) {
            Some((_, all)) => all.push(target),
            None => self.0.push((layout, vec![target])),
        }
    }
}

/// A structure of one field, which has no type of its own.
const fn simple(name: &'static str, fields: &'static [Field]) -> Layout {
    Layout { name, module: "", size: fields[0].size, fields }
}

const ORPHAN_SLOT: Layout = simple("orphan slot", &[Field { name: "inode", offset: 0, size: 8 }]);
const MAP_BYTE: Layout = simple("free map", &[Field { name: "hole", offset: 0, size: 1 }]);
const TARGET: Layout = simple("symlink target", &[Field { name: "start", offset: 0, size: 8 }]);
const NAME: Layout = simple("name", &[Field { name: "start", offset: 0, size: 1 }]);
const TAIL: Layout = simple("end of a block", &[Field { name: "bytes", offset: 0, size: 16 }]);

/// The bytes of a node at which some of its records begin.
fn record_places(bytes: &Bytes) -> impl Iterator<Item = usize> {
    let count = usize::from(u16::from_le_bytes([bytes[34], bytes[35]]));
    [0, 1, count / 2, count.saturating_sub(1), count].into_iter().map(|at| 48 + at.min(252) * 16)
}

/// The structures behind the header of a block.
fn find_in_block(targets: &mut Targets, no: u64, bytes: &Bytes, kind: BlockKind, groups: u32, cover: Cover) {
    targets.add(&RawHeader::LAYOUT, no, 0, cover);
    targets.add(&TAIL, no, BLOCK - 16, cover);
    match kind {
        BlockKind::Alloc => targets.add(&group::RawAlloc::LAYOUT, no, 0, cover),
        BlockKind::Summary => {
            (0..groups as usize)
                .for_each(|at| targets.add(&group::RawSummary::LAYOUT, no, 32 + at * 8, cover));
        }
        BlockKind::Dir => {
            for entry in dirent::entries(bytes).flatten().step_by(7) {
                targets.add(&dirent::RawEntryHead::LAYOUT, no, entry.at, cover);
                targets.add(&NAME, no, entry.at + 16, cover);
            }
        }
        BlockKind::FreeMap => (0..4).for_each(|at| targets.add(&MAP_BYTE, no, 32 + at, cover)),
        BlockKind::Index | BlockKind::Extent => {
            targets.add(&RawNodeHead::LAYOUT, no, 32, cover);
            record_places(bytes).for_each(|at| targets.add(&RawRecord::LAYOUT, no, at, cover));
        }
        BlockKind::Xattr => {
            targets.add(&RawXattrBlockHead::LAYOUT, no, 32, cover);
            targets.add(&RawXattrHead::LAYOUT, no, 48, cover);
            targets.add(&NAME, no, 52, cover);
        }
        BlockKind::Symlink => targets.add(&TARGET, no, 32, cover),
        BlockKind::ProvHead => targets.add(&prov::RawHead::LAYOUT, no, 0, cover),
        BlockKind::Prov => {
            targets.add(&prov::RawBlock::LAYOUT, no, 0, cover);
            targets.add(&prov::RawRecord::LAYOUT, no, prov::RECORDS_AT, cover);
            targets.add(&NAME, no, prov::RECORDS_AT + prov::RECORD, cover);
        }
        BlockKind::Orphan => (0..4).for_each(|at| targets.add(&ORPHAN_SLOT, no, 32 + at * 8, cover)),
    }
}

fn find_inodes(targets: &mut Targets, no: u64, bytes: &Bytes, superblock: &Superblock) {
    let Some(first) = superblock.geometry.table_first_ino(BlockNo(no)) else { return };
    for (at, ino) in (0..BLOCK).step_by(INODE_SIZE).zip(first.0..) {
        let ino = InodeNo(ino);
        let Ok(inode) = Inode::decode(&bytes[at..at + INODE_SIZE], ino, superblock.csum_seed) else {
            continue;
        };
        if inode.is_free() && !ino.0.is_multiple_of(16) {
            continue;
        }
        let cover = Cover::Inode(ino, at);
        targets.add(&RawInode::LAYOUT, no, at, cover);
        targets.add(&RawXattrHead::LAYOUT, no, at + 208, cover);
        (0..5).step_by(2).for_each(|nth| targets.add(&RawRecord::LAYOUT, no, at + 128 + nth * 16, cover));
    }
}

fn find_slots(targets: &mut Targets, superblock: &Superblock) {
    for no in (0..2).filter_map(|slot| superblock.geometry.log_slot(slot)) {
        targets.add(&RawSlot::LAYOUT, no.0, 0, Cover::Slot);
        targets.add(&RawTotals::LAYOUT, no.0, 56, Cover::Slot);
    }
}

/// The structures of a volume whose log is empty.
pub fn find_home(blocks: &[Bytes], superblock: &Superblock) -> Targets {
    let mut targets = Targets::default();
    let geometry = &superblock.geometry;
    let copy = geometry.copy_block(GroupNo(1)).map_or(1, |copy| copy.0);
    for no in [1, copy] {
        targets.add(&RawSuperblock::LAYOUT, no, 0, Cover::Superblock);
        [256, 288].iter().for_each(|at| targets.add(&RawErrorRecord::LAYOUT, no, *at, Cover::Superblock));
    }
    find_slots(&mut targets, superblock);
    for (no, bytes) in (0..).zip(blocks).skip(geometry.summary_start.0 as usize) {
        if geometry.is_table_block(BlockNo(no)) {
            find_inodes(&mut targets, no, bytes, superblock);
        } else if let Some(header) = Header::read(bytes, superblock.csum_seed, BlockNo(no)) {
            find_in_block(&mut targets, no, bytes, header.kind, geometry.groups, Cover::Header);
        }
    }
    targets
}

/// The structures of a volume whose log is empty: each layout, and the blocks and bytes where there is one.
pub fn home(
    blocks: &[Bytes],
    superblock: &Superblock,
) -> impl Iterator<Item = (&'static Layout, Vec<(u64, usize)>)> + use<> {
    let places = |targets: Vec<Target>| targets.iter().map(|target| (target.block, target.at)).collect();
    find_home(blocks, superblock).0.into_iter().map(move |(layout, targets)| (layout, places(targets)))
}

/// The structures of a log.
pub fn find_log(blocks: &[Bytes], superblock: &Superblock, log: &[Record]) -> Targets {
    let mut targets = Targets::default();
    find_slots(&mut targets, superblock);
    for record in log {
        targets.add(&RawBatch::LAYOUT, record.header, 0, Cover::Record);
        targets.add(&RawTotals::LAYOUT, record.header, 48, Cover::Record);
        targets.add(&TAIL, record.header, BLOCK - 16, Cover::Record);
        record.tags.iter().for_each(|no| targets.add(&RawTagBlock::LAYOUT, *no, 0, Cover::Record));
        for (index, copy) in record.copies.iter().enumerate().step_by(37) {
            let (no, at) = record.tag(index);
            targets.add(&RawTag::LAYOUT, no, at, Cover::Record);
            targets.add(&TAIL, *copy, BLOCK - 16, Cover::Record);
            let bytes = &blocks[*copy as usize];
            let magic = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            if let Some(kind) = BlockKind::from_magic(magic) {
                find_in_block(&mut targets, *copy, bytes, kind, superblock.geometry.groups, Cover::Copy);
            }
        }
    }
    targets
}
