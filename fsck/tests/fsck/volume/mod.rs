//! Builds volumes by the format alone, without the file system: what fsck says of them does not depend on its bugs.
mod build;
mod journal;
mod provenance;
mod ram;
mod rich;

use bento_api::{BatchSeq, BlockNo, Bytes, FileKind, GroupNo, InodeNo};
use bento_fs::format::block::{self, BlockKind, crc};
use bento_fs::format::geometry::INODE_SIZE;
use bento_fs::format::group::{self, RawAlloc};
use bento_fs::format::inode::{Inode, RawInode};
use bento_fs::format::log::LogHeader;
use bento_fs::format::superblock::RawSuperblock;
use bento_fs::format::{Geometry, Superblock, dirent};
use bento_fsck::{Options, Report, check};
pub use provenance::FIRST;
pub use ram::Ram;
pub use rich::Places;
use std::collections::BTreeMap;
use zerocopy::{FromBytes, IntoBytes};

/// A name in a directory that is being built.
pub type Name = (Vec<u8>, InodeNo, FileKind);

/// A volume.
#[derive(Clone)]
pub struct Volume {
    pub disk: Ram,
    pub superblock: Superblock,
    /// Directories that are written when the volume is finished.
    names: BTreeMap<InodeNo, Vec<Name>>,
    next_block: BlockNo,
    next_inode: u64,
}

impl Volume {
    /// An empty one: three groups of 512 blocks behind a log of 128.
    pub fn empty() -> Self {
        Self::with_log(128)
    }

    pub fn with_log(blocks: u64) -> Self {
        let device = 2 + blocks + 1 + 3 * 512;
        let disk = Ram::new(device as usize);
        let mut options = bento_mkfs::Options::new(1_700_000_000);
        options.log_blocks = Some(blocks);
        options.blocks_per_group = Some(512);
        options.uuid = [7; 16];
        options.entropy = bento_mkfs::Entropy::from_uuid(options.uuid);
        let plan = bento_mkfs::plan(&options, device).unwrap();
        bento_mkfs::make(&disk, &plan, &mut |_, _| {}).unwrap();
        let superblock = plan.superblock;
        let next_block =
            superblock.geometry.block_no(GroupNo(0), superblock.geometry.data_start(GroupNo(0)).unwrap() + 3);
        let root = (b"lost+found".to_vec(), InodeNo(3), FileKind::Directory);
        let names = BTreeMap::from([(InodeNo(1), vec![root]), (InodeNo(3), vec![])]);
        Self { disk, superblock, names, next_block: next_block.unwrap(), next_inode: 16 }
    }

    pub fn geometry(&self) -> Geometry {
        self.superblock.geometry
    }

    pub fn seed(&self) -> u32 {
        self.superblock.csum_seed
    }

    /// What fsck says of it.
    pub fn check(&self) -> Report {
        let before = self.disk.writes.get();
        let report = check(&self.disk, &Options::default());
        assert_eq!(self.disk.writes.get(), before, "fsck wrote");
        report
    }

    /// The numbers of the problems that fsck finds.
    pub fn codes(&self) -> Vec<u16> {
        self.check().totals.keys().map(|what| what.code()).collect()
    }

    /// Changes a block with a header, and makes its checksum right.
    pub fn edit(&self, no: BlockNo, f: impl FnOnce(&mut Bytes)) {
        self.disk.edit(no, |bytes| {
            f(bytes);
            let sum = crc(self.seed(), &bytes[4..]);
            bytes[..4].copy_from_slice(&sum.to_le_bytes());
        });
    }

    pub fn inode(&self, ino: InodeNo) -> Inode {
        let (no, at) = self.geometry().inode_place(ino).unwrap();
        Inode::decode(&self.disk.get(no)[at..at + INODE_SIZE], ino, self.seed()).unwrap()
    }

    pub fn set_inode(&self, ino: InodeNo, inode: &Inode) {
        let (no, at) = self.geometry().inode_place(ino).unwrap();
        self.disk.edit(no, |bytes| inode.encode(&mut bytes[at..at + INODE_SIZE], ino, self.seed()));
    }

    /// Changes a decoded inode.
    pub fn edit_inode(&self, ino: InodeNo, f: impl FnOnce(&mut Inode)) {
        let mut inode = self.inode(ino);
        f(&mut inode);
        self.set_inode(ino, &inode);
    }

    /// Changes the fields of an inode as they lie on disk, and makes its checksum right.
    pub fn edit_record(&self, ino: InodeNo, f: impl FnOnce(&mut RawInode)) {
        let (no, at) = self.geometry().inode_place(ino).unwrap();
        self.disk.edit(no, |bytes| {
            let (raw, _) = RawInode::mut_from_prefix(&mut bytes[at..]).unwrap();
            f(raw);
            let seed = crc(crc(self.seed(), &ino.0.to_le_bytes()), raw.generation.as_bytes());
            raw.crc = crc(seed, &raw.as_bytes()[4..]).into();
        });
    }

    /// Changes a group's allocation block, and makes its checksum right.
    pub fn edit_alloc(&self, group: u32, f: impl FnOnce(&mut RawAlloc)) {
        let no = self.geometry().alloc_block(GroupNo(group)).unwrap();
        self.edit(no, |bytes| f(RawAlloc::mut_from_bytes(bytes).unwrap()));
    }

    /// Marks a block used or free, and counts it, in its group and in the log's totals.
    pub fn mark_block(&self, no: BlockNo, used: bool) {
        let (group, bit) = self.geometry().block_group(no).unwrap();
        self.edit_alloc(group.0, |alloc| {
            block::set_bit(&mut alloc.block_bitmap, bit.into(), used);
            let change = if used { u32::MAX } else { 1 };
            alloc.free_blocks = alloc.free_blocks.get().wrapping_add(change).into();
        });
        self.total();
    }

    /// Marks an inode used or free, and counts it.
    pub fn mark_inode(&self, ino: InodeNo, used: bool) {
        let (group, bit) = self.geometry().inode_bit(ino).unwrap();
        self.edit_alloc(group.0, |alloc| {
            block::set_bit(&mut alloc.inode_bitmap, bit.into(), used);
            let change = if used { u32::MAX } else { 1 };
            alloc.free_inodes = alloc.free_inodes.get().wrapping_add(change).into();
        });
        self.total();
    }

    /// Brings the totals in both log headers up to date with the groups.
    pub fn total(&self) {
        let geometry = self.geometry();
        let counts = (0..geometry.groups).map(|group| {
            let no = geometry.alloc_block(GroupNo(group)).unwrap();
            let counts = group::counts(&self.disk.get(no)).unwrap();
            let (no, at) = geometry.summary_place(GroupNo(group)).unwrap();
            let class = group::Summary::class_of(1);
            let (free_blocks, free_inodes) = (counts.free_blocks, counts.free_inodes);
            self.edit(no, |bytes| group::Summary { free_blocks, free_inodes, class }.write(bytes, at));
            counts
        });
        let (blocks, inodes) = counts.fold((0, 0), |(blocks, inodes), counts| {
            (blocks + u64::from(counts.free_blocks), inodes + u64::from(counts.free_inodes))
        });
        let orphans = self.orphan_slots().filter(|ino| ino.0 != 0).count() as u64;
        for slot in 0..2 {
            self.edit_slot(slot, |header| {
                header.totals.free_blocks = blocks;
                header.totals.free_inodes = inodes;
                header.totals.orphans = orphans;
            });
        }
    }

    /// Changes the superblock (or a copy) as it lies on disk, and makes its checksum right.
    pub fn edit_superblock(&self, no: BlockNo, f: impl FnOnce(&mut RawSuperblock)) {
        self.disk.edit(no, |bytes| {
            f(RawSuperblock::mut_from_prefix(bytes).unwrap().0);
            let sum = block::crc_without(0, bytes, std::mem::offset_of!(RawSuperblock, crc));
            RawSuperblock::mut_from_prefix(bytes).unwrap().0.crc = sum.into();
        });
    }

    /// The block of names and the byte in it at which an entry begins.
    pub fn entry(&self, dir: InodeNo, name: &[u8]) -> (BlockNo, usize) {
        let blocks = self.extents(dir).into_iter().filter(|extent| extent.file.0 < 1 << 40);
        let found = blocks.map(|extent| extent.start).find_map(|no| {
            let bytes = self.disk.get(no);
            let entry = dirent::entries(&bytes).map(Result::unwrap).find(|entry| entry.name == name)?;
            Some((no, entry.at))
        });
        found.unwrap()
    }

    /// Changes a log header.
    pub fn edit_slot(&self, slot: u64, f: impl FnOnce(&mut LogHeader)) {
        let no = self.geometry().log_slot(slot).unwrap();
        self.disk.edit(no, |bytes| {
            let mut header = LogHeader::decode(bytes, self.seed()).unwrap();
            f(&mut header);
            header.encode(bytes, self.seed());
        });
    }

    /// Writes the superblock as it now is in memory.
    pub fn put_superblock(&self) {
        self.disk.edit(BlockNo(1), |bytes| self.superblock.encode(bytes));
    }

    /// The block of the orphan file.
    pub fn orphan_block(&self) -> BlockNo {
        self.extents(InodeNo(4))[0].start
    }

    fn orphan_slots(&self) -> impl Iterator<Item = InodeNo> {
        let bytes = self.disk.get(self.orphan_block());
        let slots: Vec<_> =
            bytes[32..].as_chunks::<8>().0.iter().map(|slot| InodeNo(u64::from_le_bytes(*slot))).collect();
        slots.into_iter()
    }

    /// Makes a slot name an inode, and counts it.
    pub fn put_orphan(&self, slot: u32, ino: InodeNo) {
        self.edit(self.orphan_block(), |bytes| {
            assert!(bento_fs::format::orphan::set(bytes, slot, Some(ino)))
        });
        self.total();
    }

    /// A free data block.
    pub fn take_data(&self) -> BlockNo {
        BlockNo(self.geometry().blocks_total - 1)
    }

    /// Starts a block of metadata and seals what `f` puts into it.
    fn put(&self, kind: BlockKind, no: BlockNo, owner: u64, f: impl FnOnce(&mut Bytes)) {
        self.disk.edit(no, |bytes| {
            block::start(bytes, kind, no, block::Owner(owner));
            f(bytes);
            block::seal(bytes, self.seed(), BatchSeq(0));
        });
    }
}
